"""What follows a change: reactions receive the events of a transaction once it is durable."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from backctl.domain.events import DomainEvent
from backctl.domain.values import EventId, Instant


class LoggedEvent(NamedTuple):
    """An event as it stands in the log. `id` stays the same for ever, so whoever passes events on can drop repeats."""

    seq: int
    id: EventId
    occurred_at: Instant
    event: DomainEvent


Reaction = Callable[[Sequence[LoggedEvent]], None]
"""Called once per transaction, in the order of the log, after its COMMIT. It runs in the thread that made the change,
which waits for it."""

ReportFailure = Callable[[str, Exception], None]
"""Receives the name of a reaction that failed, and its error. The change is made all the same."""
