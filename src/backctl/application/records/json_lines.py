"""Rewrite selected strings in JSON lines, one object per line, and keep every other byte."""

import re
from collections.abc import Callable, Iterable
from json import JSONDecoder
from json.encoder import encode_basestring
from typing import Any, NamedTuple, NoReturn

from backctl.application.records.fields import ContextTemplate, Field, parse_path
from backctl.application.records.lines import Line
from backctl.application.records.rewriting import Replace
from backctl.domain.errors import InvalidInput, UsageError
from backctl.domain.plain_text import BYTE_ORDER_MARK
from backctl.domain.quoting import quoted

_SPACE = re.compile(r"[ \t\r\n]*")


class _Number(str):
    """A number as written."""

    __slots__ = ()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_read: Callable[[str, int], tuple[Any, int]] = JSONDecoder(
    parse_int=_Number, parse_float=_Number, parse_constant=_refuse_constant
).raw_decode

_Tree = dict[str, "_Tree"]
_Path = tuple[str, ...]


class _Found(NamedTuple):
    start: int
    end: int
    value: object


class JsonLines:
    """Rewrites selected fields, which must be strings or null. Null and blank lines stay unchanged."""

    def __init__(self, fields: Iterable[Field], context: ContextTemplate) -> None:
        """Raises UsageError if the context needs a field that is replaced."""
        self._fields = tuple(fields)
        self._context = context
        self._needed = {name: parse_path(name) for name in context.names}
        self._wanted: _Tree = {}
        for name, path in self._needed.items():
            if any(path[: len(chosen.path)] == chosen.path for chosen in self._fields):
                raise UsageError(f"the context cannot use {quoted(name)}, a field that is itself replaced")
        for path in (*(chosen.path for chosen in self._fields), *self._needed.values()):
            tree = self._wanted
            for name in path:
                tree = tree.setdefault(name, {})

    def gather(self, lines: list[Line], *, last: bool) -> list[Line]:
        return [line if line.problem or line.content.strip(b" \t\r") else line._replace(number=0) for line in lines]

    def rewrite(self, content: bytes, replace: Replace) -> bytes:
        mark = BYTE_ORDER_MARK if content.startswith(BYTE_ORDER_MARK) else b""
        try:
            text = content[len(mark) :].decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidInput("it is not UTF-8") from None
        found: dict[_Path, _Found] = {}
        try:
            end = _walk(text, _after_space(text, 0), self._wanted, (), found)
        except (ValueError, IndexError, RecursionError):
            raise InvalidInput("it is not a JSON object") from None
        if _after_space(text, end) != len(text):
            raise InvalidInput("there is text after its JSON object")
        replaced = [new for chosen in self._fields if (new := self._replaced(chosen, found, replace)) is not None]
        at, parts = 0, []
        for start, end, after in sorted(replaced):
            parts += [text[at:start], encode_basestring(after)]
            at = end
        return mark + ("".join(parts) + text[at:]).encode("utf-8") if parts else content

    def _replaced(self, chosen: Field, found: dict[_Path, _Found], replace: Replace) -> tuple[int, int, str] | None:
        place = found.get(chosen.path)
        if place is None:
            if chosen.optional:
                return None
            raise InvalidInput(
                f"it has no field {quoted(chosen.name)}", hint="add ? to the name of a field that may be missing"
            )
        if place.value is None:
            return None
        if type(place.value) is not str:
            raise InvalidInput(f"its field {quoted(chosen.name)} is not a string")
        context = self._context.context(chosen.name, lambda name: self._text(name, found))
        try:
            before = place.value.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidInput(f"its field {quoted(chosen.name)} contains an unpaired surrogate") from None
        after = replace(before, context)
        if after is before:
            return None
        try:
            return place.start, place.end, after.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidInput(
                f"the new value of its field {quoted(chosen.name)} is not UTF-8, so JSON cannot contain it"
            ) from None

    def _text(self, name: str, found: dict[_Path, _Found]) -> str:
        place = found.get(self._needed[name])
        if place is None or not isinstance(place.value, str):
            raise InvalidInput(f"it has no string or number {quoted(name)}, which the context needs")
        return str(place.value)


def _walk(text: str, at: int, wanted: _Tree, path: _Path, found: dict[_Path, _Found]) -> int:
    """Find the wanted members of the object at `at`; return the position after the object.

    Raises ValueError or IndexError for invalid JSON or another type, and RecursionError.
    """
    if text[at] != "{":
        raise ValueError("no object")
    at = _after_space(text, at + 1)
    if text[at] == "}":
        return at + 1
    seen = set()
    while True:
        if text[at] != '"':
            raise ValueError("no name")
        name, at = _read(text, at)
        at = _after_space(text, at)
        if text[at] != ":":
            raise ValueError("no value")
        at = _after_space(text, at + 1)
        below = wanted.get(name)
        if below is None:
            _, at = _read(text, at)
        else:
            if name in seen:
                raise InvalidInput(f"its field {quoted(name)} appears twice")
            seen.add(name)
            if below and text[at] == "{":
                at = _walk(text, at, below, (*path, name), found)
            else:
                value, end = _read(text, at)
                found[*path, name] = _Found(at, end, value)
                at = end
        at = _after_space(text, at)
        if text[at] == "}":
            return at + 1
        if text[at] != ",":
            raise ValueError("no end")
        at = _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
