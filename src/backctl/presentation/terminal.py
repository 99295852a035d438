"""The standard streams: closed or full, a terminal or a pipe without a reader, in any locale."""

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
    """The reader of standard output has closed the pipe: end quietly."""


class OutputFailed(Unavailable):
    code = "output.failed"


class ResultLost(OutputFailed):
    """The change was made, but its result cannot be written: do not repeat the command."""

    code = "output.lost"
    retryable = False


_closed: set[str] = set()


def prepare_streams() -> None:
    """Use UTF-8 in every locale, write every byte or fail, and keep a file open on each of the three descriptors.

    The next file to be opened would get a closed descriptor: the database could become standard output. Its
    replacement fails like a closed descriptor, with EBADF. For standard input that is a pipe of its own, so that
    `is_closed_input` recognizes it when it is opened as /dev/stdin.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            _closed.add(name)
            if descriptor:
                dead = os.open(os.devnull, os.O_RDONLY)  # returns the lowest free number
            else:
                _, dead = os.pipe()
                # The end for writing replaces the end for reading, which has this number.
                os.dup2(dead, descriptor, inheritable=False)
                os.close(dead)
        make_blocking(descriptor)
        if descriptor:
            setattr(sys, name, _written_whole(descriptor))
        elif sys.stdin is None:
            sys.stdin = os.fdopen(descriptor, encoding="utf-8", closefd=False)


def make_blocking(descriptor: int) -> None:
    """Make reads and writes wait. In a non-blocking pipe, missing data looks like the end, and excess data is lost.

    On Linux this does not affect other processes with the same end of the pipe. Raises OSError for a closed descriptor.
    """
    if os.get_blocking(descriptor) or stat.S_ISREG(os.fstat(descriptor).st_mode):  # a file never blocks
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
    """Open a buffered stream: with PYTHONUNBUFFERED, Python writes what fits on a full disk and drops the rest."""
    buffer = open(descriptor, "wb", closefd=False)  # noqa: SIM115 - stays open as long as the process
    is_terminal = os.isatty(descriptor)
    return io.TextIOWrapper(
        buffer, encoding="utf-8", errors="backslashreplace", line_buffering=is_terminal or descriptor == 2
    )


def input_is_closed() -> bool:
    """Whether the program has no standard input."""
    return sys.stdin is None or "stdin" in _closed


def is_closed_input(descriptor: int) -> bool:
    """Whether this open file is standard input, opened by a name such as /dev/stdin, although that is closed."""
    return "stdin" in _closed and os.path.samestat(os.fstat(descriptor), os.fstat(0))


def output_failure() -> OSError | None:
    """Why standard output cannot be written; None if it can."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


_YES = ("1", "true", "t", "yes", "y", "on")
_refused_color = False


def refuse_color(refused: bool) -> None:
    """Apply `--no-color` from here on, also to errors about the command line."""
    global _refused_color  # noqa: PLW0603 - a property of the process, like its environment
    _refused_color = refused or os.environ.get("BACKCTL_NO_COLOR", "").lower() in _YES


def is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def color_wanted(stream: TextIO | None) -> bool:
    """Whether to use colours on `stream`: https://no-color.org, then FORCE_COLOR, then whether it is a terminal."""
    if _refused_color or os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced:
        return forced != "0"
    return os.environ.get("TERM") != "dumb" and is_terminal(stream)


def width() -> int:
    """Columns of the terminal: `COLUMNS`, else its size, else 80."""
    import shutil

    return shutil.get_terminal_size().columns


def height() -> int:
    """Lines of the terminal: `LINES`, else its size, else 24."""
    import shutil

    return shutil.get_terminal_size().lines


def display_width(text: str) -> int:
    """Columns that `text` takes: two for wide East Asian characters, none for combining marks."""
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
    """Quote `text` as one word for a POSIX shell, safe on a terminal."""
    import shlex

    return shlex.quote(escaped(text))


def _encodable(text: str) -> str:
    """Write unpaired surrogates as `\\udcXX`, as JSON does, because UTF-8 cannot contain them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Sink:
    """Standard output for the renderer, in UTF-8.

    Methods raise ClosedOutput if the reader closed the pipe, and OutputFailed for other errors, such as a full disk.
    With `patient` set, a closed pipe is ignored, so that a batch of changes does not stop half-way.
    """

    def __init__(self, stream: TextIO | None, *, before_write: Callable[[], None] = lambda: None) -> None:
        """`before_write` is called before every write, to clear a progress line."""
        self._stream = stream
        self._before_write = before_write
        self.terminal = is_terminal(stream)
        self.patient = False

    def write(self, text: str) -> None:
        def put(stream: TextIO) -> None:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                stream.write(_encodable(text))

        self._attempt(put)

    def write_bytes(self, data: bytes) -> None:
        """Write bytes unchanged and unbuffered."""

        def put(stream: TextIO) -> None:
            stream.flush()
            stream.buffer.write(data)
            stream.buffer.flush()

        self._attempt(put)

    def flush(self) -> None:
        self._attempt(lambda stream: stream.flush())

    def _attempt(self, put: Callable[[TextIO], None]) -> None:
        if self._stream is None:
            return
        self._before_write()
        try:
            put(self._stream)
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
    """Redirect the descriptor of a broken stream to /dev/null, so that its buffer is dropped without an error."""
    try:
        if stream is not None:
            descriptor = stream.fileno()
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, descriptor)
            os.close(nothing)
    except (OSError, ValueError):  # the stream has no descriptor
        return


def reader_left() -> bool:
    """Whether standard output is a pipe without a reader."""
    import select

    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
        events = poll.poll(0)
    except (OSError, ValueError, AttributeError):
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in events)


def say(text: str, kind: Literal["error", "hint", "warning"] | None = None) -> None:
    """Print one line on standard error, `backctl: kind: text`, escaped. Never raises."""
    stream = sys.stderr
    shown = escaped(text)
    if len(shown) > _MESSAGE_MAX:
        shown = shown[: _MESSAGE_MAX - 61] + "…" + shown[-60:]
    label = f"{kind}: " if kind else ""
    if label and kind != "hint" and color_wanted(stream):
        label = f"\x1b[1;{31 if kind == 'error' else 33}m{label}\x1b[0m"
    say_raw(f"backctl: {label}{shown}\n")


def say_raw(text: str) -> None:
    """Print text on standard error unchanged. Never raises."""
    try:
        if sys.stderr is not None:
            try:
                sys.stderr.write(text)
            except UnicodeEncodeError:
                sys.stderr.write(_encodable(text))
            sys.stderr.flush()
    except (OSError, ValueError):  # closed or full
        discard(sys.stderr)


_OBJECTS_PER_SCAN = 50_000


def collect_garbage_again() -> None:
    """Turn the garbage collector on again, which is off at start-up. Loaded modules are not scanned.

    It looks for cycles rarely, because there are few: with Python's own threshold, a batch of a thousand rows would be
    scanned again and again.
    """
    import gc

    if not gc.isenabled():
        gc.freeze()
        gc.set_threshold(_OBJECTS_PER_SCAN)
        gc.enable()
