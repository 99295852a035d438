"""How every command ends a batch, a stream or itself, shown with the test program."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import SAMPLE

# Batches.


def test_one_identity_answers_like_a_single_command(sample: Any) -> None:
    assert sample.run("item", "close", "abc", "-o", "json").json["name"] == "abc"
    assert sample.run("item", "close", "missing").code == 3


def test_many_are_reported_together_and_failures_named(sample: Any) -> None:
    done = sample.run("item", "close", "abc", "missing", "same", "-y", "-o", "json")
    assert done.code == 7
    assert [item["ident"] for item in done.json["items"]] == ["abc", "missing", "same"]
    assert done.json["items"][1]["error"]["code"] == "not_found"
    assert list(done.json) == ["items", "summary"]
    assert done.json["summary"] == {"total": 3, "changed": 1, "unchanged": 1, "failed": 1}
    assert done.error["message"] == "1 of 3 failed: 'missing'"
    done = sample.run("item", "close", "abc", "missing", "-y", "--fields", "ident,id,changed,error")
    assert done.code == 2  # `ident` and `error` belong to a report, not to the view
    done = sample.run("item", "close", "abc", "missing", "-y", "-o", "id")
    assert (done.code, done.out) == (7, "i1\n")
    done = sample.run("item", "close", "abc", "missing", "-y", "-q")
    assert (done.code, done.out) == (7, "")


@pytest.mark.parametrize("how", [("--from-file", "-"), ("-",)], ids=["from-file", "dash"])
def test_identities_come_from_stdin_as_lines_or_json_lines(sample: Any, how: tuple[str, ...]) -> None:
    lines = 'abc\r\n\n  def  \n{"id": "ghi", "email": "x@example.org"}\n{"email": "jkl@example.org", "username": "j"}'
    done = sample.run("item", "close", *how, "-y", "-o", "json", stdin=lines).succeeded()
    assert [item["ident"] for item in done.json["items"]] == ["abc", "def", "ghi", "jkl@example.org"]
    done = sample.run("item", "close", *how, "-o", "json", stdin="").succeeded()
    assert done.json["items"] == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"abc\ncaf\xe9\n", "line 2 of standard input is not UTF-8 text"),
        (b"abc\nd\0f\n", "line 2 of standard input: "),
        (b"abc\nd\x1bf\n", "line 2 of standard input: "),
        (b"{nope}", "line 1 of standard input: '{nope}' is not JSON"),
        (b'{"name": "x"}', "the object has neither 'id' nor 'email' nor 'username'"),
        (b"x" * 70_000, "line 1 of standard input: it is longer than 65536 bytes"),
    ],
)
def test_a_bad_line_stops_everything_before_the_first_change(sample: Any, lines: bytes, message: str) -> None:
    done = sample.run("item", "close", "--from-file", "-", "-y", stdin=lines)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_identities_come_from_one_place(sample: Any, tmp_path: Path) -> None:
    for arguments in (("abc", "--from-file", "x"), ("abc", "-"), (), ("--from-file", str(tmp_path / "none"))):
        assert sample.run("item", "close", "-y", *arguments).code == 2


def test_a_lost_backend_stops_the_batch_and_says_how_far_it_came(sample: Any) -> None:
    done = sample.run("item", "close", "abc", "locked", "def", "-y", "--fields", "id")
    assert (done.code, done.out) == (5, "id\ni1\n")
    assert "stopped: 1 of 3 done; run the same command again to finish the rest" in done.err
    done = sample.run("item", "close", "abc", "bug", "def", "-y", "-o", "json")
    assert (done.code, done.json["summary"]) == (1, {"total": 3, "changed": 1, "unchanged": 0, "failed": 0})


def start_closing(sample: Any, *identities: str) -> tuple[Any, int]:
    """Start closing the items. Each waits for a byte that the test writes to the returned descriptor."""
    gate, key = os.pipe()
    process = sample.start(
        *("item", "close", *identities, "-y", "-o", "json", "--gate", str(gate)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(gate,),
    )
    os.close(gate)
    return process, key


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_identity_at_hand_finish(sample: Any, number: int, code: int) -> None:
    process, key = start_closing(sample, "abc", "def", "ghi")
    os.write(key, b".")
    assert [process.stderr.readline() for _ in range(2)] == [b"at abc\n", b"at def\n"]
    process.send_signal(number)
    os.write(key, b".")
    out, err = process.communicate(timeout=60)
    os.close(key)
    assert process.returncode == code
    assert (json.loads(out)["summary"]["changed"], len(json.loads(out)["items"])) == (2, 2)
    assert err.splitlines()[1:] == [b"backctl: stopped: 2 of 3 done; run the same command again to finish the rest"]


def test_a_second_signal_stops_at_once(sample: Any) -> None:
    process, key = start_closing(sample, "abc", "def")
    assert process.stderr.readline() == b"at abc\n"
    process.send_signal(signal.SIGINT)
    assert b"interrupt again to stop at once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    os.close(key)
    assert process.returncode == 130
    assert json.loads(out)["summary"] == {"total": 2, "changed": 0, "unchanged": 0, "failed": 0}
    assert b"Traceback" not in err


def test_a_reader_that_leaves_does_not_stop_changes(sample: Any) -> None:
    process = sample.start(
        *("item", "close", "--from-file", "-", "-y"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    _, err = process.communicate("".join(f"u{number}\n" for number in range(5_000)).encode() + b"missing\n", timeout=60)
    assert process.returncode == 7
    assert err == (b"backctl: 5001 done, 5000 changed, 1 failed\nbackctl: error: 1 of 5001 failed: 'missing'\n")


# Streams and signals.


@pytest.mark.parametrize("form", ["jsonl", "json", "tsv", "csv", "id", "table"])
def test_a_closed_pipe_ends_quietly(sample: Any, form: str) -> None:
    process = sample.start(
        *("item", "list", "--all", "--count", "1000000", "-o", form),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


def test_help_into_a_closed_pipe_is_quiet(machine: Any) -> None:
    for arguments in (("--help",), ("--version",), ("help", "exit-codes")):
        reader, writer = os.pipe()
        os.close(reader)
        process = machine.start(*arguments, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        assert process.communicate(timeout=60)[1] == b""
        assert process.returncode == 0


def test_a_full_disk_is_told(sample: Any) -> None:
    full = Path("/dev/full")
    if not full.exists():  # macOS has no /dev/full
        return
    for arguments in (("item", "list"), ("item", "list", "--all", "--count", "100000", "-o", "json")):
        with full.open("w") as stdout:
            process = sample.start(*arguments, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE)
            err = process.communicate(timeout=60)[1]
        assert process.returncode == 5
        assert b"standard output cannot be written" in err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_crash(sample: Any, closed: str) -> None:
    shown = 5 if ">&-" in closed.split() else 0
    for arguments, code in (("item list", shown), ("item nope", 2), ("item create", 2), ("--help", shown)):
        script = f'"$0" "$1" {arguments} {closed}'
        done = subprocess.run(
            ["/bin/sh", "-c", script, sys.executable, str(SAMPLE)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=sample.environment,
            timeout=60,
        )
        assert done.returncode == code, (arguments, closed, done.stderr)
        assert b"Traceback" not in done.stderr
        assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_quietly_after_cleaning_up(sample: Any, number: int, code: int) -> None:
    process = sample.start("item", "wait", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr.readline() == b"ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, b"", b"cleaned\n")


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]
)
def test_output_is_utf8_in_every_locale(sample: Any, locale: dict[str, str]) -> None:
    out = sample.run("item", "show", "\\u00e9", "--fields", "name", "--no-header", env=locale).succeeded().out
    assert out == "é\n"


def test_everything_streams_in_constant_memory(sample: Any) -> None:
    def peak(count: int) -> int:
        with open(os.devnull, "wb") as nowhere:
            process = sample.start(
                *("item", "list", "--all", "--count", str(count), "-o", "json", "-v"),
                stdin=subprocess.DEVNULL,
                stdout=nowhere,
                stderr=subprocess.PIPE,
            )
            err = process.communicate(timeout=60)[1]
        assert process.returncode == 0
        return int(err.split()[-1])

    assert peak(100_000) < 1.2 * peak(1_000)
