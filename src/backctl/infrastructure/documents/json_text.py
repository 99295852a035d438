"""Reads JSON (RFC 8259) with the line of each value, which the standard library's parser does not report."""

import json
import re
from typing import TYPE_CHECKING

from backctl.application.seeding.documents import (
    Entry,
    Items,
    Members,
    Node,
    Scalar,
    ScalarKind,
    TakeElement,
    fault,
)
from backctl.domain.quoting import quoted
from backctl.infrastructure.documents.tree import Source, added

if TYPE_CHECKING:
    from backctl.domain.errors import InvalidSeed

_SPACE = r"[ \t\n\r]*+"
_STRING = r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
_WORD_ENDS = r"(?![0-9A-Za-z.+-])"
_SCALAR = (
    rf"({_STRING})|(-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?{_WORD_ENDS})"
    rf"|(true|false){_WORD_ENDS}|(null){_WORD_ENDS}"
)
_VALUE = re.compile(rf"{_SPACE}(?:{_SCALAR}|([\[{{]))")
_KEY = re.compile(rf"{_SPACE}({_STRING}){_SPACE}:")
_MEMBER = re.compile(rf"{_SPACE}({_STRING})[ \t]*+:[ \t]*+(?:{_SCALAR}){_SPACE}([,}}])")
_AFTER = re.compile(rf"{_SPACE}([,\]}}]|\Z)")
_CLOSING = re.compile(rf"{_SPACE}([\]}}])")
_REST = re.compile(_SPACE)
_KINDS: tuple[ScalarKind, ...] = ("string", "number", "boolean", "null")
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(source: Source, text: str) -> Node | None:
    """Read a document; None for an empty one. Raises InvalidSeed with the line."""
    return None if _REST.fullmatch(text) else _Reading(source, text).whole()


class _Reading:
    """Recursive, because the depth is limited."""

    def __init__(self, source: Source, text: str) -> None:
        self._source = source
        self._file = source.file
        self._text = text
        self._at = 0
        self._line = 1

    def whole(self) -> Node:
        root = self._node(1)
        if self._take(_AFTER)[1]:
            self._at -= 1
            raise self._unexpected()
        return root

    def _node(self, depth: int, take: TakeElement | None = None) -> Node:
        match = self._take(_VALUE)
        group = match.lastindex or 0
        line = self._line
        if group <= len(_KINDS):
            return Scalar(self._content(match[1]) if group == 1 else match[group], line, _KINDS[group - 1])
        self._source.require_depth(depth, line)
        if match[5] == "{":
            return self._members(line, depth)
        elements: list[Node] = []
        add = added(take, elements)
        is_open = not self._closes("]")
        while is_open:
            add(self._node(depth + 1))
            is_open = self._continues("]")
        return Items(tuple(elements), line)

    def _members(self, line: int, depth: int) -> Node:
        entries: dict[str, Entry] = {}
        is_open = not self._closes("}")
        while is_open:
            if (match := _MEMBER.match(self._text, self._at)) is not None:  # most members are on one line
                start = match.start(1)
                self._line += self._text.count("\n", self._at, start)
                key, key_line = self._content(match[1]), self._line
                self._source.require_new(key, key_line, entries)
                place = match.end(1)
                value: Node
                if match[2] is not None:
                    value = Scalar(self._content(match[2]), key_line, "string")
                else:
                    group = 3 if match[3] is not None else 4 if match[4] is not None else 5
                    value = Scalar(match[group], key_line, _KINDS[group - 2])
                self._at = match.end()
                self._line += self._text.count("\n", place, self._at)
                is_open = match[6] == ","
            else:
                match = self._take(_KEY)
                # The colon may be on a later line than the key.
                key_line = self._line - self._text.count("\n", match.end(1), match.end())
                key = self._content(match[1])
                self._source.require_new(key, key_line, entries)
                value = self._node(depth + 1, self._source.taker(key, depth))
                is_open = self._continues("}")
            entries[key] = Entry(key, key_line, value)
        return Members(tuple(entries.values()), line)

    def _closes(self, bracket: str) -> bool:
        """Whether an object or array is empty."""
        match = _CLOSING.match(self._text, self._at)
        if match is None or match[1] != bracket:
            return False
        self._take(_CLOSING)
        return True

    def _continues(self, bracket: str) -> bool:
        """Whether a comma follows, and not the closing bracket."""
        found = self._take(_AFTER)[1]
        if found not in (",", bracket):
            self._at -= len(found)
            raise self._unexpected()
        return found == ","

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise self._unexpected()
        self._line += self._text.count("\n", self._at, match.end())
        self._at = match.end()
        return match

    def _content(self, token: str) -> str:
        if "\\" not in token:
            return token[1:-1]
        content: str = json.loads(token)
        if _SURROGATE.search(content):
            raise fault(self._file, self._line, "a string contains half of a surrogate pair")
        return content

    def _unexpected(self) -> "InvalidSeed":
        rest = _REST.match(self._text, self._at)
        at = self._at if rest is None else rest.end()
        found = self._text[at : at + 1]
        what = f"unexpected {quoted(found)}" if found else "unexpected end"
        if found == '"':
            what = "a string is in the wrong place or not closed, or contains a control character or an invalid escape"
        elif word := re.match(r"-?(?:NaN|Infinity)\b", self._text[at : at + 12]):
            what = f"{word[0]} is not JSON"
        line = self._line + self._text.count("\n", self._at, at)
        return fault(self._file, line, f"it is not JSON: {what}", hint="write JSON as specified in RFC 8259")
