"""The base class of every installation: a keyring and its database, wherever they are stored."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple, cast

from backctl.application.attribution import Attribution
from backctl.application.ports.environment import AddressParser, Clock, IdSource
from backctl.application.ports.security import KeyringChange, KeyringReplacement
from backctl.application.ports.storage import DatabaseCare, HealthProbe, Reader, UnitOfWork
from backctl.application.views import Change
from backctl.application.waiting import Server
from backctl.domain.errors import InstallationMissing, KeyringMissing, SchemaOutdated
from backctl.domain.values import EventId
from backctl.infrastructure.forks import start_over_in_children
from backctl.infrastructure.sql.schema import check_match

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backctl.application.database_views import InstallationView
    from backctl.application.ports.write_behind import UpdateTarget
    from backctl.domain.events import SchemaUpgraded
    from backctl.domain.keyring import Key, Keyring
    from backctl.infrastructure.keyring.store import KeyringStore
    from backctl.infrastructure.sql.health import DatabaseHealth
    from backctl.infrastructure.sql.migrator import UpgradeRecord
    from backctl.infrastructure.sql.schema import StoredInstallation
    from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork


class Dependencies(NamedTuple):
    """The dependencies of an installation, independent of its database."""

    keys: "Callable[[], KeyringStore]"
    """Returns the keyring store. Called only when a key is needed, since reading accounts needs none."""
    notice: Callable[[str], None]
    """Receives one line about what was created or migrated."""
    clock: Clock
    new_id: IdSource
    addresses: AddressParser
    bcrypt_cost: int


class Installation(ABC):
    """A keyring and its database. Connects lazily; after `close` the next use reconnects.

    Each kind of database has its own subclass; `wiring.storage` chooses it.
    """

    def __init__(self, label: str, dependencies: Dependencies) -> None:
        """`label` names the database in output."""
        self.label = label
        self.clock = dependencies.clock
        self._dependencies = dependencies
        self.notice = dependencies.notice
        self._new_id = dependencies.new_id
        self._addresses = dependencies.addresses
        self._engine: Engine | None = None
        self._keyless_engine: Engine | None = None
        self._unrecorded_upgrade: SchemaUpgraded | None = None
        self.start_over()
        start_over_in_children(self)

    def start_over(self) -> None:
        """Replace the lock in a forked child: the parent may have held it."""
        self._lock = RLock()
        # SQLAlchemy may have been in the middle of its first connection.
        self._engine = self._keyless_engine = None

    def close(self) -> None:
        """Release connections; the next use reconnects."""
        for engine in (self._engine, self._keyless_engine):
            if engine is not None:
                engine.dispose()
        self._engine = self._keyless_engine = None

    @property
    def keys(self) -> "KeyringStore":
        """The keyring store, whether the keyring exists or not."""
        return self._dependencies.keys()

    @abstractmethod
    def require(self) -> None:
        """Check that there is an installation, without reading it. Raises InstallationMissing, FolderUnusable.

        Connects to a server only if the keyring is missing, and then also raises KeyringMissing and DatabaseUnusable.
        """

    def create(self, by: Attribution, *, dry_run: bool = False) -> "Change[InstallationView]":
        """Create the missing parts; `changed` is False if none are missing. A dry run leaves nothing behind.

        Raises ClockUnusable; KeyringMissing for a database without its keyring; FolderUnusable, InstallationLocked,
        DatabaseFull; and on a server DatabaseLocked, DatabaseUnavailable, DatabaseUnusable.
        """
        self.clock()  # report an unusable clock before a folder is created
        with self._lock:
            return self._created(by, dry_run=dry_run)

    def unit_of_work(self, *, by: Attribution, dry_run: bool, creates: bool = False) -> UnitOfWork:
        """Return a transaction that has not begun; see `UnitOfWorkFactory`.

        Raises InstallationMissing, DatabaseUnusable, DatabaseUnavailable, SchemaOutdated, SchemaTooNew, and the errors
        of reading the keyring.
        """
        return self._begun(by, dry_run=dry_run, creates=creates)

    def update_target(self) -> "UpdateTarget":
        """Return what writes updates of write-behind. It connects at each call, with the errors of `unit_of_work`."""
        from backctl.infrastructure.sql.update_target import SqlUpdateTarget

        return SqlUpdateTarget(self._writable)

    @abstractmethod
    def _writable(self, by: Attribution | None = None) -> "Engine":
        """Return the engine of the existing installation. `by` is recorded if an older database is migrated."""

    @abstractmethod
    def _created(self, by: Attribution, *, dry_run: bool) -> "Change[InstallationView]":
        """Create the missing parts and describe the installation."""

    @abstractmethod
    def _begun(self, by: Attribution, *, dry_run: bool, creates: bool) -> UnitOfWork:
        """Return a unit of work on the existing installation, or on one that it creates."""

    @abstractmethod
    def stored(self) -> "StoredInstallation":
        """Read the stored installation, at any revision. Raises InstallationMissing, DatabaseUnusable."""

    def servers(self) -> tuple[Server, ...]:
        """Return the servers of the database; none for a file."""
        return ()

    @abstractmethod
    def care(self) -> DatabaseCare:
        """Return the maintenance operations of the database."""

    @abstractmethod
    def require_sound_folders(self) -> None:
        """Raise FolderUnusable if other users could replace the files of the database."""

    @abstractmethod
    def _health(self) -> "DatabaseHealth":
        """Return the database checks of `doctor`."""

    def probes(self, *, leeway: int, config_file: Path | None) -> tuple[HealthProbe, ...]:
        """Return the checks of `doctor`. A failed check can explain the failures after it.

        `leeway` is how far in the future a token may be dated, in microseconds.
        """
        from backctl.infrastructure.crypto.checks import is_costly
        from backctl.infrastructure.files.checks import are_private
        from backctl.infrastructure.keyring.checks import has_keys
        from backctl.infrastructure.probes import NO_INSTALLATION, Finding, Probe

        health, keyring = self._health(), self.keys.paths
        database = health.probes(leeway=leeway)

        def valid() -> Finding:
            if not self.keys.exists():
                try:
                    self.require()
                except InstallationMissing:
                    return NO_INSTALLATION
            return has_keys(self.keys, self.clock())

        def files() -> Finding:
            folders = [path.parent for path in keyring]
            return are_private([*folders, *keyring, *health.files()], keyring, config_file)

        return (
            database["database.open"],
            database["database.writable"],
            database["database.revision"],
            database["database.integrity"],
            Probe("files.permissions", files),
            Probe("keyring.valid", valid),
            database["keyring.matches"],
            Probe("passwords.cost", lambda: is_costly(self._dependencies.bcrypt_cost)),
            database["clock.sane"],
            database["tokens.issuable"],
        )

    @abstractmethod
    def reader(self) -> Reader:
        """Return the read side. Creates nothing. Raises InstallationMissing and the errors of opening it."""

    @abstractmethod
    def _opened(self) -> "tuple[StoredInstallation, Keyring]":
        """Return the stored installation and its keyring, after checking that revision and keyring match."""

    def describe(self) -> "InstallationView":
        """Describe the installation. Raises the errors of opening it."""
        return self._described(self._opened()[0])

    def open_keyring(self) -> "Keyring":
        """Return the keyring. Reads it again after its file was replaced. Opens no database if there is a keyring.

        Raises InstallationMissing, KeyringMissing, KeyringUnreadable, KeyringExposed, KeyringDamaged, KeyringSealed.
        """
        try:
            return self.keys.current()
        except KeyringMissing:
            self.require()
            raise

    @abstractmethod
    def keyring_change(self, *, by: Attribution, dry_run: bool) -> KeyringChange:
        """Return a keyring change that has not begun.

        Raises the errors of `unit_of_work`.
        """

    def _keyring_change(self, by: Attribution, *, dry_run: bool, timeout_us: int) -> KeyringChange:
        file = self.keys.in_file()
        from backctl.infrastructure.keyring.change import FileKeyringChange

        work = cast("SqlUnitOfWork", self.unit_of_work(by=by, dry_run=dry_run))
        return FileKeyringChange(
            file,
            work,
            timeout_us=timeout_us,
            dry_run=dry_run,
        )

    @abstractmethod
    def keyring_replacement(self, *, by: Attribution, dry_run: bool) -> KeyringReplacement:
        """Return the replacement of a lost keyring, which has not begun; see `KeyringReplacementFactory`."""

    def _keyring_replacement(self, by: Attribution, *, dry_run: bool, timeout_us: int) -> KeyringReplacement:
        from backctl.infrastructure.keyring.maker import make_keyring
        from backctl.infrastructure.keyring.replacement import FileKeyringReplacement, explained

        file = self.keys.in_file()
        if file.exists():
            with explained():
                self._opened()
        self._upgrade_without_keyring(dry_run=dry_run)
        if self._keyless_engine is None:
            self._keyless_engine = self._new_keyless_engine()
        ring = make_keyring(self.clock())
        work = self.work_on(self._keyless_engine, by, dry_run=dry_run, audit_key=ring.primary("audit"))
        if self._unrecorded_upgrade is not None:
            work.record(self._unrecorded_upgrade)
        return FileKeyringReplacement(file, work, ring, timeout_us=timeout_us, dry_run=dry_run)

    def _upgrade_without_keyring(self, *, dry_run: bool) -> None:
        """Upgrade an older database. The replacement of the keyring records it, because nothing else can.

        Raises SchemaOutdated in a dry run, SchemaTooNew, and the errors of upgrading.
        """
        from backctl.domain.events import SchemaUpgraded
        from backctl.infrastructure.sql.schema import REVISION, require_current

        stored = self.stored()
        try:
            require_current(stored, self.label)
        except SchemaOutdated as error:
            if dry_run:
                hint = f"'{{backctl}} key replace-lost --confirm {stored.installation_id}' upgrades it first"
                raise SchemaOutdated(error.message, hint=hint) from None
            self._upgrade_unrecorded()
            self._unrecorded_upgrade = SchemaUpgraded(stored.installation_id, old=stored.revision, new=REVISION)

    @abstractmethod
    def _new_keyless_engine(self) -> "Engine":
        """Create an engine for a database whose keyring is lost."""

    @abstractmethod
    def _upgrade_unrecorded(self) -> None:
        """Upgrade an older database without an event."""

    def blind_index(self, text: str) -> str:
        """Return the HMAC-SHA256 of the text with the keyring's `index` key, in hexadecimal."""
        import hmac

        return hmac.digest(self.open_keyring().primary("index").secret_bytes(), text.encode(), "sha256").hex()

    def audit_keys(self, kids: Sequence[str]) -> dict[str, bytes]:
        """Return every audit key by kid.

        Raises KeyringMismatch if one of `kids` is missing, and the errors of `open_keyring`.
        """
        keyring = self.open_keyring()
        check_match(kids, keyring)
        return keyring.secrets("audit")

    def upgrade_record(self, stored: "StoredInstallation", by: Attribution) -> "UpgradeRecord":
        """Return the data that an upgrade of `stored` will record."""
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

    def work_on(
        self, engine: "Engine", by: Attribution, *, dry_run: bool, audit_key: "Key | None" = None
    ) -> "SqlUnitOfWork":
        """Return a unit of work on a database of this installation.

        Its events are recorded with `audit_key`, by default that of the keyring.
        """
        from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork

        return SqlUnitOfWork(
            engine,
            by=by,
            addresses=self._addresses,
            audit_key=audit_key or self.open_keyring().primary("audit"),
            clock=self.clock,
            new_id=self._new_id,
            dry_run=dry_run,
        )
