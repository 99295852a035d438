"""Tables that fit the terminal. Cells must be escaped already; a line end in a cell begins a new line within it."""

import sys
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from operator import le

from backctl.presentation.cards import card
from backctl.presentation.colors import BOLD, RESET, painted
from backctl.presentation.folding import folded, shortened, text_width, widest_word
from backctl.presentation.terminal import display_width

MEASURED = 200
"""Rows that determine the widths of columns. Later rows may be wider, so a long table needs no memory."""

_GAP = "  "
_SHORTENED = 16
"""The width of a shortened cell. A time to the minute is as wide, so it is never shortened."""
_COMFORTABLE, _NARROW = 40, 24
"""The widths to which a text is wrapped before and after other columns are shortened."""
_BREAKS = ((16, 16), (12, 12), (8, 10))
"""Pairs of widths: of broken names in columns that are never dropped, and of the wrapped text in the last column."""
_NAME = 20
"""The width to which names are wrapped that are much longer than most."""


class _Column:
    """The measures of one column. A narrow table shortens the cells of a column that `is_spare`."""

    __slots__ = ("at", "cells", "is_spare", "least", "name", "title", "width", "word")

    def __init__(self, at: int, name: str, cells: Sequence[str], *, is_spare: bool) -> None:
        self.at = at
        self.name = name
        self.title = name.upper().replace("_", " ")
        self.is_spare = is_spare
        self.cells = sorted(map(text_width, cells)) or [0]
        self.word = max(map(widest_word, cells), default=0)
        self.least = max(2, *map(len, self.title.split() or [""]))  # two, because a character may be that wide
        self.width = max(self.least, len(self.title), self.cells[-1])

    def whole(self) -> int:
        """Return the width at which only its title is wrapped."""
        return max(self.least, self.cells[-1])

    def wrapped(self, narrowest: int) -> int:
        """Return the width to which its texts may be wrapped. Words are not broken."""
        return max(self.least, min(self.cells[-1], max(narrowest, self.word)))

    def without_slack(self) -> int:
        """Return the width that it needs when its title is wrapped to its present width."""
        title = max(map(len, folded(self.title, self.width)))
        return max(2, title, min(self.width, self.cells[-1]))

    def shortest(self, kept: int = _SHORTENED) -> int:
        """Return the width to which its cells may be shortened or broken."""
        return max(self.least, min(self.cells[-1], kept))

    def without_outliers(self) -> int:
        """Return the width at which most of its names are not broken."""
        usual = self.cells[(len(self.cells) - 1) * 3 // 4]
        return max(self.least, min(self.cells[-1], max(usual, _NAME)))


class Table:
    """The layout of a table of at most `columns`, or as wide as it needs to be if `columns` is None.

    If the table is wider: titles are wrapped between words, then texts within their cells; then the columns in `spare`
    are shortened with `…` and, the first of them first, dropped; then the names in `broken` are broken into several
    lines. If the others are still too wide, their long names are broken too, and if that is not enough, each row is
    printed as a card.
    """

    def __init__(
        self,
        names: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        spare: Sequence[str] = (),
        broken: Sequence[str] = (),
        color: bool,
        columns: int | None,
    ) -> None:
        """`rows` are the first of the table."""
        self._names = names
        self._color = color
        self._width = columns
        cells = list(zip(*rows, strict=True)) or [()] * len(names)
        every = [_Column(at, name, cells[at], is_spare=name in spare) for at, name in enumerate(names)]
        self._columns = every
        self.whole = self._excess() <= 0
        """Whether nothing was wrapped, shortened or dropped."""
        if not self.whole:
            self._fit(
                every, sorted((one for one in every if one.is_spare), key=lambda one: spare.index(one.name)), broken
            )
        self._as_cards = self._excess() > 0
        self._room = -self._excess()
        self._is_first = True

    def header(self) -> str:
        if self._as_cards:
            return ""
        titles = [folded(column.title, column.width) for column in self._columns]
        height = max(map(len, titles))
        lines = zip(*([""] * (height - len(title)) + title for title in titles), strict=True)
        begin, end = (BOLD, RESET) if self._color else ("", "")
        return "".join(f"{begin}{self._joined(line, self._columns)}{end}\n" for line in lines)

    def line(self, cells: Sequence[str]) -> str:
        """Format a row, in one line unless a cell is wrapped."""
        if self._as_cards:
            return self._card(cells)
        shown = [cells[column.at] for column in self._columns]
        needed = list(map(text_width, shown))
        widths = [column.width for column in self._columns]
        if all(map(le, needed, widths)) and not any("\n" in cell for cell in shown):
            return self._joined(shown, self._columns) + "\n"
        room, parts = self._room, []
        for at, (column, cell) in enumerate(zip(self._columns, shown, strict=True)):
            over = needed[at] - column.width
            if 0 < over <= room:  # a row after the measured ones
                widths[at] += over
                room -= over
            elif over > 0:
                shown[at] = shortened(cell, column.width) if column.is_spare else cell
            parts.append(folded(shown[at], widths[at]))
        return "".join(self._joined(line, self._columns, widths) + "\n" for line in zip_longest(*parts, fillvalue=""))

    # Inside.

    def _excess(self) -> int:
        if self._width is None:
            return -sys.maxsize
        return sum(column.width for column in self._columns) + len(_GAP) * (len(self._columns) - 1) - self._width

    def _fit(self, every: list[_Column], spare: list[_Column], broken: Sequence[str]) -> None:
        names = [column for column in every if column.name in broken]
        essential = [column for column in every if column not in spare and column not in names]
        for column in every:
            column.width = min(column.width, max(column.least, self._width or 0))
        self._narrow(every, {column: column.whole() for column in every})
        self._narrow(essential, {column: column.wrapped(_COMFORTABLE) for column in essential})
        widths = {column: column.width for column in spare}
        dropped: list[_Column] = []
        for least in (*spare, None):
            left = [column for column in spare if column not in dropped]
            self._columns = [column for column in every if column not in dropped]
            for column in left:
                column.width = widths[column]
            for column in left:
                column.width = max(min(column.width, column.shortest()), column.width - max(0, self._excess()))
            if self._excess() <= 0 or least is None or len(self._columns) == 1:
                break
            dropped.append(least)
        for column in tuple(reversed(dropped)):  # a narrow column may fit where a more important one does not
            room = -self._excess() - len(_GAP)
            if room >= column.shortest():
                column.width = min(column.whole(), room)
                dropped.remove(column)
                self._columns = [one for one in every if one not in dropped]
        self._narrow(essential, {column: column.wrapped(_NARROW) for column in essential})
        for broken_to, wrapped_to in _BREAKS if names else ():
            self._narrow(names, {column: column.shortest(broken_to) for column in names})
            self._narrow(essential[-1:], {column: column.wrapped(wrapped_to) for column in essential[-1:]})
        self._narrow(essential, {column: column.without_outliers() for column in essential})
        self._widen({column: column.whole() for column in essential})
        self._widen({column: len(column.title) for column in self._columns})
        for column in self._columns:
            column.width = column.without_slack()

    def _narrow(self, columns: Sequence[_Column], least: dict[_Column, int]) -> None:
        """Narrow the widest of `columns`, each to its width in `least`, until the table fits."""
        while self._excess() > 0:
            wide = [column for column in columns if column.width > least[column]]
            if not wide:
                return
            max(wide, key=lambda column: column.width).width -= 1

    def _widen(self, wanted: dict[_Column, int]) -> None:
        """Widen each column up to its width in `wanted`, as far as the terminal has room."""
        for column, width in wanted.items():
            column.width += min(max(0, -self._excess()), max(0, width - column.width))

    def _card(self, cells: Sequence[str]) -> str:
        between = "" if self._is_first else "\n"
        self._is_first = False
        return between + card(self._names, cells, color=self._color, columns=self._width, whole_words=False)

    def _joined(self, cells: Sequence[str], columns: Sequence[_Column], widths: Sequence[int] | None = None) -> str:
        padded = [
            (painted(column.name, cell) if self._color else cell) + " " * (width - display_width(cell))
            for cell, column, width in zip(cells, columns, widths or [one.width for one in columns], strict=True)
        ]
        return _GAP.join(padded).rstrip()
