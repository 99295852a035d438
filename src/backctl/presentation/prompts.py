"""Questions on the terminal. They go to standard error: standard output belongs to the result.

Whatever ends a question, a signal included, the terminal's echo is as it was before.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from backctl.domain.errors import InvalidInput, UsageError, escaped, quoted
from backctl.presentation import terminal
from backctl.presentation.secrets import LIMIT, decoded

if TYPE_CHECKING:
    from backctl.domain.values import Secret

_ATTEMPTS = 3


def ask_secret(name: str, *, new: bool = False, judge: "Callable[[Secret], None]" = lambda secret: None) -> "Secret":
    """Ask for the secret `name` without showing it; twice when it is `new`, so that a slip does not lock anybody out.

    `judge` sees a new one before it is typed again. Raises what that raises, UsageError at the end of input,
    InvalidInput for no UTF-8 text or after three pairs that differ.
    """
    label = name.replace("-", " ")
    with _silent_terminal(sys.stdin.fileno()):
        for left in reversed(range(_ATTEMPTS if new else 1)):
            secret = _hidden(f"{label}: ", label)
            if new:
                judge(secret)
            if not new or _hidden(f"{label} again: ", label).reveal() == secret.reveal():
                return secret
            if left:
                terminal.say(f"the two {label}s differ; try again")
    raise InvalidInput(f"the two {label}s differ")


def ask_yes(question: str) -> bool:
    """Ask `question`; only `y` and `yes` mean yes, the end of input means no."""
    return (_visible(f"{question} [y/N] ") or "").strip().casefold() in ("y", "yes")


def ask_name(name: str, consequence: str) -> str:
    """Say the `consequence` and have `name` typed; the answer is what was typed."""
    return (_visible(f"{consequence}; type {quoted(name)} to confirm: ") or "").strip()


def _hidden(prompt: str, label: str) -> "Secret":
    _put(prompt)
    try:
        line = _line(sys.stdin.fileno())
    finally:
        _put("\n")
    if not line:
        raise UsageError(f"no {label} was given")
    return decoded(line, "the terminal")


def _visible(prompt: str) -> str | None:
    _put(escaped(prompt))
    line = _line(sys.stdin.fileno())
    if not line:
        _put("\n")
        return None
    return line.decode("utf-8", "replace")


def _put(text: str) -> None:
    """Write to standard error, or past it when it leads elsewhere: a question in a log file would never be seen."""
    if terminal.is_terminal(sys.stderr):
        terminal.say_raw(text)
        return
    try:
        with open("/dev/tty", "w", encoding="utf-8", errors="backslashreplace") as device:
            device.write(text)
    except OSError:
        terminal.say_raw(text)


def _line(descriptor: int) -> bytes:
    """One line with its end; empty at the end of input. A terminal hands over a line at a time."""
    line = bytearray()
    while not line.endswith(b"\n"):
        try:
            chunk = os.read(descriptor, 4096)
        except OSError as error:
            if error.errno != errno.EIO:  # the terminal is gone, and whoever sat there
                raise
            break
        if not chunk:
            break
        line += chunk
        if len(line) > LIMIT:
            raise InvalidInput(f"more than {LIMIT} bytes were typed")
    return bytes(line)


@contextmanager
def _silent_terminal(descriptor: int) -> Iterator[None]:
    """Echo off within. What was typed before, when it was still shown, is dropped. Raises UsageError without one."""
    import termios

    try:
        before = termios.tcgetattr(descriptor)
        silent = termios.tcgetattr(descriptor)
        silent[3] &= ~termios.ECHO
    except termios.error as error:
        raise UsageError(f"the terminal cannot be asked: {error.args[1]}") from None
    try:
        with suppress(termios.error):  # gone by now: reading says so
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
        yield
    finally:
        with suppress(termios.error):  # gone meanwhile: whatever ended the question is what counts
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
