"""Replaces a database that is in use by a copy.

The copy is prepared in a private file: migrated, and without valid sessions. SQLite's backup API then writes it into
the database in one transaction, so that other processes see all of the old contents or all of the new ones, and so that
a log that is still open cannot undo the change.
"""

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from backctl.application.attribution import Attribution
from backctl.application.database_views import RestoreView
from backctl.application.ports.storage import Restored, Settle
from backctl.application.reactions import LoggedEvent
from backctl.application.views import Change
from backctl.domain.audit import Head
from backctl.domain.errors import BackctlError, DatabaseLocked, DatabaseMismatch, DatabaseUnusable
from backctl.domain.quoting import quoted
from backctl.infrastructure.files import durable
from backctl.infrastructure.installation import Installation
from backctl.infrastructure.sql.schema import REVISION, StoredInstallation
from backctl.infrastructure.sqlite import copies
from backctl.infrastructure.sqlite.connection import connect, read_installation, uri_of
from backctl.infrastructure.sqlite.engine import sqlite_engine
from backctl.infrastructure.sqlite.faults import SqliteFaults, mapped_faults
from backctl.infrastructure.sqlite.given_copy import GivenCopy, head_of, read_copy, require_schema
from backctl.infrastructure.sqlite.migrator import flush, migrate_file, move_log_into_file, require_no_orphaned_log
from backctl.infrastructure.sqlite.undone_changes import Comparison, compare
from backctl.staged_files import sweep
from backctl.trusted_paths import Place, opened

_PAGES: Final = 4096
"""Pages per step: enough for speed, few enough to handle signals between steps."""
_TRIES: Final = 3
_DAMAGED: Final = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)
_PAUSE_S: Final = 0.01
_PRIVATE_TIMEOUT_US: Final = 1_000_000  # no other process uses a private copy


class _Overtaken(Exception):
    """Another process has changed the database since it was set aside."""


