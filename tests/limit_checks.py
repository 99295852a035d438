"""How tests ask a store of rate limits."""

from collections.abc import Sequence

from backctl.application.ports.limits import LimitStore, Request, raised
from backctl.domain.rate_limit import Decision, Policy


def checked(
    store: LimitStore, policies: Sequence[Policy], requests: Sequence[Request], *, consume: bool = True
) -> list[Sequence[Decision]]:
    """Return the decisions for each request, or raise the first error."""
    return [raised(outcome) for outcome in store.check(policies, requests, consume=consume)]
