"""Changes whose result cannot be written: never reported as retryable, and never ignored silently."""

import fcntl
import os
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from tests.cli.accounts import Person, populate
from tests.cli.conftest import Machine
from tests.cli.processes import with_files_of_at_most

pytestmark = pytest.mark.every_database

CREATE = ("user", "create", "ada@example.org", "--username", "ada")


def run_onto(machine: Machine, stdout: int, *args: str) -> tuple[int, str]:
    with machine.start(*args, stdout=stdout, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        err = process.communicate(timeout=60)[1].decode()
    return process.returncode, err


def run_unread(machine: Machine, *args: str) -> tuple[int, str]:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return run_onto(machine, writer, *args)
    finally:
        os.close(writer)


def run_closed(machine: Machine, *args: str) -> tuple[int, str]:
    command = ["/bin/sh", "-c", '"$@" >&-', "sh", *machine.command(*args)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=machine.environment, cwd=machine.home, timeout=60
    )
    return done.returncode, done.stderr.decode()


def test_a_full_output_after_a_change_says_that_the_change_was_made(machine: Machine) -> None:
    machine.run("init").succeeded()
    with Path("/dev/full").open("wb") as full:
        code, err = run_onto(machine, full.fileno(), *CREATE, "--no-password")
    assert code == 5
    assert "the change was made, but its result could not be written" in err
    assert "instead of repeating" in err
    machine.run("user", "exists", "ada").succeeded()


def test_a_full_output_after_a_change_is_not_worth_a_retry(machine: Machine) -> None:
    machine.run("init").succeeded()
    with Path("/dev/full").open("wb") as full:
        code, err = run_onto(machine, full.fileno(), *CREATE, "--no-password", "-o", "json")
    assert code == 5
    assert '"code": "output.lost"' in err
    assert '"retryable": false' in err


def test_a_password_that_nobody_read_is_said_to_be_lost(machine: Machine) -> None:
    machine.run("init").succeeded()
    code, err = run_unread(machine, *CREATE, "--generate-password")
    assert code == 5
    assert "the change was made, but its password could not be written" in err


def test_a_secret_that_nobody_read_is_said_to_be_lost(machine: Machine) -> None:
    machine.create_user("ada")
    code, err = run_unread(machine, "user", "mfa", "enroll", "ada")
    assert code == 5
    assert "the change was made, but its secret could not be written" in err


def test_a_reader_that_leaves_is_no_failure_where_no_secret_is_lost(machine: Machine) -> None:
    machine.run("init").succeeded()
    assert run_unread(machine, *CREATE, "--no-password") == (0, "")


def test_secrets_that_went_nowhere_are_said_to_be_lost(machine: Machine) -> None:
    machine.run("init").succeeded()
    code, err = run_closed(machine, *CREATE, "--generate-password")
    assert (code, "the change was made, but its password could not be written" in err) == (5, True)
    code, err = run_closed(machine, *CREATE, "--no-password", "--if-not-exists")
    assert (code, "the change was made, but its result could not be written" in err) == (5, True)
    assert run_closed(machine, *CREATE, "--no-password", "--if-not-exists", "-q") == (0, "")
    for options in ((), ("-o", "json")):
        code, err = run_closed(machine, "token", "issue", "ada", *options)
        assert (code, "the change was made, but its result could not be written" in err) == (5, True)
    assert run_closed(machine, "token", "issue", "ada", "--dry-run", "-q") == (0, "")


QUERIES = [("user", "list"), ("user", "list", "-o", "json"), ("user", "count"), ("role", "list"), ("config", "path")]
TEXTS = [("--help",), ("--version",), ("user", "list", "--help"), ("help", "exit-codes"), ("completion", "bash")]


@pytest.mark.embedded
@pytest.mark.parametrize("words", [*QUERIES, *TEXTS], ids=" ".join)
def test_an_answer_that_goes_nowhere_is_an_error(machine: Machine, words: tuple[str, ...]) -> None:
    machine.create_user("ada")
    code, err = run_closed(machine, *words)
    assert code == 5
    assert "standard output is closed" in err
    with Path("/dev/full").open("wb") as full:
        code, err = run_onto(machine, full.fileno(), *words)
    assert code == 5
    assert "standard output cannot be written: No space left on device" in err
    for told in (err, run_closed(machine, *words)[1]):
        assert "Traceback" not in told
        assert "Exception ignored" not in told


@pytest.mark.embedded
def test_every_byte_is_written_or_that_is_told_though_python_does_not_buffer(machine: Machine, tmp_path: Path) -> None:
    content = b"x" * 100_000
    machine.run("init").succeeded()
    sealed = machine.run("encrypt", "--context", "x", "--file", "-", stdin=content).succeeded()
    (machine.home / "sealed").write_bytes(sealed.out.encode(errors="surrogateescape"))
    machine.environment["PYTHONUNBUFFERED"] = "1"
    decrypt = machine.command("decrypt", "--context", "x", "--file", "sealed", "--stream")
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            with_files_of_at_most(4096, decrypt),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            env=machine.environment,
            cwd=machine.home,
        )
    assert (done.returncode, b"standard output cannot be written" in done.stderr) == (5, True), done.stderr


