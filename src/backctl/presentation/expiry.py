"""The options for the expiry of an account."""

from typing import TYPE_CHECKING, Annotated

from typer import Option

from backctl.domain.errors import UsageError
from backctl.domain.values import NEVER, Expiry
from backctl.presentation.parameters import duration
from backctl.presentation.times import absolute_time, is_duration

if TYPE_CHECKING:
    from backctl.presentation.context import Invocation

ExpiresAt = Annotated[
    str | None,
    Option(
        "--expires-at",
        metavar="TIME",
        help="Expire the account at this time, for example 2026-12-31 or 30d (in 30 days).",
    ),
]
ExpiresIn = Annotated[
    str | None,
    Option("--expires-in", metavar="DURATION", help="Expire the account after this time, for example 8h or 30d."),
]


def expiry_of(at: str | None, after: str | None, *, never: bool = False) -> Expiry | None:
    """Return the expiry that the options give, None for none. Raises UsageError for two of them; InvalidInput."""
    if (at is not None) + (after is not None) + never > 1:
        raise UsageError("the options give more than one expiry", hint="use --expires-at or --expires-in")
    if at is not None:
        return Expiry(after=duration(at)) if is_duration(at) else Expiry(at=absolute_time(at))
    if after is not None:
        return Expiry(after=duration(after))
    return NEVER if never else None


def confirm_past_expiry(call: "Invocation", expiry: Expiry | None) -> None:
    """Require `--yes` or a yes at the terminal before an account gets an expiry that is not in the future."""
    if expiry is None:
        return
    now = call.now()
    moment = expiry.counted_from(now)
    if moment is not None and moment <= now:
        call.guard.confirm(f"{call.action} with an expiry in the past ({moment})")
