"""Read JSON strictly (RFC 8259) and write it back with only its strings replaced.

Numbers, white space, order and unchanged strings are copied byte for byte, so 12345678901234567890 and 1.10 are not
rounded. Duplicate members are refused, because readers disagree on which value applies.
"""

import json
import re
from collections.abc import Callable

from backctl.domain.errors import InputTooDeep, InvalidJson
from backctl.domain.quoting import quoted

Replace = Callable[[str, Callable[[], str], bool], str]
"""Takes a string, a function that returns its place, and whether it is a key; returns the replacement.

The place is an RFC 6901 pointer with `*` for array indexes; the place of a key is its object."""

_SPACE = re.compile(r"[ \t\n\r]+")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')
_SCALAR = re.compile(r"(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null)(?![0-9A-Za-z.+-])")
_OPENING = {"{": "}", "[": "]"}


class _Container:
    """An object or array that is still open."""

    __slots__ = ("closing", "key", "seen")

    def __init__(self, closing: str) -> None:
        self.closing = closing
        self.key = "*"
        self.seen: set[str] = set()


def rewrite(text: str, replace: Replace, *, max_depth: int) -> str:
    """Return the JSON text with every string, including keys, replaced by the result of `replace`.

    Raises InvalidJson with the line and column, also for members that are duplicates after the replacement, and
    InputTooDeep for more than `max_depth` nested objects and arrays.
    """
    return _Rewriting(text, replace, max_depth).whole()


class _Rewriting:
    def __init__(self, text: str, replace: Replace, max_depth: int) -> None:
        self._text = text
        self._replace = replace
        self._max_depth = max_depth
        self._at = 0
        self._out: list[str] = []
        self._open: list[_Container] = []

    def whole(self) -> str:
        """Rewrite the text. Not recursive, so that `max_depth` limits the nesting and not the interpreter's stack."""
        self._value()
        while self._open:
            container = self._open[-1]
            if self._next() == container.closing:
                self._take(1)
                self._open.pop()
            else:
                self._punctuation(",")
                self._member()
            self._skip()
        if self._at < len(self._text):
            raise self._unexpected()
        return "".join(self._out)

    # Parsers for the current position.

    def _value(self) -> None:
        """Parse a value; for a non-empty object or array, only up to the end of its first member."""
        while True:
            self._skip()
            closing = _OPENING.get(self._next())
            if closing is None:
                self._scalar()
                self._skip()
                return
            if len(self._open) == self._max_depth:
                raise InputTooDeep(f"the JSON is nested deeper than {self._max_depth} levels, at {self._place()}")
            self._open.append(_Container(closing))
            self._take(1)
            self._skip()
            if self._next() == closing:
                return
            if closing == "}":
                self._key()

    def _member(self) -> None:
        self._skip()
        if self._open[-1].closing == "}":
            self._key()
        self._value()

    def _key(self) -> None:
        container = self._open.pop()  # the place of a key is its object
        start = self._at
        key = self._string(is_key=True)
        if key in container.seen:
            self._at = start
            raise InvalidJson(f"the member {quoted(key)} appears twice in one object, at {self._place()}")
        container.seen.add(key)
        container.key = key
        self._open.append(container)
        self._skip()
        self._punctuation(":")

    def _scalar(self) -> None:
        if self._next() == '"':
            self._string(is_key=False)
            return
        match = _SCALAR.match(self._text, self._at)
        if match is None:
            raise self._unexpected()
        self._take(len(match[0]))

    def _string(self, *, is_key: bool) -> str:
        match = _STRING.match(self._text, self._at)
        if match is None:
            raise self._unexpected()
        token = match[0]
        content: str = json.loads(token) if "\\" in token else token[1:-1]
        replaced = self._replace(content, self._pointer, is_key)
        self._at = match.end()
        self._out.append(token if replaced == content else json.dumps(replaced, ensure_ascii=False))
        return replaced

    def _punctuation(self, character: str) -> None:
        if self._next() != character:
            raise self._unexpected()
        self._take(1)

    # Helpers.

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, length: int) -> None:
        self._out.append(self._text[self._at : self._at + length])
        self._at += length

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        if match is not None:
            self._take(len(match[0]))

    def _pointer(self) -> str:
        return "".join("/" + container.key.replace("~", "~0").replace("/", "~1") for container in self._open)

    def _place(self) -> str:
        before = self._text[: self._at]
        return f"line {before.count(chr(10)) + 1}, column {self._at - before.rfind(chr(10))}"

    def _unexpected(self) -> InvalidJson:
        found = self._next()
        what = f"unexpected {quoted(found)}" if found else "unexpected end"
        if found == '"':
            what = "a string is not closed, or contains a control character or an invalid escape"
        return InvalidJson(f"invalid JSON: {what}, at {self._place()}", hint="write JSON as specified in RFC 8259")
