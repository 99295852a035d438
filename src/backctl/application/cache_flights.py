"""Loads a value once when several threads of a process need it at the same time."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple


class Produced(NamedTuple):
    """A value that was loaded or found in the cache. `due` are the tags of an entry that must be renewed."""

    value: Any
    due: tuple[bytes, ...] | None = None


class _Flight:
    __slots__ = ("done", "error", "number", "produced")

    def __init__(self, number: int) -> None:
        self.number = number
        self.done = threading.Event()
        self.produced: Produced | None = None
        self.error: BaseException | None = None


class Flights:
    """Runs at most one loader for each key. `timeout` is in seconds.

    A caller that waits longer than `timeout` loads the value itself.
    A caller only gets the result of a load that began after it arrived; otherwise it could get a value that was
    invalidated before. Callers that arrive during a load wait for it, then one of them checks the cache for all.
    """

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self.start_over()

    def start_over(self) -> None:
        """Forget the loads of the parent process; called again in a forked child."""
        self._lock = threading.Lock()
        self._running: dict[str, _Flight] = {}
        self._begun = 0

    def run(self, key: str, produce: Callable[[], Produced], alone: Callable[[], Produced]) -> Any:
        """Return the value from `produce`, called here or by another thread. Raises its errors.

        `alone` loads the value without waiting for anybody.
        """
        with self._lock:
            arrived = self._begun
        while True:
            with self._lock:
                flight = self._running.get(key)
                leads = flight is None
                if flight is None:
                    self._begun += 1
                    flight = self._running[key] = _Flight(self._begun)
            if leads:
                return self._lead(key, flight, produce)
            if not flight.done.wait(self._timeout):
                return alone().value
            if flight.number <= arrived:
                continue
            if isinstance(flight.error, Exception):
                raise flight.error
            if flight.produced is not None:
                return flight.produced.value

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
