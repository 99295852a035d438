"""Write exported accounts as JSON lines, as a JSON document or as CSV.

Values are converted column by column, because that takes half the time of a loop over the accounts.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any, Final, Literal

from backctl.application.transfer.record import KINDS, Kind
from backctl.domain.values import Instant

ExportFormat = Literal["jsonl", "json", "csv"]
FORMATS: Final[tuple[ExportFormat, ...]] = ("jsonl", "json", "csv")

_SECOND, _DAY = 1_000_000, 86_400_000_000
_DAYS_KEPT: Final = 20_000
_FLAGS: Final = {False: "false", True: "true"}

Column = Sequence[Any]
Columns = Sequence[Column]
Convert = Callable[[Any], str]


def written(
    blocks: Iterable[Columns], names: Sequence[str], form: ExportFormat, *, header: bool, spreadsheet_safe: bool
) -> Iterator[bytes]:
    """Write blocks of columns with these names, in UTF-8; each block as soon as it arrives.

    Lines end with LF. `header` is the first line of CSV. `spreadsheet_safe` is for CSV: see `_Csv`.
    """
    match form:
        case "csv":
            return _Csv(names, header=header, spreadsheet_safe=spreadsheet_safe).pieces(blocks)
        case "json":
            return _JsonDocument(names).pieces(blocks)
        case _:
            return _JsonLines(names).pieces(blocks)


class _Format(ABC):
    def __init__(self, names: Sequence[str], *, null: str, converts: Mapping[Kind, Convert]) -> None:
        self._names = names
        self._null = null
        self._converts = converts

    @abstractmethod
    def pieces(self, blocks: Iterable[Columns]) -> Iterator[bytes]:
        """Write the whole export."""

    def _cells(self, columns: Columns) -> Iterator[tuple[str, ...]]:
        """Yield the converted values of each account."""
        return zip(*map(self._texts, self._names, columns), strict=True)

    def _texts(self, name: str, column: Column) -> list[str]:
        convert, null = self._converts[KINDS[name]], self._null
        if None in column:
            return [null if value is None else convert(value) for value in column]
        return list(map(convert, column))


class _Json(_Format):
    def __init__(self, names: Sequence[str]) -> None:
        moment = _Moments().text
        converts: Mapping[Kind, Convert] = {
            "text": encode_basestring,
            "flag": _FLAGS.__getitem__,
            "time": lambda at: f'"{moment(at)}"',
            "number": str,
        }
        super().__init__(names, null="null", converts=converts)
        self._line = "{" + ", ".join(f'"{name}": %s' for name in names) + "}"

    def _lines(self, columns: Columns) -> Iterator[str]:
        return map(self._line.__mod__, self._cells(columns))


class _JsonLines(_Json):
    def pieces(self, blocks: Iterable[Columns]) -> Iterator[bytes]:
        for columns in blocks:
            yield ("\n".join(self._lines(columns)) + "\n").encode()


class _JsonDocument(_Json):
    """The same document as that of a list: one account per line."""

    def pieces(self, blocks: Iterable[Columns]) -> Iterator[bytes]:
        before = '{"items": ['
        for columns in blocks:
            yield (before + ",\n".join(self._lines(columns))).encode()
            before = ",\n"
        yield ((before if before.startswith("{") else "") + '], "next_cursor": null}\n').encode()


class _Csv(_Format):
    """RFC 4180, except that lines end with LF.

    `spreadsheet_safe` puts an apostrophe before a text that a spreadsheet would run as a formula:
    https://owasp.org/www-community/attacks/CSV_Injection
    """

    def __init__(self, names: Sequence[str], *, header: bool, spreadsheet_safe: bool) -> None:
        converts: Mapping[Kind, Convert] = {
            "text": (lambda text: _quoted(_harmless(text))) if spreadsheet_safe else _quoted,
            "flag": _FLAGS.__getitem__,
            "time": _Moments().text,
            "number": str,
        }
        super().__init__(names, null="", converts=converts)
        self._header = header

    def pieces(self, blocks: Iterable[Columns]) -> Iterator[bytes]:
        if self._header:
            yield (",".join(self._names) + "\n").encode()
        for columns in blocks:
            yield ("\n".join(map(",".join, self._cells(columns))) + "\n").encode()


_SPECIAL = re.compile(r'[",\r\n]')


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


class _Moments:
    """Formats times as `Instant` does, in half the time: it remembers days and seconds of a day."""

    def __init__(self) -> None:
        self._days: dict[int, str] = {}
        self._seconds: dict[int, str] = {}

    def text(self, at: int) -> str:
        day, rest = divmod(at, _DAY)
        second, fraction = divmod(rest, _SECOND)
        date, time = self._days.get(day), self._seconds.get(second)
        if date is None or time is None:
            date, time = self._remembered(day, second)
        return f"{date}{time}{fraction:06}Z"

    def _remembered(self, day: int, second: int) -> tuple[str, str]:
        if len(self._days) >= _DAYS_KEPT:
            self._days.clear()
        shown = Instant(day * _DAY + second * _SECOND).isoformat()
        date, time = self._days[day], self._seconds[second] = shown[:11], shown[11:20]
        return date, time
