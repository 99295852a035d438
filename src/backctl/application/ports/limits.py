"""The port for rate limits. Adapters in `infrastructure` implement it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from backctl.domain.errors import BackctlError

if TYPE_CHECKING:
    from backctl.domain.rate_limit import Decision, Policy


class Request(NamedTuple):
    """One identifier, and what its request costs."""

    identifier: bytes
    cost: int = 1


class Usage(NamedTuple):
    """The stored state of one identifier under one policy, without a request."""

    identifier: bytes
    decision: Decision


Outcome: TypeAlias = "Sequence[Decision] | BackctlError"
"""The decision of each policy, or the reason why there is none: Unavailable or Unusable."""


def raised(outcome: Outcome) -> Sequence[Decision]:
    """Return the decisions, or raise the reason why there are none."""
    if isinstance(outcome, BackctlError):
        raise outcome
    return outcome


class LimitStore(Protocol):
    """Stores the state of identifiers. Exact for any number of processes; uses the clock of the store.

    Methods raise Unavailable, and Unusable for problems that do not go away by waiting.
    """

    def check(
        self, policies: Sequence[Policy], requests: Sequence[Request], *, consume: bool = True
    ) -> Sequence[Outcome]:
        """Check each request against all policies, in this order. Return the outcome of each request; raises nothing.

        A request consumes from all policies, or from none if one refuses it. Different requests are independent.
        """
        ...

    def reset(self, policies: Sequence[Policy], identifier: bytes, *, dry_run: bool = False) -> bool:
        """Forget what an identifier has consumed. False if there was nothing to forget."""
        ...

    def usage(self, policies: Sequence[Policy]) -> Iterator[Usage]:
        """Yield the identifiers that have consumed something, ordered by identifier and then as `policies` are."""
        ...

    def close(self) -> None:
        """Release connections; the next use reconnects."""
        ...
