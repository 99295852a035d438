"""A small SQLite file, separate from the accounts, for rate limits, the cache or its queue. Created on first use.

Unless a transaction is `flushed`, a power failure may undo the last changes, but does not corrupt the file
(https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from backctl.domain.errors import DatabaseMissing, DatabaseUnusable
from backctl.domain.quoting import quoted
from backctl.infrastructure.files import durable
from backctl.infrastructure.sql.pool import ConnectionPool
from backctl.infrastructure.sqlite.connection import connect
from backctl.infrastructure.sqlite.faults import mapped_faults


class Contents(NamedTuple):
    """Describes a file: the name in messages, and the version, names and CREATE statements of its tables."""

    name: str
    version: int
    tables: frozenset[str]
    statements: str


class OwnFile:
    """The file at `path`, readable only by its owner. Works in any thread.

    If the file is deleted or replaced, the next transaction opens it again, so that all processes use the same one.
    """

    def __init__(self, path: Path, contents: Contents, *, timeout_us: int) -> None:
        self.path = path
        self._contents = contents
        self._timeout_s = timeout_us / 1_000_000
        self._inode: tuple[int, int] | None = None
        self._timeout_us = timeout_us
        self._pool = ConnectionPool(
            self._open, close=sqlite3.Connection.close, label=str(path), inheritable=False, strict=False
        )

    def exists(self) -> bool:
        return os.path.lexists(self.path)

    @contextmanager
    def transaction(self, *, writes: bool, flushed: bool = False) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a transaction, and commit at the end. `flushed`: it survives a power failure.

        Raises Unavailable, Unusable.
        """
        self._follow()
        try:
            connection = self._pool.take(timeout_s=self._timeout_s)
        except DatabaseMissing:  # deleted in the meantime
            connection = self._pool.take(timeout_s=self._timeout_s)
        try:
            with mapped_faults(self.path):
                if flushed:
                    connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
                yield connection
                connection.execute("COMMIT")
        finally:
            sound = not connection.in_transaction
            if flushed and sound:
                connection.execute("PRAGMA synchronous = NORMAL")
            self._pool.give_back(connection, sound=sound)

    def close(self) -> None:
        self._pool.clear()

    def _follow(self) -> None:
        """Close the connections if the file at `path` was deleted or replaced."""
        try:
            found = os.stat(self.path)
        except OSError:
            inode = None
        else:
            inode = found.st_dev, found.st_ino
        if inode != self._inode:
            self._inode = inode
            self._pool.clear()

    def _open(self) -> sqlite3.Connection:
        try:
            if not self.exists():
                durable.make_folder(self.path.parent)
                with suppress(FileExistsError):  # another process was faster
                    os.close(durable.open_new(self.path))
        except OSError as error:
            raise durable.unusable(self.path.parent, error) from error
        connection = connect(self.path, timeout_us=self._timeout_us, read_only=False, check_same_thread=False)
        try:
            with mapped_faults(self.path):
                self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        wanted = self._contents
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if version not in (0, wanted.version) or tables - wanted.tables:
            raise DatabaseUnusable(
                f"{quoted(str(self.path), limit=400)} does not contain {wanted.name} of this version of backctl",
                hint="move the file away; the next request creates a new one",
            )
        self._use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        if version == 0:
            self._flush_name()
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{wanted.statements}\nPRAGMA user_version = {wanted.version};\nCOMMIT;"
            )

    def _flush_name(self) -> None:
        """Flush the folder, so that a `flushed` transaction in a new file survives a power failure."""
        try:
            durable.flush_folder(self.path.parent)
        except OSError as error:
            raise durable.unusable(self.path.parent, error) from error

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        """Set the mode, which the file keeps. SQLite does not wait for another connection that sets it too."""
        give_up = time.monotonic() + self._timeout_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up:
                    raise
                time.sleep(0.005)
