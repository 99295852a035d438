"""`backctl ratelimit …`: check, inspect and reset rate limits."""

from enum import StrEnum
from typing import Annotated, NamedTuple

from typer import Argument, Option

from backctl.application.limit_views import LimitView, ResetView
from backctl.domain.errors import InvalidRateLimit, UsageError
from backctl.domain.quoting import quoted
from backctl.domain.rate_limit import ALGORITHMS, Policy
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.parameters import duration

app = noun("ratelimit")

PolicyName = Annotated[str, Argument(metavar="POLICY", help="Name of a configured policy; any other name with --rate.")]
Limited = Annotated[str, Argument(metavar="IDENTIFIER", help="Who is limited, for example an address or an id.")]
Cost = Annotated[int, Option("--cost", metavar="N", help="How much of the limit the request consumes.")]


class AlgorithmName(StrEnum):
    SLIDING_WINDOW = "sliding-window"
    SLIDING_COUNTER = "sliding-counter"
    GCRA = "gcra"


class Rate(NamedTuple):
    """The options that define a policy without configuring it."""

    rate: Annotated[
        str | None,
        Option("--rate", metavar="RATE", help="Use this limit instead of a configured one, for example 100/1m."),
    ] = None
    burst: Annotated[
        int | None, Option("--burst", metavar="N", help="With --rate and gcra: how much is admitted at once.")
    ] = None
    algorithm: Annotated[
        AlgorithmName | None,
        Option("--algorithm", help="With --rate: how requests are counted; sliding-window unless given."),
    ] = None

    def policy(self, call: Invocation, name: str) -> str | Policy:
        """Return the name of a configured policy, or the policy of these options. Raises UsageError."""
        if self.rate is None:
            for option, value in (("--burst", self.burst), ("--algorithm", self.algorithm)):
                if value is not None:
                    raise UsageError(f"{option} has no effect without --rate", hint="add --rate, or configure it")
            return name
        if name in call.backend.limits.policies:
            raise UsageError(f"the policy {quoted(name)} is configured", hint="omit --rate, or use another name")
        limit, slash, window = self.rate.partition("/")
        if not slash or not limit.isascii() or not limit.isdigit() or len(limit) > 18:
            raise InvalidRateLimit(
                f"{quoted(self.rate)} is not a rate", hint="write a whole number and a duration, such as 100/1m"
            )
        algorithm = next((known for known in ALGORITHMS if known == self.algorithm), ALGORITHMS[0])
        return Policy(name, int(limit), duration(window), algorithm, self.burst)


@leaf(app, view=LimitView)
def check(
    call: Invocation,
    policy: PolicyName,
    ident: Limited,
    rate: Rate,
    cost: Cost = 1,
    wait: Annotated[
        str | None,
        Option("--wait", metavar="DURATION", help="Wait up to this long until the limit permits the request."),
    ] = None,
) -> None:
    """Consume a part of a limit: exit code 0, or 6 if it is reached.

    A refused request consumes nothing. All processes of this machine share the limits.
    """
    limits, chosen = call.backend.limits, rate.policy(call, policy)
    longest = None if wait is None else duration(wait)
    answer = limits.check(chosen, ident, cost) if longest is None else limits.wait(chosen, ident, cost, up_to=longest)
    call.results.check(answer, answer.ok)


@leaf(app, view=LimitView)
def peek(call: Invocation, policy: PolicyName, ident: Limited, rate: Rate, cost: Cost = 1) -> None:
    """Show what a check would answer now: exit code 0 or 6.

    Consumes nothing.
    """
    answer = call.backend.limits.peek(rate.policy(call, policy), ident, cost)
    call.results.check(answer, answer.ok)


@leaf(app, name="list", view=LimitView)
def list_(
    call: Invocation,
    policies: Annotated[
        list[str] | None, Argument(metavar="[POLICY...]", help="Only these policies; all configured ones by default.")
    ] = None,
    limited: Annotated[
        bool, Option("--limited", help="Only identifiers that could not make another request now.")
    ] = False,
) -> None:
    """List the identifiers that have consumed a part of a limit."""
    call.results.stream(call.backend.limits.usage(policies or (), only_limited=limited), LimitView)


@leaf(app, changes="reset the limit {policy} for {ident}", view=ResetView)
def reset(call: Invocation, policy: PolicyName, ident: Limited, rate: Rate) -> None:
    """Forget what an identifier has consumed.

    The reset is recorded in the event log if there is an installation.
    """
    chosen = rate.policy(call, policy)
    call.results.changed(call.backend.limits.reset(chosen, ident, by=call.attribution, dry_run=call.dry_run))
