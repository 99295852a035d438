"""Reads TOML with the line of each value, also within arrays, which tomllib does not report.

tomllib decides what is valid and what a value means; this module finds out where it is written.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from datetime import date, time
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from backctl.application.seeding.documents import (
    Entry,
    Items,
    Members,
    Node,
    Scalar,
    TakeElement,
    fault,
)
from backctl.infrastructure.documents.tree import Source, added

if TYPE_CHECKING:
    from backctl.domain.errors import InvalidSeed

_BLANKS = re.compile(r"(?:[ \t\n]++|#[^\n]*+)*+")
_SPACE = re.compile(r"[ \t]*+")
_KEY = re.compile(r"""([A-Za-z0-9_-]++)|("(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')""")
# A multi-line string may end with up to two quotes of its content before the three that end it.
_TEXT = re.compile(
    r'("""(?:[^"\\]|\\.|"{1,2}(?!"))*+"""|\'\'\'(?:[^\']|\'{1,2}(?!\'))*+\'\'\')["\']{0,2}'
    r"""|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'""",
    re.DOTALL,
)
_OTHER = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*+|[^\s,\]}#]++")
_INTEGER = re.compile("0|[1-9][0-9]*")
_SIMPLE = re.compile(r"""(["'])(?!\1)([^"'\\\n\x00-\x08\x0b-\x1f\x7f]*)\1""")
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")

Key = tuple[str, ...]


class _Malformed(Exception):
    """The text is not TOML."""


class _Table:
    """A table to which later statements may add members."""

    __slots__ = ("line", "lines", "members")

    def __init__(self, line: int) -> None:
        self.line = line
        self.members: dict[str, _Value] = {}
        self.lines: dict[str, int] = {}


class _Array:
    """An array to which later headers may add tables."""

    __slots__ = ("elements", "line")

    def __init__(self, line: int) -> None:
        self.line = line
        self.elements: list[_Value] = []


_Value = _Table | _Array | Scalar


class _Statement(NamedTuple):
    """A header, `[` or `[[`, or a key and its value."""

    line: int
    key: Key
    header: str
    value: _Value | None = None


def read_toml(source: Source, text: str) -> Node | None:
    """Read a document; None for an empty one. Raises InvalidSeed with the line."""
    text = text.replace("\r\n", "\n")
    if _BLANKS.fullmatch(text):
        return None
    try:
        # First, because tomllib is recursive and takes quadratic time for long dotted keys.
        root: _Table | None = _assembled(_Scanner(source, text).statements())
    except _Malformed:
        root = None
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _syntax_error(source.file, text, error) from None
    if root is None:
        raise fault(source.file, 1, "it is not TOML")
    return _node(root, source, 1)


def _assembled(statements: Iterable[_Statement]) -> _Table:
    """Return the root table. Raises _Malformed for some of the statements that contradict each other."""
    root = current = _Table(1)
    for line, key, header, value in statements:
        if value is not None:
            _set(current, key, value, line)
        elif header == "[":
            current = _table(root, key, line)
        else:
            parent = _table(root, key[:-1], line)
            array = parent.members.setdefault(key[-1], _Array(line))
            parent.lines.setdefault(key[-1], line)
            if not isinstance(array, _Array):
                raise _Malformed
            current = _Table(line)
            array.elements.append(current)
    return root


def _table(start: _Table, key: Key, line: int) -> _Table:
    """Return the table at `key`, of an array its last one; create what is missing. Raises _Malformed."""
    for part in key:
        found = start.members.get(part)
        if found is None:
            found = start.members[part] = _Table(line)
            start.lines[part] = line
        if isinstance(found, _Array) and found.elements:
            found = found.elements[-1]
        if not isinstance(found, _Table):
            raise _Malformed
        start = found
    return start


def _set(start: _Table, key: Key, value: _Value, line: int) -> None:
    parent = _table(start, key[:-1], line)
    parent.members[key[-1]] = value
    parent.lines[key[-1]] = line


def _node(value: _Value, source: Source, depth: int, take: TakeElement | None = None) -> Node:
    if isinstance(value, Scalar):
        return value
    source.require_depth(depth, value.line)
    if isinstance(value, _Table):
        entries = (
            Entry(key, value.lines[key], _node(member, source, depth + 1, source.taker(key, depth)))
            for key, member in value.members.items()
        )
        return Members(tuple(entries), value.line)
    elements: list[Node] = []
    add = added(take, elements)
    for element in value.elements:
        add(_node(element, source, depth + 1))
    return Items(tuple(elements), value.line)


