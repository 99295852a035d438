"""The use cases of the event log."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backctl.application.event_views import ChainView, EventView
from backctl.domain.errors import InvalidInput
from backctl.domain.events import event_types
from backctl.domain.quoting import quoted
from backctl.domain.repositories import EVERY_EVENT, PAGE_SIZE, EventCriteria, Page, checked_page_size

if TYPE_CHECKING:
    from backctl.application.ports.storage import AuditKeys, Reader


@dataclass(frozen=True, slots=True)
class AuditService:
    """Read and verify the event log."""

    reader: "Callable[[], Reader]"
    audit_keys: "AuditKeys"

    def page(
        self,
        criteria: EventCriteria = EVERY_EVENT,
        *,
        limit: int = PAGE_SIZE,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> Page[EventView]:
        """Return at most `limit` (1–1000) events after the cursor."""
        _require_sensible(criteria)
        return self.reader().events(criteria, limit=checked_page_size(limit), cursor=cursor, newest_first=newest_first)

    def stream(self, criteria: EventCriteria = EVERY_EVENT, *, newest_first: bool = False) -> Iterator[EventView]:
        """Yield all matching events in constant memory, from one snapshot."""
        _require_sensible(criteria)
        return self.reader().stream_events(criteria, newest_first=newest_first)

    def verify(self) -> ChainView:
        """Verify the whole chain. A broken chain is a result, not an error; a missing keyring is an error."""
        report = self.reader().verify_chain(self.audit_keys)
        return ChainView(report.intact, report.events, report.erased, report.broken_seq, report.reason)


def _require_sensible(criteria: EventCriteria) -> None:
    """Refuse criteria that can never match, so that an empty result is not mistaken for an answer."""
    if criteria.type is not None and criteria.type not in event_types():
        raise InvalidInput(
            f"there is no event type {quoted(criteria.type)}", hint=f"known types: {', '.join(event_types())}"
        )
    if criteria.since is not None and criteria.until is not None and criteria.since >= criteria.until:
        raise InvalidInput("the period ends before it begins", hint="give --since an earlier time than --until")
