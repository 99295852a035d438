"""Secret values, which can be written in place, read from a file, or printed by a command."""

import re
from collections.abc import Callable, Mapping, Sequence
from errno import EAGAIN
from io import FileIO
from pathlib import Path

from backctl.domain.errors import InvalidConfiguration, no_more_threads, raise_exhaustion
from backctl.domain.plain_text import text_of
from backctl.domain.quoting import quoted
from backctl.settings.files import read_guarded

COMMAND_TIMEOUT_SECONDS = 10.0
_LIMIT = 65_536  # bytes; limits the memory that a runaway command can fill

_SECRET_PARAMETER = r"(?i)([?&]([^=&#]*(?:pass|secret|token|key)[^=&#]*)=)([^&#]*)"
_FILES_OF_SECRETS = ("passfile", "sslkey", "sslkeylogfile", "key_file")
"""Parameters with a name like that of a secret, whose value is only the path of a file."""


def redact_url(url: str) -> str:
    """Replace the password in `url`, and every query parameter whose name suggests a secret, with `***`.

    Treats everything up to the last `@` as user and password, because people often forget to escape `/` or `@` in a
    password; hiding too much is safe. Replaces the whole text if it is not a URL.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "***" if url else ""
    if not rest.startswith("/") and "@" in rest:
        login, _, host = rest.rpartition("@")
        user, colon, _ = login.partition(":")
        rest = f"{user}:***@{host}" if colon else rest
    return f"{scheme}://" + re.sub(_SECRET_PARAMETER, r"\1***", rest)


def contains_password(url: str) -> bool:
    """Whether a URL, even an invalid one, contains a password or another secret in a parameter."""
    rest = url.partition("://")[2] or url
    if not rest.startswith("/") and rest.rpartition("@")[0].partition(":")[2]:
        return True
    return any(
        value and name.lower() not in _FILES_OF_SECRETS for _, name, value in re.findall(_SECRET_PARAMETER, rest)
    )


class SecretValue:
    """A configured secret. Read and checked at its first use, then kept. Its `repr` never shows it.

    `source` is empty for a value written in place, otherwise the file or command that provides it. Equality compares
    the sources, so it reads no file and runs no command.
    """

    __slots__ = ("_read", "_text", "source")

    def __init__(self, text: str | None = None, *, read: Callable[[], str] | None = None, source: str = "") -> None:
        self._text = text
        self._read = read
        self.source = source

    def reveal(self) -> str:
        """Return the secret text. Raises InvalidConfiguration when its file or command does not provide a valid one."""
        if self._text is None:
            self._text = self._read() if self._read else ""
        return self._text

    @property
    def is_given(self) -> bool:
        """Whether the secret is configured. Opens no file and runs no command."""
        return bool(self.source or self._text)

    def masked(self) -> str:
        """Return the displayable form. Opens no file and runs no command."""
        return "***" if self.source else redact_url(self._text or "")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretValue):
            return NotImplemented
        if self.source or other.source:
            return self.source == other.source
        return self._text == other._text

    def __hash__(self) -> int:
        return hash((self.source, "" if self.source else self._text))

    def __repr__(self) -> str:
        return "SecretValue('***')"


def read_secret_file(key: str, path: str) -> str:
    """Read the text of the file at `path`, without one trailing newline. `key` names the setting in errors.

    Raises InvalidConfiguration when every user can read the file, when other users can write to it, or when it is
    empty, too long, not text, or not a regular file.
    """
    what = f"the file of {key}"
    command = f"{key.removesuffix('_file')}_command"
    try:
        # Forbid reading by every user, and writing by anyone but the owner.
        data = read_guarded(
            Path(path), what=what, forbidden=0o026, limit=_LIMIT, foreign_owner=True, instead=f", or use {command}"
        )
    except FileNotFoundError:
        raise InvalidConfiguration(f"{what}, {quoted(path, limit=1024)}, does not exist") from None
    return _one_line(data, what)


def run_secret_command(key: str, command: Sequence[str], environ: Mapping[str, str], *, timeout: float) -> str:
    """Run `command` and return its standard output without one trailing newline. `timeout` is in seconds.

    The command runs without a shell and without standard input, in the root folder, and without the `BACKCTL_`
    variables, which may contain other secrets. No error shows its output. Raises InvalidConfiguration when the command
    fails in any way.
    """
    import os
    import signal
    import subprocess
    from time import monotonic

    what = f"the command of {key}, {quoted(command[0])},"
    deadline = monotonic() + timeout
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as pipe:
        try:
            child = subprocess.Popen(  # noqa: S603 - the command comes from a file that only its owner and root can write
                command,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={name: value for name, value in environ.items() if not name.startswith("BACKCTL_")},
                start_new_session=True,
            )
        except OSError as error:
            raise_exhaustion(error)
            if error.errno == EAGAIN:
                raise no_more_threads() from error
            raise InvalidConfiguration(f"{what} cannot be run: {(error.strerror or '').lower()}") from None
        finally:
            os.close(writing)
        try:
            data = _read_until(pipe, deadline)
            status = 0 if len(data) > _LIMIT else child.wait(max(0.0, deadline - monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            data, status = None, 0
        finally:
            if child.returncode is None:
                # Kill the whole session, so that no grandchild survives.
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if data is None:
        failure = f"did not finish within {timeout:g} s"
    elif len(data) > _LIMIT:
        failure = f"printed more than {_LIMIT} bytes"
    elif status:
        failure = f"exited with status {status}" if status > 0 else f"was killed by signal {-status}"
    else:
        return _one_line(data, what)
    raise InvalidConfiguration(f"{what} {failure}", hint="its output is not shown; run it by hand to see why")


def _read_until(pipe: FileIO, deadline: float) -> bytes:
    """Read all of `pipe`, or slightly more than the limit. Raises TimeoutError at `deadline` (monotonic seconds)."""
    import selectors
    from time import monotonic

    data = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(data) <= _LIMIT:
            if not selector.select(max(0.0, deadline - monotonic())):
                raise TimeoutError
            chunk = pipe.read(_LIMIT)
            if not chunk:
                break
            data += chunk
    return data


def _one_line(data: bytes, what: str) -> str:
    try:
        text = text_of(data)
    except UnicodeDecodeError:
        raise InvalidConfiguration(f"{what} does not hold UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise InvalidConfiguration(f"{what} is empty")
    return text
