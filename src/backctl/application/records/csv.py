"""Rewrite the cells of selected columns in CSV (RFC 4180) and keep every other byte."""

import re
from collections.abc import Iterable

from backctl.application.records.fields import ContextTemplate, Field
from backctl.application.records.rewriting import LONGEST, TOO_LONG, Line, Replace
from backctl.domain.errors import InvalidInput, UsageError
from backctl.domain.plain_text import BYTE_ORDER_MARK
from backctl.domain.quoting import quoted

_HEADER = "write the column names in the first line, separated by commas"
_CELL = re.compile(rb'"[^"]*(?:""[^"]*)*"|[^",\r\n]*')
_QUOTES = re.compile(rb'""?')
_NEEDS_QUOTES = re.compile(rb'[",\r\n]')


class CsvRecords:
    """Rewrites columns selected by their names in the header. Blank lines stay unchanged.

    A quoted cell may span several lines; the number of a record is that of its first line.
    """

    def __init__(self, fields: Iterable[Field], context: ContextTemplate) -> None:
        """Raises UsageError if the context needs a column that is replaced."""
        self._fields = tuple(fields)
        self._context = context
        for name in context.names:
            if any(name == chosen.name for chosen in self._fields):
                raise UsageError(f"the context cannot use {quoted(name)}, a column that is itself replaced")
        self._width = 0
        self._places: list[tuple[int, str]] = []
        self._needed: dict[str, int] = {}
        self._held_from = 0  # first line of the record with an open quote; 0 if no quote is open
        self._held = bytearray()  # not a list of lines: an empty bytes object takes a hundred bytes

    def gather(self, lines: list[Line], *, last: bool) -> list[Line]:
        """Raises InvalidInput for an unusable header."""
        records = []
        for line in lines:
            record = self._whole(line)
            if record is None:
                continue
            if not self._width:
                self._read_header(record)
                records.append(record._replace(number=0))
            elif record.content.strip(b"\r") or record.problem or self._width == 1:
                records.append(record)
            else:
                records.append(record._replace(number=0))
        if last and not self._width:
            raise InvalidInput("there is no header", hint=_HEADER)
        if last and self._held_from:
            records.append(Line(self._held_from, b"", b"", "a quote that starts here is never closed"))
        return records

    def rewrite(self, content: bytes, replace: Replace) -> bytes:
        end = b"\r" if content.endswith(b"\r") else b""
        cells = _cells(content.removesuffix(b"\r"))
        if len(cells) != self._width:
            raise InvalidInput(f"its number of fields is {len(cells)}, but the header has {self._width}")
        changed = False
        for place, name in self._places:
            before = _plain(cells[place])
            after = replace(before, self._context.context(name, lambda needed: self._text(needed, cells)))
            if after is not before:
                cells[place] = _quoted(after)
                changed = True
        return b",".join(cells) + end if changed else content

    def _whole(self, line: Line) -> Line | None:
        """Return the record that the line completes; None while a quote is open."""
        if not self._held_from:
            start = line.content if self._width else line.content.removeprefix(BYTE_ORDER_MARK)
            if start.count(b'"') % 2 == 0 or not _leaves_open(start):
                return line
            self._held_from, self._held = line.number, bytearray(line.content)
            return None
        self._held += b"\n"
        self._held += line.content
        if line.problem or len(self._held) > LONGEST:
            return Line(self._released()[0], b"", line.end, TOO_LONG)
        if _leaves_open(line.content, within=True):
            return None
        number, content = self._released()
        return Line(number, content, line.end)

    def _released(self) -> tuple[int, bytes]:
        number, content = self._held_from, bytes(self._held)
        self._held_from, self._held = 0, bytearray()
        return number, content

    def _read_header(self, record: Line) -> None:
        try:
            if record.problem:
                raise InvalidInput(record.problem)
            cells = _cells(record.content.removeprefix(BYTE_ORDER_MARK).removesuffix(b"\r"))
            names = [_plain(cell).decode("utf-8") for cell in cells]
        except (InvalidInput, UnicodeDecodeError) as error:
            why = error.message if isinstance(error, InvalidInput) else "it is not UTF-8"
            raise InvalidInput(f"the header cannot be read: {why}", hint=_HEADER) from None
        for name in (*(chosen.name for chosen in self._fields), *self._context.names):
            if names.count(name) > 1:
                raise InvalidInput(
                    f"the header has {names.count(name)} columns named {quoted(name)}",
                    hint="give each column a unique name",
                )
        for chosen in self._fields:
            if chosen.name in names:
                self._places.append((names.index(chosen.name), chosen.name))
            elif not chosen.optional:
                raise InvalidInput(f"there is no column {quoted(chosen.name)}", hint=_HEADER)
        for name in self._context.names:
            if name not in names:
                raise InvalidInput(f"there is no column {quoted(name)}, which the context needs", hint=_HEADER)
            self._needed[name] = names.index(name)
        self._width = len(names)

    def _text(self, name: str, cells: list[bytes]) -> str:
        try:
            return _plain(cells[self._needed[name]]).decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidInput(f"its field {quoted(name)}, which the context needs, is not UTF-8") from None


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


def _cells(record: bytes) -> list[bytes]:
    """Split a record into its cells as written, including quotes. Raises InvalidInput."""
    if b'"' not in record and b"\r" not in record:
        return record.split(b",")
    cells: list[bytes] = []
    at = 0
    while True:
        match = _CELL.match(record, at)
        if match is None or record[match.end() : match.end() + 1] not in (b",", b""):
            raise InvalidInput(f"its field {len(cells) + 1} is not valid CSV (RFC 4180)")
        cells.append(match[0])
        if match.end() == len(record):
            return cells
        at = match.end() + 1


def _plain(cell: bytes) -> bytes:
    return cell[1:-1].replace(b'""', b'"') if cell.startswith(b'"') else cell


def _quoted(content: bytes) -> bytes:
    return b'"' + content.replace(b'"', b'""') + b'"' if _NEEDS_QUOTES.search(content) else content
