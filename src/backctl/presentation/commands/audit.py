"""`backctl audit …`: read and verify the event log."""

from enum import StrEnum
from typing import Annotated, NamedTuple

from typer import Argument, Option

from backctl.application.event_views import ChainView, EventView
from backctl.domain.quoting import quoted
from backctl.domain.repositories import EventCriteria
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.paging import EventOrder, Paging
from backctl.presentation.times import past_time

app = noun("audit")

_NAMED_ACCOUNTS = 5


class OutcomeName(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"


class EventFilters(NamedTuple):
    """Options that select events. An event must match all of them."""

    by: Annotated[
        str | None,
        Option("--by", metavar="NAME", help="Only events by this actor: its name, system user, or USER@HOST."),
    ] = None
    subject: Annotated[
        str | None,
        Option(
            "--subject", metavar="IDENT", help="Only events about this account, even if deleted, or another subject."
        ),
    ] = None
    type_: Annotated[
        list[str] | None,
        Option("--type", metavar="NAME", help="Only events of this type or glob, such as 'User*'; may be repeated."),
    ] = None
    outcome: Annotated[
        OutcomeName | None, Option("--outcome", help="Only refused attempts (failure), or only other events.")
    ] = None
    reason_contains: Annotated[
        str | None,
        Option("--reason-contains", metavar="TEXT", help="Only events with this text in the reason, in any case."),
    ] = None
    since: Annotated[
        str | None, Option("--since", metavar="TIME", help="Only events at this time or later; 7d is 7 days ago.")
    ] = None
    until: Annotated[
        str | None, Option("--until", metavar="TIME", help="Only events before this time; 7d is 7 days ago.")
    ] = None
    trace_id: Annotated[
        str | None, Option("--trace-id", metavar="ID", help="Only events of this trace (TRACEPARENT).")
    ] = None

    def criteria(self, call: Invocation) -> EventCriteria:
        """Return the criteria, with the subjects that `--subject` finds."""
        return EventCriteria(
            types=tuple(self.type_ or ()),
            since=past_time(self.since, call.now),
            until=past_time(self.until, call.now),
            trace_id=self.trace_id,
            by=self.by,
            outcome=None if self.outcome is None else self.outcome.value,
            reason_contains=self.reason_contains,
            subjects=() if self.subject is None else _subjects(call, self.subject),
        )


@leaf(
    app,
    name="list",
    kind="list",
    view=EventView,
    examples="""
    # List the failed logins of the last day
    backctl audit list --type LoginFailed --since 1d
    # List the latest events of an account
    backctl audit list --subject ada --sort -seq --limit 10
    # Save the events of the last 30 days as JSON lines
    backctl audit list --since 30d --all -o jsonl > events.jsonl
    """,
)
def list_(call: Invocation, filters: EventFilters, order: EventOrder, paging: Paging) -> None:
    """List events, oldest first.

    An event must match all filters. A username or an e-mail address finds the events of every account that has or had
    it, including deleted accounts. The events of an erased account can be found only by its id.
    """
    newest_first = order.newest_first
    paging.require_one_way()
    audit = call.backend.audit
    criteria = filters.criteria(call)
    if paging.all_:
        call.results.stream(audit.stream(criteria, newest_first=newest_first), EventView)
    else:
        page = audit.page(criteria, limit=paging.size, cursor=paging.cursor, newest_first=newest_first)
        call.results.show_page(page, EventView)


@leaf(
    app,
    view=EventView,
    examples="""
    # Show an event by its number
    backctl audit show 1
    # Print it as JSON
    backctl audit show 1 -o json
    """,
)
def show(
    call: Invocation, event: Annotated[str, Argument(metavar="EVENT", help="Number (SEQ) or id of an event.")]
) -> None:
    """Show one event with its data."""
    call.results.show(call.backend.audit.show(event))


@leaf(
    app,
    kind="check",
    view=ChainView,
    examples="""
    # Verify the event log
    backctl audit verify
    # Print only the first wrong event, if there is one
    backctl audit verify --fields ok,broken_seq --no-header
    """,
)
def verify(call: Invocation) -> None:
    """Verify that the event log is intact: exit code 0 or 6.

    Detects events that were changed, inserted or removed. Checks the chain of events from its beginning and names
    the first event that is wrong.
    """
    call.results.check(call.backend.audit.verify())


def _subjects(call: Invocation, ident: str) -> tuple[str, ...]:
    """Return the subjects that `--subject` finds. Prints the ids of the accounts if there are several subjects."""
    found = call.backend.audit.subjects(ident)
    accounts = [subject for subject in found if subject != ident]
    if len(accounts) > 1:
        more = f" and {len(accounts) - _NAMED_ACCOUNTS} more" if len(accounts) > _NAMED_ACCOUNTS else ""
        call.messages.notice(
            f"{len(accounts)} accounts have or had the name {quoted(ident)}, the newest first: "
            f"{', '.join(accounts[:_NAMED_ACCOUNTS])}{more}"
        )
    if 0 < len(accounts) < len(found):
        call.messages.notice(
            f"{quoted(ident)} is also a subject that is not an account; to exclude it, use an id such as {accounts[0]}"
        )
    return found
