"""The read side on PostgreSQL: rows straight from the driver into views, each question from one snapshot."""

import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from backctl.application.ports import AddressParser, AuditKeys
from backctl.domain.errors import ConnectionLost, TransactionAborted
from backctl.infrastructure.database import queries
from backctl.infrastructure.database.postgres import Driver, PostgresDatabase
from backctl.infrastructure.database.rows import CHAIN, HEAD, Row, RowReader
from backctl.infrastructure.database.schema import REVISION, StoredInstallation

if TYPE_CHECKING:
    from backctl.domain.audit import ChainReport

_T = TypeVar("_T")

_BLOCK: Final = 2000  # rows a fetch brings: few enough for the memory, enough to make the way to the server cheap
_TRIES: Final = 3


class PostgresReader(RowReader):
    """Connections are opened when they are first needed and then kept: one, and one more for each answer that is still
    being read. For one thread.

    Every method raises DatabaseMissing, DatabaseUnusable, DatabaseUnavailable, SchemaOutdated or SchemaTooNew where it
    applies. What a lost connection took away is asked again, but for an answer that was partly given.
    """

    def __init__(self, database: PostgresDatabase, *, addresses: AddressParser) -> None:
        super().__init__("%s", label=database.label, addresses=addresses)
        self._database = database
        self._idle: list[Driver] = []

    @property
    def installation(self) -> StoredInstallation:
        """What the database says about itself, its revision being the one expected."""
        return self._answer(lambda _, stored: stored)

    def close(self) -> None:
        """Give the connections up; the next question opens one again."""
        while self._idle:
            self._idle.pop().close()

    def verify_chain(self, keys: AuditKeys) -> "ChainReport":
        """Walk the log from one snapshot; whatever was written over it ends in the report."""
        from backctl.domain.audit import Head, RecordedEvent, verify

        with self._snapshot() as (connection, stored):
            head = connection.execute(HEAD).fetchone()
            with closing(connection.cursor("chain")) as cursor:
                cursor.itersize = _BLOCK
                rows = itertools.starmap(RecordedEvent, cursor.execute(CHAIN))
                return verify(rows, keys(), stored.installation_id, Head(0, b"") if head is None else Head(*head))

    def _fetch(self, statement: queries.Statement) -> list[Row]:
        return self._answer(lambda connection, _: connection.execute(statement.text, statement.values).fetchall())

    def _stream(self, statement: queries.Statement) -> Generator[Row, None, None]:
        with self._snapshot() as (connection, _), closing(connection.cursor("answer")) as cursor:
            cursor.itersize = _BLOCK
            yield from cursor.execute(statement.text, statement.values)

    def _answer(self, question: Callable[[Driver, StoredInstallation], _T]) -> _T:
        for _ in range(_TRIES - 1):
            try:
                with self._snapshot() as (connection, stored):
                    return question(connection, stored)
            except TransactionAborted:
                continue
        with self._snapshot() as (connection, stored):
            return question(connection, stored)

    @contextmanager
    def _snapshot(self) -> Iterator[tuple[Driver, StoredInstallation]]:
        with self._database.mapped_faults():
            connection, stored = self._begun()
            try:
                yield connection, stored
                connection.execute("COMMIT")
            except BaseException:
                connection.close()  # whatever state it is in
                raise
        self._idle.append(connection)

    def _begun(self) -> tuple[Driver, StoredInstallation]:
        while self._idle:  # the server may have restarted since
            connection = self._idle.pop()
            try:
                with self._database.mapped_faults():
                    return connection, self._database.begin(connection, expected=REVISION)
            except ConnectionLost:
                connection.close()
            except BaseException:
                connection.close()
                raise
        connection = self._database.connect(autocommit=True)
        try:
            return connection, self._database.begin(connection, expected=REVISION)
        except BaseException:
            connection.close()
            raise
