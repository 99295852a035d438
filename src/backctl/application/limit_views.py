"""Views of rate limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from backctl.application.durations import Seconds
from backctl.domain.rate_limit import NEVER, Decision


@dataclass(frozen=True, slots=True)
class LimitView:
    """The answer of one policy for one identifier.

    `retry_after` is 0 if the request is allowed, and -1 if its cost exceeds what the policy admits at once.
    `reset_after` is the time until the full limit is available again. `window` is the time in which as much as `limit`
    is admitted; with a burst, not the window of the policy. `degraded`: the store was unavailable, and
    `on_error` of the policy decided.
    """

    PLURAL: ClassVar = "active rate limits"
    TABLE: ClassVar = ("policy", "ident", "ok", "limit", "remaining", "retry_after", "reset_after")
    SPARE: ClassVar = ("reset_after", "limit")

    ok: bool
    policy: str
    ident: str
    limit: int
    remaining: int
    retry_after: Seconds
    reset_after: Seconds
    degraded: bool
    window: Seconds

    @staticmethod
    def headers_of(views: Sequence["LimitView"]) -> list[str]:
        """Return the fields of an HTTP response: draft-ietf-httpapi-ratelimit-headers-10, RFC 9110 section 10.2.3.

        `views` are the answers to one request. Times in the fields are whole seconds, so they are rounded up.
        """
        names = [(_structured(view.policy), view) for view in views]
        policies = ", ".join(f"{name};q={view.limit};w={_whole(view.window)}" for name, view in names)
        limits = ", ".join(f"{name};r={view.remaining};t={_whole(view.reset_after)}" for name, view in names)
        waits = [view.retry_after for view in views if not view.ok]
        fields = [f"RateLimit-Policy: {policies}", f"RateLimit: {limits}"]
        if waits and min(waits) >= 0:
            fields.append(f"Retry-After: {_whole(max(waits))}")
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
            Seconds.of(-(-decision.policy.window * decision.policy.capacity // decision.policy.limit)),
        )


def shown(identifier: bytes) -> str:
    """Return an identifier as text; bytes that are not UTF-8 as escapes such as `\\xff`."""
    return identifier.decode(errors="backslashreplace")


def _whole(seconds: float) -> int:
    return -int(-seconds // 1)


def _structured(text: str) -> str:
    """Return a string of RFC 9651 section 3.3.3, which has only printable ASCII; other characters as `?`."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
