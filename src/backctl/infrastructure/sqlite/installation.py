"""An installation whose database is an SQLite file. Only this module creates its keyring and database.

`init` creates them. So does the creation of the first account, if the configuration names no storage and none exists.
Otherwise, a missing or damaged part is an error and is left as it is.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from backctl.application.attribution import Attribution
from backctl.application.ports.security import KeyringChange, KeyringReplacement
from backctl.application.ports.storage import Reader, UnitOfWork
from backctl.application.views import Change
from backctl.domain.errors import (
    REPLACE_KEYRING,
    InstallationMissing,
    KeyringMissing,
    SchemaOutdated,
)
from backctl.domain.quoting import quoted
from backctl.domain.values import EventId
from backctl.infrastructure.files import durable
from backctl.infrastructure.installation import Dependencies, Installation
from backctl.infrastructure.sql.schema import check_match
from backctl.trusted_paths import require_sound_folder

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

    from sqlalchemy import Engine

    from backctl.application.database_views import InstallationView
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.sql.schema import StoredInstallation
    from backctl.infrastructure.sqlite.care import SqliteCare
    from backctl.infrastructure.sqlite.health import SqliteHealth
    from backctl.infrastructure.sqlite.reader import SqliteReader


class SqliteInstallation(Installation):
    """A keyring and an SQLite file.

    `fresh_allowed`: the configuration names no storage, so the first account may create it. `timeout_us` is the longest
    wait for a lock, in microseconds.
    """

    def __init__(self, database: Path, dependencies: Dependencies, *, fresh_allowed: bool, timeout_us: int) -> None:
        super().__init__(str(database), dependencies)
        self.database = database
        self._fresh_allowed = fresh_allowed
        self.timeout_us = timeout_us
        self._reader: SqliteReader | None = None
        self._rehearsal: tuple[TemporaryDirectory[str], SqliteInstallation] | None = None

    def close(self) -> None:
        super().close()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._rehearsal is not None:
            folder, rehearsal = self._rehearsal
            self._rehearsal = None
            rehearsal.close()
            folder.cleanup()

    def care(self) -> "SqliteCare":
        from backctl.infrastructure.sqlite.care import SqliteCare

        return SqliteCare(self, self.database, timeout_us=self.timeout_us)

    def _health(self) -> "SqliteHealth":
        from backctl.infrastructure.sqlite.health import SqliteHealth

        return SqliteHealth(self, self.database, timeout_us=self.timeout_us)

    def require(self) -> None:
        if durable.exists(self.database):
            return
        database, keyring = (quoted(label, limit=400) for label in (self.label, self.keys.label))
        if not self.keys.exists():
            message = f"there is no installation: neither the database {database} nor the keyring {keyring} exists"
            if [path.parent for path in self.keys.paths] == [self.database.parent]:
                folder = quoted(str(self.database.parent), limit=400)
                names = " nor ".join(path.name for path in self._paths()[::-1])
                message = f"there is no installation in {folder}: neither {names} exists"
            check = "HOME, --profile and --config" if self._fresh_allowed else "--profile, --config and database.url"
            raise InstallationMissing(message, hint=f"check {check}, or run '{{backctl}} init' to create one")
        check = "" if self._fresh_allowed else "check --profile, --config and database.url, "
        raise InstallationMissing(
            f"there is no installation: the database {database} does not exist",
            hint=f"{check}restore the database from a backup with '{{backctl}} db restore FILE', "
            "or run '{backctl} init' to create an empty one",
        )

    def _created(self, by: Attribution, *, dry_run: bool) -> "Change[InstallationView]":
        if dry_run:  # create a temporary installation instead
            if durable.exists(self.database):
                return Change(self.describe(), changed=False)
            view = self._rehearsed(by).describe()
            view = replace(view, database=str(self.database), keyring=self.keys.label)
            return Change(view, changed=True)
        with self._usable_folders():
            made = self._make_what_is_missing(by)
        if made:
            self.notice(f"created {' and '.join(map(str, made))}")
        return Change(self.describe(), changed=bool(made))

    def stored(self) -> "StoredInstallation":
        from backctl.infrastructure.sqlite.connection import connect, read_installation

        self.require()
        with closing(connect(self.database, timeout_us=self.timeout_us, read_only=True)) as connection:
            return read_installation(connection, self.database)

    def _begun(self, by: Attribution, *, dry_run: bool, creates: bool) -> UnitOfWork:
        """Return a unit of work. On a fresh machine, create the installation if `creates`.

        Also does so if only the keyring exists, because a creation was interrupted. A dry run uses a temporary
        installation.
        """
        with self._lock:
            if self._engine is None:
                fresh = creates and self._fresh_allowed and not durable.exists(self.database)
                if not fresh:
                    self.require()
                if fresh and dry_run:
                    return self._rehearsed(by).unit_of_work(by=by, dry_run=True)
                if fresh or (not dry_run and self._is_unfinished()):
                    self.create(by)
            engine = self._writable(by)
        return self.work_on(engine, by, dry_run=dry_run)

    def _writable(self, by: Attribution | None = None) -> "Engine":
        with self._lock:
            if self._engine is None:
                self.require()
                from backctl.infrastructure.sqlite.engine import sqlite_engine

                self.require_sound_folders()
                self._opened(by)
                self._engine = sqlite_engine(self.database, timeout_us=self.timeout_us)
            return self._engine

    def keyring_change(self, *, by: Attribution, dry_run: bool) -> KeyringChange:
        with self._lock:
            return self._keyring_change(by, dry_run=dry_run, timeout_us=self.timeout_us)

    def keyring_replacement(self, *, by: Attribution, dry_run: bool) -> KeyringReplacement:
        with self._lock:
            self.require()
            self.require_sound_folders()
            return self._keyring_replacement(by, dry_run=dry_run, timeout_us=self.timeout_us)

    def _new_keyless_engine(self) -> "Engine":
        from backctl.infrastructure.sqlite.engine import sqlite_engine

        return sqlite_engine(self.database, timeout_us=self.timeout_us)

    def _upgrade_unrecorded(self) -> None:
        from backctl.infrastructure.sqlite.migrator import upgrade

        upgrade(self.database, timeout_us=self.timeout_us, notice=self.notice)

    def reader(self) -> Reader:
        with self._lock:
            if self._reader is None:
                self.require()
                from backctl.infrastructure.sqlite.reader import SqliteReader

                reader = SqliteReader(
                    self.database, addresses=self._addresses, timeout_us=self.timeout_us, clock=self.clock
                )
                try:
                    reader.installation  # noqa: B018 - connects, to migrate an older database before the first query
                except SchemaOutdated:
                    self._opened()
                self._reader = reader
            return self._reader

    def _opened(self, by: Attribution | None = None) -> "tuple[StoredInstallation, Keyring]":
        """Return the stored installation and its keyring. Migrate an older database if its keyring matches.

        The migration is attributed to `by`, or to the operating-system user for a read, which has no attribution.
        """
        from backctl.infrastructure.sql.schema import REVISION, require_current

        stored, keyring = self.stored(), self.open_keyring()
        check_match(stored.audit_kids, keyring)
        if stored.revision < REVISION:
            self._migrate(stored, by)
            stored = self.stored()
        require_current(stored, self.database)
        return stored, keyring

    def _migrate(self, stored: "StoredInstallation", by: Attribution | None) -> None:
        from backctl.infrastructure.host import os_actor
        from backctl.infrastructure.sqlite.migrator import upgrade

        self.require_sound_folders()
        record = self.upgrade_record(stored, by or Attribution(os_actor()))
        upgrade(self.database, timeout_us=self.timeout_us, notice=self.notice, record=record)

    def require_sound_folders(self) -> None:
        """Raise FolderUnusable if any user could replace the files, also in folders behind links."""
        with self._usable_folders():
            for path in self._paths():
                for folder in {path.parent, Path(os.path.realpath(path)).parent}:
                    if folder.exists():
                        require_sound_folder(folder)

    # Creation.

    def _paths(self) -> tuple[Path, ...]:
        """Return the files of the installation, in the order in which they are linked to their names."""
        return (*self.keys.paths, self.database)

    def _is_complete(self) -> bool:
        """Whether the database exists. Raises KeyringMissing if only its keyring is missing: it cannot be replaced."""
        has_database, has_keyring = durable.exists(self.database), self.keys.exists()
        if has_database and not has_keyring:
            raise KeyringMissing(
                f"there is no keyring {quoted(self.keys.label, limit=400)} for the database in its folder",
                hint=REPLACE_KEYRING,
            )
        return has_database

    def _is_unfinished(self) -> bool:
        """Whether a creation was interrupted after its last link, so that its temporary names are still there."""
        with self._usable_folders():
            return durable.exists(self.database) and any(map(durable.left_over, self._paths()))

    def _make_what_is_missing(self, by: Attribution) -> list[Path]:
        folders = {path.parent for path in self._paths() if not durable.exists(path) or durable.left_over(path)}
        if self._is_complete() and not folders:
            return []
        for folder in folders:
            durable.make_folder(folder)
        with ExitStack() as locks:
            for folder in sorted(folders):  # a fixed order, to avoid deadlocks
                locks.enter_context(durable.locked(folder, timeout_us=self.timeout_us))
            _step("locked")
            for path in self._paths():
                for temporary in durable.left_over(path) if path.parent in folders else ():
                    temporary.unlink(missing_ok=True)
            return [] if self._is_complete() else self._put_in_place(by)

    def _put_in_place(self, by: Attribution) -> list[Path]:
        """Write both under temporary names, then link the keyring, then the database.

        Missing space or permission fails before either has its name. A process that sees the database also sees its
        keyring, and both are complete.
        """
        import uuid

        from backctl.infrastructure.keyring.maker import make_keyring
        from backctl.infrastructure.sql.migrator import Founding
        from backctl.infrastructure.sqlite.migrator import create_database, require_no_orphaned_log

        require_no_orphaned_log(self.database)
        now = self.clock()
        made = []
        with ExitStack() as staged:
            if self.keys.exists():
                keyring = self.keys.read()
            else:
                keyring = make_keyring(now)
                file = self.keys.in_file()
                keys = file.stage(keyring)
                staged.callback(keys.unlink)
                made.append((keys, file.path))
                _step("keyring staged")
            database = durable.temporary_beside(self.database)
            founding = Founding(
                installation_id=str(uuid.uuid4()),
                keyring=keyring,
                by=by,
                now=now,
                event_id=EventId(self._new_id()),
            )
            create_database(database, founding)
            staged.callback(database.unlink)
            made.append((database, self.database))
            _step("database staged")
            for temporary, path in made:
                durable.link_staged(temporary, path)
                _step("database in place" if path == self.database else "keyring in place")
        _step("temporaries removed")
        return [path for _, path in made]

    @contextmanager
    def _usable_folders(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise durable.unusable(self.database.parent, error) from None

    def _rehearsed(self, by: Attribution) -> "SqliteInstallation":
        """Return an installation in a private temporary folder, for dry runs on a fresh machine."""
        if self._rehearsal is None:
            from tempfile import TemporaryDirectory

            from backctl.infrastructure.files.temporary import temporary_folder
            from backctl.infrastructure.keyring.file import KeyFile

            has_keyring = self.keys.exists()
            with self._usable_folders():
                for path in (self.database,) if has_keyring else self._paths():
                    durable.require_writable(path.parent)
                folder = TemporaryDirectory(prefix="backctl-dry-run-", dir=temporary_folder())
            keys = KeyFile(Path(folder.name) / "keyring.json")
            rehearsal = SqliteInstallation(
                Path(folder.name) / "backctl.db",
                self._dependencies._replace(keys=lambda: keys, notice=lambda text: None),
                fresh_allowed=True,
                timeout_us=self.timeout_us,
            )
            self._rehearsal = folder, rehearsal
            try:
                if has_keyring:
                    keys.create(self.keys.read())
                rehearsal.create(by)
            except BaseException:
                self.close()
                raise
        return self._rehearsal[1]


def _step(name: str) -> None:
    """Log a step of the creation; the fault tests kill the process at each one."""
    import logging

    logging.getLogger("backctl.installation").debug(name)
