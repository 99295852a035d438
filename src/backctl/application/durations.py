"""Durations in views."""

from typing import Self


class Seconds(float):
    """A duration in seconds, exact to the microsecond."""

    @classmethod
    def of(cls, microseconds: int) -> Self:
        return cls(microseconds / 1_000_000)
