"""A signal while a command waits for more input: what was read is still processed, and the command says how much."""

import fcntl
import json
import re
import signal
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine

PEOPLE = [Person("ada")]
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def interrupted(machine: Machine, *words: str, data: str, number: int) -> tuple[int, str, list[str]]:
    """Send data, then a signal once all of it was read and processed, while standard input stays open."""
    with machine.start(
        *words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(data.encode())
        process.stdin.flush()
        while unread(process.stdin.fileno()) or not is_waiting(process.pid):
            assert process.poll() is None, process.stderr.read()
        process.send_signal(number)
        out, err = process.stdout.read().decode(), process.stderr.read().decode()
        return process.wait(timeout=60), out, err.splitlines()


def stopped_after(message: str, things: str) -> int:
    """How many items a message counts. Lines that wait in a buffer when the signal arrives are not processed."""
    match = re.fullmatch(rf"backctl: stopped: ([0-2]) {things} done", message)
    assert match is not None, message
    return int(match[1])


def is_waiting(pid: int) -> bool:
    """Whether a process sleeps, as it does after processing what it has read. True where the system does not say."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "S"


def unread(descriptor: int) -> int:
    """The number of bytes that wait in a pipe."""
    (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
    return int(count)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_records_that_were_read_are_encrypted(installed: Machine, number: int, code: int) -> None:
    words = ("encrypt", "--context", "here", "--lines")
    ended, out, err = interrupted(installed, *words, data="one\ntwo\nthr", number=number)
    assert (ended, err[-1]) == (code, "backctl: stopped: 2 records done")
    back = installed.run("decrypt", "--context", "here", "--lines", stdin=out).succeeded()
    assert back.out == "one\ntwo\n"


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_no_file_is_written_from_a_part_of_the_records(installed: Machine, number: int, code: int) -> None:
    words = ("encrypt", "--context", "here", "--lines", "--out", "encrypted")
    ended, out, err = interrupted(installed, *words, data="one\ntwo\n", number=number)
    assert (ended, out, err[-1]) == (code, "", "backctl: stopped: 2 records done")
    assert [path.name for path in installed.home.iterdir() if "encrypted" in path.name] == []


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_tokens_that_were_read_are_verified(installed: Machine, number: int, code: int) -> None:
    token = installed.run("token", "issue", "ada").succeeded().out
    ended, out, err = interrupted(
        installed, "token", "verify", "--batch", "-o", "json", data=f"{token}nonsense\n{token[:20]}", number=number
    )
    done = stopped_after(err[-1], "tokens")
    document = json.loads(out)
    assert [(item["line"], item["ok"]) for item in document["items"]] == [(1, True), (2, False)][:done]
    assert (ended, document["summary"]["total"]) == (code, done)


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_lines_that_were_read_are_sanitized(installed: Machine, form: str) -> None:
    ended, out, err = interrupted(
        installed, "sanitize", "--format", "jsonl", "-o", form, data='"a<b>"\nnonsense\n"c', number=signal.SIGINT
    )
    done = stopped_after(err[-1], "lines")
    items = json.loads(out)["items"] if form == "json" else list(map(json.loads, out.splitlines()))
    assert [("value" in item, "error" in item) for item in items] == [(True, False), (False, True)][:done]
    assert ended == 130
