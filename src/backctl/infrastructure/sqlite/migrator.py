"""Creates an SQLite database and migrates an older one."""

import itertools
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine

from backctl.domain.errors import DatabaseUnusable, SchemaOutdated
from backctl.domain.quoting import quoted
from backctl.infrastructure.files import durable
from backctl.infrastructure.sql.migrator import VERSIONS, Founding, UpgradeRecord, fill, migrate, require_known
from backctl.infrastructure.sql.schema import REVISION, require_current
from backctl.infrastructure.sqlite.connection import connect, read_installation
from backctl.infrastructure.sqlite.copies import copied
from backctl.infrastructure.sqlite.engine import driver_of, sqlite_engine
from backctl.infrastructure.sqlite.faults import mapped_faults
from backctl.trusted_paths import opened

_UNSHARED_TIMEOUT_US = 1_000_000  # no other process uses a database that is being created


def create_database(path: Path, founding: Founding) -> None:
    """Create a complete database at `path`, a temporary name in an existing folder; link it to its real name later.

    Afterwards everything is on disk in this one file, and the chain starts with InstallationCreated. Leaves nothing
    behind on an error. Raises FolderUnusable, DatabaseFull.
    """
    try:
        os.close(durable.open_new(path))
        try:
            engine = sqlite_engine(path, timeout_us=_UNSHARED_TIMEOUT_US, expected=None)
            try:
                with mapped_faults(path):  # while the files still have their size from the failure
                    with engine.begin() as connection:
                        fill(connection, founding)
                    move_log_into_file(engine, path)
            finally:
                engine.dispose()
            flush(path)
        except BaseException:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise durable.unusable(path.parent, error) from error


def require_no_orphaned_log(path: Path) -> None:
    """Raise DatabaseUnusable for a log without its database: SQLite would replay it into the new database."""
    for suffix in ("-wal", "-journal"):
        log = path.with_name(path.name + suffix)
        if durable.exists(log) and log.lstat().st_size:
            raise DatabaseUnusable(
                f"{quoted(str(log), limit=400)} belongs to a database that no longer exists",
                hint="restore that database, or move the file away if you do not need its data",
            )


def upgrade(
    path: Path,
    *,
    timeout_us: int,
    notice: Callable[[str], None],
    record: UpgradeRecord | None = None,
    revision: str = REVISION,
    versions: Sequence[Path] = (VERSIONS,),
) -> bool:
    """Migrate like `migrate_file` and report the path of the copy to `notice`. False if there is nothing to do."""
    done = migrate_file(path, timeout_us=timeout_us, record=record, revision=revision, versions=versions)
    if done is None:
        return False
    notice(
        f"migrated the database from revision {done.before} to {revision}; the old database was copied to {done.copy}"
    )
    return True


class Migration(NamedTuple):
    """The old revision of a database, and the path of the copy with that revision; None if none was made."""

    before: str
    copy: Path | None


def migrate_file(
    path: Path,
    *,
    timeout_us: int,
    record: UpgradeRecord | None = None,
    dry_run: bool = False,
    copies: bool = True,
    revision: str = REVISION,
    versions: Sequence[Path] = (VERSIONS,),
) -> Migration | None:
    """Copy the database at `path` in its folder and migrate it to `revision`. None if it has that revision already.

    Migrates and appends the event of `record` in one transaction under the write lock, so a second concurrent migration
    finds nothing to do. With `dry_run`, copies nothing and rolls back; `copies` False also omits the copy. Raises
    SchemaTooNew, DatabaseLocked, DatabaseFull, DatabaseUnusable; then nothing has changed.
    """
    with closing(connect(path, timeout_us=timeout_us, read_only=True)) as looking:
        if _is_current(looking, path, revision):
            return None
    # SQLite alters a table by copying and dropping it. With foreign keys on, that would delete the referring rows.
    engine = sqlite_engine(path, timeout_us=timeout_us, expected=None, foreign_keys=False)
    try:
        with mapped_faults(path), engine.connect() as connection, connection.begin() as transaction:
            driver = driver_of(connection)
            if _is_current(driver, path, revision):
                return None
            before = read_installation(driver, path).revision
            require_known(before, path, versions)
            copy = None if dry_run or not copies else _back_up(path, before, timeout_us=timeout_us)
            try:
                migrate(connection, revision, versions)
                if driver.execute("PRAGMA foreign_key_check").fetchone() is not None:
                    raise DatabaseUnusable(
                        f"revision {quoted(revision)} would leave orphaned rows in {quoted(str(path), limit=400)}",
                        hint="the database was not changed; please report this",
                    )
                if record is not None:
                    record.append(connection, old=before, new=revision)
            except BaseException:
                if copy is not None:
                    copy.unlink()  # the database has not changed
                raise
            if dry_run:
                transaction.rollback()
    finally:
        engine.dispose()
    return Migration(before, copy)


def _is_current(connection: sqlite3.Connection, path: Path, revision: str) -> bool:
    """Whether the database has `revision`. Raises SchemaTooNew."""
    try:
        require_current(read_installation(connection, path), path, revision=revision)
    except SchemaOutdated:
        return False
    return True


def _back_up(path: Path, revision: str, *, timeout_us: int) -> Path:
    """Copy the committed state of the database, whose lock the caller holds, to an unused name."""
    names = (path.with_name(f"{path.name}.{revision}.{number}.bak") for number in itertools.count(1))
    copy = next(name for name in names if not durable.exists(name))
    try:
        with opened(copy, follow_last=False) as place, copied(path, place, timeout_us=timeout_us) as made:
            made.put_in_place()
    except OSError as error:
        raise durable.unusable(path.parent, error) from error
    return copy


def move_log_into_file(engine: Engine, path: Path) -> None:
    """Merge the log into a database that no other process has open. Raises DatabaseUnusable if that fails.

    Closing the last connection does the same, but does not report failures.
    """
    with closing(engine.raw_connection()) as connection:
        busy, logged, moved = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    log = path.with_name(f"{path.name}-wal")
    if busy or logged != moved or (log.exists() and log.stat().st_size):
        raise DatabaseUnusable(
            f"the new database {quoted(str(path), limit=400)} cannot be completed: its log cannot be merged into it",
            hint="check the disk, and try again",
        )


def flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
