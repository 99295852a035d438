"""The keyring of those who encrypt: the one in use, or on a fresh machine the one that is made for them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from backctl.domain.errors import KeyringMissing
from backctl.domain.keyring import Keyring

if TYPE_CHECKING:
    from backctl.infrastructure.keyring.store import KeyringStore


class WatchedKeyring:
    """Reads the keyring from its store, which reads a file again only after it was replaced.

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
        """The keyring as it is now; one without keys on a fresh machine. Raises what reading the keyring raises."""
        try:
            return self._keys.current()
        except KeyringMissing:
            if self._is_fresh():
                return Keyring(())
            raise

    def current_or_new(self) -> Keyring:
        """The keyring as it is now; a fresh machine gets its installation. Raises what either raises."""
        try:
            return self._keys.current()
        except KeyringMissing:
            if not self._is_fresh():
                raise
        self._create()
        return self._keys.current()
