"""Reactions: functions that receive the events of a transaction once it is durable."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from backctl.domain.events import DomainEvent
from backctl.domain.values import EventId, Instant


class LoggedEvent(NamedTuple):
    """An event as stored in the log. `id` never changes, so a consumer can use it to drop duplicates.

    The log does not keep the data of an `erased` event: use only its type and subject.
    """

    seq: int
    id: EventId
    occurred_at: Instant
    event: DomainEvent
    erased: bool = False


Reaction = Callable[[Sequence[LoggedEvent]], None]
"""Called once per transaction after its COMMIT, with its events in the order of the log, in the thread that made the
change. Calls for changes of several threads overlap, in any order.

Creating an installation and upgrading its schema are not reacted to: they run outside of transactions of use cases."""

ReportFailure = Callable[[str, Exception], None]
"""Receives the name of a reaction that failed, and its error. The change stays committed."""
