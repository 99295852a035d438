"""Sanitize untrusted text, JSON and JSON lines, within limits of size and depth."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from backctl.application.content_views import SanitizedPart
from backctl.application.records.bounded_lines import bounded_lines
from backctl.domain.errors import BackctlError, InputTooLarge, InvalidInput
from backctl.domain.plain_text import text_of

if TYPE_CHECKING:
    from backctl.application.ports.environment import TextCleaner
    from backctl.application.ports.security import Read

Part = Literal["key", "value"]

_PLACES_MAX = 1000
_ELSEWHERE = "…"
_JSON_SPACE = " \t\n\r"


@dataclass(slots=True)
class Tally:
    """Counts of changed strings by place. A string adds one for each kind of removal."""

    _counts: dict[tuple[str, Part, str], int] = field(default_factory=dict)

    def add(self, path: str, part: Part, changes: Mapping[str, int]) -> None:
        for kind in changes:
            self._count(path, part, kind, 1)

    def merge(self, other: "Tally") -> None:
        for place, count in other._counts.items():
            self._count(*place, count)

    def _count(self, path: str, part: Part, kind: str, count: int) -> None:
        place = (path, part, kind)
        if place not in self._counts and len(self._counts) >= _PLACES_MAX:  # keys may all differ
            place = (_ELSEWHERE, part, kind)
        self._counts[place] = self._counts.get(place, 0) + count

    def parts(self) -> tuple[SanitizedPart, ...]:
        """Return the counts in the order of first occurrence."""
        return tuple(SanitizedPart(*place, count) for place, count in self._counts.items())


@dataclass(frozen=True, slots=True)
class CleanedInput:
    """A sanitized text or document, and its changes."""

    text: str
    changes: Tally

    @property
    def changed(self) -> bool:
        return bool(self.changes.parts())


@dataclass(frozen=True, slots=True)
class LineOutcome:
    """One line, numbered from 1: sanitized, with its line end, or the error."""

    number: int
    cleaned: CleanedInput | None
    error: BackctlError | None = None


@dataclass(frozen=True, slots=True)
class SanitizingService:
    """Sanitizes bytes. `max_bytes` limits a text, a document or a line, and `max_depth` its nesting."""

    clean: "TextCleaner"
    max_bytes: int
    max_depth: int

    def text(self, raw: bytes) -> CleanedInput:
        """Sanitize a text. Raises InvalidInput if it is not UTF-8, InputTooLarge, InputTooDeep."""
        cleaned = self.clean(self._decoded(raw))
        tally = Tally()
        tally.add("", "value", cleaned.changes)
        return CleanedInput(cleaned.text, tally)

    def document(self, raw: bytes) -> CleanedInput:
        """Sanitize every key and string of a JSON document and copy the rest byte for byte.

        Raises InvalidJson, also if two members of an object have the same sanitized name; InvalidInput if it is not
        UTF-8; InputTooLarge, InputTooDeep.
        """
        tally = Tally()
        return CleanedInput(self._rewritten(self._decoded(raw), tally), tally)

    def lines(self, read_line: "Read") -> Iterator[LineOutcome]:
        """Sanitize one JSON document per line; `read_line(n)` returns at most n bytes of a line, b"" at the end.

        A line that cannot be sanitized yields an outcome with the error; the next lines follow. Blank lines stay.
        Raises InputTooLarge for an endless line.
        """
        for number, raw, is_cut in bounded_lines(read_line, self.max_bytes):
            try:
                if is_cut:
                    raise self._too_large()
                yield LineOutcome(number, self._line(raw))
            except BackctlError as error:
                yield LineOutcome(number, None, error)

    def _line(self, raw: bytes) -> CleanedInput:
        tally = Tally()
        text = self._decoded(raw)
        return CleanedInput(self._rewritten(text, tally) if text.strip(_JSON_SPACE) else text, tally)

    def _rewritten(self, text: str, tally: Tally) -> str:
        from backctl.domain.strict_json import rewrite

        def replace(content: str, where: "Callable[[], str]", is_key: bool) -> str:
            cleaned = self.clean(content)
            if cleaned.changes:
                tally.add(where(), "key" if is_key else "value", cleaned.changes)
            return cleaned.text

        return rewrite(text, replace, max_depth=self.max_depth)

    def _decoded(self, raw: bytes) -> str:
        if len(raw) > self.max_bytes + 1 or len(raw.removesuffix(b"\n")) > self.max_bytes:
            raise self._too_large()
        try:
            return text_of(raw)
        except UnicodeDecodeError as error:
            raise InvalidInput(f"this is not UTF-8 text: byte {error.start + 1} is invalid") from None

    def _too_large(self) -> InputTooLarge:
        return InputTooLarge(
            f"this is longer than {self.max_bytes} bytes", hint="shorten it; sanitize.max_bytes is the limit"
        )
