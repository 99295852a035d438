"""Views of rate limits."""

from dataclasses import dataclass
from typing import ClassVar, Self

from backctl.application.durations import Seconds
from backctl.domain.rate_limit import NEVER, Decision


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


def shown(identifier: bytes) -> str:
    """Return an identifier as text; bytes that are not UTF-8 as escapes such as `\\xff`."""
    return identifier.decode(errors="backslashreplace")


def _whole(seconds: float) -> int:
    return -int(-seconds // 1)


def _structured(text: str) -> str:
    """Return a string of RFC 9651 section 3.3.3, which has only printable ASCII; other characters as `?`."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
