"""SIGHUP and SIGTERM at any moment: no traceback, the correct exit code, and the old or the new state."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.accounts import Person, fresh, populate, python
from tests.cli.conftest import Machine
from tests.starter import STARTER

DRIVER = str(Path(__file__).with_name("signal_driver.py"))
CREATE = ("user", "create", "ada@example.org", "--username", "ada", "--generate-password", "--secret-file", "ada.txt")
POINTS = 9


def drive(machine: Machine, number: int, at: int, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, DRIVER, str(number), str(at), str(machine.home), *words]
    return STARTER.run(command, stdin=b"", env=machine.environment, cwd=machine.home, timeout_s=120)


def points(calls: int) -> list[int]:
    """Return points spread over the whole run, closer together near its end, where connections are closed."""
    spread = range(1, calls, max(1, calls // POINTS))
    late = range(calls * 9 // 10, calls + 1, max(1, calls // 10 // POINTS))
    return sorted({*spread, *late})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("words", [("init",), CREATE, ("user", "list")], ids=lambda words: " ".join(words[:2]))
def test_a_signal_at_any_moment_leaves_before_or_after(tmp_path: Path, words: tuple[str, ...], number: int) -> None:
    def place(name: str) -> Machine:
        (tmp_path / name).mkdir()
        machine = fresh(tmp_path / name)
        if words[0] == "user":
            populate(machine, [Person("bob")])
        return machine

    whole = place("whole")
    assert drive(whole, number, 0, *words).returncode == 0
    calls = int((whole.home / "calls").read_text())
    interrupted = 0
    for at in points(calls):
        machine = place(str(at))
        done = drive(machine, number, at, *words)
        told = done.stderr.decode()
        unheeded = (-number,) if at == 1 else ()  # the program's handlers are not installed yet
        assert done.returncode in (128 + number, 0, *unheeded), (at, told)
        interrupted += done.returncode != 0
        assert "Traceback" not in told, (at, told)
        assert "Exception ignored" not in told, (at, told)
        if words == CREATE:
            is_made = machine.run("user", "exists", "ada").code == 0
            assert is_made or done.returncode != 0
            assert not is_made or (machine.home / "ada.txt").read_text().endswith("\n")
        if words == ("init",):
            assert not list(machine.home.rglob("*.db")) or machine.run("audit", "verify").code == 0
            machine.run("init").succeeded()
    assert interrupted > POINTS


def test_a_hangup_ends_a_bulk_command_as_a_termination_does(tmp_path: Path) -> None:
    machine = fresh(tmp_path)
    populate(machine, [Person(f"user{number:03}") for number in range(300)])
    names = "".join(f"user{number:03}\n" for number in range(300))
    process = machine.start(
        *("user", "deactivate", "-", "--yes", "-o", "jsonl"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(names.encode())
    process.stdin.close()
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.stdout.read()
    assert process.stderr is not None
    told = process.stderr.read().decode()
    closed = machine.run("user", "count", "--inactive").succeeded().out.strip()
    if process.wait(timeout=60):
        assert process.returncode == 129
        assert f"stopped: {closed} of 300 done" in told
    else:
        assert closed == "300"
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize("words", [("user", "deactivate", "-", "--yes"), ("encrypt", "--context", "x")])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_what_was_ignored_at_the_start_stays_ignored(tmp_path: Path, words: tuple[str, ...], number: int) -> None:
    """As with nohup, or after `trap '' TERM`."""
    machine = fresh(tmp_path)
    populate(machine, [Person("bob")])
    name = signal.Signals(number).name.removeprefix("SIG")
    command = ["/bin/sh", "-c", f"trap '' {name}; exec \"$@\"", "sh", *machine.command(*words)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=machine.environment, cwd=machine.home
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"bob\n")
        process.stdin.flush()
        while sys.executable.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[0]:
            continue  # the process is still the shell
        for _ in range(5):
            os.kill(process.pid, number)
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_a_terminal_that_is_gone_is_no_further_fault(tmp_path: Path) -> None:
    machine = fresh(tmp_path)
    reader, writer = os.pipe()
    process = machine.start("encrypt", "--context", "x", stdin=subprocess.PIPE, stdout=writer, stderr=writer)
    os.close(writer)
    os.close(reader)
    process.send_signal(signal.SIGHUP)
    process.communicate(b"x", timeout=60)
    assert process.returncode in (129, -signal.SIGHUP)  # the program may not have installed its handler yet


def hung_up(machine: Machine, asked: bytes, *words: str, ignoring: bool = False) -> tuple[int, str]:
    """Close the terminal of a command when it has `asked`. Return its exit code and standard error (a file)."""
    master, slave = pty.openpty()
    with (machine.home / "told").open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-c", _ON_ITS_TERMINAL, str(int(ignoring)), *machine.command(*words)],
            stdin=slave,
            stdout=slave,
            stderr=told,
            env=machine.environment,
            cwd=machine.home,
            start_new_session=True,
        )
    os.close(slave)
    screen = b""
    while asked not in screen:
        screen += os.read(master, 4096)
    os.close(master)
    process.wait(timeout=60)
    return process.returncode, (machine.home / "told").read_text()


_ON_ITS_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[1] == "1" else signal.SIG_DFL)
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("asked", "words", "ignored"),
    [
        (b"password: ", ("user", "set-password", "bob"), 2),
        (b"value: ", ("encrypt", "--context", "x"), 2),
        (b"to confirm: ", ("user", "delete", "bob"), 8),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_terminal_that_hangs_up_while_it_is_asked_ends_the_command_as_the_signal_does(
    tmp_path: Path, asked: bytes, words: tuple[str, ...], ignored: int
) -> None:
    machine = fresh(tmp_path)
    populate(machine, [Person("bob")])
    code, told = hung_up(machine, asked, *words)
    assert (code, told.strip()) == (129, "")
    code, told = hung_up(machine, asked, *words, ignoring=True)
    assert code == ignored
    assert "unexpected" not in told
    machine.run("user", "show", "bob").succeeded()


def test_a_terminal_that_is_gone_before_it_is_asked_is_an_error_of_its_own(tmp_path: Path) -> None:
    machine = fresh(tmp_path)
    script = """
