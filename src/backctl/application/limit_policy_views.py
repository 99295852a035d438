"""Views of rate limit policies, and of resets."""

from dataclasses import dataclass
from typing import ClassVar, Self

from backctl.application.durations import Seconds
from backctl.domain.rate_limit import STAMP_BYTES, Policy


@dataclass(frozen=True, slots=True)
class PolicyView:
    """A policy and its consequences.

    `worst_burst` is the highest number of requests in any period as long as the window. `bytes_per_ident` is the size
    limit of the stored state of one identifier.
    """

    PLURAL: ClassVar = "policies"
    TABLE: ClassVar = ("name", "algorithm", "limit", "window", "burst", "worst_burst", "on_error")
    SPARE: ClassVar = ("worst_burst", "on_error", "algorithm")

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
