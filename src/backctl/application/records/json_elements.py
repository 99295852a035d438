"""Read the elements of a JSON array one by one in bounded memory."""

import codecs
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from backctl.application.records.bounded_lines import ENDLESS
from backctl.application.records.json_objects import checked, parse_object, scan
from backctl.application.records.lines import BLOCK, too_long
from backctl.domain.errors import BackctlError, InputTooLarge, InvalidInput

if TYPE_CHECKING:
    from backctl.application.ports.security import Read

_SPACE = re.compile(r"[ \t\r\n]*+")
_STRUCTURE = re.compile(r'[\[\]{},"]')
# A line end is not allowed in a string: it ends one whose quote is missing, so that the error stays in one element.
_IN_STRING = re.compile(r'\\[^\n]|["\n]')


class Element(NamedTuple):
    """An object, or the error of an element that is not one, with the number of its first line."""

    line: int
    found: dict[str, object] | BackctlError

    def __repr__(self) -> str:
        """Without the object, which may contain secrets."""
        return f"Element(line={self.line})"


class JsonDocument:
    """A JSON document that is read from its start to its end. An element may have `longest` bytes.

    Bytes that are not UTF-8 are read as unpaired surrogates, so that they are an error of one element only.
    """

    def __init__(self, read: "Read", longest: int) -> None:
        self._read = read
        self._longest = longest
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode
        self._text = ""
        self._at = 0
        self._line = 1
        self._ended = False
        self.is_cut = False
        """Whether the input ended within the array."""

    def starts_with(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Skip space and match the pattern, which must not need more than one block."""
        self._skip_space()
        if len(self._text) - self._at < BLOCK:
            self._more()
        return pattern.match(self._text, self._at)

    def skip(self, match: re.Match[str]) -> None:
        self._advance(match.end())

    def only_object(self) -> Element | None:
        """Read the rest as one object; None if text follows it."""
        while len(self._text) - self._at <= self._longest and self._more():
            pass
        line, rest = self._line, self._text[self._at :]
        try:
            _, end = scan(rest, 0)
        except (InvalidInput, ValueError, RecursionError):
            pass
        else:
            if rest[end:].strip(" \t\r\n"):
                return None
        return Element(line, self._object(rest))

    def elements(self) -> Iterator[Element]:
        """Yield the elements of the array whose bracket was skipped, and an error if the array is not closed."""
        self._skip_space()
        if self._text.startswith("]", self._at):
            self._advance(self._at + 1)
            return
        while True:
            self._skip_space()
            element, end = self._whole_element() or self._delimited_element()
            if end < 0:
                self.is_cut = True
                if isinstance(element.found, dict):
                    yield element
                yield Element(element.line, InvalidInput("the input ends within the array that this is part of"))
                return
            yield element
            self._advance(end + 1)
            if self._text[end] == "]":
                return

    def rest_after(self, start: str) -> Element | None:
        """Read the rest; return an error unless it completes `start` as a JSON object. Without `start`, it is space."""
        self._skip_space()
        while len(self._text) - self._at <= self._longest and self._more():
            pass
        rest = self._text[self._at :]
        if isinstance(self._object(start + rest), dict) if start else not rest:
            return None
        return Element(self._line, InvalidInput("the text after the array is not valid JSON"))

    def _whole_element(self) -> tuple[Element, int] | None:
        """Return the element and the place of its delimiter; None if it is not valid or not in memory."""
        text, at = self._text, self._at
        try:
            value, end = scan(text, at)
        except (InvalidInput, ValueError, RecursionError):
            return None
        after = _after_space(text, end)
        if not text.startswith((",", "]"), after):
            return None
        written = text[at:end]
        try:
            self._require_size(written)
            found: dict[str, object] | BackctlError = checked(written, value)
        except InvalidInput as error:
            found = error
        return Element(self._line, found), after

    def _delimited_element(self) -> tuple[Element, int]:
        """Return what stands before the next delimiter, and the place of this; -1 if there is none.

        The content may be anything: only brackets and strings matter.
        """
        line, at, depth, in_string, is_long = self._line, self._at, 0, False, False
        discarded = 0
        while True:
            match = (_IN_STRING if in_string else _STRUCTURE).search(self._text, at)
            if match is None:
                at = len(self._text) - (in_string and self._text.endswith("\\"))
                if is_long or at - self._at > self._longest:
                    discarded += at - self._at
                    is_long = True
                    if discarded > ENDLESS:
                        raise InputTooLarge(
                            f"the element that starts in line {line} is longer than {ENDLESS} bytes",
                            hint="check that the input is JSON",
                        )
                    self._advance(at)
                at -= self._at
                if not self._more():
                    at = -1
                    break
                continue
            at = match.end()
            found = match[0]
            if in_string:
                in_string = found.startswith("\\")
            elif found == '"':
                in_string = True
            elif found in "{[":
                depth += 1
            elif depth == 0 and found in ",]":
                at -= 1
                break
            elif found in "}]":
                depth = max(depth - 1, 0)
        if is_long:
            return Element(line, InvalidInput(too_long(self._longest))), at
        written = self._text[self._at : at if at >= 0 else None]
        return Element(line, self._object(written)), at

    def _object(self, text: str) -> dict[str, object] | BackctlError:
        try:
            self._require_size(text)
            return parse_object(text)
        except InvalidInput as error:
            return error

    def _require_size(self, text: str) -> None:
        size = len(text)
        if not text.isascii():
            try:
                size = len(text.encode())
            except UnicodeEncodeError:
                raise InvalidInput("it is not UTF-8") from None
        if size > self._longest:
            raise InvalidInput(too_long(self._longest))

    def _skip_space(self) -> None:
        while True:
            self._advance(_after_space(self._text, self._at))
            if self._at < len(self._text) or not self._more():
                return

    def _advance(self, to: int) -> None:
        if self._text.find("\n", self._at, to) >= 0:  # much faster than counting
            self._line += self._text.count("\n", self._at, to)
        self._at = to

    def _more(self) -> bool:
        """Read another block; the text starts at the current place afterwards. Return whether there was one."""
        if self._ended:
            self._text, self._at = self._text[self._at :], 0
            return False
        parts, size = [self._text[self._at :]], 0
        while size < BLOCK and not self._ended:
            block = self._read(BLOCK - size)
            size += len(block)
            self._ended = not block
            parts.append(self._decode(block, self._ended))
        self._text, self._at = "".join(parts), 0
        return len(self._text) > len(parts[0])


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