@pytest.mark.embedded
@pytest.mark.parametrize("words", [("--version",), ("--help",), ("user", "create", "--help"), ("help", "exit-codes")])
def test_a_few_bytes_of_room_are_not_enough(machine: Machine, tmp_path: Path, words: tuple[str, ...]) -> None:
    machine.environment["PYTHONUNBUFFERED"] = "1"
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            with_files_of_at_most(5, machine.command(*words)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            env=machine.environment,
        )
    assert (done.returncode, b"standard output cannot be written" in done.stderr) == (5, True), done.stderr


@pytest.mark.embedded
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_does_not_block_gets_every_byte(machine: Machine, unbuffered: str) -> None:
    content = os.urandom(300_000)
    machine.run("init").succeeded()
    sealed = machine.run("encrypt", "--context", "x", "--file", "-", stdin=content).succeeded()
    (machine.home / "sealed").write_bytes(sealed.out.encode(errors="surrogateescape"))
    machine.environment["PYTHONUNBUFFERED"] = unbuffered
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with machine.start("decrypt", "--context", "x", "--file", "sealed", stdout=writing, stdin=-3, stderr=-1) as process:
        os.close(writing)
        with open(reading, "rb") as pipe:
            shown = pipe.read()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0
    assert shown == content


ASKING = [
    ("encrypt", "--context", "x"),
    ("encrypt", "--context", "x", "--lines"),
    ("encrypt", "--context", "x", "--file", "-"),
    ("encrypt", "--context", "x", "--file", "/dev/stdin"),
    ("encrypt", "--context", "x", "--value-file", "/dev/fd/0"),
    ("decrypt", "--context", "x"),
    ("sanitize",),
    ("sanitize", "--from", "jsonl"),
    ("user", "deactivate", "-"),
    ("user", "deactivate", "--from-file", "-"),
    ("user", "deactivate", "--from-file", "/dev/stdin"),
    ("user", "create", "eve@example.org", "--username", "eve", "--password-stdin"),
    ("user", "create", "eve@example.org", "--username", "eve", "--password-file", "-"),
    ("user", "create", "eve@example.org", "--username", "eve", "--password-file", "/dev/stdin"),
    ("user", "create", "eve@example.org", "--username", "eve", "--password-file", "/proc/self/fd/0"),
    ("user", "create", "eve@example.org", "--username", "eve", "--password-fd", "0"),
    ("user", "check-password", "ada", "--password-stdin"),
    ("token", "verify"),
    ("token", "verify", "--batch"),
    ("token", "inspect"),
    ("token", "refresh"),
    ("token", "revoke"),
    ("key", "import"),
    ("user", "import", "-"),
    ("user", "import", "/dev/stdin"),
    ("key", "wrap", "--passphrase-stdin"),
]


