"""Reads secrets from standard input, a file, a descriptor, an environment variable or the terminal.

Never from the command line. A secret must be UTF-8 text of bounded length and loses one line end. Which characters
a password may contain is a rule of the domain.
"""

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from backctl.domain.errors import InvalidInput, UsageError
from backctl.domain.quoting import quoted
from backctl.presentation import terminal
from backctl.presentation.asking import LIMIT, ask_secret, decoded
from backctl.presentation.input_files import NamedFile, StandardInput
from backctl.presentation.parameters import SOURCES

if TYPE_CHECKING:
    from backctl.domain.values import Secret

_AT_ONCE = 1 << 20


class SecretInput:
    """The secrets of one command.

    The variables that `--X-env` names are removed from the environment at once, so that no child process gets them.
    """

    def __init__(
        self, names: tuple[str, ...], flags: Mapping[str, Any], *, stdin: StandardInput, interactive: bool
    ) -> None:
        """`flags` are the values of `secret_options` by their names; `interactive`: a person can be asked."""
        self._flags = flags
        self._stdin = stdin
        self._interactive = interactive
        variables = [self._flag(name, "env") for name in names]
        self._taken = {name: os.environ.pop(name, None) for name in variables if name and "=" not in name}

    def is_given(self, name: str) -> bool:
        """Whether one of the four flags of the secret `name` was used. Raises UsageError for two of them."""
        return self._source(name) is not None

    def read(
        self,
        name: str,
        *,
        new: bool = False,
        piped: bool = False,
        judge: "Callable[[Secret], None]" = lambda secret: None,
        instead: str | None = None,
    ) -> "Secret":
        """Read the secret `name` from its flag, or ask for it on the terminal, twice if it is `new`.

        `piped` reads it from standard input without a flag, unless that is a terminal. `judge` is called with a new
        secret before it is typed again, and may raise. `instead` names another flag for the hint, for example
        `--generate-password`. Raises UsageError if there is neither a flag nor a terminal, or if it cannot be read;
        InvalidInput if it is too long or not UTF-8 text.
        """
        source = self._source(name)
        if source is not None:
            return decoded(self._bytes(name, source, LIMIT), f"--{name}-{source}")
        if piped and not terminal.is_terminal(sys.stdin):
            self._stdin.claim("the pipe")
            raw = _from_stdin(self._stdin, "standard input", LIMIT)
            if raw:
                return decoded(raw, "standard input")
        if not self._interactive:
            raise _missing(name, instead)
        return ask_secret(name, new=new, judge=judge)

    def read_bytes(self, name: str, *, limit: int) -> bytes:
        """Read the secret `name` byte for byte, at most `limit` bytes; without a flag from standard input.

        If standard input is a terminal, asks for one line instead. Raises the errors of `read`.
        """
        source = self._source(name)
        if source is not None:
            return self._bytes(name, source, limit)
        if not terminal.is_terminal(sys.stdin):
            return self._all_of_stdin(name, "standard input", limit)
        return self.read(name).reveal().encode("utf-8")

    def _source(self, name: str) -> str | None:
        given = [source for source in SOURCES if self._flag(name, source) not in (None, False)]
        if len(given) > 1:
            flags = " and ".join(f"--{name}-{source}" for source in given)
            raise UsageError(f"{flags} cannot be combined", hint="use one of them")
        return given[0] if given else None

    def _flag(self, name: str, source: str) -> Any:
        return self._flags[f"{name.replace('-', '_')}_{source}"]

    def _bytes(self, name: str, source: str, limit: int) -> bytes:
        flag, value = f"--{name}-{source}", self._flag(name, source)
        if source == "stdin" or (source == "file" and value == "-"):
            return self._all_of_stdin(name, flag, limit)
        if source == "file":
            return _from_file(flag, value, limit)
        if source == "fd":
            return self._from_descriptor(flag, value, limit)
        return self._from_environment(flag, value, limit)

    def _all_of_stdin(self, name: str, flag: str, limit: int) -> bytes:
        self._stdin.claim(flag)
        if terminal.is_terminal(sys.stdin):
            return ask_secret(name).reveal().encode("utf-8")  # without echo
        return _from_stdin(self._stdin, flag, limit)

    def _from_descriptor(self, flag: str, number: str, limit: int) -> bytes:
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise UsageError(f"{flag} {quoted(number)} is not the number of an open descriptor")
        descriptor = int(number)
        if descriptor == 0:
            self._stdin.claim(flag)
            self._stdin.descriptor()
        try:
            terminal.make_blocking(descriptor)
            return _bounded(flag, lambda size: os.read(descriptor, size), limit)
        except OSError as error:
            raise UsageError(f"{flag} {number} cannot be read: {error.strerror}") from error

    def _from_environment(self, flag: str, variable: str, limit: int) -> bytes:
        value = self._taken.get(variable)
        if value is None:
            raise UsageError(f"{flag}: the environment has no variable {quoted(variable)}")
        raw = os.fsencode(value)
        if len(raw) > limit:
            raise _too_long(flag, limit)
        return raw


def _missing(name: str, instead: str | None) -> UsageError:
    flags = [f"--{name}-{source}" for source in SOURCES]
    if instead:
        flags.append(instead)
    return UsageError(
        f"no {name} was given, and there is no terminal to ask on",
        hint=f"use {', '.join(flags[:-1])} or {flags[-1]}",
    )


def _from_stdin(stdin: StandardInput, flag: str, limit: int) -> bytes:
    return _bounded(flag, stdin.reader("read"), limit)


def _from_file(flag: str, path: str, limit: int) -> bytes:
    with NamedFile(flag, path) as file:
        return _bounded(flag, lambda size: file.read(size) or b"", limit)


def _bounded(flag: str, read: Callable[[int], bytes], limit: int) -> bytes:
    raw = bytearray()
    while chunk := read(min(limit + 1 - len(raw), _AT_ONCE)):
        raw += chunk
        if len(raw) > limit:
            raise _too_long(flag, limit)
    return bytes(raw)


def _too_long(flag: str, limit: int) -> InvalidInput:
    return InvalidInput(f"the input from {flag} is longer than {limit} bytes")
