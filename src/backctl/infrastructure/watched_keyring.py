"""The keyring of a process that may live longer than its keys are in use."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from backctl.domain.errors import KeyringMissing
from backctl.domain.keyring import Keyring

if TYPE_CHECKING:
    from backctl.infrastructure.crypto.key_file import KeyFile
    from backctl.infrastructure.keyed_installation import KeyedInstallation


class WatchedKeyring:
    """Reads a keyring's file, and again only when another one has taken its place.

    `installation` is asked for where there is no file: no database is loaded as long as there is one.
    """

    def __init__(self, keys: "KeyFile", installation: "Callable[[], KeyedInstallation]") -> None:
        self._keys = keys
        self._installation = installation
        self._read: tuple[tuple[int, int, int], Keyring] | None = None

    def current(self) -> Keyring:
        """The keyring as it is now; one without keys on a fresh machine. Raises what reading the file raises."""
        try:
            return self._current()
        except KeyringMissing:
            if self._installation().is_fresh:
                return Keyring(())
            raise

    def current_or_new(self) -> Keyring:
        """The keyring as it is now; a fresh machine gets its installation. Raises what either raises."""
        try:
            return self._current()
        except KeyringMissing:
            installation = self._installation()
            if not installation.is_fresh:
                raise
        from backctl.infrastructure.identifiers import os_actor

        installation.create(os_actor())
        return self._current()

    def _current(self) -> Keyring:
        try:
            status = os.stat(self._keys.path)
        except OSError:
            return self._keys.read()  # which knows what to say
        version = status.st_ino, status.st_mtime_ns, status.st_size
        if self._read is None or self._read[0] != version:
            self._read = version, self._keys.read()
        return self._read[1]
