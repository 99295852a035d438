"""Read the rows of an import one by one, in bounded memory."""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from backctl.application.records.csv_cells import (
    HEADER_HINT,
    WholeRecords,
    cell_texts,
    column_names,
    no_header,
    repeated_column,
    wrong_width,
)
from backctl.application.records.json_elements import JsonDocument
from backctl.application.records.json_objects import parse_object
from backctl.application.records.lines import BLOCK, Line, read_lines
from backctl.application.transfer.foreign import NotAnAccount, from_django, from_kratos
from backctl.application.transfer.mapping import Mapping
from backctl.application.transfer.record import DESCRIPTIVE, IMPORTABLE
from backctl.domain.errors import BackctlError, InvalidInput
from backctl.domain.plain_text import BYTE_ORDER_MARK
from backctl.domain.quoting import quoted

if TYPE_CHECKING:
    from backctl.application.ports.security import Read

ImportFormat = Literal["jsonl", "json", "csv", "django", "kratos"]

LONGEST: Final = 1 << 20
"""Maximum bytes of a record. A longer one is a failed row."""

_ARRAY = re.compile(r"\[")
_OBJECT = re.compile(r"\{")
_SPACE: Final = b" \t\r\n"


class RawRow(NamedTuple):
    """The members of an account as they are written: JSON values, or strings of CSV without empty cells."""

    line: int
    members: dict[str, object]

    def __repr__(self) -> str:
        """Without the members, which may contain passwords."""
        return f"RawRow(line={self.line})"


class BadRow(NamedTuple):
    """A row that cannot be read."""

    line: int
    error: BackctlError


class IgnoredRow(NamedTuple):
    """A row that is not an account, such as a row of another model of Django."""

    line: int
    what: str


Row = RawRow | BadRow | IgnoredRow
_Convert = Callable[[dict[str, object]], dict[str, object]]


def read_rows(read: "Read", form: ImportFormat, mapping: Mapping) -> Iterator[Row]:
    """Yield the rows of an input in order. Members are not checked, except that a column of CSV must be known.

    `jsonl` is one object per line. `json` is an array, an object, or an object with the array `items`, which
    `user list -o json` prints. `django` and `kratos` are JSON in any of these shapes. Raises InvalidInput before the
    first row if the input is not in this format at all or its header cannot be used, and InputTooLarge.
    """
    match form:
        case "csv":
            return _csv_rows(read, mapping)
        case "jsonl":
            return _line_rows(read, lambda record: _renamed(record, mapping))
        case "json":
            return _document_rows(read, lambda record: _renamed(record, mapping), "items")
        case "django":
            return _any_json_rows(read, lambda record: from_django(record, mapping), "items")
        case "kratos":
            return _any_json_rows(read, lambda record: from_kratos(record, mapping), "identities")


def _renamed(record: dict[str, object], mapping: Mapping) -> dict[str, object]:
    if mapping.targets:
        for member, value in mapping.taken_from(record).items():
            if member in record:
                raise InvalidInput(
                    f"it has the member {quoted(member)}, and another one is mapped to it",
                    hint=f"ignore the first with --map {member}=",
                )
            record[member] = value
    return record


def _converted(line: int, found: dict[str, object] | BackctlError, convert: _Convert) -> Row:
    if isinstance(found, BackctlError):
        return BadRow(line, found)
    try:
        return RawRow(line, convert(found))
    except NotAnAccount as other:
        return IgnoredRow(line, other.what)
    except InvalidInput as error:
        return BadRow(line, error)


# JSON.


def _line_rows(read: "Read", convert: _Convert) -> Iterator[Row]:
    is_first = True
    for lines, _ in read_lines(read, LONGEST):
        for number, content, _, problem in lines:
            if problem is not None:
                yield BadRow(number, InvalidInput(problem))
                is_first = False
                continue
            written = (content.removeprefix(BYTE_ORDER_MARK) if number == 1 else content).strip(_SPACE)
            if not written:
                continue
            if is_first:
                _require_lines(written)
                is_first = False
            try:
                yield _converted(number, parse_object(written.decode()), convert)
            except UnicodeDecodeError:
                yield BadRow(number, InvalidInput("it is not UTF-8"))
            except InvalidInput as error:
                yield BadRow(number, error)


