"""Lets the threads of a process that need the same value at the same time load it once."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple


class Produced(NamedTuple):
    """A loaded value. `is_current`: nothing invalidated it while it was loaded, so later callers may have it too."""

    value: Any
    is_current: bool


class _Flight:
    __slots__ = ("began", "done", "error", "produced", "thread")

    def __init__(self, began: float) -> None:
        self.began = began
        self.thread = threading.get_ident()
        self.done = threading.Event()
        self.produced: Produced | None = None
        self.error: BaseException | None = None


class Flights:
    """Runs at most one loader for each key. `monotonic` returns seconds, and so is `timeout`.

    A caller that waits longer than `timeout` loads the value itself, and so does a loader that asks for its own key.
    A caller that arrived after a load had begun gets its value only if it is current: otherwise an invalidation that
    came before the caller could be ignored.
    """

    def __init__(self, monotonic: Callable[[], float], *, timeout: float) -> None:
        self._monotonic = monotonic
        self._timeout = timeout
        self.start_over()

    def start_over(self) -> None:
        """Forget the loads of the parent in a forked child."""
        self._lock = threading.Lock()
        self._running: dict[str, _Flight] = {}

    def run(self, key: str, produce: Callable[[], Produced]) -> Any:
        """Return the value of `produce`, or of a thread that is already producing it. Raises its errors."""
        arrived = self._monotonic()
        while True:
            with self._lock:
                flight = self._running.get(key)
                leads = flight is None
                if flight is None:
                    flight = self._running[key] = _Flight(self._monotonic())
            if leads:
                return self._lead(key, flight, produce)
            if flight.thread == threading.get_ident() or not flight.done.wait(self._timeout):
                return produce().value
            if isinstance(flight.error, Exception):
                raise flight.error
            produced = flight.produced
            if produced is not None and (produced.is_current or flight.began >= arrived):
                return produced.value

    def _lead(self, key: str, flight: _Flight, produce: Callable[[], Produced]) -> Any:
        try:
            flight.produced = produce()
        except BaseException as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                if self._running.get(key) is flight:
                    del self._running[key]
            flight.done.set()
        return flight.produced.value
