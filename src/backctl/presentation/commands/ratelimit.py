"""`backctl ratelimit …`: check, inspect and reset rate limits."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

from typer import Argument, Exit, Option

from backctl.application.limit_views import LimitView
from backctl.domain.errors import InvalidRateLimit, UsageError
from backctl.domain.quoting import escaped, quoted
from backctl.domain.rate_limit import ALGORITHMS, Policy
from backctl.presentation import terminal
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.parameters import duration

if TYPE_CHECKING:
    from backctl.application.limits import LimitService

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
        Option(
            "--algorithm", metavar="NAME", help="With --rate: how requests are counted; sliding-window unless given."
        ),
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


Wait = Annotated[
    str | None,
    Option("--wait", metavar="DURATION", help="Wait up to this long until the limit permits the request."),
]


@leaf(
    app,
    kind="check",
    view=LimitView,
    members=("line", "error"),
    examples="""
    # Use a configured policy
    backctl ratelimit check login ada
    # Use a limit without a policy: 3 in an hour
    backctl ratelimit check mail ada --rate 3/1h
    # Print the lines of a file that the limit admits
    backctl ratelimit check mail --rate 9/1h --from-file ids.txt --filter
    """,
)
def check(
    call: Invocation,
    policy: PolicyName,
    rate: Rate,
    ident: Annotated[
        str | None, Argument(metavar="[IDENTIFIER]", help="Who is limited, for example an address or an id.")
    ] = None,
    cost: Cost = 1,
    wait: Wait = None,
    also: Annotated[
        list[str] | None,
        Option("--also", metavar="POLICY", help="Also check this configured policy: consume from all, or from none."),
    ] = None,
    from_file: Annotated[
        str | None,
        Option(
            "--from-file",
            metavar="FILE",
            help="Check each line of a file: an identifier, or JSON with 'ident' and 'cost'; '-' is standard input.",
        ),
    ] = None,
    passes_lines: Annotated[
        bool, Option("--filter", help="With --from-file: print the admitted lines instead of the answers.")
    ] = False,
) -> None:
    """Consume part of a limit: exit code 0, or 6 if it is reached.

    A refused request consumes nothing. Without Redis, all processes of this machine share the limits; with Redis, all
    machines that use it. The exit code is 7 if a line of --from-file was refused, except with
    --filter.
    """
    chosen, others = rate.policy(call, policy), also or []
    if from_file is None:
        if passes_lines:
            raise UsageError("--filter has no effect without --from-file")
        _check_one(call, chosen, ident, cost=cost, wait=wait, others=others)
        return
    for given, what in ((ident is not None, "an identifier"), (wait is not None, "--wait"), (others, "--also")):
        if given:
            raise UsageError(f"{what} cannot be used with --from-file")
    from backctl.presentation.batch.limits import check_lines

    check_lines(call, chosen, from_file, cost=cost, passes_lines=passes_lines)


def _check_one(
    call: Invocation, policy: str | Policy, ident: str | None, *, cost: int, wait: str | None, others: list[str]
) -> None:
    if ident is None:
        raise UsageError("IDENTIFIER is missing", hint="name who is limited, or use --from-file FILE")
    limits = call.backend.limits
    if others:
        if wait is not None:
            raise UsageError("--wait cannot be used with --also")
        answers = limits.check_all([policy, *others], ident, cost)
        call.results.check_all(answers, LimitView, all(answer.ok for answer in answers))
        return
    answer = _answer(limits, policy, ident, cost=cost, wait=wait)
    call.results.check(answer)


def _answer(limits: "LimitService", policy: str | Policy, ident: str, *, cost: int, wait: str | None) -> LimitView:
    if wait is None:
        return limits.check(policy, ident, cost)
    return limits.wait(policy, ident, cost, up_to=duration(wait))


@leaf(
    app,
    kind="nothing",
    examples="""
    # Run a program at most once in ten minutes
    backctl ratelimit run report nightly --rate 1/10m -- echo running
    # Succeed without running it if the limit is reached
    backctl ratelimit run mail ada --rate 1/1h --limited-exit 0 -- echo sent
    """,
)
def run(
    call: Invocation,
    policy: PolicyName,
    ident: Limited,
    command: Annotated[
        list[str], Argument(metavar="COMMAND...", help="The program and its arguments, best after '--'.")
    ],
    rate: Rate,
    cost: Cost = 1,
    wait: Wait = None,
    limited_exit: Annotated[
        int, Option("--limited-exit", metavar="N", help="Exit code if the limit is reached.", min=0, max=255)
    ] = 6,
) -> None:
    """Run a program if the limit permits it.

    The exit code is that of the program, which replaces this process. Nothing is consumed if the program does not
    exist.
    """
    import os
    import shutil
    import signal

    program = shutil.which(command[0])
    if program is None:
        raise UsageError(f"the program {quoted(command[0])} was not found", hint="check the name, or give its path")
    answer = _answer(call.backend.limits, rate.policy(call, policy), ident, cost=cost, wait=wait)
    if answer.ok:
        call.close()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execv(program, command)  # noqa: S606 - the command line of the user, without a shell
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise UsageError(f"{quoted(command[0])} cannot be run: {reason}", hint="the limit was consumed") from None
    if not call.results.quiet:
        terminal.say(f"not run: the limit {escaped(answer.policy)} is reached for {escaped(answer.ident)}")
    raise Exit(limited_exit)


@leaf(
    app,
    kind="check",
    view=LimitView,
    examples="""
    # Show the state of a limit, without consuming anything
    backctl ratelimit peek login ada
    # Print how many requests are left
    backctl ratelimit peek login ada --fields remaining --no-header
    """,
)
def peek(call: Invocation, policy: PolicyName, ident: Limited, rate: Rate, cost: Cost = 1) -> None:
    """Show what a check would answer now: exit code 0 or 6.

    Consumes nothing.
    """
    answer = call.backend.limits.peek(rate.policy(call, policy), ident, cost)
    call.results.check(answer)


@leaf(
    app,
    name="list",
    kind="list",
    view=LimitView,
    examples="""
    # List who has used a configured policy
    backctl ratelimit list
    # List who cannot make another request now
    backctl ratelimit list login --limited
    """,
)
def list_(
    call: Invocation,
    policies: Annotated[
        list[str] | None, Argument(metavar="[POLICY...]", help="Only these policies; all configured ones by default.")
    ] = None,
    limited: Annotated[
        bool, Option("--limited", help="Only identifiers that could not make another request now.")
    ] = False,
) -> None:
    """List the identifiers that have consumed part of a limit."""
    call.results.stream(call.backend.limits.usage(policies or (), only_limited=limited), LimitView)


def _reset_view() -> type:
    from backctl.application.limit_policy_views import ResetView

    return ResetView


@leaf(
    app,
    changes="reset the limit {policy} for {ident}",
    view=_reset_view,
    examples="""
    # Admit an identifier again
    backctl ratelimit reset login ada
    # Show what would change
    backctl ratelimit reset mail ada --rate 3/1h --dry-run
    """,
)
def reset(call: Invocation, policy: PolicyName, ident: Limited, rate: Rate) -> None:
    """Forget what an identifier has consumed.

    The reset is recorded in the event log if there is an installation.
    """
    chosen = rate.policy(call, policy)
    call.results.changed(call.backend.limits.reset(chosen, ident, by=call.attribution, dry_run=call.dry_run))


def _simulation_view() -> type:
    from backctl.application.limit_simulation import SimulationView

    return SimulationView


@leaf(
    app,
    kind="list",
    view=_simulation_view,
    examples="""
    # Try a policy with recorded requests
    backctl ratelimit simulate login --log requests.log
    # Compare it with another limit
    backctl ratelimit simulate --rate 100/1m --log requests.log
    """,
)
def simulate(
    call: Invocation,
    log: Annotated[str, Option("--log", metavar="FILE", help="A log of requests; '-' is standard input.")],
    rate: Rate,
    policy: Annotated[
        str | None, Argument(metavar="[POLICY]", help="Name of a configured policy; not needed with --rate.")
    ] = None,
    time_field: Annotated[
        str, Option("--time-field", metavar="NAME", help="Field of JSON lines that contains the time.")
    ] = "time",
    ident_field: Annotated[
        str, Option("--ident-field", metavar="NAME", help="Field of JSON lines that contains the identifier.")
    ] = "ident",
) -> None:
    """Show what a limit would have answered to recorded requests.

    Each line of the log is a time and optionally an identifier, or a JSON object. Times are RFC 3339 or seconds since
    1970, in any order. Nothing is consumed. A terminal also shows the requests over time.
    """
    from backctl.application.limit_simulation import SimulationView
    from backctl.presentation.batch.limits import read_log

    if policy is None and rate.rate is None:
        raise UsageError("POLICY is missing", hint="name a configured policy, or use --rate")
    chosen = rate.policy(call, policy or "simulated")
    found = call.backend.limits.policy(chosen) if isinstance(chosen, str) else chosen
    requests, report = read_log(call, log, time_field=time_field, ident_field=ident_field)
    replay = requests.replay(found)
    call.results.stream(replay.views(), SimulationView)
    call.results.plot(replay.times, replay.admitted)
    if report.failed:
        raise report.failure(failed="contain no time")
