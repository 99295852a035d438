"""Views of rate limits."""

from dataclasses import dataclass
from typing import ClassVar, Self

from backctl.application.durations import Seconds
from backctl.domain.rate_limit import NEVER, STAMP_BYTES, Decision, Policy


@dataclass(frozen=True, slots=True)
class LimitView:
    """The answer of one policy for one identifier.

    `retry_after` is 0 if the request is allowed, and -1 if its cost exceeds what the policy admits at once.
    `reset_after` is the time until the full limit is available again. `degraded`: the store was unavailable, and
    `on_error` of the policy decided.
    """

    TABLE: ClassVar = ("policy", "ident", "ok", "limit", "remaining", "retry_after", "reset_after")

    ok: bool
    policy: str
    ident: str
    limit: int
    remaining: int
    retry_after: Seconds
    reset_after: Seconds
    degraded: bool
    window: Seconds

    def headers(self) -> list[str]:
        """Return the fields of an HTTP response: draft-ietf-httpapi-ratelimit-headers-10, RFC 9110 section 10.2.3.

        Their times are whole seconds, so they are rounded up.
        """
        name = _structured(self.policy)
        fields = [
            f"RateLimit-Policy: {name};q={self.limit};w={_whole(self.window)}",
            f"RateLimit: {name};r={self.remaining};t={_whole(self.reset_after)}",
        ]
        if not self.ok and self.retry_after >= 0:
            fields.append(f"Retry-After: {_whole(self.retry_after)}")
        return fields

    @classmethod
    def of(cls, decision: Decision, identifier: bytes) -> Self:
        wait = decision.retry_after
        return cls(
            decision.allowed,
            decision.policy.name,
            shown(identifier),
            decision.policy.capacity,
            decision.remaining,
            Seconds(-1) if wait == NEVER else Seconds.of(wait),
            Seconds.of(decision.reset_after),
            decision.degraded,
            Seconds.of(decision.policy.window),
        )


@dataclass(frozen=True, slots=True)
class PolicyView:
    """A policy and its consequences.

    `worst_burst` is the highest number of requests in any period as long as the window. `bytes_per_ident` is the size
    limit of the stored state of one identifier.
    """

    TABLE: ClassVar = ("name", "algorithm", "limit", "window", "burst", "worst_burst", "on_error")

    name: str
    algorithm: str
    limit: int
    window: Seconds
    burst: int
    on_error: str
    worst_burst: int
    bytes_per_ident: int
    summary: str

    @classmethod
    def of(cls, policy: Policy) -> Self:
        return cls(
            policy.name,
            policy.algorithm,
            policy.limit,
            Seconds.of(policy.window),
            policy.capacity,
            policy.on_error,
            policy.worst_burst,
            policy.state_bytes,
            _summary(policy),
        )


@dataclass(frozen=True, slots=True)
class ResetView:
    """The identifier whose consumption was forgotten, and under which policy."""

    policy: str
    ident: str


def shown(identifier: bytes) -> str:
    """Return an identifier as text; bytes that are not UTF-8 as escapes such as `\\xff`."""
    return identifier.decode(errors="backslashreplace")


def _whole(seconds: float) -> int:
    return -int(-seconds // 1)


def _structured(text: str) -> str:
    """Return a string of RFC 9651 section 3.3.3, which has only printable ASCII; other characters as `?`."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _summary(policy: Policy) -> str:
    """Explain a policy in words."""
    window = f"{policy.window / 1_000_000:g} s"
    match policy.algorithm:
        case "sliding-window":
            return (
                f"at most {policy.limit} in any {window}, exactly; stores each admitted request in {STAMP_BYTES} bytes"
            )
        case "sliding-counter":
            return (
                f"about {policy.limit} in any {window}, at most {policy.worst_burst} at the worst moments; "
                "stores two counts"
            )
        case "gcra":
            return (
                f"{policy.limit} in {window}, evenly spaced, and up to {policy.capacity} at once after a pause, so at "
                f"most {policy.worst_burst} in any {window}; stores two times"
            )
