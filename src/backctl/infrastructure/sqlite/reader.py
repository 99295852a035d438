"""The read side on SQLite: converts the driver's rows to views."""

import itertools
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backctl.application.ports.environment import AddressParser, Clock
from backctl.application.ports.storage import AuditKeys
from backctl.infrastructure.sql import queries
from backctl.infrastructure.sql.pool import ConnectionPool
from backctl.infrastructure.sql.rows import CHAIN, HEAD, Row, RowReader
from backctl.infrastructure.sql.schema import StoredInstallation, require_current
from backctl.infrastructure.sqlite.connection import connect, read_installation
from backctl.infrastructure.sqlite.dialect import SQLITE
from backctl.infrastructure.sqlite.faults import mapped_faults

if TYPE_CHECKING:
    from backctl.domain.audit import ChainReport


class _Opened(NamedTuple):
    connection: sqlite3.Connection
    stored: StoredInstallation


class SqliteReader(RowReader):
    """Reads an SQLite file for any thread. Opens connections lazily and keeps them.

    A stream keeps its connection until it ends. Methods raise DatabaseMissing, DatabaseUnusable, SchemaOutdated,
    SchemaTooNew, DatabaseLocked, and DatabaseUnavailable when all connections are in use.
    """

    def __init__(self, path: Path, *, timeout_us: int, addresses: AddressParser, clock: Clock) -> None:
        super().__init__(SQLITE, label=str(path), addresses=addresses, clock=clock)
        self._path = path
        self._timeout_us = timeout_us
        self._pool = ConnectionPool(self._open, close=_close, label=str(path), inheritable=False, strict=False)

    @property
    def installation(self) -> StoredInstallation:
        """The stored installation of a database with the current revision."""
        with self._connected() as opened:
            return opened.stored

    def close(self) -> None:
        """Release the file; the next query opens it again."""
        self._pool.clear()

    def verify_chain(self, keys: AuditKeys) -> "ChainReport":
        """Verify the event chain from one snapshot; the report shows any manipulation.

        Raises DatabaseUnusable only when SQLite itself cannot read further.
        """
        from backctl.domain.audit import Head, RecordedEvent, verify

        # On a separate connection: the text may not be UTF-8, and the snapshot spans several statements.
        with (
            mapped_faults(self._path),
            closing(connect(self._path, timeout_us=self._timeout_us, read_only=True)) as connection,
        ):
            connection.execute("BEGIN")
            stored = read_installation(connection, self._path)
            require_current(stored, self._path)
            head = connection.execute(HEAD).fetchone()
            connection.text_factory = _any_text
            rows = itertools.starmap(RecordedEvent, connection.execute(CHAIN))
            # If the row of the head is missing, use a head that matches no chain.
            return verify(
                rows, keys(stored.audit_kids), stored.installation_id, Head(0, b"") if head is None else Head(*head)
            )

    def _open(self) -> _Opened:
        connection = connect(self._path, timeout_us=self._timeout_us, read_only=True, check_same_thread=False)
        try:
            stored = read_installation(connection, self._path)
            require_current(stored, self._path)
        except BaseException:
            connection.close()
            raise
        return _Opened(connection, stored)

    @contextmanager
    def _connected(self) -> Iterator[_Opened]:
        opened = self._pool.take(timeout_s=self._timeout_us / 1_000_000)
        try:
            with mapped_faults(self._path):
                yield opened
        finally:
            self._pool.give_back(opened, sound=True)

    def _fetch(self, statement: queries.Statement) -> list[Row]:
        with self._connected() as opened:
            return opened.connection.execute(statement.text, statement.values).fetchall()

    def _stream(self, statement: queries.Statement) -> Generator[Row, None, None]:
        with self._connected() as opened, closing(opened.connection.cursor()) as cursor:
            yield from cursor.execute(statement.text, statement.values)

    @contextmanager
    def _one_snapshot(self) -> Iterator[Callable[[queries.Statement], Generator[Row, None, None]]]:
        with self._connected() as opened:
            connection = opened.connection

            def run(statement: queries.Statement) -> Generator[Row, None, None]:
                with closing(connection.cursor()) as cursor:
                    yield from cursor.execute(statement.text, statement.values)

            connection.execute("BEGIN")
            try:
                yield run
            finally:
                connection.rollback()


def _close(opened: _Opened) -> None:
    opened.connection.close()


def _any_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