class _Scanner:
    """Finds statements. It accepts more than TOML: it knows only where keys and values begin and end."""

    def __init__(self, source: Source, text: str) -> None:
        self._source = source
        self._text = text
        self._at = 0
        self._line = 1

    def statements(self) -> Iterator[_Statement]:
        """Yield all statements. Raises InvalidSeed for what is nested too deep or is not a number, and _Malformed."""
        self._take(_BLANKS)
        while self._at < len(self._text):
            line = self._line
            if self._skip("["):
                header = "[[" if self._skip("[") else "["
                key = self._key()
                for _ in header:
                    self._expect("]")
                yield _Statement(line, key, header)
            else:
                key = self._key()
                self._expect("=")
                yield _Statement(line, key, "", self._value(2))
            self._take(_BLANKS)

    def _key(self) -> Key:
        parts: list[str] = []
        while True:
            self._take(_SPACE)
            match = self._take(_KEY)
            parts.append(match[1] or _text_of(match[2]))
            self._source.require_depth(len(parts), self._line)
            self._take(_SPACE)
            if not self._skip("."):
                return tuple(parts)

    def _value(self, depth: int) -> _Value:
        self._take(_SPACE)
        line = self._line
        if self._skip("["):
            self._source.require_depth(depth, line)
            array = _Array(line)
            while not self._closes("]"):
                array.elements.append(self._value(depth + 1))
                self._separator("]")
            return array
        if self._skip("{"):
            self._source.require_depth(depth, line)
            table = _Table(line)
            while not self._closes("}"):
                key_line = self._line
                key = self._key()
                self._expect("=")
                _set(table, key, self._value(depth + 1), key_line)
                self._separator("}")
            return table
        if self._text[self._at : self._at + 1] in ('"', "'"):
            return Scalar(_text_of(self._take(_TEXT)[0]), line, "string")
        return self._other(line, self._take(_OTHER)[0])

    def _other(self, line: int, token: str) -> Scalar:
        if token in ("true", "false"):
            return Scalar(token, line, "boolean")
        if _INTEGER.fullmatch(token):
            return Scalar(token, line, "number")
        value = _loaded(token)
        if isinstance(value, date | time):
            return Scalar(token, line, "plain")
        if isinstance(value, float) and not isfinite(value):
            raise fault(self._source.file, line, "infinity and NaN are not supported")
        return Scalar(str(value) if isinstance(value, int) else token, line, "number")

    # Helpers.

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise _Malformed
        self._line += self._text.count("\n", self._at, match.end())
        self._at = match.end()
        return match

    def _skip(self, character: str) -> bool:
        if not self._text.startswith(character, self._at):
            return False
        self._at += 1
        return True

    def _expect(self, character: str) -> None:
        self._take(_SPACE)
        if not self._skip(character):
            raise _Malformed

    def _closes(self, bracket: str) -> bool:
        self._take(_BLANKS)
        return self._skip(bracket)

    def _separator(self, bracket: str) -> None:
        self._take(_BLANKS)
        if not self._skip(",") and not self._text.startswith(bracket, self._at):
            raise _Malformed


def _text_of(token: str) -> str:
    if (simple := _SIMPLE.fullmatch(token)) is not None:
        return simple[2]
    value = _loaded(token)
    if not isinstance(value, str):
        raise _Malformed
    return value


def _loaded(token: str) -> object:
    try:
        return tomllib.loads(f"value = {token}")["value"]
    except (ValueError, RecursionError):
        raise _Malformed from None


def _syntax_error(file: str, text: str, error: Exception) -> "InvalidSeed":
    message = str(error)
    place = _PLACE.search(message)
    if isinstance(error, RecursionError) or place is None:
        return fault(file, 1, "it is not TOML, or contains a value that is too long")
    line = int(place[1]) if place[1] else max(1, text.count("\n") + (not text.endswith("\n")))
    message = _PLACE.sub("", message)
    return fault(file, line, f"it is not TOML: {message[:1].lower()}{message[1:]}")
