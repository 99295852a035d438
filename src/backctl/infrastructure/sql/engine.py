"""What the engine of every kind of database carries for the code that they share."""

from typing import Protocol

from sqlalchemy import Connection, Engine

from backctl.domain.errors import BackctlError
from backctl.domain.values import EventId
from backctl.infrastructure.sql.dialect import Dialect

DIALECT = "backctl_dialect"
"""The execution option under which an engine carries its `Dialect`."""

OUTCOMES = "backctl_outcomes"
"""The execution option under which an engine carries what its unit of work asks about failures: an `Outcomes`."""

KNOWN_KIDS = "backctl_known_kids"
"""Where a connection's `info` holds the audit keys that the database named when the transaction began: appending to the
log then needs one statement less."""


class Outcomes(Protocol):
    """What only one kind of database knows about its failures."""

    def fault_of(self, error: Exception) -> BackctlError | None:
        """The error that the driver's error means; None when the state of the database is not at fault."""
        ...

    def is_lost(self, error: Exception) -> bool:
        """Whether the connection broke, so that the outcome of the statement is unknown."""
        ...

    def was_committed(self, event_id: EventId | None) -> bool:
        """Whether the transaction whose first event this is was made after all. Raises OutcomeUnknown."""
        ...


def outcomes_of(engine: Engine) -> Outcomes:
    outcomes: Outcomes = engine.get_execution_options()[OUTCOMES]
    return outcomes


def dialect_of(connection: Connection) -> Dialect:
    dialect: Dialect = connection.get_execution_options()[DIALECT]
    return dialect
