"""What every installation is: a keyring, and the database written with it, wherever each of them lies."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple, cast

from backctl.application.attribution import Attribution
from backctl.application.ports.environment import AddressParser, Clock, IdSource
from backctl.application.ports.security import KeyringChange
from backctl.application.ports.storage import DatabaseCare, HealthProbe, Reader, UnitOfWork
from backctl.application.views import Change
from backctl.domain.values import EventId
from backctl.infrastructure.forks import start_over_in_children
from backctl.infrastructure.sql.schema import check_match

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backctl.application.database_views import InstallationView
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.keyring.store import KeyringStore
    from backctl.infrastructure.sql.health import DatabaseHealth
    from backctl.infrastructure.sql.migrator import UpgradeRecord
    from backctl.infrastructure.sql.schema import StoredInstallation


class Dependencies(NamedTuple):
    """What every installation works with, whatever its database."""

    keys: "Callable[[], KeyringStore]"
    """Where the keyring is kept; called when a key is needed, for a read of accounts needs none."""
    notice: Callable[[str], None]
    """Receives one line about what was created or migrated."""
    clock: Clock
    new_id: IdSource
    addresses: AddressParser
    bcrypt_cost: int


class Installation(ABC):
    """A keyring and the database written with it. Connects lazily; after `close` the next use reconnects.

    Each kind of database has its own subclass, which `wiring.storage` chooses.
    """

    def __init__(self, label: str, dependencies: Dependencies) -> None:
        """`label` is how the database is shown."""
        self.label = label
        self.clock = dependencies.clock
        self._dependencies = dependencies
        self._notice = dependencies.notice
        self._new_id = dependencies.new_id
        self._addresses = dependencies.addresses
        self._engine: Engine | None = None
        self.start_over()
        start_over_in_children(self)

    def start_over(self) -> None:
        """Begin with a free lock in a forked child."""
        self._lock = RLock()

    def close(self) -> None:
        """Release connections; the next use reconnects."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @property
    def keys(self) -> "KeyringStore":
        """Where the keyring is kept, whether it exists or not."""
        return self._dependencies.keys()

    @property
    @abstractmethod
    def is_fresh(self) -> bool:
        """Whether a write would create the installation, and a read finds it empty."""

    def create(self, by: Attribution, *, dry_run: bool = False) -> "Change[InstallationView]":
        """Make what is missing; `changed` is False when nothing is. With `dry_run` nothing is left of it.

        Raises KeyringMissing for a database without its keyring; FolderUnusable,
        InstallationLocked, DatabaseFull, and a server's DatabaseLocked, DatabaseUnavailable, DatabaseUnusable.
        """
        with self._lock:
            return self._created(by, dry_run=dry_run)

    def unit_of_work(self, *, by: Attribution, dry_run: bool, creates: bool = False) -> UnitOfWork:
        """A transaction not yet begun; see the port.

        Raises DatabaseMissing, DatabaseUnusable, DatabaseUnavailable, SchemaOutdated,
        SchemaTooNew and what the keyring's file raises.
        """
        return self._begun(by, dry_run=dry_run, creates=creates)

    @abstractmethod
    def _created(self, by: Attribution, *, dry_run: bool) -> "Change[InstallationView]":
        """What is there after making what is missing."""

    @abstractmethod
    def _begun(self, by: Attribution, *, dry_run: bool, creates: bool) -> UnitOfWork:
        """A unit of work on what is there, on what it makes, or on nothing."""

    @abstractmethod
    def stored(self) -> "StoredInstallation":
        """What the database says about itself, whatever its revision. Raises DatabaseMissing, DatabaseUnusable."""

    @abstractmethod
    def care(self) -> DatabaseCare:
        """What looks after the database as a whole."""

    @abstractmethod
    def require_sound_folders(self) -> None:
        """Raises FolderUnusable where others could replace the files of the database."""

    @abstractmethod
    def _health(self) -> "DatabaseHealth":
        """What `doctor` asks of the database."""

    def probes(self, *, leeway: int, config_file: Path | None) -> tuple[HealthProbe, ...]:
        """What `doctor` asks, in the order in which one answer explains the next.

        `leeway` is how far ahead a token may be dated, in microseconds.
        """
        from backctl.infrastructure.crypto.checks import is_costly
        from backctl.infrastructure.files.checks import are_private
        from backctl.infrastructure.keyring.checks import has_keys
        from backctl.infrastructure.probes import Finding, Probe

        health, keyring = self._health(), self.keys.paths
        database = health.probes(leeway=leeway)

        def files() -> Finding:
            folders = [path.parent for path in keyring]
            return are_private([*folders, *keyring, *health.files()], keyring, config_file)

        return (
            database["database.open"],
            database["database.writable"],
            database["database.revision"],
            database["database.integrity"],
            Probe("files.permissions", files),
            Probe("keyring.valid", lambda: has_keys(self.keys, self.is_fresh, self.clock())),
            database["keyring.matches"],
            Probe("passwords.cost", lambda: is_costly(self._dependencies.bcrypt_cost)),
            database["clock.sane"],
            database["tokens.issuable"],
        )

    @abstractmethod
    def reader(self) -> Reader:
        """The read side. Creates nothing."""

    @abstractmethod
    def _opened(self) -> "tuple[StoredInstallation, Keyring]":
        """What a database of the right revision says about itself, and the keyring that matches it."""

    def describe(self) -> "InstallationView":
        """What is there. Raises what opening it raises."""
        return self._described(self._opened()[0])

    def open_keyring(self) -> "Keyring":
        """The keyring, read again when its file was replaced.

        Raises KeyringMissing, KeyringUnreadable, KeyringExposed, KeyringDamaged, KeyringSealed.
        """
        return self.keys.current()

    def known_keyring(self) -> "Keyring":
        """The keyring; one without keys on a fresh machine. Opens no database and creates nothing."""
        return self.open_keyring()

    @abstractmethod
    def keyring_change(self, *, by: Attribution, dry_run: bool) -> KeyringChange:
        """A change of the keyring, not yet begun; on a fresh machine the installation is created first.

        Raises what `unit_of_work` raises.
        """

    def _keyring_change(self, by: Attribution, *, dry_run: bool, timeout_us: int) -> KeyringChange:
        file = self.keys.in_file()
        from backctl.infrastructure.keyring.change import FileKeyringChange
        from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork

        work = cast(SqlUnitOfWork, self.unit_of_work(by=by, dry_run=dry_run, creates=True))
        return FileKeyringChange(
            file,
            work,
            timeout_us=timeout_us,
            dry_run=dry_run,
        )

    def blind_index(self, text: str) -> str:
        """HMAC-SHA256 of the text under the keyring's `index` key, in hexadecimal."""
        import hmac

        return hmac.digest(self.open_keyring().primary("index").secret_bytes(), text.encode(), "sha256").hex()

    def audit_keys(self, kids: Sequence[str]) -> dict[str, bytes]:
        """kid → key of every audit key, those that a log was written with among them. Raises also KeyringMismatch."""
        keyring = self.open_keyring()
        check_match(kids, keyring)
        return keyring.secrets("audit")

    def upgrade_record(self, stored: "StoredInstallation", by: Attribution) -> "UpgradeRecord":
        """What will be recorded of an upgrade from the revision of `stored`, whose keyring this is."""
        from backctl.infrastructure.sql.migrator import UpgradeRecord

        return UpgradeRecord(
            installation_id=stored.installation_id,
            key=self.open_keyring().primary("audit"),
            by=by,
            now=self.clock(),
            event_id=EventId(self._new_id()),
        )

    def _described(self, stored: "StoredInstallation") -> "InstallationView":
        from backctl.application.database_views import InstallationView

        return InstallationView(
            database=self.label,
            keyring=self.keys.label,
            installation_id=stored.installation_id,
            revision=stored.revision,
            bcrypt_cost=self._dependencies.bcrypt_cost,
        )

    def _work(self, engine: "Engine", by: Attribution, *, dry_run: bool) -> UnitOfWork:
        from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork

        return SqlUnitOfWork(
            engine,
            by=by,
            addresses=self._addresses,
            audit_key=self.open_keyring().primary("audit"),
            clock=self.clock,
            new_id=self._new_id,
            dry_run=dry_run,
        )
