"""Results as tables: the times of each command, and each ratio with its target."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

_UNITS = {"ms": 1e3, "µs": 1e6}


class Timed(Protocol):
    """Repeated measurements in seconds."""

    @property
    def turns(self) -> Sequence[object]: ...

    @property
    def median(self) -> float: ...

    @property
    def fastest(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ratio of `subject` to `peer`, and the target that it should not exceed (None: for information only)."""

    subject: str
    peer: str
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is not a ratio, such as memory, with its target as text."""

    name: str
    value: str
    target: str = ""
    met: bool | None = None


def machine() -> str:
    """Describe the machine of the measurements. Times apply only to it; ratios are roughly the same elsewhere."""
    return (
        f"Python {platform.python_version()} ({sys.implementation.name}), {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the start"
    )


def section(
    title: str,
    timings: Mapping[str, Timed],
    comparisons: Sequence[Comparison],
    figures: Sequence[Figure],
    *,
    what: str = "process",
    unit: Literal["ms", "µs"] = "ms",
) -> str:
    """Format one case: times, ratios of medians and of minima, other figures."""
    rounds = max((len(timing.turns) for timing in timings.values()), default=0)
    scale = _UNITS[unit]
    parts = [f"## {title}\n"]
    if timings:
        parts.append(
            _table(
                (f"{what} ({rounds} runs each)", f"median {unit}", f"min {unit}"),
                [(name, f"{t.median * scale:.1f}", f"{t.fastest * scale:.1f}") for name, t in timings.items()],
            )
        )
    ratios = []
    for comparison in comparisons:
        subject, peer = timings[comparison.subject], timings[comparison.peer]
        ratio = subject.median / peer.median
        target = comparison.target
        ratios.append(
            (
                f"{comparison.subject} / {comparison.peer}",
                f"{ratio:.2f}",
                f"{subject.fastest / peer.fastest:.2f}",
                "" if target is None else f"<= {target:g}",
                "" if target is None else _verdict(ratio <= target),
            )
        )
    if ratios:
        parts.append(_table(("ratio", "of medians", "of minima", "target", ""), ratios))
    if figures:
        rows = [(f.name, f.value, f.target, "" if f.met is None else _verdict(f.met)) for f in figures]
        parts.append(_table(("figure", "value", "target", ""), rows))
    return "\n".join(parts)


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table, padded to be readable in a terminal. All columns except the first are numbers."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join((first, *others))} |"

    rule = "|".join(
        "-" * (width + 2) if column == 0 else "-" * (width + 1) + ":" for column, width in enumerate(widths)
    )
    return "\n".join((line(header), f"|{rule}|", *map(line, rows), ""))
