"""Maintains an SQLite database: statistics, checks, upgrades, backups."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from backctl.application.attribution import Attribution
from backctl.application.database_views import BackupView, DatabaseStatus, UpgradeView
from backctl.application.views import Change
from backctl.infrastructure.installation import Installation
from backctl.infrastructure.sql.schema import REVISION
from backctl.infrastructure.sqlite import copies
from backctl.infrastructure.sqlite.connection import connect, read_installation
from backctl.infrastructure.sqlite.faults import mapped_faults

if TYPE_CHECKING:
    from backctl.application.ports.storage import HealthProbe, Restored, Settle


class SqliteCare:
    """Maintains the database file of one installation. Opens it for each operation and keeps nothing open."""

    def __init__(self, installation: Installation, path: Path, *, timeout_us: int) -> None:
        self._installation = installation
        self._path = path
        self._timeout_us = timeout_us

    def status(self) -> DatabaseStatus:
        self._installation.require()
        with (
            mapped_faults(self._path),
            closing(connect(self._path, timeout_us=self._timeout_us, read_only=True)) as connection,
        ):
            connection.execute("BEGIN")  # one snapshot for all queries
            revision = read_installation(connection, self._path).revision
            return DatabaseStatus(
                str(self._path),
                "current" if revision == REVISION else "outdated" if revision < REVISION else "newer",
                revision,
                REVISION,
                _count(connection, "users"),
                _count(connection, "events"),
                self._size(),
            )

    def upgrade(self, *, by: Attribution, dry_run: bool) -> Change[UpgradeView]:
        from backctl.infrastructure.sql.schema import check_match
        from backctl.infrastructure.sqlite.migrator import migrate_file

        self._installation.require_sound_folders()
        stored, record = self._installation.stored(), None
        if stored.revision < REVISION:
            check_match(stored.audit_kids, self._installation.open_keyring())
            record = self._installation.upgrade_record(stored, by)
        done = migrate_file(self._path, timeout_us=self._timeout_us, record=record, dry_run=dry_run)
        before = REVISION if done is None else done.before
        copy = None if done is None or done.copy is None else str(done.copy)
        return Change(UpgradeView(str(self._path), before, REVISION, copy), changed=done is not None)

    def probes(self) -> "tuple[HealthProbe, ...]":
        from backctl.infrastructure.sqlite.checks import file_probes

        self._installation.require()
        return file_probes(self._path, timeout_us=self._timeout_us)

    def back_up(self, file: str) -> BackupView:
        self._installation.require()
        return copies.back_up(self._path, Path(file), timeout_us=self._timeout_us)

    def restore(self, file: str, settle: "Settle", *, by: Attribution, dry_run: bool) -> "Restored":
        from backctl.infrastructure.sqlite.restoring import Restoration

        restoration = Restoration(
            self._installation, self._path, file, settle, timeout_us=self._timeout_us, by=by, dry_run=dry_run
        )
        return restoration.run()

    def _size(self) -> int:
        """Return the size of the file and its log in bytes."""
        size = self._path.stat().st_size
        try:
            return size + self._path.with_name(self._path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return size


def _count(connection: sqlite3.Connection, table: str) -> int | None:
    """Count the rows of a table; None if another schema revision has no such table."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    if known is None:
        return None
    return int(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])  # noqa: S608 - a constant name
