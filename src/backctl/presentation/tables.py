"""Tables with aligned columns. Cells must be escaped already."""

import textwrap
from collections.abc import Sequence

from backctl.presentation import terminal

MEASURED = 200
"""Rows that determine the widths of columns. Later rows may be wider, so a long table needs no memory."""

_GAP = "  "
_NARROWEST = 16
_FOLDED = 30
"""Width that the last column gets before others are cut."""

_BOLD, _RESET = "\x1b[1m", "\x1b[0m"


class Columns:
    """The layout of a table.

    If it is wider than the terminal, the last column is wrapped, and the widest of the others are cut with `…`. The
    first column identifies the row and keeps at least half the width of the terminal. A table can still be too wide.
    """

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[str]], *, color: bool) -> None:
        self._titles = [name.upper().replace("_", " ") for name in names]
        self._color = color
        self._widths = [
            max([len(title), *(terminal.display_width(row[at]) for row in rows)])
            for at, title in enumerate(self._titles)
        ]
        self._last = len(self._widths) - 1
        self._fits = sum(self._widths) + len(_GAP) * self._last <= terminal.width()
        if not self._fits and self._last:
            self._squeeze()

    def _squeeze(self) -> None:
        room = terminal.width() - len(_GAP) * self._last - sum(self._widths[:-1])
        longest_name = max(terminal.width() // 2, len(self._titles[0]))
        room += max(0, self._widths[0] - longest_name)
        self._widths[0] = min(self._widths[0], longest_name)
        wanted = min(self._widths[-1], max(_FOLDED, len(self._titles[-1])))
        while room < wanted and self._last > 1:
            at = max(range(1, self._last), key=self._widths.__getitem__)
            if self._widths[at] <= max(_NARROWEST, len(self._titles[at])):
                break
            self._widths[at] -= 1
            room += 1
        self._widths[-1] = max(room, min(wanted, _NARROWEST), len(self._titles[-1]))

    def header(self) -> str:
        line = self._joined(self._titles)
        return f"{_BOLD}{line}{_RESET}\n" if self._color else line + "\n"

    def line(self, cells: Sequence[str]) -> str:
        if self._fits or not self._last:
            return self._joined(cells) + "\n"
        folded = _folded(cells[-1], self._widths[-1])
        shown = [_shortened(cell, self._widths[at]) for at, cell in enumerate(cells[:-1])]
        margin = " " * (sum(self._widths[:-1]) + len(_GAP) * self._last)
        return "\n".join([self._joined([*shown, folded[0]]), *(margin + line for line in folded[1:])]) + "\n"

    def _joined(self, cells: Sequence[str]) -> str:
        padded = [
            cell + " " * (width - terminal.display_width(cell)) for cell, width in zip(cells, self._widths, strict=True)
        ]
        return _GAP.join(padded).rstrip()


def _folded(text: str, columns: int) -> list[str]:
    """Wrap `text` to lines of at most `columns`, at spaces if possible."""
    narrow = terminal.display_width(text) == len(text)  # otherwise every character counts as wide
    return textwrap.wrap(text, columns if narrow else max(1, columns // 2), break_on_hyphens=False) or [""]


def _shortened(text: str, columns: int) -> str:
    if terminal.display_width(text) <= columns:
        return text
    room = columns - 1
    for at, character in enumerate(text):
        room -= terminal.display_width(character)
        if room < 0:
            return text[:at] + "…"
    return text


def card(names: Sequence[str], cells: Sequence[str], *, color: bool) -> str:
    """Format one object as lines of `name: value`. Further lines of a value are aligned with its first."""
    widest = max(map(len, names), default=0)
    margin = "\n" + " " * (widest + 2)
    bold, reset = (_BOLD, _RESET) if color else ("", "")
    return "".join(
        f"{bold}{name}:{reset}{' ' * (widest - len(name) + 1)}{cell.replace(chr(10), margin)}".rstrip() + "\n"
        for name, cell in zip(names, cells, strict=True)
    )