def _require_lines(first: bytes) -> None:
    if first.startswith(b"[") or first == b"{":
        raise InvalidInput(
            "the input is not JSON lines: its first line is not a whole object",
            hint="use --format json for an array or an object that spans several lines",
        )
    if not first.startswith(b"{"):
        raise InvalidInput(
            "the input is not JSON lines: its first line is not an object", hint="choose another --format"
        )


def _document_rows(read: "Read", convert: _Convert, wrapper: str) -> Iterator[Row]:
    document = JsonDocument(read, LONGEST)
    if match := document.starts_with(_ARRAY):
        opening = ""
    elif match := document.starts_with(_wrapped(wrapper)):
        opening = '{"": 0'
    elif document.starts_with(_OBJECT):
        if (element := document.only_object()) is None:
            raise InvalidInput(
                "there is text after the first object", hint="use --format jsonl for one object per line"
            )
        yield _converted(*element, convert)
        return
    else:
        raise InvalidInput("the input is not JSON: it is not an array or an object", hint="choose another --format")
    document.skip(match)
    for element in document.elements():
        yield _converted(*element, convert)
    if not document.is_cut and (element := document.rest_after(opening)):
        yield _converted(*element, convert)


def _any_json_rows(read: "Read", convert: _Convert, wrapper: str) -> Iterator[Row]:
    start = b""
    while len(start) <= LONGEST and b"\n" not in start.lstrip(_SPACE) and (block := read(BLOCK)):
        start += block
    first = start.removeprefix(BYTE_ORDER_MARK).lstrip(_SPACE).split(b"\n", 1)[0].rstrip(_SPACE)
    is_lines = first.startswith(b"{") and first.endswith(b"}")
    if is_lines and not _wrapped(wrapper).match(first.decode("utf-8", "replace")):
        yield from _line_rows(_again(start, read), convert)
    else:
        yield from _document_rows(_again(start, read), convert, wrapper)


def _wrapped(name: str) -> re.Pattern[str]:
    """Match the start of an object whose first member is an array with this name, or `items`."""
    return re.compile(rf'\{{\s*"(?:{name}|items)"\s*:\s*\[')


def _again(start: bytes, read: "Read") -> "Read":
    """Return a function that reads `start` first."""
    left = start

    def read_again(most: int) -> bytes:
        nonlocal left
        if not left:
            return read(most)
        block, left = left[:most], left[most:]
        return block

    return read_again


# CSV.


def _csv_rows(read: "Read", mapping: Mapping) -> Iterator[Row]:
    whole = WholeRecords(LONGEST)
    members: list[str] | None = None
    for lines, last in read_lines(read, LONGEST):
        for record in whole.gather(lines, last=last):
            if members is None:
                members = _header(record, mapping)
            elif record.problem is not None:
                yield BadRow(record.number, InvalidInput(record.problem))
            elif content := record.content.removesuffix(b"\r"):
                try:
                    yield RawRow(record.number, _cells(content, members))
                except UnicodeDecodeError:
                    yield BadRow(record.number, InvalidInput("it is not UTF-8"))
                except InvalidInput as error:
                    yield BadRow(record.number, error)
    if members is None:
        raise no_header()


def _header(record: Line, mapping: Mapping) -> list[str]:
    """Return the member of each column, empty for an ignored one. Raises InvalidInput."""
    names = column_names(record)
    if names == [""]:
        raise no_header()
    if len(names) == 1 and (other := re.search(r"[;\t|]", names[0])):
        raise InvalidInput(
            f"the columns in the header are separated by {quoted(other[0])}, not by commas", hint=HEADER_HINT
        )
    for column, target in mapping.targets.items():
        if target is not None and column[0] not in names:
            raise InvalidInput(f"there is no column {quoted(column[0])}, which is mapped to {target}", hint=HEADER_HINT)
    members = [mapping.targets[name,] or "" if (name,) in mapping.targets else _member(name) for name in names]
    for place, member in enumerate(members):
        if member and member in members[:place]:
            raise repeated_column(f"two columns for {member}")
    return members


def _member(column: str) -> str:
    if column in IMPORTABLE:
        return column
    if column in DESCRIPTIVE:
        return ""
    raise InvalidInput(
        f"the header has an unknown column {quoted(column)}",
        hint=f"ignore it with --map {quoted(column + '=')}, or name its member after the equals sign",
    )


def _cells(content: bytes, members: list[str]) -> dict[str, object]:
    cells = cell_texts(content)
    if len(cells) != len(members):
        raise wrong_width(len(cells), len(members))
    return {member: cell for member, cell in zip(members, cells, strict=True) if cell and member}
