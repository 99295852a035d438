"""Provides the keyring for encryption, and creates one on a fresh machine."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from backctl.domain.errors import KeyringMissing
from backctl.domain.keyring import Keyring

if TYPE_CHECKING:
    from backctl.infrastructure.keyring.store import KeyringStore


class WatchedKeyring:
    """Reads the keyring from its store, which reads a file again only after it has changed.

    If there is no keyring, `is_fresh` says whether `create` may create the installation. Until then, no database code
    loads.
    """

    def __init__(
        self,
        keys: "KeyringStore",
        *,
        is_fresh: Callable[[], bool],
        create: Callable[[], object],
    ) -> None:
        self._keys = keys
        self._is_fresh = is_fresh
        self._create = create

    def current(self) -> Keyring:
        """Return the current keyring; an empty one on a fresh machine. Raises the errors of reading the keyring."""
        try:
            return self._keys.current()
        except KeyringMissing:
            if self._is_fresh():
                return Keyring(())
            raise

    def current_or_new(self) -> Keyring:
        """Return the current keyring. Creates the installation on a fresh machine. Raises the errors of both."""
        try:
            return self._keys.current()
        except KeyringMissing:
            if not self._is_fresh():
                raise
        self._create()
        return self._keys.current()
