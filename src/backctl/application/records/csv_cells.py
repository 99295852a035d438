"""Gather the records of CSV (RFC 4180) and split them into cells."""

import re
from collections.abc import Iterable

from backctl.application.records.lines import Line, too_long
from backctl.domain.errors import InvalidInput
from backctl.domain.plain_text import BYTE_ORDER_MARK

HEADER_HINT = "write the column names in the first line, separated by commas"
_CELL = re.compile(rb'"[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+')
# The last alternative takes everything after the first error, so that the search ends there.
_CELLS = re.compile(rb'(?:("[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+)(?:,|\Z)|.+)', re.DOTALL)
_QUOTES = re.compile(rb'""?')


class WholeRecords:
    """Joins the lines of each record: a quoted cell may span several. A record has the number of its first line.

    A record of more than `longest` bytes has a problem instead of its content; the next one starts at the next line.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._held_from = 0  # first line of the record with an open quote; 0 if no quote is open
        self._held = bytearray()  # not a list of lines: an empty bytes object takes a hundred bytes

    def gather(self, lines: Iterable[Line], *, last: bool) -> list[Line]:
        """Return the records that these lines complete. `last`: there are no more lines."""
        records = []
        for line in lines:
            if not self._held_from and b'"' not in line.content:
                records.append(line)
            elif record := self._whole(line):
                records.append(record)
        if last and self._held_from:
            records.append(Line(self._held_from, b"", b"", "a quote that starts here is never closed"))
        return records

    def _whole(self, line: Line) -> Line | None:
        """Return the record that the line completes; None while a quote is open."""
        if not self._held_from:
            start = line.content.removeprefix(BYTE_ORDER_MARK) if line.number == 1 else line.content
            if start.count(b'"') % 2 == 0 or not _leaves_open(start):
                return line
            self._held_from, self._held = line.number, bytearray(line.content)
            return None
        self._held += b"\n"
        self._held += line.content
        if line.problem or len(self._held) > self._longest:
            return Line(self._released()[0], b"", line.end, too_long(self._longest))
        if _leaves_open(line.content, within=True):
            return None
        number, content = self._released()
        return Line(number, content, line.end)

    def _released(self) -> tuple[int, bytes]:
        number, content = self._held_from, bytes(self._held)
        self._held_from, self._held = 0, bytearray()
        return number, content


def column_names(record: Line) -> list[str]:
    """Read the header. Raises InvalidInput."""
    try:
        if record.problem:
            raise InvalidInput(record.problem)
        cells = split_cells(record.content.removeprefix(BYTE_ORDER_MARK).removesuffix(b"\r"))
        return [plain_cell(cell).decode("utf-8") for cell in cells]
    except (InvalidInput, UnicodeDecodeError) as error:
        why = error.message if isinstance(error, InvalidInput) else "it is not UTF-8"
        raise InvalidInput(f"the header cannot be read: {why}", hint=HEADER_HINT) from None


def no_header() -> InvalidInput:
    return InvalidInput("there is no header", hint=HEADER_HINT)


def repeated_column(described: str) -> InvalidInput:
    return InvalidInput(f"the header has {described}", hint="give each column a unique name")


def wrong_width(width: int, expected: int) -> InvalidInput:
    return InvalidInput(f"its number of fields is {width}, but the header has {expected}")


def split_cells(record: bytes) -> list[bytes]:
    """Split a record without its line end into its cells as written, including quotes. Raises InvalidInput."""
    if b'"' not in record and b"\r" not in record:
        return record.split(b",")
    found: list[bytes] = _CELLS.findall(record)
    if not record.endswith(b","):
        found.pop()  # an empty match after the last cell
    if sum(map(len, found)) + len(found) - 1 == len(record):
        return found
    raise InvalidInput(f"its field {_first_invalid(record)} is not valid CSV (RFC 4180)")


def plain_cell(cell: bytes) -> bytes:
    """Return the content of a cell without its quotes."""
    return cell[1:-1].replace(b'""', b'"') if cell.startswith(b'"') else cell


def cell_texts(record: bytes) -> list[str]:
    """Split a record without its line end into the contents of its cells. Raises InvalidInput, UnicodeDecodeError."""
    text = record.decode()
    if "\r" not in text and "\n" not in text:
        if '"' not in text:
            return text.split(",")
        if (cells := _simply_quoted(text)) is not None:
            return cells
    return [plain_cell(cell).decode() for cell in split_cells(record)]


def _simply_quoted(text: str) -> list[str] | None:
    """Do the same, three times as fast, for one line; None for an invalid record, and for quotes within a cell."""
    parts = text.split('"')
    between = parts[2:-1:2]
    if len(parts) % 2 == 0 or not all(between):
        return None
    start, end = parts[0], parts[-1]
    if (start and not start.endswith(",")) or (end and not end.startswith(",")):
        return None
    cells = start[:-1].split(",") if start else []
    for cell, after in zip(parts[1:-2:2], between, strict=True):
        cells.append(cell)
        if after != ",":
            if not (len(after) > 1 and after.startswith(",") and after.endswith(",")):
                return None
            cells += after[1:-1].split(",")
    cells.append(parts[-2])
    if end:
        cells += end[1:].split(",")
    return cells


def _first_invalid(record: bytes) -> int:
    at, field = 0, 1
    while (match := _CELL.match(record, at)) and record.startswith(b",", match.end()):
        field, at = field + 1, match.end() + 1
    return field


def _leaves_open(line: bytes, *, within: bool = False) -> bool:
    """Whether the line ends inside a quoted cell; `within`: it starts inside one.

    A quote inside an unquoted cell, or text after a closing quote, is an error of this record only.
    """
    at = 0
    if not within and line.startswith(b'"'):
        within, at = True, 1
    while True:
        if within:
            closing = next((match for match in _QUOTES.finditer(line, at) if len(match[0]) == 1), None)
            if closing is None:
                return True
            comma = closing.end()
        else:
            comma = line.find(b",", at)
            if b'"' in line[at:comma]:
                return False
        if line[comma : comma + 1] != b",":
            return False
        within = line.startswith(b'"', comma + 1)
        at = comma + 1 + within
