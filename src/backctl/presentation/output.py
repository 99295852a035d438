"""Renders results: tables for people, TSV, CSV and identifiers for shells, JSON for programs.

A view is a frozen dataclass. Its members are the columns, in order, and their names the JSON keys. In a pipe, data is
quoted as its format requires. On a terminal, control and bidirectional characters are also escaped, in JSON as
`\\uXXXX`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from enum import StrEnum
from itertools import chain, islice
from operator import attrgetter
from typing import Any

from backctl.domain.errors import UsageError
from backctl.domain.quoting import escaped, quoted
from backctl.presentation import tables, terminal
from backctl.presentation.cards import card
from backctl.presentation.cells import (
    PLAIN,
    cell,
    csv_line,
    json_text,
    portable,
    to_the_minute,
    to_the_second,
    tsv_line,
)
from backctl.presentation.table_layout import TableLayout
from backctl.presentation.terminal import Sink

Row = Sequence[object]
Tail = Callable[[], Mapping[str, object]]
"""Returns the members of a JSON document after `items`. It is called after the last item."""

_BLOCK = 512
"""Rows per write: large enough for speed, small enough for memory and for a reader that waits."""


class Format(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    ID = "id"
    HEADERS = "headers"


def members(view: type) -> tuple[str, ...]:
    """Return the names of the members of a view, in order."""
    return tuple(field.name for field in dataclass_fields(view))


class Renderer:
    """Writes the result of one command. `fields` selects and orders members; `form` None is the default format.

    `empty` is shown in cells that would be empty.
    """

    def __init__(
        self,
        form: Format | None,
        *,
        fields: tuple[str, ...] | None,
        header: bool,
        sink: Sink,
        color: bool,
        empty: str = "",
    ) -> None:
        if form in (Format.ID, Format.HEADERS) and fields is not None:
            raise UsageError(f"--fields has no meaning with --output {form}", hint="use --output tsv --no-header")
        self._form = form or (Format.TABLE if sink.terminal else Format.TSV)
        self.fields = fields
        self._header = header
        self.sink = sink
        self._color = color
        self._empty = empty
        self.is_json_document = form is Format.JSON
        self.is_json = form in (Format.JSON, Format.JSONL)
        self.is_table = self._form in (Format.TABLE, Format.WIDE)
        self.is_wide = self._form is Format.WIDE
        self.has_headers = self._form is Format.HEADERS

    def require_known(self, views: Sequence[type], extra: Sequence[str] = ()) -> None:
        """Raise UsageError if `--fields` contains a name that is neither in one of `views` nor in `extra`."""
        known = tuple(dict.fromkeys([*chain.from_iterable(map(members, views)), *extra]))
        for name in self.fields or ():
            if name not in known:
                raise self._unknown(name, known)

    def leaves_out(self, *names: str) -> bool:
        """Whether `--fields` is given and contains none of these names."""
        return self.fields is not None and not set(names) & set(self.fields)

    def one(self, view: object, extra: Mapping[str, object] | None = None, *, without_none: bool = False) -> None:
        """Write one object, followed by further members. `without_none` leaves out members that are None."""
        if self._form is Format.HEADERS:
            self._headers([view])
            return
        names, row = _taken_apart(view)
        if extra:
            names, row = (*names, *extra), (*row, *extra.values())
        if self.fields is not None:
            # A member that this outcome lacks, such as `dry_run`, is empty; a misspelt one was refused before.
            if not extra:
                self._pick(names)
            values = dict(zip(names, row, strict=True))
            names, row = self.fields, tuple(values.get(name) for name in self.fields)
        elif without_none:
            present = [at for at, value in enumerate(row) if value is not None]
            names, row = tuple(names[at] for at in present), tuple(row[at] for at in present)
        match self._form:
            case Format.JSON | Format.JSONL:
                self._write(json_text(dict(zip(names, map(portable, row), strict=True))) + "\n")
            case Format.TABLE | Format.WIDE:
                shown = [self._on_card(value) for value in row]
                self._write(card(names, shown, color=self._color, columns=self._columns()))
            case _:
                self._rows(iter([row]), names)
        self.sink.flush()

    def page(self, items: Sequence[object], view: type, next_cursor: str | None) -> None:
        """Write objects of one class and, in a JSON document, the cursor after them. All share one set of headers."""
        if self._form is Format.HEADERS and items:
            self._headers(items)
            return
        self._many(iter(items), view, lambda: {"next_cursor": next_cursor})

    def checks(self, ok: bool, items: Sequence[object], view: type) -> None:
        """Write the answers of several checks. A JSON document begins with `ok`, the overall answer."""
        if self._form is Format.HEADERS and items:
            self._headers(items)
            return
        self._many(iter(items), view, dict, ok=ok)

    def stream(self, items: Iterator[object], view: type) -> None:
        """Write any number of objects in constant memory."""
        self._many(items, view, _last_page)

    def in_blocks(self, blocks: Iterator[Sequence[object]], view: type, tail: Tail) -> None:
        """Write objects that arrive in blocks, each at once, except in a table or a JSON document.

        In JSON an item can also be a mapping, for example for a line that failed.
        """
        if self.is_table or self.is_json_document:
            self._many(chain.from_iterable(blocks), view, tail)
            return
        self._many(iter(()), view, tail)  # the header
        self._header = False
        for block in blocks:
            self._many(iter(block), view, tail)

    def summed_up(self, items: Iterator[object], view: type, summary: Mapping[str, object]) -> None:
        """Write objects and, in a JSON document, a summary after them."""
        self._many(items, view, lambda: {"summary": summary})

    def lines(self, lines: Iterator[str]) -> None:
        """Write lines that are made for a terminal already."""
        for block in _blocks(lines):
            self._write("".join(block))
        self.sink.flush()

    def records(
        self,
        names: tuple[str, ...],
        records: Iterator[Mapping[str, object]],
        tail: Tail,
    ) -> None:
        """Write objects that may lack some of `names`.

        Missing members are empty in text formats and omitted in JSON.
        """
        chosen = self.fields or names
        if self.is_json:
            lines = (
                json_text({name: portable(record[name]) for name in chosen if name in record}) for record in records
            )
            self._json_lines(lines, tail)
        elif self._form is Format.ID:
            identity = _identity(names)
            self._rows((tuple(map(record.get, names)) for record in records if identity in record), names)
        else:
            self._rows((tuple(map(record.get, chosen)) for record in records), chosen)
        self.sink.flush()

    def value(self, text: str, view: object) -> None:
        """Write a single value: only the value in text formats, `view` in JSON and with `--fields`."""
        if self.is_json or self.fields is not None:
            self.one(view)
        else:
            self._bare(text)

    def alone(self, text: str, member: Mapping[str, object]) -> None:
        """Write one member of a result that is not printed, whatever `--fields` contains."""
        if self.is_json:
            self._write(json_text(member) + "\n")
            self.sink.flush()
        else:
            self._bare(text)

    def raw(self, text: str) -> None:
        """Write text unchanged; on a terminal, escape control characters."""
        self.sink.write(_safe_lines(text) if self.sink.terminal else text)

    def exactly(self, data: bytes, view: object) -> None:
        """Write a result that consists of bytes: unchanged in text formats, `view` in JSON and with `--fields`."""
        if self.is_json or self.fields is not None:
            self.one(view)
        else:
            self.data(data)

    def data(self, data: bytes) -> None:
        """Write bytes unchanged in every format; on a terminal, escape control characters."""
        if self.sink.terminal:
            self._write(_safe_lines(data.decode("utf-8", "backslashreplace")))
            self.sink.flush()
        else:
            self.sink.write_bytes(data)

    # Inside.

    def _many(
        self,
        items: Iterator[object],
        view: type,
        tail: Tail,
        *,
        ok: bool | None = None,
    ) -> None:
        if self._form is Format.HEADERS:
            for item in items:
                self._headers([item])
            return
        layout = TableLayout.of(view, members(view)) if self._form is Format.TABLE and self.fields is None else None
        names, pick = self._pick(members(view), layout.names if layout else None)
        if layout is not None:
            self._table(map(pick, items), layout)
        elif self.is_json:
            # The same text as json.dumps, three times as fast, for long lists.
            template = "{" + ", ".join(f"{json_text(name)}: %s" for name in names) + "}"  # names are identifiers
            text = _json_writer()
            lines = (
                json_text(item) if isinstance(item, Mapping) else template % tuple(map(text, pick(item)))
                for item in items
            )
            self._json_lines(lines, tail, ok=ok)
        else:
            self._rows(map(pick, items), names)
        self.sink.flush()

    def _headers(self, views: Sequence[Any]) -> None:
        self._write("".join(f"{line}\n" for line in type(views[0]).headers_of(views)))
        self.sink.flush()

    def _pick(
        self, known: tuple[str, ...], preferred: tuple[str, ...] | None = None
    ) -> tuple[tuple[str, ...], Callable[[object], Row]]:
        names = self.fields if self.fields is not None else preferred or known
        for name in names:
            if name not in known:
                raise self._unknown(name, known)
        getter = attrgetter(*names)
        if len(names) == 1:
            return names, lambda item: (getter(item),)
        return names, getter

    def _unknown(self, name: str, known: Sequence[str]) -> UsageError:
        return UsageError(f"--fields: there is no {quoted(name)} here", hint="known fields: " + ", ".join(known))

    def _json_lines(self, lines: Iterator[str], tail: Tail, *, ok: bool | None = None) -> None:
        if self._form is Format.JSONL:
            for block in _blocks(line + "\n" for line in lines):
                self._write("".join(block))
            return
        # One document, written item by item, because the list may not fit in memory.
        separator = '{"items": [' if ok is None else f'{{"ok": {json_text(ok)}, "items": ['
        for block in _blocks(lines):
            self._write(separator + ",\n".join(block))
            separator = ",\n"
        rest = "".join(f", {json_text(name)}: {json_text(portable(value))}" for name, value in tail().items())
        self._write(f"{separator if separator.startswith('{') else ''}]{rest}}}\n")

    def _rows(self, rows: Iterator[Row], names: tuple[str, ...]) -> None:
        bare = _escaped_cell if self.sink.terminal else cell
        match self._form:
            case Format.TABLE | Format.WIDE:
                self._table(rows, TableLayout(names))
            case Format.ID:
                at = names.index(_identity(names))
                named = (row[at] for row in rows if not isinstance(row[at], (int, float, type(None))))  # no counts
                for block in _blocks(bare(one) + "\n" for each in named for one in _each(each)):
                    self._write("".join(block))
            case _:
                line = csv_line if self._form is Format.CSV else tsv_line
                head = [line(names)] if self._header else []
                shown = self._filled(bare)
                lines = (line([shown(value) for value in row]) for row in rows)
                for block in _blocks(chain(head, lines)):
                    self._write("".join(block))

    def _table(self, rows: Iterator[Row], layout: TableLayout) -> None:
        first = list(islice(rows, tables.MEASURED))
        cells, table = self._laid_out(first, layout, cell if self.is_wide else to_the_second)
        if not table.whole:
            cells, table = self._laid_out(first, layout, to_the_minute)
        if self._header:
            self._write(table.header())
        for block in _blocks(map(cells, chain(first, rows))):
            self._write("".join(map(table.line, block)))

    def _laid_out(
        self, first: Sequence[Row], layout: TableLayout, text: Callable[[object], str]
    ) -> tuple[Callable[[Row], list[str]], tables.Table]:
        cells = layout.cells(self._filled(lambda value: escaped(text(value))))
        shown = map(cells, first)
        return cells, tables.Table(
            layout.titles(), shown, spare=layout.spare, broken=layout.broken, color=self._color, columns=self._columns()
        )

    def _columns(self) -> int | None:
        return None if self.is_wide else terminal.width()

    def _bare(self, text: str) -> None:
        self._write((_safe_lines(text) if self.sink.terminal else text) + "\n")
        self.sink.flush()

    def _filled(self, text: Callable[[object], str]) -> Callable[[object], str]:
        """Return a function like `text` that returns the value of `--empty` instead of an empty text."""
        if not self._empty:
            return text
        empty = escaped(self._empty) if self.sink.terminal or self.is_table else self._empty
        return lambda value: text(value) or empty

    def _on_card(self, value: object) -> str:
        # A list, such as recovery codes, is printed with one item per line, and so are the data of an event.
        shown = self._filled(_escaped_cell)
        if isinstance(value, dict) and value:
            return "\n".join(f"{escaped(str(name))}: {shown(member)}" for name, member in value.items())
        return "\n".join(map(shown, value)) if isinstance(value, list) and value else shown(value)

    def _write(self, text: str) -> None:
        self.sink.write(_safe_json(text) if self.sink.terminal and self.is_json else text)


def _last_page() -> dict[str, object]:
    return {"next_cursor": None}


def _identity(names: Sequence[str]) -> str:
    """Return the name of the member that identifies an object: one of these names if there is one, else the first."""
    return next((name for name in ("id", "jti", "key_id", "user_id", "ident") if name in names), names[0])


def _each(identity: object) -> Iterable[object]:
    """Return the identifiers in a member, which can contain several."""
    return identity if isinstance(identity, tuple) else (identity,)


def _taken_apart(view: object) -> tuple[tuple[str, ...], Row]:
    if isinstance(view, Mapping):
        return tuple(view), tuple(view.values())
    names = members(type(view))
    return names, tuple(getattr(view, name) for name in names)


def _blocks(items: Iterable[Any]) -> Iterator[list[Any]]:
    source = iter(items)
    while block := list(islice(source, _BLOCK)):
        yield block


def _json_writer() -> Callable[[object], str]:
    from json.encoder import encode_basestring

    def text(value: object) -> str:
        plain = value if type(value) in PLAIN else portable(value)
        if isinstance(plain, str):
            return encode_basestring(plain)
        if plain is None:
            return "null"
        if isinstance(plain, int):
            return str(plain).lower()  # a bool is one of them
        if isinstance(plain, list):
            return f"[{', '.join(map(text, plain))}]"
        return json_text(plain)

    return text


def _escaped_cell(value: object) -> str:
    return escaped(cell(value))


def _safe_lines(text: str) -> str:
    """Escape control characters, except line ends."""
    return "\n".join(map(escaped, text.split("\n")))


def _safe_json(text: str) -> str:
    """Escape control characters in JSON without changing its meaning."""
    if text.isascii():
        import re

        return re.sub("\x7f", "\\\\u007f", text)
    import json

    return "".join(
        character if character == "\n" or escaped(character) == character else json.dumps(character)[1:-1]
        for character in text
    )
