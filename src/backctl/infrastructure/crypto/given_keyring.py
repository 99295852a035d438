"""A keyring that comes from elsewhere: an environment variable, another program, a file that somebody else keeps."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from backctl.domain.errors import KeyringDamaged, KeyringSealed
from backctl.infrastructure.crypto import keyring_text

if TYPE_CHECKING:
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.crypto.keyring_text import Passphrase


class GivenKeyring:
    """Reads the same document as a KeyFile, once, and changes nothing. `label` names its source in messages."""

    def __init__(self, label: str, reveal: Callable[[], str], passphrase: "Passphrase | None" = None) -> None:
        self.label = label
        self._reveal = reveal
        self._passphrase = passphrase

    def read(self) -> "Keyring":
        """Raises KeyringDamaged, KeyringSealed, and InvalidConfiguration when the source does not yield a text."""
        text = self._reveal()
        try:
            return keyring_text.read(text, self._passphrase)
        except (KeyringDamaged, KeyringSealed) as error:
            raise type(error)(f"{self.label}: {error.message}", hint=error.hint) from None

    def version(self) -> None:
        """The text is asked for once: it stays what it is."""

    def has_unfinished_change(self) -> bool:
        """Never, where nothing is changed."""
        return False
