"""Creates and migrates the tables on PostgreSQL, one process at a time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from backctl.domain.errors import InstallationMissing, SchemaOutdated
from backctl.infrastructure.postgres.connection import PostgresDatabase
from backctl.infrastructure.postgres.engine import bare_engine, driver_of
from backctl.infrastructure.sql.migrator import VERSIONS, Founding, UpgradeRecord, fill, migrate, require_known
from backctl.infrastructure.sql.schema import REVISION, StoredInstallation, require_current

_LOCK: Final = int.from_bytes(b"backctl", "big")
"""The advisory lock for creating or changing the schema. Advisory locks are per database."""


def create_schema(
    database: PostgresDatabase,
    founding: Founding,
    *,
    before_commit: Callable[[], None],
    dry_run: bool,
) -> StoredInstallation | None:
    """Create all tables and start the chain in one transaction. None if another process has done so meanwhile.

    Calls `before_commit` only if the tables were missing; its errors leave the database unchanged. A dry run creates
    everything and rolls it back. Raises DatabaseLocked, DatabaseUnavailable, DatabaseUnusable.
    """
    with _locked(database) as connection:
        if _has_installation(connection, database):
            return None
        database.require_unicode(driver_of(connection))
        database.require_schema(driver_of(connection))
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
    """Migrate the tables to `revision` and append the event of `record` in one transaction.

    Returns the old and the new revision; None if there is nothing to do. A dry run does everything and rolls it back.
    A second concurrent upgrade waits and then finds nothing to do. Waiting for locks has a timeout, statements have
    none. Raises SchemaTooNew, InstallationMissing, DatabaseLocked, DatabaseUnusable, DatabaseUnavailable; then nothing
    has changed.
    """
    with _locked(database) as connection:
        before = database.settle(driver_of(connection), expected=None)
        try:
            require_current(before, database.label, revision=revision)
        except SchemaOutdated:
            require_known(before.revision, database.label, versions)
            database.allow_long_statements(driver_of(connection))
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
    """Whether a migration whose COMMIT was lost has succeeded. Waits for its lock, so for its end."""
    with _locked(database) as connection:
        return database.settle(driver_of(connection), expected=None).revision == revision


@contextmanager
def _locked(database: PostgresDatabase) -> Iterator[Connection]:
    """Provide a transaction that holds the lock. Rolls back unless it is committed."""
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
    with driver_of(connection).transaction(force_rollback=True):  # a missing table must not abort the outer transaction
        try:
            with database.mapped_faults():
                database.settle(driver_of(connection), expected=None)
        except InstallationMissing:
            return False
    return True
