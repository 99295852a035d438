"""Fails at once while a node is down, so that a service does not wait for a timeout in every request."""

from collections.abc import Callable
from typing import Final

_FAILURES: Final = 3
_PAUSE_S: Final = 2.0


class CircuitBreaker:
    """Opens after three failed runs in a row. Two seconds later, it lets one run try again.

    A run may try the node several times; it counts once. Works in any thread: a race lets at most a few more runs
    through. `run` is any object that is the same in one run.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._opens_at = 0.0
        self._trial: object = None
        self._last_failed: object = None

    def permits(self, run: object) -> bool:
        """Whether to try. Afterwards call `succeeded` or `failed`."""
        if self._failures < _FAILURES or run is self._trial or run is self._last_failed:
            return True
        now = self._monotonic()
        if now < self._opens_at:
            return False
        self._trial, self._opens_at = run, now + _PAUSE_S  # the others wait until this one has succeeded
        return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, run: object) -> None:
        if run is not self._last_failed:
            self._failures += 1
            self._last_failed = run
        self._opens_at = self._monotonic() + _PAUSE_S
