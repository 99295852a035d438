"""The flags that say when an account ends."""

from typing import Annotated

from typer import Option

from backctl.domain.errors import UsageError
from backctl.domain.values import NEVER, Expiry, Instant

ExpiresAt = Annotated[
    str | None, Option("--expires-at", metavar="TIME", help="End the account at this time, such as 2026-12-31.")
]
ExpiresIn = Annotated[
    str | None, Option("--expires-in", metavar="DURATION", help="End the account after this time, such as 8h or 30d.")
]


def expiry_of(at: str | None, after: str | None, *, never: bool = False) -> Expiry | None:
    """What the flags ask for; None when they say nothing. Raises UsageError for two of them, InvalidInput kinds."""
    if (at is not None) + (after is not None) + never > 1:
        raise UsageError("an account ends in one way only", hint="choose --expires-at or --expires-in")
    if at is not None:
        return Expiry(at=Instant.parse(at))
    if after is not None:
        from backctl.settings.durations import parse_duration

        return Expiry(after=parse_duration(after))
    return NEVER if never else None
