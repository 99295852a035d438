"""The use cases of the event log."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

from backctl.application.attribution import is_trace_id
from backctl.application.event_views import ChainView, EventView
from backctl.domain.errors import EventNotFound, InvalidInput, UserNotFound
from backctl.domain.events import Outcome, event_types, types_with
from backctl.domain.quoting import quoted
from backctl.domain.repositories import EVERY_EVENT, PAGE_SIZE, EventCriteria, Page, checked_page_size, require_period
from backctl.domain.values import EventId, Identity, is_uuid

if TYPE_CHECKING:
    from backctl.application.ports.storage import AuditKeys, Reader

_SEQ_BOUND = 2**63  # the limit of the databases


@dataclass(frozen=True, slots=True)
class AuditService:
    """Read and verify the event log.

    `page` and `stream` also accept globs such as `User*` in `EventCriteria.types`, and names in
    `EventCriteria.subjects`, as the method `subjects` does. They raise InvalidInput for criteria that can never match.
    """

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
        asked = self._resolved(criteria)
        return self.reader().events(asked, limit=checked_page_size(limit), cursor=cursor, newest_first=newest_first)

    def stream(self, criteria: EventCriteria = EVERY_EVENT, *, newest_first: bool = False) -> Iterator[EventView]:
        """Yield all matching events in constant memory, from one snapshot."""
        return self.reader().stream_events(self._resolved(criteria), newest_first=newest_first)

    def show(self, ident: str) -> EventView:
        """Return the event with this sequence number or id. Raises EventNotFound."""
        event = None
        if is_uuid(ident):
            event = self.reader().find_event(EventId(ident.lower()))
        elif not (ident.isascii() and ident.isdigit()):
            raise InvalidInput(
                f"{quoted(ident)} is neither the number nor the id of an event",
                hint="run '{backctl} audit list' to see the numbers of events",
            )
        elif len(ident) < len(str(_SEQ_BOUND)):
            event = self.reader().find_event(int(ident))
        if event is None:
            raise EventNotFound(
                f"there is no event {quoted(ident)}", hint="run '{backctl} audit list' to see all events"
            )
        return event

    def subjects(self, ident: str) -> tuple[str, ...]:
        """Return the subjects that `ident` names, the newest account first.

        An id is a subject itself. A username or an e-mail address names every account that has or had it, including
        deleted accounts; an erased account has no name. The text itself is the last subject if there are events about
        it, such as `unknown`, `keyring` or the id of a key; an account can have such a name too. Raises UserNotFound if
        there are no subjects.
        """
        identity = Identity.parse(ident)
        if identity.kind == "id":
            return (identity.text,)
        reader = self.reader()
        found: tuple[str, ...] = reader.accounts_named(identity)
        if reader.events(EventCriteria(subjects=(ident,)), limit=1).items:
            found += (ident,)
        if not found:
            raise UserNotFound(ident, hint="to find an erased account, use its id: its names were erased too")
        return found

    def verify(self) -> ChainView:
        """Verify the whole chain. A broken chain is a result, not an error; a missing keyring is an error."""
        report = self.reader().verify_chain(self.audit_keys)
        problem = report.reason
        if problem is None and report.unverified:
            problem = f"events that cannot be verified, because their keys were lost: {report.unverified}"
        return ChainView(problem is None, report.events, report.erased, report.unverified, report.broken_seq, problem)

    def _resolved(self, criteria: EventCriteria) -> EventCriteria:
        """Replace globs with types, and names with subjects. Raises InvalidInput for criteria that can never match."""
        require_period(criteria.since, criteria.until, hint="give --since an earlier time than --until")
        if criteria.by == "":
            raise InvalidInput("'' cannot be an actor", hint="give a name, a system user or USER@HOST")
        if criteria.outcome is not None and criteria.outcome not in get_args(Outcome):
            raise InvalidInput(
                f"there is no outcome {quoted(criteria.outcome)}", hint=f"use one of {', '.join(get_args(Outcome))}"
            )
        types = tuple(dict.fromkeys(name for pattern in criteria.types for name in _types_named(pattern)))
        if types and criteria.outcome is not None and not set(types) & set(types_with(criteria.outcome)):
            raise InvalidInput(
                f"none of these types has the outcome {criteria.outcome}",
                hint=f"types with the outcome failure: {', '.join(types_with('failure'))}",
            )
        subjects = tuple(dict.fromkeys(subject for ident in criteria.subjects for subject in self.subjects(ident)))
        return replace(criteria, types=types, subjects=subjects, trace_id=_trace_id(criteria.trace_id))


def _trace_id(text: str | None) -> str | None:
    """Return a trace id in lower case. Raises InvalidInput if it is not one."""
    if text is not None and not is_trace_id(text.lower()):
        raise InvalidInput(f"{quoted(text)} is not a trace id", hint="give its 32 hexadecimal digits, not all 0")
    return text and text.lower()


def _types_named(pattern: str) -> Sequence[str]:
    """Return the event types that match a name or a glob. Raises InvalidInput if there are none."""
    known = event_types()
    if pattern in known:
        return (pattern,)
    if found := _matching(pattern, known):
        return found
    is_glob = any(special in pattern for special in "*?[")
    raise InvalidInput(
        f"no event type matches {quoted(pattern)}" if is_glob else f"there is no event type {quoted(pattern)}",
        hint=_nearest(pattern, known),
    )


def _matching(pattern: str, names: Sequence[str]) -> list[str]:
    from backctl.domain.glob import parse_glob

    if not pattern:
        return []
    glob = parse_glob(pattern.encode("utf-8", "surrogatepass"))
    return [name for name in names if glob.matches(name.encode())]


def _nearest(pattern: str, known: Sequence[str]) -> str:
    """Return a hint with the types that were probably meant."""
    from difflib import get_close_matches

    lowered = {name.lower(): name for name in known}
    pattern = pattern.lower()
    near = _matching(pattern, list(lowered)) or get_close_matches(pattern[:64], lowered, n=2, cutoff=0.75)
    if near:
        return "did you mean " + " or ".join(quoted(lowered[name]) for name in near[:2]) + "?"
    return f"known types: {', '.join(known)}"
