"""Fails at once while a server is down, so that a service does not wait for a timeout in every request."""

from collections.abc import Callable
from typing import Final

_FAILURES: Final = 3
_PAUSE_S: Final = 2.0


class CircuitBreaker:
    """Opens after three failures in a row. Two seconds later, it lets one request try again.

    Works in any thread: a race lets at most a few more requests through.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._closed_at = 0.0

    def permits(self) -> bool:
        """Whether to try. Afterwards call `succeeded` or `failed`."""
        if self._failures < _FAILURES:
            return True
        now = self._monotonic()
        if now < self._closed_at:
            return False
        self._closed_at = now + _PAUSE_S  # for the others, until this one has succeeded
        return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        self._closed_at = self._monotonic() + _PAUSE_S
