"""Which line of a TOML text each key stands on. Only error messages and `--origin` need it; tomllib does not tell.

The grammar is TOML 1.0's (toml.io), read loosely: the text has passed tomllib before, so nothing is checked again.
"""

import re
from bisect import bisect_right
from contextlib import suppress

from backctl.settings.schema import KeyPath

# No possessive quantifiers: Python 3.11.0 to 3.11.4 match them wrongly (cpython gh-106052). One character a turn, so
# that a string without an end costs no more than its length.
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]*")
_DEEPEST = 24  # levels remembered; a path of thousands of levels would cost its square


def line_numbers(text: str) -> dict[KeyPath, int]:
    """The line, from 1, where each table and key of a valid TOML text first appears; array elements count from 0."""
    scanner = _Scanner(text)
    with suppress(RecursionError):  # the lines found so far still help
        scanner.document()
    return scanner.lines


def parse_key(text: str) -> tuple[str, ...] | None:
    """Split a dotted key such as `roles."night shift".permissions` as TOML does; None when it is not one."""
    scanner = _Scanner(text)
    try:
        parts = scanner.key()
    except ValueError:
        return None
    return parts if scanner.position == len(text) else None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[KeyPath, int] = {}
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._elements: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        while self._more():
            if not self.text.startswith("[", self.position):
                self._assignment(table)
                continue
            start = self.position
            repeated = self.text.startswith("[[", start)
            self.position += 2 if repeated else 1
            self._skip(_BLANK)
            parts = self.key()
            self._skip(_BLANK)
            self.position += 2 if repeated else 1
            table = self._enter(parts, start, repeated=repeated)

    def key(self) -> tuple[str, ...]:
        parts = [self._part()]
        while self._skip(_DOT):
            parts.append(self._part())
        return tuple(parts)

    def _part(self) -> str:
        if match := _BARE.match(self.text, self.position):
            self.position = match.end()
            return match[0]
        match = _STRING.match(self.text, self.position)
        if match is None or match[0].startswith(('"""', "'''")):
            raise ValueError(f"no key at offset {self.position}")
        self.position = match.end()
        if match[0].startswith("'"):
            return match[0][1:-1]
        import tomllib

        return str(tomllib.loads("key = " + match[0])["key"])

    def _enter(self, parts: tuple[str, ...], start: int, *, repeated: bool) -> KeyPath:
        """Note a table's header. A name on the way that is an array of tables means its last element."""
        path: KeyPath = ()
        for depth, part in enumerate(parts, 1):
            path = self._note(path, part, start)
            if repeated and depth == len(parts):
                self._elements[path] = self._elements.get(path, -1) + 1
            if path in self._elements:
                path = self._note(path, self._elements[path], start)
        return path

    def _assignment(self, table: KeyPath) -> None:
        start = self.position
        path = table
        for part in self.key():
            path = self._note(path, part, start)
        self._skip(_EQUALS)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        opening = self.text[self.position : self.position + 1]
        if opening in ('"', "'"):
            self._skip(_STRING)
        elif opening == "[":
            index = 0
            self.position += 1
            while self._more() and self.text[self.position] != "]":
                self._value(self._note(path, index, self.position))
                index += 1
                self._comma()
            self.position += 1
        elif opening == "{":
            self.position += 1
            while self._more() and self.text[self.position] != "}":
                self._assignment(path)
                self._comma()
            self.position += 1
        else:
            self._skip(_SCALAR)

    def _comma(self) -> None:
        if self._more() and self.text[self.position] == ",":
            self.position += 1

    def _more(self) -> bool:
        self._skip(_BLANK)
        return self.position < len(self.text)

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self.text, self.position)
        if match is None:
            return False
        self.position = match.end()
        return match.end() > match.start()

    def _note(self, path: KeyPath, part: str | int, offset: int) -> KeyPath:
        if len(path) >= _DEEPEST:
            return path
        path = (*path, part)
        if path not in self.lines:
            self.lines[path] = bisect_right(self._newlines, offset - 1) + 1
        return path
