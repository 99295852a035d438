"""An installation whose database is on a PostgreSQL server. Its keyring is stored as for SQLite.

Only `init` creates it, and only `db upgrade` changes its schema, because other machines may use the database with
another version of backctl.
"""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from backctl.application.attribution import Attribution
from backctl.application.ports.security import KeyringChange, KeyringReplacement
from backctl.application.ports.storage import Reader, UnitOfWork
from backctl.application.views import Change
from backctl.application.waiting import Server
from backctl.domain.errors import InstallationMissing, KeyringMissing, Unavailable
from backctl.domain.quoting import quoted
from backctl.domain.values import EventId
from backctl.infrastructure.files import durable
from backctl.infrastructure.installation import Dependencies, Installation
from backctl.infrastructure.postgres.timeouts import Timeouts
from backctl.infrastructure.sql.schema import check_match

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backctl.application.database_views import InstallationView
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.postgres.care import PostgresCare
    from backctl.infrastructure.postgres.connection import PostgresDatabase
    from backctl.infrastructure.postgres.health import PostgresHealth
    from backctl.infrastructure.postgres.reader import PostgresReader
    from backctl.infrastructure.sql.schema import StoredInstallation


class PostgresInstallation(Installation):
    """A keyring and a database on a PostgreSQL server."""

    def __init__(self, url: str, dependencies: Dependencies, *, label: str, limits: Timeouts) -> None:
        """`label` is the URL without its password. The driver loads when the database is first used."""
        super().__init__(label, dependencies)
        self._url = url
        self.limits = limits
        self._database: PostgresDatabase | None = None
        self._reader: PostgresReader | None = None

    @property
    def database(self) -> "PostgresDatabase":
        with self._lock:
            if self._database is None:
                from backctl.infrastructure.postgres.connection import PostgresDatabase

                self._database = PostgresDatabase(self._url, label=self.label, limits=self.limits)
            return self._database

    def close(self) -> None:
        super().close()
        self._reader = None
        if self._database is not None:
            self._database.close()

    def care(self) -> "PostgresCare":
        from backctl.infrastructure.postgres.care import PostgresCare

        return PostgresCare(self, self.database)

    def _health(self) -> "PostgresHealth":
        from backctl.infrastructure.postgres.health import PostgresHealth

        return PostgresHealth(self, self.database)

    def require(self) -> None:
        if self.keys.exists():
            return
        with suppress(Unavailable):  # the keyring is missing even if the server cannot be asked
            self.stored()
        self._require_keyring()

    def _created(self, by: Attribution, *, dry_run: bool) -> "Change[InstallationView]":
        if self._exists():
            self._require_keyring()
            return Change(self.describe(), changed=False)
        try:
            view = self._rehearsed(by) if dry_run else self._made(by)
        except OSError as error:
            raise durable.unusable(self.keys.in_file().path.parent, error) from None
        if view is None:  # another process was quicker
            return Change(self.describe(), changed=False)
        return Change(view, changed=True)

    def require_sound_folders(self) -> None:
        """Do nothing: the server protects its own files."""

    def stored(self) -> "StoredInstallation":
        return self.database.stored()

    def servers(self) -> tuple[Server, ...]:
        return (Server(self.label, self.stored),)

    def _begun(self, by: Attribution, *, dry_run: bool, creates: bool) -> UnitOfWork:
        """Return a unit of work on the existing database. Ignores `creates`: only `init` creates a database."""
        return self.work_on(self._writable(), by, dry_run=dry_run)

    def _writable(self, by: Attribution | None = None) -> "Engine":
        """Ignores `by`: only `db upgrade` migrates the database."""
        with self._lock:
            if self._engine is None:
                from backctl.infrastructure.postgres.engine import postgres_engine

                self.open_keyring()  # before connecting
                engine = postgres_engine(
                    self.database, lambda stored: check_match(stored.audit_kids, self.open_keyring())
                )
                try:
                    with self.database.mapped_faults(), engine.connect() as connection:
                        connection.begin()  # raise connection errors before any slow work
                except BaseException:
                    engine.dispose()
                    raise
                self._engine = engine
            return self._engine

    def keyring_change(self, *, by: Attribution, dry_run: bool) -> KeyringChange:
        return self._keyring_change(by, dry_run=dry_run, timeout_us=self.limits.lock_us)

    def keyring_replacement(self, *, by: Attribution, dry_run: bool) -> KeyringReplacement:
        with self._lock:
            return self._keyring_replacement(by, dry_run=dry_run, timeout_us=self.limits.lock_us)

    def _new_keyless_engine(self) -> "Engine":
        from backctl.infrastructure.postgres.engine import postgres_engine

        return postgres_engine(self.database)

    def _upgrade_unrecorded(self) -> None:
        from backctl.infrastructure.postgres.migrator import upgrade_schema

        upgrade_schema(self.database)

    def reader(self) -> Reader:
        with self._lock:
            if self._reader is None:
                from backctl.infrastructure.postgres.reader import PostgresReader

                self._reader = PostgresReader(self.database, addresses=self._addresses, clock=self.clock)
            return self._reader

    def _opened(self) -> "tuple[StoredInstallation, Keyring]":
        from backctl.infrastructure.sql.schema import require_current

        stored, keyring = self.stored(), self.open_keyring()
        check_match(stored.audit_kids, keyring)
        require_current(stored, self.label)
        return stored, keyring

    # Creation.

    def _exists(self) -> bool:
        try:
            self.stored()
        except InstallationMissing:
            return False
        return True

    def _require_keyring(self) -> None:
        """Raise KeyringMissing if the keyring of the database is missing: a new keyring cannot replace it."""
        if not self.keys.exists():
            raise KeyringMissing(
                f"there is no keyring {quoted(self.keys.label, limit=400)} for the database",
                hint="copy it from the machine where '{backctl} init' ran, or restore it from a backup; if it is lost "
                "everywhere, run '{backctl} key replace-lost'",
            )

    def _made(self, by: Attribution) -> "InstallationView | None":
        """Create the tables and the keyring file. None if another process has created the tables meanwhile.

        The keyring is in place before the tables are committed, so every process that sees the tables finds their keys.
        A failure in between leaves a keyring without a database; the next `init` completes it.
        """
        with ExitStack() as held:
            for path in self.keys.paths:
                durable.make_folder(path.parent)
                held.enter_context(durable.locked(path.parent, timeout_us=self.limits.lock_us))
                for temporary in durable.left_over(path):
                    temporary.unlink(missing_ok=True)
            made = [self.label]
            link: Callable[[], None] = _nothing
            if self.keys.exists():
                keyring = self.keys.read()
            else:
                keyring = self._new_keyring()
                file = self.keys.in_file()
                staged = file.stage(keyring)
                held.callback(staged.unlink)
                made.insert(0, file.label)

                def link() -> None:
                    durable.link_staged(staged, file.path)

            view = self._filled(by, keyring, before_commit=link, dry_run=False)
            if view is None:
                self._require_keyring()
                return None
        self.notice(f"created {' and '.join(made)}")
        return view

    def _rehearsed(self, by: Attribution) -> "InstallationView | None":
        if self.keys.exists():
            keyring = self.keys.read()
        else:
            durable.require_writable(self.keys.in_file().path.parent)
            keyring = self._new_keyring()
        return self._filled(by, keyring, before_commit=_nothing, dry_run=True)

    def _filled(
        self,
        by: Attribution,
        keyring: "Keyring",
        *,
        before_commit: Callable[[], None],
        dry_run: bool,
    ) -> "InstallationView | None":
        import uuid

        from backctl.infrastructure.postgres.migrator import create_schema
        from backctl.infrastructure.sql.migrator import Founding

        founding = Founding(
            installation_id=str(uuid.uuid4()),
            keyring=keyring,
            by=by,
            now=self.clock(),
            event_id=EventId(self._new_id()),
        )
        stored = create_schema(self.database, founding, before_commit=before_commit, dry_run=dry_run)
        return None if stored is None else self._described(stored)

    def _new_keyring(self) -> "Keyring":
        from backctl.infrastructure.keyring.maker import make_keyring

        return make_keyring(self.clock())


def _nothing() -> None:
    """Do nothing before the commit."""
