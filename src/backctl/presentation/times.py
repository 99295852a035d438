"""Parses the times that options take: RFC 3339, a date, or a duration from now."""

import re
from collections.abc import Callable

from backctl.domain.errors import InvalidInput
from backctl.domain.values import Instant, RelativeInstant

Now = Callable[[], Instant]
"""Returns the current time; called only for a duration."""

_LIKE_A_DURATION = re.compile(r"[0-9]+[A-Za-z]+", re.ASCII)


def past_time(text: str | None, now: Now) -> Instant | None:
    """Parse an option; a duration such as `7d` goes back from now. Raises InvalidInput, InvalidDuration."""
    return _time(text, now, direction=-1)


def future_time(text: str | None, now: Now) -> Instant | None:
    """Parse an option; a duration such as `7d` goes forward from now. Raises InvalidInput, InvalidDuration."""
    return _time(text, now, direction=1)


def is_duration(text: str) -> bool:
    """Whether a time is written as a duration, valid or not."""
    return _LIKE_A_DURATION.fullmatch(text) is not None


def absolute_time(text: str) -> Instant:
    """Parse RFC 3339 or a date. The hint of InvalidInput also offers a duration."""
    try:
        return Instant.parse(text)
    except InvalidInput as error:
        raise InvalidInput(error.message, hint=f"{error.hint}, or a duration such as 7d") from None


def _time(text: str | None, now: Now, *, direction: int) -> Instant | None:
    if text is None:
        return None
    if is_duration(text):
        from backctl.settings.durations import parse_duration

        return RelativeInstant.of(direction * parse_duration(text), now())
    return absolute_time(text)
