"""A keyring that the configuration provides: from an environment variable, a command, or a file managed elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from backctl.domain.errors import KeyringReadOnly
from backctl.infrastructure.keyring import text as keyring_text

if TYPE_CHECKING:
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.keyring.text import Passphrase


class GivenKeyring:
    """Reads the same document as KeyFile, once, and never changes it. `label` names its source in messages."""

    def __init__(self, label: str, reveal: Callable[[], str], passphrase: "Passphrase | None" = None) -> None:
        self.label = label
        self._reveal = reveal
        self._passphrase = passphrase
        self._known: Keyring | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Empty: backctl does not manage the files of a keyring that the configuration gives."""
        return ()

    def exists(self) -> bool:
        """Always True: the source is read only when a key is needed."""
        return True

    def read(self) -> "Keyring":
        """Read the keyring. Raises KeyringDamaged, KeyringSealed, and InvalidConfiguration when the source fails."""
        return keyring_text.read_from(self.label, self._reveal(), self._passphrase)

    def current(self) -> "Keyring":
        """Return the result of the first `read`, because the source does not change."""
        if self._known is None:
            self._known = self.read()
        return self._known

    def has_unfinished_change(self) -> bool:
        """Always False: this keyring is never changed."""
        return False

    def in_file(self) -> NoReturn:
        """Raise KeyringReadOnly: a keyring that the configuration gives cannot be changed."""
        raise KeyringReadOnly(
            f"the keyring comes from {self.label}, which backctl cannot change",
            hint="change the keys where the keyring file is kept, then provide the new keyring",
        )
