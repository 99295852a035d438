"""Starts the program thousands of times, with each command in a separate process forked from a warm interpreter.

A cold start spends most of its time loading modules. `Starter` keeps one interpreter that has loaded them and done
nothing else. For each command, it forks a child that runs the same entry point with its own arguments, environment,
folder and pipes, ends like any process, and shares nothing with the next one.

All children share the startup of the interpreter, including its locale. A command that needs another environment for
that gets a cold start, and so does every command with `--long`.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

SOURCE = Path(__file__).parents[1] / "src"

_NUMBER_BYTES = 12
# Variables that the interpreter or the C library reads before the program starts.
_FIXED_AT_START = ("PYTHON", "LC_", "LANG", "TZ")
# Libraries that the package imports only inside functions.
_LIBRARIES = (
    *("alembic.command", "alembic.script", "bcrypt", "cryptography.hazmat.primitives.ciphers.aead", "csv"),
    *("email_validator", "logging.handlers", "platformdirs.unix", "psycopg", "rich.console", "rich.table"),
    *("sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite", "sqlite3", "tomlkit", "tomllib"),
    *("typer.rich_utils", "uuid"),
)


class Starter:
    """Runs Python commands in children of a warm interpreter where possible."""

    def __init__(self) -> None:
        self.cold = False
        """If True, every command starts its own interpreter."""
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(SOURCE),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lock = threading.Lock()

    def run(
        self, command: Sequence[str | bytes], *, stdin: bytes, env: Mapping[str, str], cwd: Path, timeout_s: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command line of `sys.executable` to its end, with pipes as its three streams."""
        return self.start(command, env=env, cwd=cwd).communicate(stdin, timeout_s=timeout_s)

    def start(self, command: Sequence[str | bytes], *, env: Mapping[str, str], cwd: Path) -> "Started":
        """Start a command line of `sys.executable` with pipes as its three streams. Several can run at once."""
        streams = (os.pipe(), os.pipe(), os.pipe())
        theirs = (streams[0][0], streams[1][1], streams[2][1])
        ours = (streams[0][1], streams[1][0], streams[2][0])
        try:
            if self.is_cold(env):
                stdin, stdout, stderr = theirs
                process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=cwd)
                return Started(process.pid, command, ours, process.wait)
            outcome = self._forked(command, env, cwd, theirs)
        except BaseException:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)

        def wait() -> int:
            with outcome:
                return int(outcome.recv(_NUMBER_BYTES))

        return Started(int(outcome.recv(_NUMBER_BYTES)), command, ours, wait)

    def is_cold(self, env: Mapping[str, str]) -> bool:
        """Whether a command with this environment starts its own interpreter."""
        return self.cold or _fixed(env) != _fixed(self._environment)

    def fork(
        self, command: Sequence[str | bytes], *, env: Mapping[str, str], cwd: Path, streams: tuple[int, int, int]
    ) -> Callable[[], int]:
        """Start a command line of `sys.executable` with these streams. Return what waits for its exit code."""
        outcome = self._forked(command, env, cwd, streams)

        def wait() -> int:
            with outcome:
                outcome.recv(_NUMBER_BYTES)
                return int(outcome.recv(_NUMBER_BYTES))

        return wait

    def _forked(
        self, command: Sequence[str | bytes], env: Mapping[str, str], cwd: Path, streams: tuple[int, int, int]
    ) -> socket.socket:
        """Start a child; return a socket that receives its process id and its exit code."""
        with self._lock:
            return self._forked_alone(command, env, cwd, streams)

    def _forked_alone(
        self, command: Sequence[str | bytes], env: Mapping[str, str], cwd: Path, streams: tuple[int, int, int]
    ) -> socket.socket:
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._control is not None
        outcome, status = socket.socketpair()
        with status:
            words = [os.fsdecode(word) for word in command[1:]]
            request = json.dumps([words, dict(env), str(cwd)]).encode()
            socket.send_fds(self._control, [_number(len(request))], [*streams, status.fileno()])
            self._control.sendall(request)
        return outcome

    def close(self) -> None:
        """Stop the interpreter; the next command starts another one."""
        if self._process is None or self._control is None:
            return
        self._control.close()
        with self._process:  # closes its streams and waits
            self._process = None

    def _start(self) -> None:
        self.close()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                stdin=subprocess.PIPE,  # the children inherit these streams, which must have been opened as pipes
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        if not self._control.recv(_NUMBER_BYTES):
            _, err = self._process.communicate()
            raise AssertionError(f"the package does not load:\n{err.decode(errors='replace')}")


