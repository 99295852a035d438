"""A plot of admitted and refused requests over time, for a terminal."""

from collections.abc import Sequence

from backctl.domain.values import Instant
from backctl.presentation import terminal

_HEIGHT = 8
_LABEL = 8
_BLOCKS = " ▁▂▃▄▅▆▇█"


def plot(times: Sequence[int], admitted: Sequence[int]) -> str:
    """Return the lines of two rows of bars: requests that were admitted, and requests that were refused.

    `times` are microseconds in ascending order. Each bar stands for the same length of time.
    """
    columns = max(10, terminal.width() - _LABEL - 1)
    first, length = times[0], times[-1] - times[0] + 1
    columns = min(columns, max(1, length // 1000))
    bars = {True: [0] * columns, False: [0] * columns}
    for time, was_admitted in zip(times, admitted, strict=True):
        bars[bool(was_admitted)][(time - first) * columns // length] += 1
    highest = max(*bars[True], *bars[False])
    lines = [""]
    for was_admitted, title in ((True, "admitted"), (False, "refused")):
        lines += _rows(title, bars[was_admitted], highest)
    begin, end = (Instant(time).isoformat()[:19] + "Z" for time in (times[0], times[-1]))
    lines.append(f"{'':{_LABEL}} {begin}" + (f" {end:>{max(1, columns - len(begin) - 1)}}" if end != begin else ""))
    lines.append(f"{'':{_LABEL}} one column: {length / columns / 1_000_000:.3g} s; the highest: {highest}")
    return "\n".join(lines) + "\n"


def _rows(title: str, counts: Sequence[int], highest: int) -> list[str]:
    """Return the rows of one series, from the top; a bar of one request is visible."""
    levels = [-(-count * _HEIGHT * 8 // highest) for count in counts]
    rows = []
    for row in reversed(range(_HEIGHT)):
        bar = "".join(_BLOCKS[max(0, min(8, level - 8 * row))] for level in levels)
        rows.append(f"{title if row == _HEIGHT - 1 else '':{_LABEL}} {bar}".rstrip())
    return rows
