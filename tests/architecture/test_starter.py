"""A command in a child of the warm interpreter behaves like one in a new interpreter."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.starter import SOURCE, Starter

PROGRAMS = {
    "arguments": "import sys; print(sys.argv)",
    "bytes that are no text": "import os, sys; print([os.fsencode(word) for word in sys.argv])",
    "the environment": "import os; print(sorted(os.environ.items()))",
    "a folder": "import os, sys; print(os.getcwd(), sys.path[0])",
    "standard input": "import sys; print(repr(sys.stdin.buffer.read()))",
    "descriptors": "import os; print([n for n in range(64) if os.path.exists(f'/dev/fd/{n}')][:3])",
    "streams": "import sys; print([(s.encoding, s.errors, s.isatty(), s.line_buffering) for s in"
    " (sys.stdin, sys.stdout, sys.stderr)])",
    "signals": "import signal; print([str(signal.getsignal(s)) for s in (2, 10, 13, 15, 17)])",
    "flags": "import gc, sys; print(sys.flags.utf8_mode, gc.isenabled(), sys.dont_write_bytecode)",
    "no exit code": "raise SystemExit",
    "an exit code": "raise SystemExit(7)",
    "a large exit code": "raise SystemExit(300)",
    "words at the end": "raise SystemExit('enough')",
    "an exit in a thread's time": "import threading, time; threading.Thread(target=lambda: print('late')).start()",
    "what is done at exit": "import atexit; atexit.register(print, 'bye')",
    "what was not flushed": "import sys; sys.stdout.write('x' * 100_000); sys.stderr.write('y')",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "a hard exit": "import os; os._exit(9)",
    "a child": "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'exit(4)']).returncode)",
    "the name of the program": "print(__name__)",
}


@pytest.fixture(scope="module")
def warm() -> Iterator[Starter]:
    starter = Starter()
    yield starter
    starter.close()


@pytest.fixture(scope="module")
def cold() -> Starter:
    starter = Starter()
    starter.cold = True
    return starter


@pytest.fixture
def environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(SOURCE), "ODD": "a\udcffb"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_alike_warm_and_cold(
    warm: Starter, cold: Starter, environment: dict[str, str], tmp_path: Path, name: str
) -> None:
    command: list[str | bytes] = [sys.executable, "-c", PROGRAMS[name], "a b", "", b"caf\xe9", "\U0001f511"]
    ends = [
        starter.run(command, stdin=b"in\0\xff" * 50_000, env=environment, cwd=tmp_path, timeout_s=60)
        for starter in (warm, cold)
    ]
    assert (ends[0].returncode, ends[0].stdout, ends[0].stderr) == (ends[1].returncode, ends[1].stdout, ends[1].stderr)


def test_a_bug_is_a_traceback_and_an_exit_code(warm: Starter, environment: dict[str, str], tmp_path: Path) -> None:
    ended = warm.run([sys.executable, "-c", "1 / 0"], stdin=b"", env=environment, cwd=tmp_path, timeout_s=60)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr.endswith(b"ZeroDivisionError: division by zero\n")


def test_one_command_leaves_nothing_to_the_next(warm: Starter, environment: dict[str, str], tmp_path: Path) -> None:
    def run(program: str) -> bytes:
        command = [sys.executable, "-c", program]
        return warm.run(command, stdin=b"", env=environment, cwd=tmp_path, timeout_s=60).stdout

    first = run("import os, random, backctl; backctl.left = 1; os.environ['LEFT'] = '1'; print(random.random())")
    second = run("import os, random, backctl; print(random.random(), hasattr(backctl, 'left'), 'LEFT' in os.environ)")
    assert second.split()[1:] == [b"False", b"False"]
    assert first.split()[0] != second.split()[0]


def test_a_command_that_hangs_is_killed(warm: Starter, environment: dict[str, str], tmp_path: Path) -> None:
    program = f"import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep({60 * 60})"
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run([sys.executable, "-c", program], stdin=b"", env=environment, cwd=tmp_path, timeout_s=2)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):  # raised when the warm interpreter has reaped the child
        poll(pid)


def poll(pid: int) -> None:
    """Check repeatedly whether the process exists."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        os.kill(pid, 0)


def test_whoever_asks_for_another_interpreter_gets_one(
    warm: Starter, environment: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", "import sys; print('sqlalchemy' in sys.modules)"]
    for changes, told in (({}, b"True\n"), ({"PYTHONHASHSEED": "7"}, b"False\n"), ({"LC_ALL": "C"}, b"False\n")):
        ended = warm.run(command, stdin=b"", env=environment | changes, cwd=tmp_path, timeout_s=60)
        assert ended.stdout == told
