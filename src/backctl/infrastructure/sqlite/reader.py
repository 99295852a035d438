"""The read side on SQLite: rows straight from the driver into views."""

import itertools
import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from backctl.application.ports import AddressParser, AuditKeys
from backctl.infrastructure.sql import queries
from backctl.infrastructure.sql.rows import CHAIN, HEAD, Row, RowReader
from backctl.infrastructure.sql.schema import StoredInstallation, require_current
from backctl.infrastructure.sqlite.connection import connect, read_installation
from backctl.infrastructure.sqlite.dialect import SQLITE
from backctl.infrastructure.sqlite.faults import mapped_faults

if TYPE_CHECKING:
    from backctl.domain.audit import ChainReport


class SqliteReader(RowReader):
    """One connection, opened when it is first needed and then kept; for one thread.

    Every method raises DatabaseMissing, DatabaseUnusable, SchemaOutdated, SchemaTooNew or DatabaseLocked where it
    applies.
    """

    def __init__(self, path: Path, *, timeout_us: int, addresses: AddressParser) -> None:
        super().__init__(SQLITE, label=str(path), addresses=addresses)
        self._path = path
        self._timeout_us = timeout_us
        self._opened: tuple[sqlite3.Connection, StoredInstallation] | None = None

    @property
    def installation(self) -> StoredInstallation:
        """What the database says about itself, its revision being the one expected."""
        return self._open()[1]

    def close(self) -> None:
        """Give the file up; the next question opens it again."""
        if self._opened is not None:
            self._opened[0].close()
            self._opened = None

    def verify_chain(self, keys: AuditKeys) -> "ChainReport":
        """Walk the log from one snapshot; whatever was written over it ends in the report.

        Raises DatabaseUnusable only when SQLite itself cannot read on.
        """
        from backctl.domain.audit import Head, RecordedEvent, verify

        # On a connection of its own: its text may be no UTF-8, and its snapshot spans several statements.
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
            # Where the row of the head is lost, one that ends no chain.
            return verify(
                rows, keys(stored.audit_kids), stored.installation_id, Head(0, b"") if head is None else Head(*head)
            )

    def _open(self) -> tuple[sqlite3.Connection, StoredInstallation]:
        if self._opened is None:
            connection = connect(self._path, timeout_us=self._timeout_us, read_only=True)
            try:
                stored = read_installation(connection, self._path)
                require_current(stored, self._path)
            except BaseException:
                connection.close()
                raise
            self._opened = (connection, stored)
        return self._opened

    def _fetch(self, statement: queries.Statement) -> list[Row]:
        with mapped_faults(self._path):
            return self._open()[0].execute(statement.text, statement.values).fetchall()

    def _stream(self, statement: queries.Statement) -> Generator[Row, None, None]:
        with mapped_faults(self._path), closing(self._open()[0].execute(statement.text, statement.values)) as cursor:
            yield from cursor


def _any_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