class Started:
    """A running command. Either `communicate` or `kill` ends it."""

    def __init__(
        self, pid: int, command: Sequence[str | bytes], streams: tuple[int, int, int], wait: Callable[[], int]
    ) -> None:
        self.pid = pid
        self._command = command
        self._streams = streams
        self._wait = wait
        self._read = b""
        self._has_ended = False

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def error_line(self) -> str:
        """Wait for the next line on standard error, and return it."""
        while b"\n" not in self._read:
            block = os.read(self._streams[2], 65536)
            assert block, self._read
            self._read += block
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    def communicate(self, data: bytes = b"", *, timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        """Write `data`, read both streams to their end, and wait. Raises TimeoutExpired after killing the process."""
        self._has_ended = True
        try:
            out, err = _communicate(self._command, data, *self._streams, timeout_s=timeout_s)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                self.send_signal(signal.SIGKILL)
            self._wait()
            raise
        return subprocess.CompletedProcess(self._command, self._wait(), out, self._read + err)

    def kill(self) -> None:
        """Do nothing after `communicate`."""
        if not self._has_ended:
            self.send_signal(signal.SIGKILL)
            self.communicate(timeout_s=60)


STARTER = Starter()
"""The starter of this process. Its interpreter ends with the process."""


def _number(value: int) -> bytes:
    return str(value).rjust(_NUMBER_BYTES).encode()


def _fixed(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_FIXED_AT_START)}


def _communicate(
    command: Sequence[str | bytes], data: bytes, stdin: int, stdout: int, stderr: int, *, timeout_s: float
) -> tuple[bytes, bytes]:
    """Write `data` and read both streams to their end. Raises TimeoutExpired."""
    read: dict[int, list[bytes]] = {stdout: [], stderr: []}
    left = memoryview(data)
    os.set_blocking(stdin, False)
    give_up = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        for descriptor in read:
            selector.register(descriptor, selectors.EVENT_READ)
        selector.register(stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            events = selector.select(give_up - time.monotonic())
            if not events:
                raise subprocess.TimeoutExpired(command, timeout_s)
            for key, _ in events:
                if key.fd == stdin:
                    try:
                        left = left[os.write(stdin, left[:65536]) :] if left else left
                    except BrokenPipeError:
                        left = left[:0]
                    ended = not left
                else:
                    block = os.read(key.fd, 65536)
                    read[key.fd].append(block)
                    ended = not block
                if ended:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return b"".join(read[stdout]), b"".join(read[stderr])


# The code below runs in the warm interpreter and its children.


class _Request(NamedTuple):
    words: list[str]
    environment: dict[str, str]
    folder: str


def _serve(control: socket.socket) -> _Request | None:
    """Fork for each request. Returns the request in the child, and None in the parent when the other end is closed.

    Sends the process id to the caller, and the exit code when the child has ended, negative for a signal.
    """
    control.sendall(_number(os.getpid()))
    running: dict[int, socket.socket] = {}
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if wake in ready:
                os.read(wake, 4096)
                _reap(running)
            if control.fileno() not in ready:
                continue
            header, descriptors, _, _ = socket.recv_fds(control, _NUMBER_BYTES, 4)
            if not header:
                return None
            request = _Request(*json.loads(_receive(control, int(header))))
            pid = os.fork()
            if pid == 0:
                break
            for descriptor in descriptors[:3]:
                os.close(descriptor)
            running[pid] = socket.socket(fileno=descriptors[3])
            running[pid].sendall(_number(pid))
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for end in (control, *running.values()):
        end.close()
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    for descriptor in (wake, waker, *descriptors):
        os.close(descriptor)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    return request


def _reap(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as asker, contextlib.suppress(OSError):  # the caller may have timed out
            asker.sendall(_number(os.waitstatus_to_exitcode(status)))


def _receive(control: socket.socket, size: int) -> bytes:
    blocks = []
    while size:
        blocks.append(control.recv(min(size, 1 << 20)))
        size -= len(blocks[-1])
    return b"".join(blocks)


def _become(request: _Request) -> None:
    """Run `python -m MODULE …`, `python -c PROGRAM …` or `python PATH …` in this process."""
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    match request.words:
        case ["-m", module, *arguments]:
            sys.path.insert(0, request.folder)
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", program, *arguments]:
            sys.path.insert(0, "")
            sys.argv = ["-c", *arguments]
            exec(program, {"__name__": "__main__"})
        case [path, *arguments]:
            sys.argv = [path, *arguments]
            runpy.run_path(path, run_name="__main__")


def _status(request: _Request) -> int:
    """Run the command. Return its exit code like the interpreter does."""
    try:
        _become(request)
    except SystemExit as ending:
        if ending.code is None or isinstance(ending.code, int):
            return ending.code or 0
        sys.stderr.write(f"{ending.code}\n")
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """Do what an interpreter does at its end, except for freeing its objects, which would take most of the time."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the interpreter does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = 120  # the exit code of `Py_FinalizeEx` when flushing fails
    os._exit(code)


def _load() -> None:
    """Load the package and what it imports inside functions, without running it."""
    import backctl

    for module in pkgutil.walk_packages(backctl.__path__, "backctl."):
        if not module.name.startswith(("backctl.__main__", "backctl.infrastructure.sql.migrations.")):
            importlib.import_module(module.name)
    for name in _LIBRARIES:
        importlib.import_module(name)


if __name__ == "__main__":
    _load()
    gc.freeze()  # otherwise a collection in a child would copy every page
    wanted = _serve(socket.socket(fileno=int(sys.argv[1])))
    if wanted is not None:
        _end(_status(wanted))
