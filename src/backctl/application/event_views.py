"""Views of the event log."""

from dataclasses import dataclass
from typing import ClassVar

from backctl.domain.values import Instant


@dataclass(frozen=True, slots=True)
class EventView:
    """One event. `data` is None once erased.

    `subject_name` is the username of the account that the event is about, or its last username if it was deleted. For
    an erased account, and for any other subject, it is `subject`.
    """

    PLURAL: ClassVar = "events"
    TABLE: ClassVar = ("seq", "occurred_at", "type", "subject_name", "actor", "reason")
    BROKEN: ClassVar = ("subject_name", "actor")

    seq: int
    id: str
    occurred_at: Instant
    type: str
    subject: str
    subject_name: str
    actor: str
    os_user: str
    host: str
    reason: str | None
    trace_id: str | None
    data: dict[str, object] | None


@dataclass(frozen=True, slots=True)
class ChainView:
    """The result of verifying the event chain. `ok`: nothing was changed, inserted or removed.

    `broken_seq` is the first invalid event. `unverified` is the number of events that nobody can verify, because the
    keyring was lost and replaced after them; `ok` is False then too. `events` is the number of valid events.
    """

    ok: bool
    events: int
    erased: int
    unverified: int
    broken_seq: int | None
    problem: str | None
