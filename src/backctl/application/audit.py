"""The use cases of the event log."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backctl.application.views import ChainView, EventView
from backctl.domain.errors import InvalidInput
from backctl.domain.repositories import EVERY_EVENT, PAGE_SIZE, PAGE_SIZE_MAX, EventCriteria, Page

if TYPE_CHECKING:
    from backctl.application.ports import AuditKeys, Reader


@dataclass(frozen=True, slots=True)
class AuditService:
    """Read the log and prove that it is whole."""

    reader: "Callable[[], Reader]"
    audit_keys: "AuditKeys"

    def page(
        self, criteria: EventCriteria = EVERY_EVENT, *, limit: int = PAGE_SIZE, cursor: str | None = None
    ) -> Page[EventView]:
        """At most `limit` (1–1000) events from the cursor on, oldest first."""
        if not 1 <= limit <= PAGE_SIZE_MAX:
            raise InvalidInput(f"a page of {limit} is not between 1 and {PAGE_SIZE_MAX}")
        return self.reader().events(criteria, limit=limit, cursor=cursor)

    def stream(self, criteria: EventCriteria = EVERY_EVENT) -> Iterator[EventView]:
        """Every event that fits, oldest first, in constant memory and from one snapshot."""
        return self.reader().stream_events(criteria)

    def verify(self) -> ChainView:
        """Walk the whole chain. A broken chain is an answer, not an error; a missing keyring is an error."""
        report = self.reader().verify_chain(self.audit_keys)
        return ChainView(report.intact, report.events, report.erased, report.broken_seq, report.reason)
