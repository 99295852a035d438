"""`backctl audit …`: read and verify the event log."""

from typing import Annotated

from typer import Option

from backctl.application.event_views import ChainView, EventView
from backctl.domain.repositories import EventCriteria
from backctl.domain.values import Identity
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.paging import EventOrder, Paging
from backctl.presentation.times import past_time

app = noun("audit")


@leaf(app, name="list", view=EventView)
def list_(
    call: Invocation,
    order: EventOrder,
    paging: Paging,
    type_: Annotated[
        str | None, Option("--type", metavar="NAME", help="Only of this type, for example UserCreated.")
    ] = None,
    subject: Annotated[
        str | None,
        Option("--subject", metavar="IDENT", help="Only about this account, or the object with this id."),
    ] = None,
    since: Annotated[
        str | None, Option("--since", metavar="TIME", help="Only at this time or later; 7d is 7 days ago.")
    ] = None,
    until: Annotated[
        str | None, Option("--until", metavar="TIME", help="Only before this time; 7d is 7 days ago.")
    ] = None,
    trace_id: Annotated[
        str | None, Option("--trace-id", metavar="ID", help="Only of this trace (TRACEPARENT).")
    ] = None,
) -> None:
    """List events, oldest first."""
    criteria = EventCriteria(
        type=type_,
        subject=_subject(call, subject) if subject is not None else None,
        since=past_time(since, call.now),
        until=past_time(until, call.now),
        trace_id=trace_id,
    )
    newest_first = order.newest_first
    paging.require_one_way()
    audit = call.backend.audit
    if paging.all_:
        call.results.stream(audit.stream(criteria, newest_first=newest_first), EventView)
    else:
        page = audit.page(criteria, limit=paging.size, cursor=paging.cursor, newest_first=newest_first)
        call.results.show_page(page, EventView)


@leaf(app, view=ChainView)
def verify(call: Invocation) -> None:
    """Verify that the event log is complete: exit code 0 or 6.

    Detects events that were changed, inserted or removed. Checks the chain of events from its beginning and names
    the first event that is wrong.
    """
    call.results.check(call.backend.audit.verify())


def _subject(call: Invocation, ident: str) -> str:
    """Return the id of an account. An id is used as it is: the account may be deleted, or the object be another."""
    identity = Identity.parse(ident)
    return identity.text if identity.kind == "id" else call.backend.accounts.show(ident).id
