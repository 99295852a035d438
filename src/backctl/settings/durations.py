"""Parses and formats durations: a whole number and a unit as text, integer microseconds in code."""

import re

from backctl.domain.errors import InvalidDuration
from backctl.domain.quoting import quoted

_MICROSECONDS = {
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_LONGEST_DAYS = 36_500  # a century; anything longer is a typing error, and this fits 64 bits


def parse_duration(text: str) -> int:
    """Read `500ms`, `30s`, `2m`, `1h`, `7d` or `2w` as microseconds.

    Accepts exactly one number and one unit: `90` would be ambiguous, and `1h30m` can be written `90m`.
    Raises InvalidDuration, which names the units.
    """
    match = re.fullmatch(r"([0-9]{1,13})(ms|s|m|h|d|w)", text)
    if match is None:
        raise InvalidDuration(
            f"{quoted(text)} is not a duration",
            hint="write a whole number and a unit (ms, s, m, h, d or w), such as 30s",
        )
    duration = int(match[1]) * _MICROSECONDS[match[2]]
    if duration > _LONGEST_DAYS * _MICROSECONDS["d"]:
        raise InvalidDuration(f"{quoted(text)} is longer than {_LONGEST_DAYS}d")
    return duration


def format_duration(microseconds: int) -> str:
    """Return the duration in the largest unit up to days that divides it. Drops fractions of a millisecond."""
    for unit in ("d", "h", "m", "s"):
        if microseconds and microseconds % _MICROSECONDS[unit] == 0:
            return f"{microseconds // _MICROSECONDS[unit]}{unit}"
    return f"{microseconds // 1_000}ms" if microseconds else "0s"
