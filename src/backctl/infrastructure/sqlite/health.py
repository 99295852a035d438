"""The `doctor` checks of an SQLite file."""

import glob
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from backctl.domain.values import Instant
from backctl.infrastructure.files import durable
from backctl.infrastructure.probes import RESTORE, Finding, fail, ok
from backctl.infrastructure.sql.health import DatabaseHealth, HealthSource
from backctl.infrastructure.sqlite.connection import connect
from backctl.infrastructure.sqlite.faults import mapped_faults


class SqliteHealth(DatabaseHealth):
    """Opens the file for each check and closes it afterwards."""

    upgrade_hint = "the next command that opens the database backs it up and migrates it"

    def __init__(self, source: HealthSource, path: Path, *, timeout_us: int) -> None:
        super().__init__(source)
        self._path = path
        self._timeout_us = timeout_us

    def files(self) -> Sequence[Path]:
        paths = [self._path.parent, self._path]
        paths += [self._path.with_name(self._path.name + suffix) for suffix in ("-wal", "-shm", "-journal")]
        for copies in ("*.bak", "before-restore-*"):
            paths += sorted(self._path.parent.glob(f"{glob.escape(self._path.name)}.{copies}"))
        return paths

    def _require_creatable(self) -> None:
        durable.require_writable(self._path.parent)

    def _takes_changes(self) -> Finding:
        with self._connected(read_only=False) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        return ok("the database accepts changes")

    def _is_whole(self) -> Finding:
        with self._connected() as connection:
            return integrity(connection)

    def _clocks(self) -> Sequence[tuple[str, Instant]]:
        return [("the database file", Instant(self._path.stat().st_mtime_ns // 1000))]

    def _ask(self, *questions: str) -> list[Sequence[Sequence[Any]]]:
        with self._connected() as connection:
            return [connection.execute(question).fetchall() for question in questions]

    @contextmanager
    def _connected(self, *, read_only: bool = True) -> Iterator[sqlite3.Connection]:
        opened = connect(self._path, timeout_us=self._timeout_us, read_only=read_only)
        with closing(opened) as connection, mapped_faults(self._path):
            yield connection


def integrity(connection: sqlite3.Connection) -> Finding:
    """Check that every page, index and reference is intact."""
    found = [str(text) for (text,) in connection.execute("PRAGMA integrity_check(10)")]
    if found != ["ok"]:
        return fail(f"the database is damaged: {'; '.join(found)}", RESTORE, "unusable")
    orphans = sum(1 for _ in connection.execute("PRAGMA foreign_key_check"))
    if orphans:
        return fail(f"{orphans} rows refer to rows that do not exist", RESTORE, "unusable")
    return ok("every page, index and reference is intact")
