"""Rate limits: policies, decisions, and the three algorithms as pure steps.

All times are integers in microseconds, and all arithmetic is exact: an identifier that retries exactly after
`retry_after` is admitted, one microsecond earlier it is not. A refused request consumes nothing. A clock that went back
stands still for the algorithms until it has caught up.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol, SupportsIndex

from backctl.domain.errors import InvalidRateLimit
from backctl.domain.quoting import quoted

Algorithm = Literal["sliding-window", "sliding-counter", "gcra"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = ("sliding-window", "sliding-counter", "gcra")
OnError = Literal["fail", "allow", "deny"]
ON_ERROR: Final[tuple[OnError, ...]] = ("fail", "allow", "deny")

LIMIT_MAX = 1_000_000_000
LOG_LIMIT_MAX = 100_000
"""The highest limit of a sliding window, which stores every admitted request."""
WINDOW_MIN, WINDOW_MAX = 1_000, 366 * 86_400_000_000
STAMP_BYTES = 7
"""The stored size of one admitted request of a sliding window."""
NAME_MAX = 255
IDENTIFIER_MAX = 1024
"""The length limit of an identifier in bytes."""

NEVER = -1
"""The wait of a cost that exceeds what the policy admits at once."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A named limit. `window` is in microseconds. Raises InvalidRateLimit for impossible values.

    - `sliding-window`: at most `limit` in any window. Exact; stores every admitted request.
    - `sliding-counter`: counts the current window and, weighted by its overlap, the previous one. Constant memory.
    - `gcra`: `limit` in each window, evenly spaced, and up to `burst` at once. Constant memory.

    `on_error` is the answer while the store is unavailable.
    """

    name: str
    limit: int
    window: int
    algorithm: Algorithm = "sliding-window"
    burst: int | None = None
    on_error: OnError = "fail"

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= NAME_MAX:
            raise InvalidRateLimit(f"the name of a policy has {len(self.name)} characters", hint=f"use 1 to {NAME_MAX}")
        highest = LOG_LIMIT_MAX if self.algorithm == "sliding-window" else LIMIT_MAX
        if not 1 <= self.limit <= highest:
            raise InvalidRateLimit(
                f"the limit of the policy {quoted(self.name)} is {self.limit}",
                hint=f"with the algorithm {self.algorithm} it must be a whole number from 1 to {highest}",
            )
        if not WINDOW_MIN <= self.window <= WINDOW_MAX:
            raise InvalidRateLimit(
                f"the window of the policy {quoted(self.name)} is too short or too long", hint="use 1ms to 366d"
            )
        if self.burst is None:
            return
        if self.algorithm != "gcra":
            raise InvalidRateLimit(
                f"the policy {quoted(self.name)} has a burst, which {self.algorithm} cannot have",
                hint="use the algorithm gcra, or remove the burst",
            )
        if not 1 <= self.burst <= LIMIT_MAX or self.burst * self.window > self.limit * WINDOW_MAX:
            raise InvalidRateLimit(
                f"the burst of the policy {quoted(self.name)} is {self.burst}",
                hint=f"it must be a whole number from 1 to {LIMIT_MAX} that is refilled within 366d",
            )

    @property
    def capacity(self) -> int:
        """The highest cost that can be admitted at once."""
        return self.limit if self.burst is None else self.burst

    @property
    def worst_burst(self) -> int:
        """The highest number of requests in any period as long as the window, however they are timed."""
        match self.algorithm:
            case "sliding-window":
                return self.limit
            case "sliding-counter":  # all of one window at its end, and almost all of the next
                return 2 * self.limit - 1
            case "gcra":  # a burst, and what is refilled meanwhile
                return self.capacity + self.limit - 1

    @property
    def state_bytes(self) -> int:
        """The size limit of the stored state of one identifier, without its key and the overhead of the store."""
        return _HEADER_BYTES + STAMP_BYTES * self.limit if self.algorithm == "sliding-window" else _HEADER_BYTES

    def begin(self) -> "State":
        """Return the state of an identifier that has made no request."""
        match self.algorithm:
            case "sliding-window":
                return SlidingWindow(self)
            case "sliding-counter":
                return SlidingCounter(self)
            case "gcra":
                return Gcra(self)


_HEADER_BYTES = 24


class Decision(NamedTuple):
    """The answer of one policy. Times are in microseconds."""

    policy: Policy
    allowed: bool
    remaining: int
    """How much more would be admitted now."""
    retry_after: int
    """When the same cost would be admitted: 0 if it is allowed, NEVER if it exceeds the capacity."""
    reset_after: int
    """When the full limit would be available again, without further requests."""
    degraded: bool = False
    """Whether `on_error` gave the answer, because the store was unavailable."""


class State(Protocol):
    """The requests of one identifier under one policy. `now` may be earlier than in a previous call."""

    def wait(self, cost: int, now: int) -> int:
        """Return the time until `cost` would be admitted, 0 for at once, or NEVER if it exceeds the capacity."""
        ...

    def admit(self, cost: int, now: int) -> None:
        """Consume `cost`, which `wait` has found admissible at the same `now`."""
        ...

    def remaining(self, now: int) -> int: ...

    def reset_after(self, now: int) -> int: ...

    @property
    def ends_at(self) -> int:
        """The time from which the state equals that of an identifier that has made no request."""
        ...


def decide(states: Sequence[tuple[Policy, State]], cost: int, now: int, *, consume: bool = True) -> list[Decision]:
    """Check the same request against several policies. It consumes from all of them, or from none if one refuses."""
    waits = [state.wait(cost, now) for _, state in states]
    if consume and not any(waits):
        for _, state in states:
            state.admit(cost, now)
    return [
        Decision(policy, wait == 0, state.remaining(now), wait, state.reset_after(now))
        for (policy, state), wait in zip(states, waits, strict=True)
    ]


class Stamps(Protocol):
    """Times in ascending order. A list is one; a store can read them where they are."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: SupportsIndex, /) -> int: ...

    def __delitem__(self, at: slice, /) -> None: ...

    def extend(self, stamps: Sequence[int], /) -> None: ...


