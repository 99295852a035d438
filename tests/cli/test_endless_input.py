"""Input that never ends, is huge, or does not come from a regular file: one error soon, with limited memory.

Every command has less address space than the input has bytes, so it fails if it reads the input as a whole.
"""

import os
import resource
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine, Outcome

PEOPLE = [Person("root", role="admin"), Person("ada")]
SPACE = 512 << 20
HUGE = 3 << 30
CREATE = ("user", "create", "bob@example.org", "--username", "bobby")
ENCRYPT = ("encrypt", "--context", "x")


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))


def run(machine: Machine, *arguments: str, **popen: Any) -> Outcome:
    process = machine.start(
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=limited,
        **popen,
    )
    out, err = process.communicate(timeout=120)
    return Outcome(process.returncode, out.decode(), err.decode())


def refused_input(outcome: Outcome, words: str) -> None:
    assert (outcome.code, outcome.out) == (2, ""), outcome.err
    assert words in outcome.err
    assert outcome.err.count("backctl: error: ") == 1


FILES = [
    (("user", "deactivate", "--yes", "--from-file"), "line 1 of"),
    (("user", "activate", "--from-file"), "line 1 of"),
    (("user", "delete", "--confirm", "1", "--from-file"), "line 1 of"),
    (("role", "assign", "user", "--from-file"), "line 1 of"),
    ((*CREATE, "--password-file"), "is longer than 65536 bytes"),
    ((*CREATE, "--password-hash-file"), "is longer than 65536 bytes"),
    (("key", "import", "--key-file"), "is longer than 65536 bytes"),
    ((*ENCRYPT, "--value-file"), "is longer than 67108864 bytes"),
]


@pytest.mark.parametrize(("arguments", "words"), FILES)
@pytest.mark.parametrize("make", ["endless", "huge", "huge line"])
def test_a_file_without_a_line_end_is_refused_before_it_is_read(
    untouched: Machine, tmp_path: Path, arguments: tuple[str, ...], words: str, make: str
) -> None:
    path = tmp_path / "input"
    if make == "endless":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(HUGE)  # a sparse file, which uses no disk space
            if make == "huge line":
                file.seek(HUGE)
                file.write(b"\nada\n")
    refused_input(run(untouched, *arguments, str(path)), words)


@pytest.mark.parametrize("arguments", [arguments for arguments, _ in FILES] + [(*ENCRYPT, "--file")])
def test_a_pipe_that_nobody_writes_to_and_a_folder_are_refused_at_once(
    untouched: Machine, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused_input(run(untouched, *arguments, str(tmp_path / "pipe")), "cannot be read: no process writes to this pipe")
    refused_input(run(untouched, *arguments, str(tmp_path)), "cannot be read: Is a directory")
    refused_input(run(untouched, *arguments, "nowhere"), "cannot be read: No such file or directory")


def test_a_named_pipe_with_a_writer_and_a_shells_pipe_are_read_to_their_end(installed: Machine, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    command = installed.command("user", "deactivate", "--yes", "-o", "id", "--from-file", str(tmp_path / "pipe"))
    # Also open it for reading; otherwise, opening it waits for the command.
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=installed.environment, cwd=installed.home
    )
    os.write(writer, b"ada\n")
    assert process.stdout is not None
    reader, given = os.pipe()
    os.write(given, b"ada\n")
    os.close(given)
    activated = run(installed, "user", "activate", "-o", "id", "--from-file", f"/dev/fd/{reader}", pass_fds=(reader,))
    os.close(reader)
    os.close(writer)
    assert process.communicate(timeout=60)[0].splitlines() == activated.succeeded().out.encode().splitlines()


def fed(machine: Machine, blocks: Iterable[bytes], *arguments: str) -> tuple[Outcome, int]:
    """Write blocks to standard input for as long as the command reads them, and count the bytes written."""
    process = machine.start(
        *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=limited
    )
    assert process.stdin is not None
    size = 0
    with suppress(BrokenPipeError):
        for block in blocks:
            size += os.write(process.stdin.fileno(), block)
    out, err = process.communicate(timeout=120)
    return Outcome(process.returncode, out.decode(), err.decode()), size


@pytest.mark.parametrize(
    ("arguments", "words", "most"),
    [
        (("user", "deactivate", "--yes", "-"), "line 1 of standard input: it is longer than 65536 bytes", 1 << 20),
        (("user", "activate", "--from-file", "-"), "line 1 of standard input: it is longer", 1 << 20),
        ((*CREATE, "--password-stdin"), "is longer than 65536 bytes", 1 << 20),
        ((*ENCRYPT,), "is longer than 67108864 bytes", 66 << 20),
        (("sanitize",), "this is longer than 16777216 bytes", 18 << 20),
        (("sanitize", "--format", "json"), "this is longer than 16777216 bytes", 18 << 20),
        (("token", "verify"), None, 1 << 20),
        (("token", "verify", "--batch"), "line 1 is longer than 268435456 bytes", 258 << 20),
        ((*ENCRYPT, "--lines"), "line 1 is longer than 268435456 bytes", 258 << 20),
        ((*ENCRYPT, "--jsonl", "a"), "line 1 is longer than 268435456 bytes", 258 << 20),
        ((*ENCRYPT, "--csv", "a"), "line 1 is longer than 268435456 bytes", 258 << 20),
    ],
)
def test_endless_standard_input_is_read_to_a_bound_and_no_further(
    untouched: Machine, arguments: tuple[str, ...], words: str | None, most: int
) -> None:
    outcome, size = fed(untouched, repeat(bytes(1 << 16)), *arguments)
    assert size <= most
    if words is None:  # a token that is too long is invalid
        assert outcome.code == 6
        assert outcome.out.startswith("ok\t")
    else:
        refused_input(outcome, words)


def test_a_line_without_an_end_ends_a_stream_of_documents(untouched: Machine) -> None:
    outcome, size = fed(untouched, chain([b"[1]\n"], repeat(bytes(1 << 16))), "sanitize", "--format", "jsonl")
    assert (outcome.code, outcome.out) == (2, "[1]\n")
    assert "line 2 is longer than 268435456 bytes" in outcome.err
    assert size <= 274 << 20


@pytest.mark.parametrize("line", [b"ada\n", b"\n", b"# nobody\n"])
def test_lines_without_end_are_counted_and_refused(untouched: Machine, line: bytes) -> None:
    outcome, size = fed(untouched, repeat(line * 8192), "user", "deactivate", "--yes", "-")
    refused_input(outcome, "line 2000001 of standard input: there are more than 2000000 lines")
    assert size <= 2_000_001 * len(line) + (2 << 20)


def test_an_open_quote_holds_bytes_and_not_lines(untouched: Machine) -> None:
    """Empty lines within quotes count with their bytes, not as records."""
    outcome, size = fed(untouched, chain([b'a\n"'], repeat(b"\n" * (1 << 16), 96)), *ENCRYPT, "--csv", "a")
    assert size > 6 << 20
    assert (outcome.code, outcome.out) == (7, "a\n")
    assert "line 2: a quote that starts here is never closed" in outcome.err
