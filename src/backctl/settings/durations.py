"""Lengths of time as people write them: a whole number and a unit, integer microseconds inside."""

import re

from backctl.domain.errors import InvalidDuration, quoted

_MICROSECONDS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_LONGEST_DAYS = 36_500  # a century: longer is a slip, and everything below fits 64 bits


def parse_duration(text: str) -> int:
    """Read `500ms`, `30s`, `2m`, `1h` or `7d` as microseconds.

    One number and one unit, nothing else: `90` could be anything, and `1h30m` reads as well as `90m`.
    Raises InvalidDuration, naming the units.
    """
    match = re.fullmatch(r"([0-9]{1,13})(ms|s|m|h|d)", text)
    if match is None:
        raise InvalidDuration(
            f"{quoted(text)} is not a duration",
            hint="write a whole number and a unit (ms, s, m, h or d), such as 30s",
        )
    duration = int(match[1]) * _MICROSECONDS[match[2]]
    if duration > _LONGEST_DAYS * _MICROSECONDS["d"]:
        raise InvalidDuration(f"{quoted(text)} is longer than {_LONGEST_DAYS}d")
    return duration


def format_duration(microseconds: int) -> str:
    """The shortest exact spelling that `parse_duration` reads back; fractions of a millisecond are cut off."""
    for unit in ("d", "h", "m", "s"):
        if microseconds and microseconds % _MICROSECONDS[unit] == 0:
            return f"{microseconds // _MICROSECONDS[unit]}{unit}"
    return f"{microseconds // 1_000}ms" if microseconds else "0s"
