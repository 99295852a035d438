"""`backctl cache warm …`: store values in the cache before services need them."""

from backctl.application.cache_views import WarmView
from backctl.presentation.account_filters import Filters
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("warm", within="cache")


@leaf(
    app,
    changes="store accounts in the cache",
    view=WarmView,
    examples="""
    # Store all accounts
    backctl cache warm users
    # Store only the administrators
    backctl cache warm users --role admin
    """,
)
def users(call: Invocation, filters: Filters) -> None:
    """Store accounts in the cache before services need them.

    Entries of accounts are used for 20 seconds, so run this right before services need them.
    """
    accounts = call.backend.accounts
    with call.messages.progress("storing") as progress:
        change = accounts.warm(filters.criteria(call.now), dry_run=call.dry_run, progress=progress.advance)
    call.results.changed(change)
