"""Questions on the terminal. They go to standard error, because standard output is for the result.

However a question ends, also by a signal, the echo of the terminal is restored.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from backctl.domain.errors import InvalidInput, UsageError
from backctl.domain.quoting import escaped, quoted
from backctl.presentation import terminal

if TYPE_CHECKING:
    from backctl.domain.values import Secret

LIMIT = 65_536
"""Longest secret, in bytes, with its line end."""
_ATTEMPTS = 3


def ask_secret(name: str, *, new: bool = False, judge: "Callable[[Secret], None]" = lambda secret: None) -> "Secret":
    """Ask for the secret `name` without echo; twice if it is `new`, because a typing error would lock somebody out.

    `judge` is called with a new secret before it is typed again, and may raise. Raises UsageError at the end of input,
    InvalidInput if it is not UTF-8 text or after three pairs that differ.
    """
    label = name.replace("-", " ").replace("mfa", "MFA")
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
    """Ask `question`. Only `y` and `yes` mean yes; the end of input means no."""
    return (_visible(f"{question} [y/N] ") or "").strip().casefold() in ("y", "yes")


def ask_name(name: str, consequence: str) -> str:
    """Print `consequence`, ask the user to type `name`, and return what was typed."""
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
    """Write to standard error, or to the terminal if standard error is redirected: nobody sees a question in a log."""
    if terminal.is_terminal(sys.stderr):
        terminal.say_raw(text)
        return
    try:
        with open("/dev/tty", "w", encoding="utf-8", errors="backslashreplace") as device:
            device.write(text)
    except OSError:
        terminal.say_raw(text)


def _line(descriptor: int) -> bytes:
    """Read one line with its end; empty at the end of input. A terminal gives one line at a time."""
    line = bytearray()
    while not line.endswith(b"\n"):
        try:
            chunk = os.read(descriptor, 4096)
        except OSError as error:
            if error.errno != errno.EIO:  # the terminal was closed
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
    """Turn the echo off and drop what was typed before. Raises UsageError without a terminal."""
    import termios

    try:
        before = termios.tcgetattr(descriptor)
        silent = termios.tcgetattr(descriptor)
        silent[3] &= ~termios.ECHO
    except termios.error as error:
        raise UsageError(f"the terminal cannot hide what is typed: {error.args[1]}") from None
    try:
        with suppress(termios.error):  # closed by now: reading reports it
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
        yield
    finally:
        with suppress(termios.error):  # closed meanwhile: the error that ended the question matters more
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def decoded(raw: bytes, source: str) -> "Secret":
    """Decode a secret; drop a byte order mark, and one line end, which `echo` and editors add.

    Raises InvalidInput if it is not UTF-8.
    """
    from backctl.domain.plain_text import text_of
    from backctl.domain.values import Secret

    if raw.endswith(b"\n"):
        raw = raw[: -2 if raw.endswith(b"\r\n") else -1]
    try:
        return Secret(text_of(raw))
    except UnicodeDecodeError:
        raise InvalidInput(f"the input from {source} is not UTF-8 text") from None
