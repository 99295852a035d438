"""One command, run once: what it took, what it held, and whether it answered rightly.

A figure of a command that failed would be worse than none, so every single run is checked.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

_CHUNK = 1 << 16
_KEPT = 1 << 20
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, KiB on Linux


class Broken(Exception):
    """A command failed or gave a wrong answer; nothing about its speed is worth telling."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a command wrote to its standard output: the first MiB of it, and how much there was."""

    head: bytes
    lines: int
    size: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run: seconds from before the fork until the process is gone, and the most memory it held, in bytes.

    Linux counts the parent's memory until the child has become its program, so `peak_rss` is never less than what this
    process held at its peak (some 20 MB): an upper bound.
    """

    seconds: float
    peak_rss: int
    output: Output


@dataclass(frozen=True, slots=True)
class Command:
    """A process to measure. `{turn}` in an argument becomes the number of the run, for what can happen only once.

    `check` judges the output; a false answer ends the benchmark.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    check: Callable[[Output], bool] = lambda output: True
    exit_code: int = 0

    def run(self, turn: int) -> Run:
        """Raises Broken when the exit code or the output is not what it must be."""
        argv = [part.replace("{turn}", str(turn)) for part in self.argv]
        with tempfile.TemporaryFile() as complaints:
            started = time.perf_counter()
            process = subprocess.Popen(
                argv, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
            )
            assert process.stdout is not None
            output = _drained(iter(lambda: os.read(process.stdout.fileno(), _CHUNK), b""))  # type: ignore[union-attr]  # narrowed above, but not inside the lambda
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)  # Popen must not wait for it again
            process.stdout.close()
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip()
        if process.returncode != self.exit_code:
            raise Broken(f"{self.name}: {' '.join(argv)}\nended with {process.returncode}: {said}")
        if not self.check(output):
            shown = output.head[:2000].decode(errors="replace")
            raise Broken(f"{self.name}: {' '.join(argv)}\ngave a wrong answer: {shown}\n{said}")
        return Run(seconds, usage.ru_maxrss * _RSS_UNIT, output)


def _drained(chunks: Iterator[bytes]) -> Output:
    """Read everything and keep the head only: the reader must not need the memory that it measures."""
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
    """Every command once per round, so that a busy moment of the machine falls on all of them.

    Each round starts one command further, or each would always follow the same neighbour. A first round, whose times
    do not count, fills the caches of files and bytecode.
    """
    runs: dict[str, list[Run]] = {command.name: [] for command in commands}
    for turn in range(rounds + 1):
        for place in range(len(commands)):
            command = commands[(place + turn) % len(commands)]
            run = command.run(turn)
            if turn > 0:
                runs[command.name].append(run)
    return {name: Timing(tuple(taken)) for name, taken in runs.items()}