import os, pty, sys
from backctl.domain.errors import UsageError
from backctl.presentation.asking import ask_secret

master, slave = pty.openpty()
os.dup2(slave, 0)
os.close(slave)
os.close(master)
try:
    ask_secret("password")
except UsageError as error:
    sys.exit(error.message)
"""
    done = python(machine, script)
    assert (done.code, done.err.strip()) == (1, "the terminal cannot hide what is typed: Input/output error")


_SIGNALLED_IN_A_COMMIT = """
import os, sys
from sqlalchemy.engine.base import RootTransaction
from backctl import __main__

def signalled(self):
    os.kill(os.getpid(), number)

method, number = sys.argv.pop(1), int(sys.argv.pop(1))
setattr(RootTransaction, method, signalled)
sys.exit(__main__.main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_library_that_stumbles_over_a_signal_is_no_fault_of_the_program(tmp_path: Path, number: int) -> None:
    """SQLAlchemy asserts that a COMMIT has ended; its AssertionError replaces the exception of the signal."""
    machine = fresh(tmp_path)
    populate(machine, [Person("bob")])
    deactivate = ("user", "deactivate", "bob")
    done = python(machine, _SIGNALLED_IN_A_COMMIT, "_do_commit", str(int(number)), *deactivate)
    assert (done.code, done.err) == (128 + number, "")
    assert machine.run("user", "show", "bob", "-o", "json").succeeded().json["is_active"]


def test_a_secret_is_kept_though_a_library_stumbles_over_a_signal_after_the_commit(tmp_path: Path) -> None:
    machine = fresh(tmp_path)
    populate(machine, [Person("bob")])
    number = str(int(signal.SIGTERM))
    done = python(machine, _SIGNALLED_IN_A_COMMIT, "_deactivate_from_connection", number, *CREATE)
    assert (done.code, "'ada.txt' is kept" in done.err) == (143, True)
    secret = ("user", "check-password", "ada", "--password-file", "ada.txt")
    machine.run(*secret).succeeded()


_ENDS_WHILE_HASHING = """
import sys
import bcrypt
from backctl import __main__
from backctl.domain.values import Secret
from backctl.infrastructure.crypto.password_hasher import BcryptHasher
from backctl.presentation import app

class Last:  # keeps the interpreter's end going for longer than the hash takes
    def __del__(self, hashpw=bcrypt.hashpw, salt=bcrypt.gensalt(13)):
        hashpw(b"x", salt)

def fail(arguments):
    sys.last = Last()
    BcryptHasher(11).begin(Secret("correct horse"))
    return 4

app.run = fail
sys.exit(__main__.main() if sys.argv[1] == "program" else fail([]))
"""


@pytest.mark.parametrize("entrance", ["program", "library"])
def test_an_end_while_a_password_is_being_hashed_aborts_nothing(tmp_path: Path, entrance: str) -> None:
    command = [sys.executable, "-c", _ENDS_WHILE_HASHING, entrance]  # a separate interpreter, to test its shutdown
    done = subprocess.run(command, capture_output=True, env=fresh(tmp_path).environment, timeout=60)
    assert (done.returncode, done.stderr) == (4, b"")


_SIGNALLED_IN_A_FINALIZER = """
import os, signal, sys
import bcrypt
from backctl import __main__
from backctl.presentation import app

class Signalled:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

class Last:  # keeps the interpreter's end going
    def __del__(self, hashpw=bcrypt.hashpw, salt=bcrypt.gensalt(10)):
        hashpw(b"x", salt)

def run(arguments, run=app.run):
    sys.last = Last()
    code = run(arguments)
    Signalled()
    return code

app.run = run
sys.exit(__main__.main())
"""


def test_a_signal_in_the_last_finalizer_does_not_kill_what_has_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SIGNALLED_IN_A_FINALIZER, "help", "exit-codes"]
    done = subprocess.run(command, capture_output=True, env=fresh(tmp_path).environment, timeout=60)
    assert done.returncode in (0, 143)
    assert done.stderr == b""
