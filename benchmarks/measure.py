"""Runs one command once, and measures its time and memory.

The result of every run is checked, because the time of a command that failed would be misleading.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

_CHUNK = 1 << 16
_KEPT = 1 << 20
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, KiB on Linux

# Starts a program, waits for it, and writes its exit code, peak memory and seconds to a descriptor.
_STARTER = """
import os, sys, time
report, *argv = sys.argv[1:]
started = time.perf_counter()
pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_CLOSE, int(report))])
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - started
os.write(int(report), b"%d %d %.9f" % (os.waitstatus_to_exitcode(status), usage.ru_maxrss, seconds))
"""


class Broken(Exception):
    """A command failed or gave a wrong answer, so its time is meaningless."""


class Output(NamedTuple):
    """What a command wrote to standard output: the first MiB, the number of lines, and the size in bytes."""

    head: bytes
    lines: int
    size: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run: the seconds from before the fork until the process ends, and its peak memory in bytes.

    Linux includes the memory of the parent until the child executes its program. The parent is therefore a small
    starter program, and `peak_rss` is correct if it exceeds the 10 MB of the starter.
    """

    seconds: float
    peak_rss: int
    output: Output


@dataclass(frozen=True, slots=True)
class Command:
    """A process to measure. `{turn}` in an argument is replaced by the number of the run, so that each run can differ.

    `before` prepares each run and is not measured. `check` validates the output; if it returns False, the benchmark
    ends.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    check: Callable[[Output], bool] = lambda output: True
    exit_code: int = 0
    before: Callable[[], None] = lambda: None

    def run(self, turn: int) -> Run:
        """Run the command. Raises Broken for a wrong exit code or output."""
        argv = [part.replace("{turn}", str(turn)) for part in self.argv]
        self.before()
        with tempfile.TemporaryFile() as complaints:
            reading, writing = os.pipe()
            with open(reading, "rb") as report:
                process = subprocess.Popen(
                    (sys.executable, "-I", "-S", "-c", _STARTER, str(writing), *argv),
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    pass_fds=(writing,),
                )
                os.close(writing)
                assert process.stdout is not None
                with process.stdout as stdout:
                    output = _drained(iter(lambda: os.read(stdout.fileno(), _CHUNK), b""))
                told = report.read().split()
            process.wait()
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip()
        if len(told) != 3:
            raise Broken(f"{self.name}: {' '.join(argv)}\ndid not start: {said}")
        exit_code, peak_rss, seconds = int(told[0]), int(told[1]), float(told[2])
        if exit_code != self.exit_code:
            raise Broken(f"{self.name}: {' '.join(argv)}\nended with {exit_code}: {said}")
        if not self.check(output):
            shown = output.head[:2000].decode(errors="replace")
            raise Broken(f"{self.name}: {' '.join(argv)}\ngave a wrong answer: {shown}\n{said}")
        return Run(seconds, peak_rss * _RSS_UNIT, output)


def _drained(chunks: Iterator[bytes]) -> Output:
    """Read everything and keep only the head, so that the reader needs little memory."""
    head = bytearray()
    lines = size = 0
    for chunk in chunks:
        if len(head) < _KEPT:
            head += chunk
        lines += chunk.count(b"\n")
        size += len(chunk)
    return Output(bytes(head), lines, size)


@dataclass(frozen=True, slots=True)
class Timing:
    """All runs of one command within one case."""

    runs: tuple[Run, ...]

    @property
    def turns(self) -> tuple[Run, ...]:
        return self.runs

    @property
    def median(self) -> float:
        return median(run.seconds for run in self.runs)

    @property
    def fastest(self) -> float:
        return min(run.seconds for run in self.runs)

    @property
    def peak_rss(self) -> int:
        return max(run.peak_rss for run in self.runs)


def interleaved(commands: Sequence[Command], rounds: int) -> dict[str, Timing]:
    """Run every command once per round, so that a busy moment of the machine affects all of them.

    The order rotates with each round, so that no command always follows the same one. An additional first round, which
    is not measured, fills the caches of files and bytecode.
    """
    runs: dict[str, list[Run]] = {command.name: [] for command in commands}
    for turn in range(rounds + 1):
        for place in range(len(commands)):
            command = commands[(place + turn) % len(commands)]
            run = command.run(turn)
            if turn > 0:
                runs[command.name].append(run)
    return {name: Timing(tuple(taken)) for name, taken in runs.items()}
