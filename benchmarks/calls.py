"""Compares functions within one process: the cost of a call in a service.

The functions take turns. Each turn has many calls, and its result is the time per call. Garbage is collected between
turns, not during them.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.measure import Broken


@dataclass(frozen=True, slots=True)
class Call:
    """A function to measure. It must return True, or the benchmark ends. One call processes `items` items."""

    name: str
    function: Callable[[], bool]
    items: int = 1


@dataclass(frozen=True, slots=True)
class CallTiming:
    """Seconds per item, one value for each turn."""

    turns: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.turns)

    @property
    def fastest(self) -> float:
        return min(self.turns)


def interleaved_calls(calls: Sequence[Call], rounds: int, *, seconds: float = 0.02) -> dict[str, CallTiming]:
    """Run every function once per round, for about `seconds`. The order rotates with each round, as with processes."""
    times = {call.name: _times_in(call, seconds) for call in calls}
    turns: dict[str, list[float]] = {call.name: [] for call in calls}
    gc.disable()
    try:
        for turn in range(rounds + 1):
            for place in range(len(calls)):
                call = calls[(place + turn) % len(calls)]
                gc.collect()
                taken = _taken(call, times[call.name])
                if turn > 0:
                    turns[call.name].append(taken)
    finally:
        gc.enable()
    return {name: CallTiming(tuple(taken)) for name, taken in turns.items()}


def _times_in(call: Call, seconds: float) -> int:
    """Return how often to call it in a turn, and check its result."""
    if not call.function():
        raise Broken(f"{call.name} gave a wrong answer")
    return max(1, round(seconds / (_taken(call, 5) * call.items)))


def _taken(call: Call, times: int) -> float:
    function, right = call.function, 0
    started = time.perf_counter()
    for _ in range(times):
        right += function()
    seconds = time.perf_counter() - started
    if right != times:
        raise Broken(f"{call.name} gave a wrong answer")
    return seconds / times / call.items