@pytest.mark.embedded
@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_a_closed_standard_input_is_not_an_empty_one(machine: Machine, words: tuple[str, ...]) -> None:
    machine.create_user("ada")
    command = ["/bin/sh", "-c", '"$@" <&-', "sh", *machine.command(*words, "-o", "json")]
    done = subprocess.run(command, capture_output=True, env=machine.environment, cwd=machine.home, timeout=60)
    assert done.returncode == 2, done
    assert done.stdout == b""
    assert machine.run("user", "count").succeeded().out == "1\n"


def unread(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.embedded
@pytest.mark.parametrize(
    "words",
    [
        ("encrypt", "--context", "x"),
        ("encrypt", "--context", "x", "--lines"),
        ("sanitize",),
        ("user", "deactivate", "-", "-o", "jsonl"),
        ("token", "verify", "--batch"),
        ("user", "check-password", "ada", "--password-stdin"),
        ("user", "check-password", "ada", "--password-fd", "{}"),
    ],
    ids=" ".join,
)
def test_input_that_has_not_come_yet_is_not_its_end(machine: Machine, words: tuple[str, ...]) -> None:
    """Another process that shares the pipe may have made it non-blocking."""
    machine.create_user("ada")
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with machine.start(
        *(word.format(reading) for word in words),
        stdin=reading,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(reading,),
    ) as process:
        os.write(writing, b"fir")
        while unread(reading) and process.poll() is None:
            continue
        os.write(writing, b"st\n")
        os.close(writing)
        out, err = (shown.decode() for shown in process.communicate(timeout=60))
    os.close(reading)
    if words[0] == "encrypt":
        assert machine.run("decrypt", *words[1:], stdin=out).succeeded().out.strip() == "first", err
    elif "check-password" in words:
        assert process.returncode == 6, err
    elif "verify" in words:
        assert process.returncode == 7
        assert out.count('"line"') == 1
    else:
        assert out.count("first") > 0


@pytest.mark.embedded
def test_a_file_that_was_written_is_not_called_a_failure_worth_a_retry(machine: Machine) -> None:
    machine.create_user("ada")
    (machine.home / "plain").write_text("x\n")
    for words in (
        ("db", "backup", "copy.db"),
        ("encrypt", "--context", "x", "--file", "plain", "--out", "sealed"),
        ("encrypt", "--context", "x", "--lines", "--file", "plain", "--out", "lines"),
    ):
        code, err = run_closed(machine, *words, "-o", "json")
        assert (code, '"code": "output.lost"' in err, (machine.home / words[-1]).exists()) == (5, True, True), err


@pytest.mark.embedded
def test_an_exported_key_that_went_nowhere_is_recorded_and_lost(machine: Machine) -> None:
    machine.create_user("ada")
    kid = next(key["id"] for key in machine.run("key", "list", "-o", "json").json["items"] if key["purpose"] == "sign")
    code, err = run_closed(machine, "key", "export", kid, "--private", "-o", "json")
    assert (code, '"code": "output.lost"' in err) == (5, True), err
    code, err = run_closed(machine, "key", "export", kid, "-o", "json")
    assert (code, '"code": "output.failed"' in err) == (5, True), err


def test_a_bulk_command_without_room_for_its_results_says_what_was_changed(machine: Machine) -> None:
    machine.run("init").succeeded()
    populate(machine, [Person(f"user{number:03}") for number in range(620)])
    names = "".join(f"user{number:03}\n" for number in range(620))
    (machine.home / "names").write_text(names)
    words = ("user", "deactivate", "--from-file", "names", "--yes")
    with Path("/dev/full").open("wb") as full:
        code, err = run_onto(machine, full.fileno(), *words)
    changed = machine.run("user", "count", "--inactive").succeeded().out.strip()
    assert code == 5
    assert f"stopped: {changed} of 620 done; run the same command again to finish the rest" in err
    assert f"{changed} changes were made, but their results could not be written" in err
    (machine.home / "names").write_text("".join(names.splitlines(keepends=True)[-20:]))
    code, err = run_closed(machine, *words, "-o", "json")
    assert (code, '"code": "output.lost"' in err, "finish the rest" in err) == (5, True, False), err
    code, err = run_closed(machine, *words, "-o", "json")
    assert (code, '"code": "output.failed"' in err) == (5, True), err
