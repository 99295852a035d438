"""Check, inspect and reset rate limits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backctl.application.guard import Guard, guarded
from backctl.application.limit_views import LimitView, shown
from backctl.application.ports.limits import LimitStore, Outcome, Request, raised
from backctl.domain.errors import BackctlError, InvalidRateLimit, PolicyNotFound
from backctl.domain.quoting import quoted
from backctl.domain.rate_limit import IDENTIFIER_MAX, LIMIT_MAX, Decision, Policy

if TYPE_CHECKING:
    from backctl.application.attribution import Attribution
    from backctl.application.limit_policy_views import PolicyView, ResetView
    from backctl.application.ports.storage import UnitOfWork
    from backctl.application.transactions import Transactions
    from backctl.application.views import Change

_UNKNOWN_WAIT_US = 1_000_000
"""The wait in a refusal by `on_error`, because the real one is unknown."""


@dataclass(frozen=True, slots=True)
class LimitService:
    """Answers whether an identifier may do something now. Works in any thread.

    A policy is the name of a configured one, or a `Policy`. An identifier is a text or bytes, such as a user id or an
    address; up to 1024 bytes. Methods raise PolicyNotFound, InvalidRateLimit, and the errors of the store, unless
    `on_error` of the policy answers instead.
    """

    policies: Mapping[str, Policy]
    store: Callable[[], LimitStore]
    transactions: "Callable[[], Transactions]"
    has_installation: Callable[[], bool]
    monotonic: Callable[[], float]
    """Returns seconds."""
    sleep: Callable[[float], None]
    guard: Guard = field(default_factory=Guard)

    def check(self, policy: str | Policy, identifier: str | bytes, cost: int = 1) -> LimitView:
        """Consume `cost` if the limit permits it."""
        return self._answer(policy, identifier, cost, consume=True)

    def check_all(
        self, policies: Sequence[str | Policy], identifier: str | bytes, cost: int = 1
    ) -> tuple[LimitView, ...]:
        """Consume `cost` from all policies if all of them permit it, else from none. Returns their answers in order."""
        raw = checked_identifier(identifier)
        found = [self._found(policy) for policy in policies]
        if len({_identity(policy) for policy in found}) < len(found):
            raise InvalidRateLimit("a policy is named twice", hint="name each policy once")
        decisions = raised(self._outcomes(found, [Request(raw, checked_cost(cost))], consume=True)[0])
        return tuple(LimitView.of(decision, raw) for decision in decisions)

    def check_each(self, policy: str | Policy, requests: Sequence[Request]) -> "list[Decision | BackctlError]":
        """Check requests of many identifiers at once, in order. Each consumes independently of the others.

        Returns a decision for each, or the error of the store: Unavailable or Unusable. Does not check the identifiers
        and costs; see `checked_identifier` and `checked_cost`.
        """
        outcomes = self._outcomes([self._found(policy)], requests, consume=True)
        return [outcome if isinstance(outcome, BackctlError) else outcome[0] for outcome in outcomes]

    def peek(self, policy: str | Policy, identifier: str | bytes, cost: int = 1) -> LimitView:
        """Return what `check` would, without consuming anything."""
        return self._answer(policy, identifier, cost, consume=False)

    def wait(self, policy: str | Policy, identifier: str | bytes, cost: int = 1, *, up_to: int) -> LimitView:
        """Like `check`, but wait until the limit permits it, for at most `up_to` microseconds.

        Returns the refusal at once if the wait would be longer.
        """
        give_up = self.monotonic() + up_to / 1_000_000
        while True:
            answer = self.check(policy, identifier, cost)
            if answer.ok or answer.retry_after < 0 or self.monotonic() + answer.retry_after > give_up:
                return answer
            self.sleep(answer.retry_after)

    def all_policies(self) -> "tuple[PolicyView, ...]":
        """Return the configured policies in alphabetical order."""
        from backctl.application.limit_policy_views import PolicyView

        return tuple(PolicyView.of(self.policies[name]) for name in sorted(self.policies))

    def policy(self, name: str) -> Policy:
        """Raises PolicyNotFound."""
        if name in self.policies:
            return self.policies[name]
        known = ", ".join(map(quoted, sorted(self.policies)[:10]))
        raise PolicyNotFound(
            f"the rate limit policy {quoted(name)} does not exist",
            hint=f"configured policies: {known}"
            if known
            else "no policy is configured; set one under [ratelimit.policies.NAME], or use --rate",
        )

    def usage(self, names: Sequence[str] = (), *, only_limited: bool = False) -> Iterator[LimitView]:
        """Yield the identifiers that have consumed something under the configured policies, or under these.

        `only_limited` selects those that could not make another request now.
        """
        chosen = [self.policy(name) for name in names] or list(self.policies.values())
        for identifier, decision in self.store().usage(chosen) if chosen else ():
            if not (only_limited and decision.allowed):
                yield LimitView.of(decision, identifier)

    def reset(
        self, policy: str | Policy, identifier: str | bytes, *, by: "Attribution", dry_run: bool = False
    ) -> "Change[ResetView]":
        """Forget what the identifier has consumed. Recorded as an event if there is an installation."""
        from backctl.application.limit_policy_views import ResetView
        from backctl.application.views import Change, is_change
        from backctl.domain.events import RateLimitReset

        found, raw = self._found(policy), checked_identifier(identifier)
        view = ResetView(found.name, shown(raw))

        def step(work: "UnitOfWork") -> Change[ResetView]:
            work.record(RateLimitReset(found.name, view.ident))
            work.write()
            self.store().reset([found], raw)  # before the COMMIT, so that no event tells of a reset that failed
            return Change(view, changed=True)

        def attempt(dry_run: bool) -> Change[ResetView]:
            used = self.store().reset([found], raw, dry_run=True)  # outside the transaction
            if used and not dry_run:
                if self.has_installation():
                    return self.transactions().run(step, by=by)
                self.store().reset([found], raw)
            return Change(view, changed=used)

        return guarded(attempt, guard=self.guard, changes=is_change, dry_run=dry_run)

    def _answer(self, policy: str | Policy, identifier: str | bytes, cost: int, *, consume: bool) -> LimitView:
        found, raw = self._found(policy), checked_identifier(identifier)
        request = Request(raw, checked_cost(cost))
        (decision,) = raised(self._outcomes([found], [request], consume=consume)[0])
        return LimitView.of(decision, raw)

    def _outcomes(self, policies: Sequence[Policy], requests: Sequence[Request], *, consume: bool) -> Sequence[Outcome]:
        """Return the outcomes of the store. `on_error` replaces errors, unless a policy has `fail`."""
        outcomes = self.store().check(policies, requests, consume=consume)
        if any(policy.on_error == "fail" for policy in policies):
            return outcomes
        degraded = [_degraded(policy) for policy in policies]
        return [degraded if isinstance(outcome, BackctlError) else outcome for outcome in outcomes]

    def _found(self, policy: str | Policy) -> Policy:
        return policy if isinstance(policy, Policy) else self.policy(policy)


def checked_identifier(identifier: str | bytes) -> bytes:
    """Return the bytes of an identifier. Raises InvalidRateLimit if it is empty or too long."""
    raw = identifier if isinstance(identifier, bytes) else identifier.encode(errors="surrogateescape")
    if not raw:
        raise InvalidRateLimit("the identifier is empty", hint="name who is limited, for example by an account id")
    if len(raw) > IDENTIFIER_MAX:
        raise InvalidRateLimit(
            f"the identifier has {len(raw)} bytes", hint=f"use at most {IDENTIFIER_MAX}, for example a digest of it"
        )
    return raw


def checked_cost(cost: int) -> int:
    """Raises InvalidRateLimit."""
    if not 1 <= cost <= LIMIT_MAX:
        raise InvalidRateLimit(f"the cost is {cost}", hint=f"use a whole number from 1 to {LIMIT_MAX}")
    return cost


def _degraded(policy: Policy) -> Decision:
    """Return the answer of `on_error`."""
    allowed = policy.on_error == "allow"
    return Decision(policy, allowed, 0, 0 if allowed else _UNKNOWN_WAIT_US, 0, degraded=True)


def _identity(policy: Policy) -> tuple[object, ...]:
    """Return what a store distinguishes policies by."""
    return policy.name, policy.algorithm, policy.limit, policy.window, policy.capacity
