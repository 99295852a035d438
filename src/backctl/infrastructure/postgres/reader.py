"""The read side on PostgreSQL: converts the driver's rows to views. Each query uses one snapshot."""

import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from backctl.application.ports.environment import AddressParser, Clock
from backctl.application.ports.storage import AuditKeys
from backctl.domain.errors import ConnectionLost, TransactionAborted
from backctl.infrastructure.postgres.connection import Driver, PostgresDatabase
from backctl.infrastructure.postgres.dialect import POSTGRES
from backctl.infrastructure.sql import queries
from backctl.infrastructure.sql.rows import CHAIN, HEAD, Row, RowReader
from backctl.infrastructure.sql.schema import REVISION, StoredInstallation

if TYPE_CHECKING:
    from backctl.domain.audit import ChainReport

_T = TypeVar("_T")

_BLOCK: Final = 2000  # rows per fetch: limits the memory and the number of round trips
_TRIES: Final = 3


class PostgresReader(RowReader):
    """Takes a connection from the database's pool for each query, until its result is read. Works in any thread.

    Methods raise DatabaseMissing, DatabaseUnusable, DatabaseUnavailable, SchemaOutdated and SchemaTooNew. A query whose
    connection was lost is repeated, unless a part of its result was already returned.
    """

    def __init__(self, database: PostgresDatabase, *, addresses: AddressParser, clock: Clock) -> None:
        super().__init__(POSTGRES, label=database.label, addresses=addresses, clock=clock)
        self._database = database

    @property
    def installation(self) -> StoredInstallation:
        """The stored installation of a database with the current revision."""
        return self._answer(lambda _, stored: stored)

    def verify_chain(self, keys: AuditKeys) -> "ChainReport":
        """Verify the event chain from one snapshot; the report shows any manipulation."""
        from backctl.domain.audit import Head, RecordedEvent, verify

        with self._snapshot() as (connection, stored):
            head = connection.execute(HEAD).fetchone()
            with closing(connection.cursor("chain")) as cursor:
                cursor.itersize = _BLOCK
                rows = itertools.starmap(RecordedEvent, cursor.execute(CHAIN))
                return verify(
                    rows, keys(stored.audit_kids), stored.installation_id, Head(0, b"") if head is None else Head(*head)
                )

    def _fetch(self, statement: queries.Statement) -> list[Row]:
        return self._answer(lambda connection, _: connection.execute(statement.text, statement.values).fetchall())

    def _stream(self, statement: queries.Statement) -> Generator[Row, None, None]:
        with self._snapshot() as (connection, _), closing(connection.cursor("answer")) as cursor:
            cursor.itersize = _BLOCK
            yield from cursor.execute(statement.text, statement.values)

    @contextmanager
    def _one_snapshot(self) -> Iterator[Callable[[queries.Statement], Generator[Row, None, None]]]:
        numbers = itertools.count()
        with self._snapshot() as (connection, _):

            def run(statement: queries.Statement) -> Generator[Row, None, None]:
                with closing(connection.cursor(f"answer_{next(numbers)}")) as cursor:
                    cursor.itersize = _BLOCK
                    yield from cursor.execute(statement.text, statement.values)

            yield run

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
            with closing(connection):  # returns a sound connection to the pool and drops a broken one
                yield connection, stored
                connection.execute("COMMIT")

    def _begun(self) -> tuple[Driver, StoredInstallation]:
        for _ in range(_TRIES - 1):
            try:
                return self._begun_once()
            except ConnectionLost:  # an idle connection was lost, for example in a server restart
                continue
        return self._begun_once()

    def _begun_once(self) -> tuple[Driver, StoredInstallation]:
        connection = self._database.connect(autocommit=True)
        try:
            with self._database.mapped_faults():
                return connection, self._database.begin(connection, expected=REVISION)
        except BaseException:
            connection.close()
            raise
