"""The `doctor` checks of a database on a PostgreSQL server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backctl.domain.values import Instant
from backctl.infrastructure.probes import Finding, ok
from backctl.infrastructure.sql.health import DatabaseHealth, HealthSource

if TYPE_CHECKING:
    from backctl.infrastructure.postgres.connection import Driver, PostgresDatabase

_SERVER_TIME = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"


class PostgresHealth(DatabaseHealth):
    """Takes a connection for each query and returns it afterwards."""

    upgrade_hint = "run '{backctl} db upgrade'"

    def __init__(self, source: HealthSource, database: "PostgresDatabase") -> None:
        super().__init__(source)
        self._database = database

    def files(self) -> Sequence[Path]:
        return ()

    def _require_creatable(self) -> None:
        """Do nothing: a write never creates a database on a server."""

    def _takes_changes(self) -> Finding:
        with self._database.mapped_faults(), self._database.connect() as connection:
            self._database.settle(connection, expected=None)
            connection.execute("SELECT seq FROM event_head WHERE id = 1 FOR UPDATE")
            connection.rollback()
        return ok("the database accepts changes")

    def _is_whole(self) -> Finding:
        from backctl.infrastructure.postgres.checks import validity

        with self._snapshot() as connection:
            return validity(connection)

    def _clocks(self) -> Sequence[tuple[str, Instant]]:
        ((answer,),) = self._ask(_SERVER_TIME)
        return [("the server's clock", Instant(answer[0]))]

    def _ask(self, *questions: str) -> list[Sequence[Sequence[Any]]]:
        with self._snapshot() as connection:
            return [connection.execute(question).fetchall() for question in questions]

    @contextmanager
    def _snapshot(self) -> "Iterator[Driver]":
        with self._database.mapped_faults(), self._database.connect(autocommit=True) as connection:
            self._database.begin(connection)
            yield connection
