"""Encrypting files when killed, interrupted, out of disk space or without a reader, and memory use for large files."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.accounts import fresh
from tests.cli.conftest import Machine
from tests.cli.processes import with_files_of_at_most

MIB = 1 << 20
CONTEXT = ("--context", "backups:1")

_WITHOUT_UNNAMED_FILES = """
import os, sys
if hasattr(os, "O_TMPFILE"):
    del os.O_TMPFILE
import tempfile
tempfile._O_TMPFILE_WORKS = False
from backctl.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = fresh(tmp_path)
    machine.run("init", "-q").succeeded()
    return machine


@pytest.fixture
def work(machine: Machine) -> Path:
    """Return a folder for inputs and outputs."""
    folder = machine.home / "work"
    folder.mkdir()
    return folder


def sealed(machine: Machine, work: Path, size: int) -> bytes:
    (work / "plain").write_bytes(b"plaintext" * (size // 9))
    machine.run("encrypt", *CONTEXT, "--file", "work/plain", "--out", "work/sealed", "-q").succeeded()
    content = (work / "sealed").read_bytes()
    (work / "plain").unlink()
    (work / "sealed").unlink()
    return content


@pytest.mark.parametrize("way", ["unnamed", "staged"])
@pytest.mark.parametrize(
    ("verb", "number", "code"),
    [
        ("encrypt", signal.SIGKILL, -9),
        ("decrypt", signal.SIGKILL, -9),
        ("decrypt", signal.SIGTERM, 143),
        ("decrypt", signal.SIGINT, 130),
    ],
)
def test_what_is_stopped_half_way_leaves_no_result(
    machine: Machine, work: Path, way: str, verb: str, number: signal.Signals, code: int
) -> None:
    content = sealed(machine, work, 3 * MIB) if verb == "decrypt" else b"plaintext" * (MIB // 3)
    command = [sys.executable, "-c", _WITHOUT_UNNAMED_FILES] if way == "staged" else machine.command()
    with subprocess.Popen(
        [*command, verb, *CONTEXT, "--file", "-", "--out", "work/out"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=machine.environment,
        cwd=machine.home,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(content[: 2 * MIB])  # more than fits into the pipe: when this returns, most of it was read
        process.stdin.flush()
        process.send_signal(number)
        assert process.wait(60) == code  # before the end of the input
    left = os.listdir(work)
    if way == "unnamed" or number != signal.SIGKILL:
        assert left == []
    else:  # the next run removes it; until then, only this user can read it
        (name,) = left
        assert (work / name).stat().st_mode & 0o777 == 0o600
        machine.run(verb, *CONTEXT, "--file", "-", "--out", "work/out", "-q", stdin=content).succeeded()
        assert os.listdir(work) == ["out"]


@pytest.mark.parametrize("target", [("--out", "work/out"), ()])
def test_a_full_disk_ends_with_5_and_leaves_no_result(machine: Machine, work: Path, target: tuple[str, ...]) -> None:
    content = sealed(machine, work, 3 * MIB)
    done = subprocess.run(
        with_files_of_at_most(MIB, machine.command("decrypt", *CONTEXT, "--file", "-", *target)),
        input=content,
        capture_output=True,
        env={**machine.environment, "TMPDIR": str(work)},
        cwd=machine.home,
    )
    assert (done.returncode, done.stdout) == (5, b"")
    assert b"no space left for" in done.stderr
    assert os.listdir(work) == []


def test_a_full_output_ends_with_5(machine: Machine, work: Path) -> None:
    (work / "plain").write_bytes(bytes(MIB))
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            machine.command("encrypt", *CONTEXT, "--file", "work/plain"),
            stdout=full,
            stderr=subprocess.PIPE,
            env=machine.environment,
            cwd=machine.home,
        )
    assert done.returncode == 5
    assert b"standard output cannot be written" in done.stderr


@pytest.mark.parametrize("flags", [(), ("--stream",)])
def test_a_reader_that_leaves_ends_it_quietly_and_leaves_no_plaintext(
    machine: Machine, work: Path, flags: tuple[str, ...]
) -> None:
    (work / "in").write_bytes(sealed(machine, work, 3 * MIB))
    process = machine.start(
        *("decrypt", *CONTEXT, "--file", "work/in", *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"TMPDIR": str(work)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(9) == b"plaintext"
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (0, b"")
    process.stderr.close()
    assert os.listdir(work) == ["in"]


def peaks(machine: Machine, work: Path, size: int) -> list[int]:
    """Return the peak memory in bytes of both sides of `encrypt | decrypt --stream` for a sparse file of that size."""
    with (work / "sparse").open("wb") as file:
        file.truncate(size)
    reader, writer = os.pipe()
    encrypting = machine.start("encrypt", *CONTEXT, "--file", "work/sparse", stdout=writer)
    os.close(writer)
    count = "import sys; n = 0\nwhile b := sys.stdin.buffer.read(65536): n += len(b)\nprint(n)"
    with subprocess.Popen([sys.executable, "-c", count], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as counting:
        decrypting = machine.start("decrypt", *CONTEXT, "--file", "-", "--stream", stdin=reader, stdout=counting.stdin)
        os.close(reader)
        found = []
        for process in (encrypting, decrypting):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0
            found.append(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        assert counting.stdin is not None
        assert counting.stdout is not None
        counting.stdin.close()
        assert int(counting.stdout.read()) == size
    return found


def test_memory_is_the_same_for_16_and_256_mib(machine: Machine, work: Path) -> None:
    small, large = peaks(machine, work, 16 * MIB), peaks(machine, work, 256 * MIB)
    assert all(after < before + 4 * MIB for before, after in zip(small, large, strict=True))
    assert max(large) < resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 60 * MIB  # a fork starts as large


def test_memory_is_the_same_for_any_number_of_lines(machine: Machine, work: Path) -> None:
    def peak(count: int) -> int:
        (work / "lines").write_bytes(b"a line of text\n" * count)
        process = machine.start(
            *("encrypt", *CONTEXT, "--lines", "-q", "--file", "work/lines"), stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss * 1024

    assert peak(500_000) < peak(50_000) + 8 * MIB


@pytest.mark.long
def test_memory_is_the_same_for_10_gib(machine: Machine, work: Path) -> None:
    small, large = peaks(machine, work, 16 * MIB), peaks(machine, work, 10 << 30)
    assert all(after < before + 4 * MIB for before, after in zip(small, large, strict=True))
