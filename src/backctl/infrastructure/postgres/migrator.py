"""Making the tables on PostgreSQL and bringing older ones up to date, one process at a time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from backctl.domain.errors import DatabaseMissing, DatabaseUnusable, SchemaOutdated, quoted
from backctl.infrastructure.postgres.connection import PostgresDatabase
from backctl.infrastructure.postgres.engine import bare_engine, driver_of
from backctl.infrastructure.sql.migrator import VERSIONS, Founding, UpgradeRecord, fill, migrate, require_known
from backctl.infrastructure.sql.schema import REVISION, StoredInstallation, require_current

_LOCK: Final = int.from_bytes(b"backctl", "big")
"""The advisory lock of whoever makes or changes the schema; locks are counted per database."""


def create_schema(
    database: PostgresDatabase,
    founding: Founding,
    *,
    before_commit: Callable[[], None],
    dry_run: bool,
) -> StoredInstallation | None:
    """Make all tables and begin the chain, in one transaction; None when another process has done so meanwhile.

    `before_commit` is called only when there is something to make; what it raises leaves the database as it was. A dry
    run makes everything and rolls it back. Raises DatabaseLocked, DatabaseUnavailable, DatabaseUnusable.
    """
    with _locked(database) as connection:
        if _has_installation(connection, database):
            return None
        _require_unicode(connection, database)
        fill(connection, founding)
        made = database.settle(driver_of(connection))
        if dry_run:
            connection.rollback()
        else:
            before_commit()
            try:
                connection.commit()
            except DBAPIError as error:
                if not database.is_lost(error) or not database.was_committed(founding.event_id):
                    raise
        return made


def upgrade_schema(
    database: PostgresDatabase,
    *,
    record: UpgradeRecord | None = None,
    dry_run: bool = False,
    revision: str = REVISION,
    versions: Sequence[Path] = (VERSIONS,),
) -> tuple[str, str] | None:
    """Bring the tables to `revision` in one transaction with the event of `record`; answers those before and after.

    A dry run does all of it and rolls it back. Of two at once the second waits, and finds nothing left to do: None. No
    statement has a time limit here, the wait for locks has. Raises SchemaTooNew, DatabaseMissing, DatabaseLocked,
    DatabaseUnusable, DatabaseUnavailable; then nothing has changed.
    """
    with _locked(database) as connection:
        before = database.settle(driver_of(connection), expected=None)
        try:
            require_current(before, database.label, revision=revision)
        except SchemaOutdated:
            require_known(before.revision, database.label, versions)
            driver_of(connection).execute(database.limits.local(statements=False))
            migrate(connection, revision, versions)
            if record is not None:
                record.append(connection, old=before.revision, new=revision)
            if dry_run:
                connection.rollback()
                return before.revision, revision
            try:
                connection.commit()
            except DBAPIError as error:
                if not database.is_lost(error) or not _has_revision(database, revision):
                    raise
            return before.revision, revision
        return None


def _has_revision(database: PostgresDatabase, revision: str) -> bool:
    """Whether a migration was made whose COMMIT was lost; behind its lock, that is after its end."""
    with _locked(database) as connection:
        return database.settle(driver_of(connection), expected=None).revision == revision


@contextmanager
def _locked(database: PostgresDatabase) -> Iterator[Connection]:
    """A transaction that holds the lock; rolled back unless it is committed."""
    engine = bare_engine(database)
    try:
        with database.mapped_faults(), engine.connect() as connection, connection.begin():
            driver = driver_of(connection)
            driver.execute(database.limits.local())
            driver.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            yield connection
    finally:
        engine.dispose()


def _has_installation(connection: Connection, database: PostgresDatabase) -> bool:
    with driver_of(connection).transaction(force_rollback=True):  # a missing table must not spoil what follows
        try:
            with database.mapped_faults():
                database.settle(driver_of(connection), expected=None)
        except DatabaseMissing:
            return False
    return True


def _require_unicode(connection: Connection, database: PostgresDatabase) -> None:
    encoding = driver_of(connection).info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise DatabaseUnusable(
            f"the database {quoted(database.label, limit=400)} has the encoding {quoted(str(encoding))}, "
            "which cannot store every name",
            hint="create one with 'createdb --encoding UTF8 --template template0'",
        )
