"""Options that the engine of each database sets for the shared SQL code."""

from typing import Protocol

from sqlalchemy import Connection, Engine

from backctl.domain.errors import BackctlError
from backctl.domain.values import EventId
from backctl.infrastructure.sql.dialect import Dialect

DIALECT = "backctl_dialect"
"""The execution option that holds the `Dialect` of an engine."""

OUTCOMES = "backctl_outcomes"
"""The execution option that holds the `Outcomes` of an engine."""

KNOWN_KIDS = "backctl_known_kids"
"""The key in a connection's `info` for the audit kids read at the start of the transaction. It saves a statement when
events are appended to the log."""


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
