"""Options that the engine of each database sets for the shared SQL code."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

import sqlalchemy
from sqlalchemy import Connection, Engine, Insert, Table

from backctl.domain.errors import BackctlError
from backctl.domain.values import EventId
from backctl.infrastructure.sql.dialect import Dialect

DIALECT = "backctl_dialect"
"""The execution option that holds the `Dialect` of an engine."""

OUTCOMES = "backctl_outcomes"
"""The execution option that holds the `Outcomes` of an engine."""

INSERT_MANY = "backctl_insert_many"
"""The execution option that holds the `InsertMany` of an engine."""

KNOWN_KIDS = "backctl_known_kids"
"""The key in a connection's `info` for the audit kids read at the start of the transaction. It saves a statement when
events are appended to the log."""


InsertMany = Callable[[Connection, Table, Sequence[str], Sequence[tuple[Any, ...]]], None]
"""Inserts rows with these columns. Raises IntegrityError, like an INSERT."""

_FEW = 20
"""Up to this number of rows, a special way of inserting costs more time than it saves."""


class Outcomes(Protocol):
    """Interprets the failures of one kind of database."""

    def fault_of(self, error: Exception) -> BackctlError | None:
        """Return the BackctlError for a driver error; None when the database is not the cause."""
        ...

    def is_lost(self, error: Exception) -> bool:
        """Whether the connection broke, so that the outcome of the statement is unknown."""
        ...

    def was_committed(self, event_id: EventId | None) -> bool:
        """Whether the transaction whose first event has this id was committed. Raises OutcomeUnknown."""
        ...


def outcomes_of(engine: Engine) -> Outcomes:
    outcomes: Outcomes = engine.get_execution_options()[OUTCOMES]
    return outcomes


def dialect_of(connection: Connection) -> Dialect:
    dialect: Dialect = connection.get_execution_options()[DIALECT]
    return dialect


def insert_many(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows with these columns, in the fastest way of the database. Raises IntegrityError."""
    if len(rows) <= _FEW:
        connection.execute(_inserting(table), [dict(zip(columns, row, strict=True)) for row in rows])
    else:
        insert: InsertMany = connection.get_execution_options()[INSERT_MANY]
        insert(connection, table, columns, rows)


@cache
def _inserting(table: Table) -> Insert:
    """Built once, because building a statement takes SQLAlchemy five times as long as running it."""
    return sqlalchemy.insert(table)
