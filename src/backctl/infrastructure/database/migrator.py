"""Making an SQLite database and bringing an older one up to date, and what PostgreSQL shares of it: Alembic's users."""

import itertools
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, Engine, insert

from backctl.domain.audit import genesis
from backctl.domain.errors import DatabaseUnusable, SchemaOutdated, quoted
from backctl.domain.events import InstallationCreated, SchemaUpgraded
from backctl.domain.keyring import Key, Keyring
from backctl.domain.values import Actor, Instant, UserId
from backctl.infrastructure import durable_files
from backctl.infrastructure.database import event_log, tables
from backctl.infrastructure.database.copies import copied
from backctl.infrastructure.database.engine import driver_of, sqlite_engine
from backctl.infrastructure.database.faults import mapped_faults
from backctl.infrastructure.database.schema import REVISION, connect, read_installation, require_current
from backctl.trusted_paths import opened

if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = Path(__file__).with_name("migrations")
VERSIONS = _SCRIPTS / "versions"

_UNSHARED_TIMEOUT_US = 1_000_000  # nobody else knows the name of a database in the making


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What a database begins with: its installation, the keyring it is proved with, and who made it, why and when."""

    installation_id: str
    keyring: Keyring
    actor: Actor
    reason: str | None = None
    trace_id: str | None = None
    now: Instant
    event_id: UserId


def create_database(path: Path, founding: Founding) -> None:
    """Make a complete database at `path`, a private name in a folder that exists; link it to its real name afterwards.

    When this returns, all of it is on the disk in this one file, the chain begun with InstallationCreated. When it
    raises, nothing is left behind. Raises FolderUnusable, DatabaseFull.
    """
    try:
        os.close(durable_files.open_new(path))
        try:
            engine = sqlite_engine(path, timeout_us=_UNSHARED_TIMEOUT_US, expected=None)
            try:
                with mapped_faults(path):  # while the files are as large as they were when it happened
                    with engine.begin() as connection:
                        fill(connection, founding)
                    _move_log_into_file(engine, path)
            finally:
                engine.dispose()
            _flush(path)
        except BaseException:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise durable_files.unusable(path.parent, error) from error


@dataclass(frozen=True, slots=True)
class UpgradeRecord:
    """What the event of an upgrade tells beside the revisions: of which installation, who, why, when and its trace."""

    installation_id: str
    key: Key
    actor: Actor
    reason: str | None
    trace_id: str | None
    now: Instant
    event_id: UserId

    def append(self, connection: Connection, *, old: str, new: str) -> None:
        """Chain SchemaUpgraded to the log, whose tables have the revision `new` by now, in the same transaction."""
        event_log.append(
            connection,
            [SchemaUpgraded(self.installation_id, old=old, new=new)],
            key=self.key,
            actor=self.actor,
            reason=self.reason,
            trace_id=self.trace_id,
            now=self.now,
            new_id=lambda: self.event_id,
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
    """Migrate as `migrate_file` does, and tell `notice` where the copy lies; False when there is nothing to do."""
    done = migrate_file(path, timeout_us=timeout_us, record=record, revision=revision, versions=versions)
    if done is None:
        return False
    notice(f"migrated the database from revision {done.before} to {revision}; a copy of the old one is {done.copy}")
    return True


class Migration(NamedTuple):
    """The revision that a database had, and the file that keeps it so; None after a rehearsal."""

    before: str
    copy: Path | None


def migrate_file(
    path: Path,
    *,
    timeout_us: int,
    record: UpgradeRecord | None = None,
    dry_run: bool = False,
    revision: str = REVISION,
    versions: Sequence[Path] = (VERSIONS,),
) -> Migration | None:
    """Bring the database at `path` to `revision`, after copying it beside itself; None when it is there already.

    All in one transaction under the write lock, the event of `record` too: of two at once the second finds nothing left
    to do. With `dry_run` it is rolled back, and nothing copied. Raises SchemaTooNew, DatabaseLocked, DatabaseFull,
    DatabaseUnusable; then nothing has changed.
    """
    with closing(connect(path, timeout_us=timeout_us, read_only=True)) as looking:
        if _is_current(looking, path, revision):
            return None
    # Altering a table copies and drops it on SQLite; with foreign keys on, that would delete the rows that refer to it.
    engine = sqlite_engine(path, timeout_us=timeout_us, expected=None, foreign_keys=False)
    try:
        with mapped_faults(path), engine.connect() as connection, connection.begin() as transaction:
            driver = driver_of(connection)
            if _is_current(driver, path, revision):
                return None
            before = read_installation(driver, path).revision
            require_known(before, path, versions)
            copy = None if dry_run else _back_up(path, before, timeout_us=timeout_us)
            try:
                migrate(connection, revision, versions)
                if driver.execute("PRAGMA foreign_key_check").fetchone() is not None:
                    raise DatabaseUnusable(
                        f"revision {quoted(revision)} would leave orphaned rows in {quoted(str(path), limit=400)}",
                        hint="the database was left as it is; please report this",
                    )
                if record is not None:
                    record.append(connection, old=before, new=revision)
            except BaseException:
                if copy is not None:
                    copy.unlink()  # of a database that did not change
                raise
            if dry_run:
                transaction.rollback()
    finally:
        engine.dispose()
    return Migration(before, copy)


def require_known(revision: str, path: str | os.PathLike[str], versions: Sequence[Path]) -> None:
    """Raises DatabaseUnusable for a revision that never was: there is no way from it to another."""
    from alembic.script import ScriptDirectory

    if revision not in {script.revision for script in ScriptDirectory.from_config(_config(versions)).walk_revisions()}:
        raise DatabaseUnusable(
            f"the database {quoted(os.fspath(path), limit=400)} has revision {quoted(revision)}, which never was",
            hint="restore it from a backup",
        )


def _is_current(connection: sqlite3.Connection, path: Path, revision: str) -> bool:
    """Raises SchemaTooNew."""
    try:
        require_current(read_installation(connection, path), path, revision=revision)
    except SchemaOutdated:
        return False
    return True


def fill(connection: Connection, founding: Founding) -> None:
    """Make every table, and begin the chain with InstallationCreated, within the connection's transaction."""
    installation_id, start = founding.installation_id, genesis(founding.installation_id)
    migrate(connection, REVISION, (VERSIONS,))
    created_at = int(founding.now)
    connection.execute(insert(tables.installation).values(id=1, installation_id=installation_id, created_at=created_at))
    connection.execute(insert(tables.event_head).values(id=1, seq=start.seq, mac=start.mac))
    event_log.append(
        connection,
        [InstallationCreated(installation_id, keys=founding.keyring.kids())],
        key=founding.keyring.primary("audit"),
        actor=founding.actor,
        reason=founding.reason,
        trace_id=founding.trace_id,
        now=founding.now,
        new_id=lambda: founding.event_id,
    )


