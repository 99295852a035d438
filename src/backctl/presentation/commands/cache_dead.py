"""`backctl cache dead …`: updates that failed too often to be written."""

from typing import Annotated

from typer import Argument, Option

from backctl.application.write_behind_views import DeadUpdatesChanged, DeadUpdateView
from backctl.domain.errors import UsageError
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("dead", within="cache")

Ids = Annotated[
    list[str] | None, Argument(metavar="[ID]...", help="Ids of dead updates, as 'cache dead list' shows them.")
]


@leaf(
    app,
    name="list",
    kind="list",
    view=DeadUpdateView,
    examples="""
    # List dead updates
    backctl cache dead list
    # Print their ids and errors
    backctl cache dead list --fields id,error
    """,
)
def list_(call: Invocation) -> None:
    """List dead updates, oldest first, with their errors."""
    call.results.stream(call.backend.queued_updates.dead(), DeadUpdateView)


@leaf(
    app,
    changes="requeue dead updates",
    view=DeadUpdatesChanged,
    examples="""
    # Show how many would be put back
    backctl cache dead requeue --all --dry-run
    # Put all dead updates back in the queue
    backctl cache dead requeue --all
    """,
)
def requeue(
    call: Invocation,
    ids: Ids = None,
    everything: Annotated[bool, Option("--all", help="Requeue all dead updates.")] = False,
) -> None:
    """Put dead updates back in the queue.

    If the queue has a newer update for the same key, the dead update is deleted instead.
    """
    chosen = _chosen(ids, everything)
    call.results.changed(call.backend.queued_updates.requeue(chosen, dry_run=call.dry_run))


@leaf(
    app,
    changes="drop dead updates",
    guard="yes",
    view=DeadUpdatesChanged,
    examples="""
    # Show how many would be dropped
    backctl cache dead drop --all --dry-run
    # Drop all dead updates without a prompt
    backctl cache dead drop --all --yes
    """,
)
def drop(
    call: Invocation,
    ids: Ids = None,
    everything: Annotated[bool, Option("--all", help="Drop all dead updates.")] = False,
) -> None:
    """Delete dead updates.

    Their values are lost. Asks for confirmation.
    """
    chosen = _chosen(ids, everything)
    number = 0 if chosen is None else len(set(chosen))
    call.guard.confirm("drop a dead update" if number == 1 else f"drop {number or 'all'} dead updates")
    call.results.changed(call.backend.queued_updates.drop(chosen, dry_run=call.dry_run))


def _chosen(ids: list[str] | None, everything: bool) -> list[str] | None:
    """Return the ids; None for all."""
    if bool(ids) == everything:
        raise UsageError("give either ids or --all", hint="run '{backctl} cache dead list' to see the ids")
    return ids or None
