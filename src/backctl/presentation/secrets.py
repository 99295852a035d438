"""Where a secret comes from: standard input, a file, a descriptor, an environment variable. Never the command line.

What is read is bounded, must be UTF-8, and loses exactly one line end at its end. Which characters a password may hold
is the domain's to say.
"""

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from backctl.domain.errors import InvalidInput, UsageError, quoted
from backctl.presentation import terminal
from backctl.presentation.flags import SOURCES
from backctl.presentation.input_files import NamedFile, standard_input

if TYPE_CHECKING:
    from backctl.domain.values import Secret

LIMIT = 65_536
"""Bytes of a secret, its line end included."""
_AT_ONCE = 1 << 20


class SecretSources:
    """The flags of all secrets of one command. `take_stdin` claims standard input for a flag.

    The variables that `--X-env` names are taken out of the environment at once: no child process inherits one.
    """

    def __init__(self, names: tuple[str, ...], flags: Mapping[str, Any], take_stdin: Callable[[str], None]) -> None:
        self._flags = flags
        self._take_stdin = take_stdin
        variables = [self._flag(name, "env") for name in names]
        self._taken = {name: os.environ.pop(name, None) for name in variables if name and "=" not in name}

    def given(self, name: str) -> str | None:
        """Which of `stdin`, `file`, `fd`, `env` was given. Raises UsageError for more than one."""
        given = [source for source in SOURCES if self._flag(name, source) not in (None, False)]
        if len(given) > 1:
            flags = " and ".join(f"--{name}-{source}" for source in given)
            raise UsageError(f"{flags} exclude each other", hint="give one of them")
        return given[0] if given else None

    def read(self, name: str) -> "Secret | None":
        """The secret `name` from where its flag says; None without a flag.

        Raises UsageError when it cannot be read, InvalidInput when it is too long or no UTF-8 text.
        """
        source = self.given(name)
        raw = self.read_bytes(name)
        return None if raw is None else decoded(raw, f"--{name}-{source}")

    def read_bytes(self, name: str, limit: int = LIMIT) -> bytes | None:
        """The bytes of the secret `name`, a line end at their end included. Raises as `read` does."""
        source = self.given(name)
        if source is None:
            return None
        flag = f"--{name}-{source}"
        value = self._flag(name, source)
        if source == "stdin" or (source == "file" and value == "-"):
            return self.stdin_bytes(name, flag, limit)
        if source == "file":
            return _from_file(flag, value, limit)
        if source == "fd":
            return self._from_descriptor(flag, value, limit)
        return self._from_environment(flag, value, limit)

    def stdin_bytes(self, name: str, flag: str, limit: int = LIMIT) -> bytes:
        """All of standard input, claimed for `flag`; on a terminal a line. Raises UsageError and InvalidInput."""
        self._take_stdin(flag)
        if terminal.is_terminal(sys.stdin):
            from backctl.presentation.prompts import ask_secret

            return ask_secret(name).reveal().encode("utf-8")  # or what is typed would stand on the screen
        return _from_stdin(flag, limit)

    def read_piped(self) -> "Secret | None":
        """What standard input holds; None when it is empty. Raises as `read` does."""
        self._take_stdin("the pipe")
        raw = _from_stdin("standard input", LIMIT)
        return decoded(raw, "standard input") if raw else None

    def missing(self, name: str, instead: str | None) -> UsageError:
        """The error for a secret without a source where nobody can be asked."""
        flags = [f"--{name}-{source}" for source in SOURCES]
        if instead:
            flags.append(instead)
        return UsageError(
            f"no {name} was given, and there is no terminal to ask on",
            hint=f"use {', '.join(flags[:-1])} or {flags[-1]}",
        )

    def _flag(self, name: str, source: str) -> Any:
        return self._flags[f"{name.replace('-', '_')}_{source}"]

    def _from_descriptor(self, flag: str, number: str, limit: int) -> bytes:
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise UsageError(f"{flag} {quoted(number)} is not the number of an open descriptor")
        descriptor = int(number)
        if descriptor == 0:
            self._take_stdin(flag)
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


def decoded(raw: bytes, source: str) -> "Secret":
    """The text of a secret, without the line end that `echo` and editors add. Raises InvalidInput for no UTF-8."""
    from backctl.domain.values import Secret

    if raw.endswith(b"\n"):
        raw = raw[: -2 if raw.endswith(b"\r\n") else -1]
    try:
        return Secret(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidInput(f"what {source} gives is not UTF-8 text") from None


def _from_stdin(flag: str, limit: int) -> bytes:
    return _bounded(flag, standard_input("read"), limit)


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
    return InvalidInput(f"what {flag} gives is longer than {limit} bytes")
