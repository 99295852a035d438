"""Stops a batch in a controlled way when a signal arrives."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TypeVar

from backctl.presentation.errors import Terminated

T = TypeVar("T")


class Interruption:
    """The first signal lets work that has begun finish, and ends waiting for input. The second stops at once."""

    def __init__(self, *, announce: bool) -> None:
        """`announce`: say on standard error that work is being finished."""
        self._announce = announce
        self._waiting = False
        self._signal: int | None = None

    @property
    def has_come(self) -> bool:
        """Whether a signal has arrived: begin nothing further."""
        return self._signal is not None

    def error(self) -> BaseException:
        """The exception that ends the process with the exit code of the signal."""
        return KeyboardInterrupt() if self._signal in (None, signal.SIGINT) else Terminated(self._signal)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Handle SIGINT, SIGTERM and SIGHUP within the block."""
        before = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup
                    before[number] = signal.signal(number, self._arrived)
        except ValueError:  # not the main thread, which cannot handle signals
            before.clear()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def waiting(self, read: Callable[[int], T]) -> Callable[[int], T]:
        """Wrap a function that reads input, so that a signal ends it with the exception of the signal."""

        def reading(size: int) -> T:
            self._waiting = True
            try:
                if self.has_come:
                    raise self.error()
                return read(size)
            finally:
                self._waiting = False

        return reading

    def _arrived(self, number: int, _: FrameType | None) -> None:
        again, self._signal = self.has_come, self._signal or number
        if again or self._waiting:
            raise self.error()
        if self._announce:
            # Not through sys.stderr: the signal may have interrupted a write to it.
            with suppress(OSError):
                os.write(2, b"backctl: finishing the changes that have begun; interrupt again to stop at once\n")


def lines_until(interruption: Interruption, read_line: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Wrap a function that reads lines, so that a signal ends the input: lines that were read are still processed."""
    reading = interruption.waiting(read_line)

    def read(size: int) -> bytes:
        try:
            return reading(size)
        except (KeyboardInterrupt, Terminated):
            return b""

    return read
