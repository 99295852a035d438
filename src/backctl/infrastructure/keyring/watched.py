"""The keyring of those who encrypt: the one in use, or on a fresh machine the one that is made for them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from backctl.domain.errors import KeyringMissing
from backctl.domain.keyring import Keyring

if TYPE_CHECKING:
    from backctl.infrastructure.keyring.file import KeyFile
    from backctl.infrastructure.keyring.given import GivenKeyring
    from backctl.infrastructure.sql.installation import KeyedInstallation


class WatchedKeyring:
    """Asks the keyring's source, which reads a file again only when another one has taken its place.

    `installation` is asked for where there is no keyring: no database is loaded as long as there is one. `create` makes
    it.
    """

    def __init__(
        self,
        keys: "KeyFile | GivenKeyring",
        *,
        installation: "Callable[[], KeyedInstallation]",
        create: Callable[[], object],
    ) -> None:
        self._keys = keys
        self._installation = installation
        self._create = create

    def current(self) -> Keyring:
        """The keyring as it is now; one without keys on a fresh machine. Raises what reading the keyring raises."""
        try:
            return self._keys.current()
        except KeyringMissing:
            if self._installation().is_fresh:
                return Keyring(())
            raise

    def current_or_new(self) -> Keyring:
        """The keyring as it is now; a fresh machine gets its installation. Raises what either raises."""
        try:
            return self._keys.current()
        except KeyringMissing:
            if not self._installation().is_fresh:
                raise
        self._create()
        return self._keys.current()