class SlidingWindow:
    """The times of the admitted requests of one window, oldest first."""

    __slots__ = ("policy", "stamps")

    def __init__(self, policy: Policy, stamps: "Stamps | None" = None) -> None:
        self.policy = policy
        self.stamps: Stamps = [] if stamps is None else stamps

    def wait(self, cost: int, now: int) -> int:
        if cost > self.policy.limit:
            return NEVER
        _, first, end = self._seen(now)
        excess = end - first + cost - self.policy.limit
        return 0 if excess <= 0 else self.stamps[first + excess - 1] + self.policy.window - now

    def admit(self, cost: int, now: int) -> None:
        moment, first, end = self._seen(now)
        del self.stamps[end:]
        del self.stamps[:first]
        self.stamps.extend([moment] * cost)

    def remaining(self, now: int) -> int:
        _, first, end = self._seen(now)
        return self.policy.limit - (end - first)

    def reset_after(self, now: int) -> int:
        _, first, end = self._seen(now)
        return self.stamps[end - 1] + self.policy.window - now if end > first else 0

    @property
    def ends_at(self) -> int:
        return self.stamps[-1] + self.policy.window if self.stamps else 0

    def _seen(self, now: int) -> tuple[int, int, int]:
        """Return the time, which never goes back, and the range of the requests in the window that ends then."""
        stamps, window, end = self.stamps, self.policy.window, len(self.stamps)
        if end and stamps[-1] > now + window:  # from a clock that was far ahead
            end = bisect_right(stamps, now + window)
        moment = max(now, stamps[end - 1]) if end else now
        return moment, bisect_right(stamps, moment - window, 0, end), end


