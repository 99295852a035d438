"""`backctl audit …`: read the event log and prove that it is whole."""

from typing import Annotated

from typer import Option

from backctl.application.event_views import ChainView, EventView
from backctl.domain.repositories import PAGE_SIZE, EventCriteria, is_newest_first
from backctl.domain.values import Identity, Instant
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun
from backctl.presentation.paging import All, Cursor, EventSort, Limit, refuse_mixture

app = noun("audit")


@leaf(app, name="list", view=EventView)
def list_(
    call: Invocation,
    type_: Annotated[str | None, Option("--type", metavar="NAME", help="Of this type, e.g. UserCreated.")] = None,
    subject: Annotated[
        str | None, Option("--subject", metavar="IDENT", help="About this account, or the thing with this id.")
    ] = None,
    since: Annotated[str | None, Option("--since", metavar="TIME", help="At this time or later.")] = None,
    until: Annotated[str | None, Option("--until", metavar="TIME", help="Before this time.")] = None,
    trace_id: Annotated[str | None, Option("--trace-id", metavar="ID", help="Of this trace (TRACEPARENT).")] = None,
    sort: EventSort = "seq",
    limit: Limit = None,
    cursor: Cursor = None,
    all_: All = False,
) -> None:
    """List events, oldest first."""
    criteria = EventCriteria(
        type=type_,
        subject=_subject(call, subject) if subject is not None else None,
        since=Instant.parse(since) if since is not None else None,
        until=Instant.parse(until) if until is not None else None,
        trace_id=trace_id,
    )
    newest_first = is_newest_first(sort)
    refuse_mixture(all_=all_, cursor=cursor, limit=limit)
    audit = call.backend.audit
    if all_:
        call.stream(audit.stream(criteria, newest_first=newest_first), EventView)
    else:
        size = PAGE_SIZE if limit is None else limit
        call.show_page(audit.page(criteria, limit=size, cursor=cursor, newest_first=newest_first), EventView)


@leaf(app, view=ChainView)
def verify(call: Invocation) -> None:
    """Prove that the log is whole: exit code 0 or 6.

    The chain of events is walked from its beginning; where it does not hold, the first broken event is named.
    """
    chain = call.backend.audit.verify()
    call.check(chain, chain.intact)


def _subject(call: Invocation, ident: str) -> str:
    """An id as it is written in the log; an account that is gone, or no account, is still known by its id."""
    identity = Identity.parse(ident)
    return identity.text if identity.kind == "id" else call.backend.accounts.show(ident).id
