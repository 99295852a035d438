"""Encryption compared with other tools: values in a loop, a million lines, a large file."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Command, Output, interleaved
from benchmarks.report import Comparison, Figure, section
from benchmarks.sandbox import Sandbox

_PEERS = Path(__file__).resolve().parent / "cipher_peers"
_VALUES = 1_000_000
_LINES = 1_000_000
_MIB = 1 << 20
_FILE = 256 * _MIB
_MEMORY_BOUND = 60 * _MIB
_CONTEXT = ("--context", "users.phone:1")


def values(sandbox: Sandbox, rounds: int) -> str:
    """Encrypt a million values of 64 bytes one after the other in one process."""
    environment = _initialised(sandbox)

    def command(way: str) -> Command:
        script = str(_PEERS / "values.py")
        return Command(way, (sys.executable, script, way, str(_VALUES)), environment, _ends_with(b" 1000000\n"))

    timings = interleaved([command(way) for way in ("backctl", "bare", "fernet")], max(1, rounds // 4))
    rates = [
        Figure(f"{name}: µs for a value, start-up included", f"{t.median / _VALUES * 1e6:.2f}")
        for name, t in timings.items()
    ]
    # At least 0.6 times the rate of the bare loop, and twice that of Fernet.
    comparisons = [Comparison("backctl", "bare", 1 / 0.6), Comparison("backctl", "fernet", 0.5)]
    return section("encryption.encrypt, 1,000,000 values of 64 bytes", timings, comparisons, rates)


def lines(sandbox: Sandbox, rounds: int) -> str:
    """Encrypt a million lines from a file to a pipe."""
    environment = _initialised(sandbox)
    source = sandbox.root / "lines"
    with source.open("wb") as file:
        for number in range(_LINES):
            file.write(b"person%d@example.org, +49 30 %07d\n" % (number, number))
    encrypt = (*sandbox.backctl, "encrypt", *_CONTEXT, "--lines", "-q", "--file", str(source))
    peer = (sys.executable, str(_PEERS / "lines.py"))
    commands = [
        Command("encrypt --lines", encrypt, environment, _is_lines(b"bk1.")),
        Command("Fernet", (*peer, "fernet", str(source)), environment, _is_lines(b"gAAA")),
        Command("joserfc JWE", (*peer, "jwe", str(source)), environment, _is_lines(b"ey")),
    ]
    timings = interleaved(commands, max(1, rounds // 10))
    comparisons = [Comparison("encrypt --lines", "Fernet", 1), Comparison("encrypt --lines", "joserfc JWE", 1)]
    peak = timings["encrypt --lines"].peak_rss
    return section("encrypt --lines, 1,000,000 lines", timings, comparisons, [_memory("encrypt --lines", peak)])


def files(sandbox: Sandbox, rounds: int) -> str:
    """Encrypt a file of 256 MiB to another file. Only backctl flushes it to the disk."""
    environment = _initialised(sandbox)
    source, target = sandbox.root / "plain", str(sandbox.root / "sealed-by-")
    with source.open("wb") as file:
        for _ in range(_FILE // _MIB):
            file.write(os.urandom(_MIB))
    encrypt = (*sandbox.backctl, "encrypt", *_CONTEXT, "--file", str(source), "--out", f"{target}ours", "--overwrite")
    peer = (sys.executable, str(_PEERS / "files.py"))
    commands = [
        Command("encrypt --file", encrypt, environment, lambda output: b"sealed-by-ours" in output.head),
        Command("bare", (*peer, "bare", str(source), f"{target}bare"), environment),
        Command("age", (*peer, "age", str(source), f"{target}age"), environment),
    ]
    timings = interleaved(commands, max(1, rounds // 4))
    comparisons = [Comparison("encrypt --file", "bare", 1 / 0.6), Comparison("encrypt --file", "age", 1)]
    peak = timings["encrypt --file"].peak_rss
    return section("encrypt --file, 256 MiB", timings, comparisons, [_memory("encrypt --file", peak)])


def _initialised(sandbox: Sandbox) -> dict[str, str]:
    environment = sandbox.environment("ciphers")
    Command("init", (*sandbox.backctl, "init"), environment).run(0)
    return environment


def _memory(name: str, peak: int) -> Figure:
    bound = f"< {_MEMORY_BOUND / 1e6:.0f}"
    return Figure(f"{name}: peak memory, MB", f"{peak / 1e6:.0f}", bound, peak < _MEMORY_BOUND)


def _ends_with(text: bytes) -> Callable[[Output], bool]:
    return lambda output: output.head.endswith(text)


def _is_lines(start: bytes) -> Callable[[Output], bool]:
    return lambda output: output.lines == _LINES and output.head.startswith(start)
