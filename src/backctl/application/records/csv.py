"""Rewrite the cells of selected columns in CSV (RFC 4180) and keep every other byte."""

import re
from collections.abc import Iterable

from backctl.application.records.csv_cells import (
    HEADER_HINT,
    WholeRecords,
    column_names,
    no_header,
    plain_cell,
    repeated_column,
    split_cells,
    wrong_width,
)
from backctl.application.records.fields import ContextTemplate, Field
from backctl.application.records.lines import Line
from backctl.application.records.rewriting import LONGEST, Replace
from backctl.domain.errors import InvalidInput, UsageError
from backctl.domain.quoting import quoted

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
        self._whole_records = WholeRecords(LONGEST)

    def gather(self, lines: list[Line], *, last: bool) -> list[Line]:
        """Raises InvalidInput for an unusable header."""
        records = []
        for record in self._whole_records.gather(lines, last=last):
            if not self._width:
                self._read_header(record)
                records.append(record._replace(number=0))
            elif record.content.strip(b"\r") or record.problem or self._width == 1:
                records.append(record)
            else:
                records.append(record._replace(number=0))
        if last and not self._width:
            raise no_header()
        return records

    def rewrite(self, content: bytes, replace: Replace) -> bytes:
        end = b"\r" if content.endswith(b"\r") else b""
        cells = split_cells(content.removesuffix(b"\r"))
        if len(cells) != self._width:
            raise wrong_width(len(cells), self._width)
        changed = False
        for place, name in self._places:
            before = plain_cell(cells[place])
            after = replace(before, self._context.context(name, lambda needed: self._text(needed, cells)))
            if after is not before:
                cells[place] = _quoted(after)
                changed = True
        return b",".join(cells) + end if changed else content

    def _read_header(self, record: Line) -> None:
        names = column_names(record)
        for name in (*(chosen.name for chosen in self._fields), *self._context.names):
            if names.count(name) > 1:
                raise repeated_column(f"{names.count(name)} columns named {quoted(name)}")
        for chosen in self._fields:
            if chosen.name in names:
                self._places.append((names.index(chosen.name), chosen.name))
            elif not chosen.optional:
                raise InvalidInput(f"there is no column {quoted(chosen.name)}", hint=HEADER_HINT)
        for name in self._context.names:
            if name not in names:
                raise InvalidInput(f"there is no column {quoted(name)}, which the context needs", hint=HEADER_HINT)
            self._needed[name] = names.index(name)
        self._width = len(names)

    def _text(self, name: str, cells: list[bytes]) -> str:
        try:
            return plain_cell(cells[self._needed[name]]).decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidInput(f"its field {quoted(name)}, which the context needs, is not UTF-8") from None


def _quoted(content: bytes) -> bytes:
    return b'"' + content.replace(b'"', b'""') + b'"' if _NEEDS_QUOTES.search(content) else content
