"""Standard input and the files that flags name: opened without waiting, and read as data arrives.

Every read has a limit, because the input may be endless, and so may one line of it.
"""

import errno
import io
import os
import stat
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from backctl.domain.errors import UsageError, raise_exhaustion
from backctl.domain.quoting import quoted
from backctl.presentation import terminal

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class StandardInput:
    """Standard input, which only one part of a command may read."""

    def __init__(self) -> None:
        self._claimed_by: str | None = None

    def claim(self, purpose: str) -> None:
        """Reserve it for `purpose`, the name of a flag. Raises UsageError if it is reserved already."""
        if self._claimed_by is not None:
            raise UsageError(
                f"both {self._claimed_by} and {purpose} read standard input",
                hint="give one of them another way, such as a file or a descriptor",
            )
        self._claimed_by = purpose

    def descriptor(self) -> int:
        """Return its descriptor. Raises UsageError if it is closed."""
        if terminal.input_is_closed():
            raise _closed()
        return sys.stdin.fileno()

    def reader(self, how: Literal["read", "read1", "readline"]) -> Callable[[int], bytes]:
        """Return a function that reads at most so many bytes, or (`read1`) what there is of them, or of one line.

        It raises UsageError if standard input cannot be read. Raises UsageError if it is closed.
        """
        self.descriptor()
        method: Callable[[int], bytes] = getattr(sys.stdin.buffer, how)

        def read(size: int) -> bytes:
            try:
                return method(size)
            except OSError as error:
                reason = error.strerror or "it is not open for reading"
                raise UsageError(f"standard input cannot be read: {reason}") from None

        return read


class NamedFile(io.RawIOBase):
    """The file at `path`, which `flag` names, unbuffered.

    Opening never waits: a named pipe that no process has opened for writing is refused. All methods raise UsageError
    if the file cannot be read.
    """

    def __init__(self, flag: str, path: str) -> None:
        self._shown = f"{flag} {quoted(path)}"
        self._first = b""
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
            if terminal.is_closed_input(self._descriptor):
                raise _closed()
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


def _closed() -> UsageError:
    return UsageError("standard input is closed", hint="pipe the input in, or name a file")


def _has_name(path: str) -> bool:
    """Whether a pipe has a name in a folder. The /dev/fd/63 of a shell's `<(…)` has none."""
    try:
        return stat.S_ISFIFO(os.lstat(os.path.realpath(path)).st_mode)
    except OSError:
        return False
