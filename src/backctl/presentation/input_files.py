"""Standard input and the files that flags name: opened without waiting, and read as they come.

Whoever reads says how much at most: what is read may be endless, and so may be a line of it.
"""

import errno
import io
import os
import stat
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from backctl.domain.errors import UsageError, quoted, raise_exhaustion
from backctl.presentation import terminal

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def require_standard_input() -> None:
    """Raises UsageError where it is closed."""
    if terminal.input_is_closed():
        raise UsageError("standard input is closed", hint="pipe the input in, or name a file")


def standard_input(how: Literal["read", "readline"]) -> Callable[[int], bytes]:
    """How to read so many bytes of standard input, or a line and at most so many bytes of it.

    Raises UsageError where it is closed, and when it cannot be read.
    """
    require_standard_input()
    method: Callable[[int], bytes] = getattr(sys.stdin.buffer, how)

    def read(size: int) -> bytes:
        try:
            return method(size)
        except OSError as error:
            reason = error.strerror or "it is not open for reading"
            raise UsageError(f"standard input cannot be read: {reason}") from None

    return read


class NamedFile(io.RawIOBase):
    """The file at `path`, named by `flag`, unbuffered. A pipe is read to its end, and a device as long as it lasts.

    Opening never waits: a named pipe that no process has opened for writing is refused. Everything here raises
    UsageError for what cannot be read.
    """

    def __init__(self, flag: str, path: str) -> None:
        self._shown = f"{flag} {quoted(path)}"
        self._first = b""
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
            mode = os.fstat(self._descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise self._unreadable(os.strerror(errno.EISDIR))
            if stat.S_ISFIFO(mode) and _has_name(path):
                self._require_writer(self._descriptor)
            os.set_blocking(self._descriptor, True)
        except OSError as error:
            self.close()
            raise_exhaustion(error)
            raise self._unreadable(error.strerror) from None
        except ValueError:  # a NUL in the name
            raise self._unreadable("a file name cannot contain a NUL character") from None
        except UsageError:
            self.close()
            raise

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._descriptor is None:
            raise ValueError("the file is closed")
        return self._descriptor

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Raises UsageError."""
        view = memoryview(buffer).cast("B")
        if self._first and view:
            view[:1], self._first = self._first, b""
            return 1
        try:
            return os.readv(self.fileno(), [view])
        except OSError as error:
            raise self._unreadable(error.strerror) from None

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
        super().close()

    def _require_writer(self, descriptor: int) -> None:
        try:
            self._first = os.read(descriptor, 1)
        except BlockingIOError:  # a writer that has not written yet
            return
        if not self._first:
            raise self._unreadable(
                "no process writes to this pipe", hint="start the writer first, or pipe it in and read '-'"
            )

    def _unreadable(self, reason: str | None, hint: str | None = None) -> UsageError:
        return UsageError(f"{self._shown} cannot be read: {reason}", hint=hint)


def _has_name(path: str) -> bool:
    """Whether a pipe is a file of its own; the /dev/fd/63 of a shell's `<(…)` is not."""
    try:
        return stat.S_ISFIFO(os.lstat(os.path.realpath(path)).st_mode)
    except OSError:
        return False
