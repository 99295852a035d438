"""Starting the program thousands of times: each command in a process of its own, forked from one that is warm.

A cold start spends most of its time loading modules. `Starter` keeps one interpreter that has loaded them and done
nothing else. It forks a child for each command, which then runs the same entry point with arguments, environment,
folder and pipes of its own, ends as any process does and shares nothing with the next.

What comes before the first line of the program, an interpreter starting in some locale, is the same for all of them;
whoever asks for another gets a cold start, and so does everybody with `--long`.
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

SOURCE = Path(__file__).parents[1] / "src"

_NUMBER_BYTES = 12
# Read by the interpreter itself, or by the C library, before the program has a say.
_FIXED_AT_START = ("PYTHON", "LC_", "LANG", "TZ")
# What the package imports inside functions only.
_LIBRARIES = (
    *("alembic.command", "alembic.script", "bcrypt", "cryptography.hazmat.primitives.ciphers.aead", "csv"),
    *("email_validator", "logging.handlers", "platformdirs.unix", "psycopg", "rich.console", "rich.table"),
    *("sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite", "sqlite3", "tomlkit", "tomllib"),
    *("typer.rich_utils", "uuid"),
)


class Starter:
    """Runs Python commands that a warm interpreter can take over."""

    def __init__(self) -> None:
        self.cold = False
        """Take over nothing: every command begins with its own interpreter."""
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(SOURCE),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def run(
        self, command: Sequence[str | bytes], *, stdin: bytes, env: Mapping[str, str], cwd: Path, timeout_s: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command line of `sys.executable` to its end, its three streams being pipes."""
        if self.cold or _fixed(env) != _fixed(self._environment):
            return subprocess.run(
                command, input=stdin, capture_output=True, env=env, cwd=cwd, timeout=timeout_s, check=False
            )
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._control is not None
        streams = (os.pipe(), os.pipe(), os.pipe())
        theirs = (streams[0][0], streams[1][1], streams[2][1])
        ours = (streams[0][1], streams[1][0], streams[2][0])
        outcome, status = socket.socketpair()
        with outcome:
            try:
                words = [os.fsdecode(word) for word in command[1:]]
                request = json.dumps([words, dict(env), str(cwd)]).encode()
                socket.send_fds(self._control, [_number(len(request))], [*theirs, status.fileno()])
                self._control.sendall(request)
            finally:
                status.close()
                for descriptor in theirs:
                    os.close(descriptor)
            pid = int(outcome.recv(_NUMBER_BYTES))
            out, err = _communicate(pid, command, stdin, *ours, timeout_s=timeout_s)
            code = int(outcome.recv(_NUMBER_BYTES))
        return subprocess.CompletedProcess(command, code, out, err)

    def close(self) -> None:
        """End the interpreter; the next command starts another."""
        if self._process is None or self._control is None:
            return
        self._control.close()
        with self._process:  # closes its streams, and waits
            self._process = None

    def _start(self) -> None:
        self.close()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                stdin=subprocess.PIPE,  # pipes, so that the streams that the children inherit are made for pipes
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        if not self._control.recv(_NUMBER_BYTES):
            _, err = self._process.communicate()
            raise AssertionError(f"the package does not load:\n{err.decode(errors='replace')}")


STARTER = Starter()
"""That of this process; its interpreter ends with it."""


def _number(value: int) -> bytes:
    return str(value).rjust(_NUMBER_BYTES).encode()


def _fixed(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_FIXED_AT_START)}


def _communicate(
    pid: int, command: Sequence[str | bytes], data: bytes, stdin: int, stdout: int, stderr: int, *, timeout_s: float
) -> tuple[bytes, bytes]:
    """Write `data` and read both streams to their ends. Raises TimeoutExpired, after killing the process."""
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
                os.kill(pid, signal.SIGKILL)
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


# From here on: the warm interpreter, and the children it becomes.


class _Request(NamedTuple):
    words: list[str]
    environment: dict[str, str]
    folder: str


def _serve(control: socket.socket) -> _Request | None:
    """Fork for every request. Answers it in the child; in the parent None, when nobody asks any more.

    Who asked is told the process id, and when the child has ended its exit code, negative for a signal.
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
    return request


def _reap(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as asker, contextlib.suppress(OSError):  # who gave up does not listen any more
            asker.sendall(_number(os.waitstatus_to_exitcode(status)))


def _receive(control: socket.socket, size: int) -> bytes:
    blocks = []
    while size:
        blocks.append(control.recv(min(size, 1 << 20)))
        size -= len(blocks[-1])
    return b"".join(blocks)


def _become(request: _Request) -> None:
    """Be `python -m MODULE …`, `python -c PROGRAM …` or `python PATH …`."""
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
    """The exit code of the command, as the interpreter works it out."""
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
    """What an interpreter does at its end but for taking itself apart, which is most of what a child would cost."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the interpreter does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = 120  # as `Py_FinalizeEx` failing to flush has it
    os._exit(code)


def _load() -> None:
    """Load the package and what it imports inside functions, and run nothing of it."""
    import backctl

    for module in pkgutil.walk_packages(backctl.__path__, "backctl."):
        if not module.name.startswith(("backctl.__main__", "backctl.infrastructure.sql.migrations.")):
            importlib.import_module(module.name)
    for name in _LIBRARIES:
        importlib.import_module(name)


if __name__ == "__main__":
    _load()
    gc.freeze()  # or a collection in a child would copy every page
    wanted = _serve(socket.socket(fileno=int(sys.argv[1])))
    if wanted is not None:
        _end(_status(wanted))