class Restoration:
    """Replaces the database of one installation by the copy `file`; see `DatabaseCare.restore`."""

    def __init__(
        self,
        installation: Installation,
        database: Path,
        file: str,
        settle: Settle,
        *,
        timeout_us: int,
        by: Attribution,
        dry_run: bool,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`monotonic` and `sleep` use seconds."""
        self._installation = installation
        self._database = database
        self._timeout_us = timeout_us
        self._file = file
        self._settle = settle
        self._by = by
        self._dry_run = dry_run
        self._monotonic = monotonic
        self._sleep = sleep
        self._keyring = installation.open_keyring()
        self._is_outcome_unknown = False

    def run(self) -> Restored:
        self._installation.require_sound_folders()
        try:
            if not durable.exists(self._database):
                restored = self._put_in_place()
                if restored is not None:
                    return restored
            for _ in range(_TRIES):
                with suppress(_Overtaken):
                    return self._replace()
        except OSError as error:
            raise durable.unusable(self._database.parent, OSError(error.errno, error.strerror)) from None
        raise DatabaseLocked(
            f"the database {self._named()} was changed {_TRIES} times while it was being replaced; it is unchanged by "
            "this command",
            hint="stop the services that write to it, and try again",
        )

    # A database in use.

    def _replace(self) -> Restored:
        with ExitStack() as held:
            present = held.enter_context(closing(self._opened()))
            copy = self._read(held.enter_context(self._private_place()))
            before = self._present(present)
            self._require_same(copy, before)
            if self._dry_run:
                comparison = self._compared(copy, uri_of(self._database, "mode=rw"))
                with mapped_faults(self._database):
                    replaced = head_of(present)
                sessions, _ = self._settled(copy, replaced)
                return Restored(self._change(copy, sessions, comparison, None), ())
            _step("read")
            # While the lock is held, nobody can make a change that would be lost without being in the backup.
            with mapped_faults(self._database):
                present.execute("BEGIN IMMEDIATE")
                replaced = head_of(present)
            aside = self._set_aside()
            try:
                comparison = self._compared(copy, uri_of(aside, "immutable=1"))
                sessions, events = self._settled(copy, replaced)
                present.execute("ROLLBACK")
                self._write(copy, present, replaced)
            except _Overtaken:
                aside.unlink()
                raise
            except BaseException:
                self._give_up(aside, replaced)
                raise
            return Restored(self._change(copy, sessions, comparison, str(aside)), events)

    def _opened(self) -> sqlite3.Connection:
        connection = connect(self._database, timeout_us=self._timeout_us, read_only=self._dry_run)
        if not self._dry_run:
            try:
                with mapped_faults(self._database):
                    self._present(connection)  # before the next statement changes the header of a foreign database
                    # With a log, others can read while the copy is written.
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.execute("PRAGMA synchronous = FULL")
                    connection.execute("PRAGMA secure_delete = ON")
            except BaseException:
                connection.close()
                raise
        return connection

    def _present(self, connection: sqlite3.Connection) -> StoredInstallation:
        """Read what the database is. Raises DatabaseUnusable, for a damaged one with another hint than usual."""
        try:
            return read_installation(connection, self._database)
        except DatabaseUnusable as error:
            if getattr(error.__cause__, "sqlite_errorcode", sqlite3.SQLITE_NOTADB) & 0xFF not in _DAMAGED:
                raise
            raise DatabaseUnusable(
                error.message,
                hint="stop the services that use it, move it and the files that begin with its name to another "
                "folder, then run this command again",
            ) from None

    def _require_same(self, copy: GivenCopy, present: StoredInstallation) -> None:
        if copy.stored.installation_id != present.installation_id:
            raise DatabaseMismatch(
                f"the copy {quoted(self._file, limit=400)} belongs to the installation "
                f"{quoted(copy.stored.installation_id)}, but the database {self._named()} to "
                f"{quoted(present.installation_id)}",
                hint="check --profile, --config and the file; to use the copy nevertheless, move the database to "
                "another folder first",
            )

    def _set_aside(self) -> Path:
        """Copy the database to a dated name next to it."""
        date = self._installation.clock().isoformat()[:19].translate({ord("-"): None, ord(":"): None})
        name = f"{self._database.name}.before-restore-{date}Z"
        paths = (self._database.with_name(f"{name}{number}") for number in itertools.chain([""], _numbers()))
        aside = next(path for path in paths if not durable.exists(path))
        copies.back_up(self._database, aside, timeout_us=self._timeout_us)
        _step("set aside")
        return aside

    def _give_up(self, aside: Path, replaced: Head | None) -> None:
        """Remove the backup if the database has certainly not changed. A signal can arrive after the change."""
        with suppress(BackctlError, sqlite3.Error, OSError):
            with closing(connect(self._database, timeout_us=0, read_only=True)) as looking:
                is_unchanged = head_of(looking) == replaced
            if is_unchanged and not self._is_outcome_unknown:
                aside.unlink()

    def _write(self, copy: GivenCopy, target: sqlite3.Connection, replaced: Head | None) -> None:
        """Write the copy into the database in one transaction. Raises _Overtaken, and nothing has changed then."""
        with (
            closing(connect(copy.path, timeout_us=0, read_only=False)) as source,
            closing(connect(self._database, timeout_us=0, read_only=True)) as looking,
        ):
            self._use_page_size_of(target, source)
            (pages,) = source.execute("PRAGMA page_count").fetchone()
            give_up = self._monotonic() + self._timeout_us / 1_000_000
            begun = False

            def progress(status: int, remaining: int, total: int) -> None:
                nonlocal begun
                if status & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    self._require_time(give_up)
                elif not begun:  # from now on this process holds the lock
                    begun = True
                    if head_of(looking) != replaced:
                        raise _Overtaken
                _step("writing")

            target.execute("PRAGMA busy_timeout = 0")  # SQLite would otherwise wait within a step
            with self._mapped_outcome():
                while True:
                    begun = False
                    try:
                        # The first step must not be the last one, which commits.
                        source.backup(target, pages=min(_PAGES, pages - 1), progress=progress, sleep=_PAUSE_S)
                        break
                    except sqlite3.OperationalError as error:
                        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                            raise
                        self._require_time(give_up)
                        self._sleep(_PAUSE_S)
        _step("written")
        with suppress(sqlite3.Error):  # the next process does it otherwise
            target.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _require_time(self, give_up: float) -> None:
        if self._monotonic() >= give_up:
            raise DatabaseLocked(
                f"the database {self._named()} is locked by another process",
                hint="wait until the other command has finished, and try again",
            )

    @contextmanager
    def _mapped_outcome(self) -> Iterator[None]:
        """Raise OutcomeUnknown for a failed COMMIT that may have succeeded."""
        faults = SqliteFaults(self._database)
        with mapped_faults(self._database):
            try:
                yield
            except Exception as error:
                if faults.is_lost(error):
                    self._is_outcome_unknown = True
                    faults.was_committed(None)
                raise

    def _use_page_size_of(self, target: sqlite3.Connection, source: sqlite3.Connection) -> None:
        """Give the copy the page size of the database, without which SQLite cannot write into a database with a log."""
        size = target.execute("PRAGMA page_size").fetchone()
        if source.execute("PRAGMA page_size").fetchone() != size:
            for statement in ("PRAGMA journal_mode = DELETE", f"PRAGMA page_size = {size[0]}", "VACUUM"):
                source.execute(statement)

    # A new database.

    def _put_in_place(self) -> Restored | None:
        """Let the copy become the database. None if there is one meanwhile."""
        with ExitStack() as held:
            folder = self._database.parent
            if self._dry_run:
                durable.require_writable(folder)
                require_no_orphaned_log(self._database)
                place = held.enter_context(self._temporary_place())
            else:
                durable.make_folder(folder)
                with opened(self._database, follow_last=True) as place:
                    sweep(place.folder)  # removes nothing while the lock is held
                held.enter_context(durable.locked(folder, timeout_us=self._timeout_us))
                if durable.exists(self._database):
                    return None
                require_no_orphaned_log(self._database)
                place = held.enter_context(self._private_place())
            copy = self._read(place)
            _step("read")
            sessions, events = self._settled(copy, None)
            if not self._dry_run:
                flush(copy.path)
                _step("settled")
                durable.link_staged(copy.path, self._database)
                _step("written")
            return Restored(self._change(copy, sessions, Comparison((), 0, ()), None), () if self._dry_run else events)

    # The copy.

    @contextmanager
    def _private_place(self) -> Iterator[Place]:
        with (
            opened(self._database, follow_last=True) as place,
            # Another name than the database: otherwise the folder would look like an unfinished `init`.
            durable.private_folder(Place(place.folder, place.path.with_name(f"{place.name}.restore"))) as private,
        ):
            yield private

    @contextmanager
    def _temporary_place(self) -> Iterator[Place]:
        from backctl.infrastructure.files.temporary import temporary_folder

        with (
            TemporaryDirectory(prefix="backctl-dry-run-", dir=temporary_folder()) as folder,
            opened(Path(folder) / "copy", follow_last=False) as place,
        ):
            yield place

    def _read(self, place: Place) -> GivenCopy:
        copy = read_copy(self._file, place, database=self._database, keyring=self._keyring)
        if copy.stored.revision < REVISION:
            record = self._installation.upgrade_record(copy.stored, self._by)
            with copy.named():
                migrate_file(copy.path, timeout_us=_PRIVATE_TIMEOUT_US, record=record, copies=False)
        for flaw in require_schema(copy, timeout_us=_PRIVATE_TIMEOUT_US):
            self._installation.notice(f"the copy {quoted(self._file, limit=400)} was changed outside backctl: {flaw}")
        return copy

    def _compared(self, copy: GivenCopy, replaced: str) -> Comparison | None:
        with copy.named(), mapped_faults(copy.path):
            comparison = compare(copy.path, replaced, now=self._installation.clock())
        if comparison is None:
            self._installation.notice(
                f"the database {self._named()} is damaged or has another schema, so it is not compared with the copy: "
                "check all accounts"
            )
        return comparison

    def _settled(self, copy: GivenCopy, replaced: Head | None) -> tuple[int, Sequence[LoggedEvent]]:
        """End the sessions of the copy. Return how many were open, and the events."""
        with copy.named(), mapped_faults(copy.path):
            engine = sqlite_engine(copy.path, timeout_us=_PRIVATE_TIMEOUT_US)
            try:
                work = self._installation.work_on(engine, self._by, dry_run=False)
                with work:
                    sessions = self._settle(work, copy.stored.installation_id, copy=copy.head, replaced=replaced)
                    work.commit()
                copy.restore_triggers()
                move_log_into_file(engine, copy.path)
            finally:
                engine.dispose()
        if not self._dry_run:
            _step("settled")
        return sessions, work.committed

    def _change(
        self, copy: GivenCopy, sessions: int, comparison: Comparison | None, aside: str | None
    ) -> Change[RestoreView]:
        view = RestoreView(
            database=str(self._database),
            file=str(Path(self._file).absolute()),
            revision=REVISION,
            previous_revision=copy.stored.revision,
            last_event_at=copy.last_event_at,
            revoked_sessions=sessions,
            backup_file=aside,
            lost_accounts=None if comparison is None else comparison.lost,
            lost_usernames=None if comparison is None else comparison.lost_names,
            accounts=None if comparison is None else comparison.accounts,
            commands=(),
        )
        return Change(view, changed=True)

    def _named(self) -> str:
        return quoted(str(self._database), limit=400)


def _numbers() -> Iterator[str]:
    return (f"-{number}" for number in itertools.count(2))


def _step(name: str) -> None:
    """Announce a step of a restore; the fault tests end the process at each."""
    import logging

    logging.getLogger("backctl.restore").debug(name)