class SlidingCounter:
    """The counts of the current and the previous window. Windows begin at multiples of their length.

    The previous window counts in proportion to the part of it that the window before `now` overlaps, rounded up.
    """

    __slots__ = ("current", "last", "policy", "previous")

    def __init__(self, policy: Policy, current: int = 0, previous: int = 0, last: int = 0) -> None:
        """`last` is the time of the last admission, in the current window."""
        self.policy = policy
        self.current = current
        self.previous = previous
        self.last = last

    def wait(self, cost: int, now: int) -> int:
        limit, window = self.policy.limit, self.policy.window
        if cost > limit:
            return NEVER
        moment, start, current, previous = self._seen(now)
        room = limit - current - cost
        if room < 0:  # not before the next window, in which the current one is the previous
            start, previous, room = start + window, current, limit - cost
        # Admitted as soon as previous * (window - elapsed) / window <= room.
        earliest = start if previous <= room else start + window - room * window // previous
        return 0 if earliest <= moment else earliest - now

    def admit(self, cost: int, now: int) -> None:
        self.last, _, current, self.previous = self._seen(now)
        self.current = current + cost

    def remaining(self, now: int) -> int:
        moment, start, current, previous = self._seen(now)
        window = self.policy.window
        overlapping = -(-previous * (start + window - moment) // window)
        return max(0, self.policy.limit - current - overlapping)

    def reset_after(self, now: int) -> int:
        _, start, current, previous = self._seen(now)
        windows = 2 if current else 1 if previous else 0
        return start + windows * self.policy.window - now if windows else 0

    @property
    def ends_at(self) -> int:
        return self.last - self.last % self.policy.window + 2 * self.policy.window

    def _seen(self, now: int) -> tuple[int, int, int, int]:
        """Return the time, which never goes back, the start of its window, and the counts of this and the previous."""
        window, last = self.policy.window, self.last
        if last > now + window:  # from a clock that was far ahead
            return now, now - now % window, 0, 0
        moment = max(now, last)
        start, begun = moment - moment % window, last - last % window
        if start == begun:
            return moment, start, self.current, self.previous
        return moment, start, 0, self.current if start == begun + window else 0


class Gcra:
    """The generic cell rate algorithm in its virtual scheduling form: ITU-T I.371 (2004), annex A.

    Every unit of cost delays the theoretical arrival time by `window / limit`, a fraction: `tat` is its integer part,
    and `fraction` is its rest in units of `1 / limit`.
    """

    __slots__ = ("fraction", "last", "policy", "tat")

    def __init__(self, policy: Policy, tat: int = 0, fraction: int = 0, last: int = 0) -> None:
        """`last` is the time of the last admission."""
        self.policy = policy
        self.tat = tat
        self.fraction = fraction
        self.last = last

    def wait(self, cost: int, now: int) -> int:
        if cost > self.policy.capacity:
            return NEVER
        moment, tat, fraction = self._seen(now)
        # Conforms from tat - (capacity - cost) * window / limit, rounded up.
        earliest = tat - ((self.policy.capacity - cost) * self.policy.window - fraction) // self.policy.limit
        return 0 if earliest <= moment else earliest - now

    def admit(self, cost: int, now: int) -> None:
        self.last, tat, fraction = self._seen(now)
        whole, self.fraction = divmod(fraction + cost * self.policy.window, self.policy.limit)
        self.tat = tat + whole

    def remaining(self, now: int) -> int:
        moment, tat, fraction = self._seen(now)
        used = -(-((tat - moment) * self.policy.limit + fraction) // self.policy.window)
        return max(0, self.policy.capacity - used)

    def reset_after(self, now: int) -> int:
        moment, tat, fraction = self._seen(now)
        return tat + (fraction > 0) - now if (tat, fraction) != (moment, 0) else 0

    @property
    def ends_at(self) -> int:
        return self.tat + (self.fraction > 0)

    def _seen(self, now: int) -> tuple[int, int, int]:
        """Return the time, which never goes back, and the theoretical arrival time, which is not earlier."""
        if self.last > now + self.policy.window:  # from a clock that was far ahead
            return now, now, 0
        moment = max(now, self.last)
        return (moment, moment, 0) if self.tat < moment else (moment, self.tat, self.fraction)
