"""Reads JSON (RFC 8259) with the line of each value, which the standard library's parser does not report."""

import json
import re
from typing import TYPE_CHECKING

from backctl.application.seeding.documents import Scalar, ScalarKind, fault
from backctl.domain.quoting import quoted

if TYPE_CHECKING:
    from backctl.domain.errors import InvalidSeed
    from backctl.infrastructure.documents.tree import TreeBuilder

_SPACE = r"[ \t\n\r]*+"
_STRING = r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
_WORD_ENDS = r"(?![0-9A-Za-z.+-])"
_VALUE = re.compile(
    rf"{_SPACE}(?:({_STRING})|([\[{{])|(-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?{_WORD_ENDS})"
    rf"|(true|false){_WORD_ENDS}|(null){_WORD_ENDS})"
)
_KEY = re.compile(rf"{_SPACE}({_STRING}){_SPACE}:")
_AFTER = re.compile(rf"{_SPACE}([,\]}}]|\Z)")
_CLOSING = re.compile(rf"{_SPACE}([\]}}])")
_REST = re.compile(_SPACE)
_KINDS: dict[int | None, ScalarKind] = {3: "number", 4: "boolean", 5: "null"}
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(file: str, text: str, builder: "TreeBuilder") -> None:
    """Read a document. Raises InvalidSeed with the line, and the errors of the builder."""
    if _REST.fullmatch(text):
        return
    _Reading(file, text, builder).whole()


class _Reading:
    def __init__(self, file: str, text: str, builder: "TreeBuilder") -> None:
        self._file = file
        self._text = text
        self._builder = builder
        self._at = 0
        self._line = 1
        self._closings: list[str] = []

    def whole(self) -> None:
        """Read the text. Not recursive, so that the builder limits the nesting and not the interpreter's stack."""
        while True:
            self._value()
            if self._end_of_value():
                return
            if self._closings[-1] == "}":
                self._key()

    def _value(self) -> None:
        """Read a value; of an object or array that is not empty, only the beginning of its first value."""
        while True:
            match = self._take(_VALUE)
            if match.lastindex == 1:
                self._builder.add(Scalar(self._content(match[1]), self._line, "string"))
                return
            if match.lastindex != 2:
                self._builder.add(Scalar(match[match.lastindex or 0], self._line, _KINDS[match.lastindex]))
                return
            if match[2] == "{":
                self._builder.open_mapping(self._line)
                self._closings.append("}")
            else:
                self._builder.open_list(self._line)
                self._closings.append("]")
            if (closing := _CLOSING.match(self._text, self._at)) is not None and closing[1] == self._closings[-1]:
                return
            if self._closings[-1] == "}":
                self._key()

    def _end_of_value(self) -> bool:
        """Read what follows a value: closing brackets and a comma. Return whether the document ended."""
        while True:
            found = self._take(_AFTER)[1]
            if not self._closings:
                if found:
                    self._at -= 1
                    raise self._unexpected()
                return True
            if found == ",":
                return False
            if found != self._closings[-1]:
                self._at -= len(found)
                raise self._unexpected()
            self._closings.pop()
            self._builder.close()

    def _key(self) -> None:
        match = self._take(_KEY)
        # The colon may be on a later line than the key.
        line = self._line - self._text.count("\n", match.end(1), match.end())
        self._builder.key(self._content(match[1]), line)

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
