"""Where a keyring is kept: in a file, or given by the configuration."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.keyring.file import KeyFile


class KeyringStore(Protocol):
    """Reads the keyring. What changes it, or creates it, asks for its file."""

    @property
    def label(self) -> str:
        """Where the keyring comes from, as it may be shown."""
        ...

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that hold the keyring on this machine, whether they exist or not."""
        ...

    def exists(self) -> bool:
        """Whether there is a keyring, in whatever state. Raises FolderUnusable."""
        ...

    def read(self) -> "Keyring":
        """Raises KeyringMissing, KeyringUnreadable, KeyringExposed, KeyringDamaged, KeyringSealed."""
        ...

    def current(self) -> "Keyring":
        """What `read` returns, from memory while the keyring has not changed. Raises what `read` raises."""
        ...

    def has_unfinished_change(self) -> bool:
        """Whether a change was interrupted, so that the next one finishes it or gives it up."""
        ...

    def in_file(self) -> "KeyFile":
        """The file that can be changed. Raises KeyringReadOnly where the configuration gives the keyring."""
        ...
