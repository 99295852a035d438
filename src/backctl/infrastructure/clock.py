"""Reads the system clock. Apart from `host`, so that a rate limit does not load the values of the domain."""

import time
from functools import partial

from backctl.domain.errors import SET_CLOCK, ClockUnusable, clock_fault_of


def microseconds() -> int:
    """Return the microseconds since 1970. Raises ClockUnusable for a time before that or after 2262."""
    try:
        time_ns = time.time_ns()
    except OverflowError as error:
        raise clock_fault_of(error) or error from None
    if time_ns < 0:
        raise ClockUnusable("the system clock shows a time before 1970", hint=SET_CLOCK)
    return time_ns // 1000


seconds_with_suspensions = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Returns the seconds since the machine was started, including those in which it was suspended.

On macOS, that is CLOCK_MONOTONIC."""