def migrate(connection: Connection, revision: str, versions: Sequence[Path]) -> None:
    """Run the revisions that are missing, on either database, within the connection's transaction."""
    import logging

    from alembic import command

    # Alembic announces each step at INFO, which a service may well send to its stderr.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("alembic").addHandler(logging.NullHandler())  # or Python would print what is an error to it
    config = _config(versions)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _config(versions: Sequence[Path]) -> "Config":
    from alembic.config import Config

    config = Config()
    # Read by ConfigParser, to which a percent sign is special.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(map(str, versions)).replace("%", "%%"))
    return config


def _back_up(path: Path, revision: str, *, timeout_us: int) -> Path:
    """Copy the database as it is before the transaction that holds its lock, to a name that was free."""
    names = (path.with_name(f"{path.name}.{revision}.{number}.bak") for number in itertools.count(1))
    copy = next(name for name in names if not durable_files.exists(name))
    try:
        with opened(copy, follow_last=False) as place, copied(path, place, timeout_us=timeout_us) as made:
            made.put_in_place()
    except OSError as error:
        raise durable_files.unusable(path.parent, error) from error
    return copy


def _move_log_into_file(engine: Engine, path: Path) -> None:
    """Empty the log of a database that nobody else has open. Raises DatabaseUnusable when some of it stays behind.

    Closing the last connection does the same, but keeps silent about what failed.
    """
    with closing(engine.raw_connection()) as connection:
        busy, logged, moved = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    log = path.with_name(f"{path.name}-wal")
    if busy or logged != moved or (log.exists() and log.stat().st_size):
        raise DatabaseUnusable(
            f"the new database {quoted(str(path), limit=400)} cannot be completed: its log does not become part of it",
            hint="check the disk, and try again",
        )


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
