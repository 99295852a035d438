"""Standard streams as they really are: closed, full, a terminal, a pipe whose reader left, in any locale."""

import io
import os
import stat
import sys
from collections.abc import Callable
from errno import EBADF
from typing import Literal, TextIO

from backctl.domain.errors import Unavailable
from backctl.domain.quoting import escaped

_MESSAGE_MAX = 2_000


class ClosedOutput(Exception):
    """Whoever read standard output has left: end quietly."""


class OutputFailed(Unavailable):
    code = "output.failed"


class ResultLost(OutputFailed):
    """The change is made and cannot be told: repeating the command would be wrong."""

    code = "output.lost"
    retryable = False


_closed: set[str] = set()


def prepare_streams() -> None:
    """UTF-8 whatever the locale says, every byte written or an error, and something behind each of the descriptors.

    A closed one would be given to the next file opened: the database would then be standard output. What stands in its
    place fails as a closed one does, with EBADF.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            _closed.add(name)
            dead = os.open(os.devnull, os.O_RDONLY if descriptor else os.O_WRONLY)
            if dead != descriptor:  # pragma: no cover - the lowest free number is given first
                os.dup2(dead, descriptor)
                os.close(dead)
        make_blocking(descriptor)
        if descriptor:
            setattr(sys, name, _written_whole(descriptor))
        elif sys.stdin is None:
            sys.stdin = os.fdopen(descriptor, encoding="utf-8", closefd=False)


def make_blocking(descriptor: int) -> None:
    """Have reads and writes wait for the other end: of a pipe that another process made non-blocking, what has not
    come yet would be taken for the end, and what the pipe cannot take at once would be lost.

    On Linux without changing it for whoever else has the same end of the pipe. Raises OSError for a closed descriptor.
    """
    if os.get_blocking(descriptor) or stat.S_ISREG(os.fstat(descriptor).st_mode):  # a file never has one wait
        return
    import fcntl

    way = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    try:
        own = os.open(f"/proc/self/fd/{descriptor}", way | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # a socket, or no such folder
        os.set_blocking(descriptor, True)
    else:
        os.dup2(own, descriptor)
        os.close(own)
        os.set_blocking(descriptor, True)


def _written_whole(descriptor: int) -> TextIO:
    """With PYTHONUNBUFFERED set, Python's own stream writes as much as fits on a full disk and drops the rest."""
    buffer = open(descriptor, "wb", closefd=False)  # noqa: SIM115 - it is the process's own
    is_terminal = os.isatty(descriptor)
    return io.TextIOWrapper(
        buffer, encoding="utf-8", errors="backslashreplace", line_buffering=is_terminal or descriptor == 2
    )


def input_is_closed() -> bool:
    """Whether the program was started without a standard input, or has none."""
    return sys.stdin is None or "stdin" in _closed


def output_failure() -> OSError | None:
    """Why standard output cannot be written, if it could not be; what it did not take waits in its buffer."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


_YES = ("1", "true", "t", "yes", "y", "on")
_refused_color = False


def refuse_color(refused: bool) -> None:
    """Remember `--no-color` for everything written from here on, errors about the command line itself included."""
    global _refused_color  # noqa: PLW0603 - a property of the process's streams, like the environment beside it
    _refused_color = refused or os.environ.get("BACKCTL_NO_COLOR", "").lower() in _YES


def is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def color_wanted(stream: TextIO | None) -> bool:
    """Whether to colour what goes to `stream`: https://no-color.org, then FORCE_COLOR, then what the stream is."""
    if _refused_color or os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced:
        return forced != "0"
    return os.environ.get("TERM") != "dumb" and is_terminal(stream)


def width() -> int:
    """Columns of the terminal; `COLUMNS` overrides, 80 when nobody knows."""
    import shutil

    return shutil.get_terminal_size().columns


def display_width(text: str) -> int:
    """Columns that `text` takes: two for wide East Asian characters, none for marks that combine."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0
        if unicodedata.category(character) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )


def shell_word(text: str) -> str:
    """`text` as one word for a POSIX shell, safe on a terminal."""
    import shlex

    return shlex.quote(escaped(text))


def _encodable(text: str) -> str:
    """Unpaired surrogates as `\\udcXX`: what no UTF-8 text may hold, and what JSON writes for them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Sink:
    """Standard output as the renderer sees it: writes are UTF-8, and fail in two ways only.

    Raises ClosedOutput when the reader has left, OutputFailed for everything else (a full disk). With `patient` set, a
    reader's leaving is remembered and the rest dropped, so that a batch of changes does not stop half-way.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.terminal = is_terminal(stream)
        self.patient = False
        self.before_write: Callable[[], None] | None = None
        """Called before every write: takes a progress line off the terminal."""

    def write(self, text: str) -> None:
        if self._stream is None:
            return
        if self.before_write is not None:
            self.before_write()
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(_encodable(text))
        except OSError as error:
            self._failed(error)

    def write_bytes(self, data: bytes) -> None:
        """Bytes as they are, at once: for what is no text, or has to stay exactly the same."""
        if self._stream is None:
            return
        if self.before_write is not None:
            self.before_write()
        try:
            self._stream.flush()
            self._stream.buffer.write(data)
            self._stream.buffer.flush()
        except OSError as error:
            self._failed(error)

    def flush(self) -> None:
        if self._stream is None:
            return
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        discard(self._stream)
        self._stream = None
        if not isinstance(error, BrokenPipeError):
            raise output_failed(error) from error
        if not self.patient:
            raise ClosedOutput from error


def output_failed(error: OSError) -> OutputFailed:
    if error.errno == EBADF:
        return OutputFailed("standard output is closed", hint="open it, or send the result to a file or to /dev/null")
    return OutputFailed(f"standard output cannot be written: {error.strerror}")


def discard(stream: TextIO | None) -> None:
    """Point a broken stream's descriptor at nothing, so that what it still buffers is dropped without a word."""
    try:
        if stream is not None:
            descriptor = stream.fileno()
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, descriptor)
            os.close(nothing)
    except (OSError, ValueError):  # no descriptor behind it: nothing to drop
        return


def reader_left() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    import select

    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
        events = poll.poll(0)
    except (OSError, ValueError, AttributeError):
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in events)


def say(text: str, kind: Literal["error", "hint", "warning"] | None = None) -> None:
    """One line on standard error, `backctl: kind: text`; never an exception, and nothing that moves the cursor."""
    stream = sys.stderr
    shown = escaped(text)
    if len(shown) > _MESSAGE_MAX:
        shown = shown[: _MESSAGE_MAX - 61] + "…" + shown[-60:]
    label = f"{kind}: " if kind else ""
    if label and kind != "hint" and color_wanted(stream):
        label = f"\x1b[1;{31 if kind == 'error' else 33}m{label}\x1b[0m"
    say_raw(f"backctl: {label}{shown}\n")


def say_raw(text: str) -> None:
    """Text on standard error as it is."""
    try:
        if sys.stderr is not None:
            try:
                sys.stderr.write(text)
            except UnicodeEncodeError:
                sys.stderr.write(_encodable(text))
            sys.stderr.flush()
    except (OSError, ValueError):  # closed or full: there is nobody left to tell
        discard(sys.stderr)


def collect_garbage_again() -> None:
    """Undo the start-up's `gc.disable()` before work that makes much: the modules imported so far stay unscanned."""
    import gc

    if not gc.isenabled():
        gc.freeze()
        gc.enable()
