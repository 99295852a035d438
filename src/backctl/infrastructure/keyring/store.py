"""The interface of keyring stores: a file, or a keyring that the configuration gives."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.keyring.file import KeyFile


class KeyringStore(Protocol):
    """Reads the keyring. To create or change it, use `in_file`."""

    @property
    def label(self) -> str:
        """The source of the keyring, without secrets, for messages."""
        ...

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that hold the keyring on this machine, whether they exist or not."""
        ...

    def exists(self) -> bool:
        """Whether a keyring exists, even a damaged one. Raises FolderUnusable."""
        ...

    def read(self) -> "Keyring":
        """Read the keyring. Raises KeyringMissing, KeyringUnreadable, KeyringExposed, KeyringDamaged, KeyringSealed."""
        ...

    def current(self) -> "Keyring":
        """Return the keyring from memory; read it again only after a change. Raises the errors of `read`."""
        ...

    def has_unfinished_change(self) -> bool:
        """Whether a change was interrupted. The next change completes or discards it."""
        ...

    def in_file(self) -> "KeyFile":
        """Return the keyring's file, for changes. Raises KeyringReadOnly when the configuration gives the keyring."""
        ...
