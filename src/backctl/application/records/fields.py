"""Select fields of a record, and build the encryption context of each field."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from backctl.domain.errors import InvalidInput, UsageError
from backctl.domain.quoting import quoted

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Field:
    """A selected field. `path` is its name, in JSON preceded by the names of the enclosing objects.

    `optional`: it may be missing in a record.
    """

    name: str
    path: tuple[str, ...]
    optional: bool


def parse_fields(text: str, *, nested: bool) -> tuple[Field, ...]:
    """Parse a list such as `phone,address.street?`; `?` marks an optional field.

    With `nested`, dots separate nested names. A backslash escapes the next character. Raises UsageError.
    """
    fields = []
    for word in _split(text, ","):
        optional = word.endswith("?") and not word.endswith("\\?")
        name = word.removesuffix("?") if optional else word
        path = tuple(map(_unescaped, _split(name, "."))) if nested else (_unescaped(name),)
        if not all(path):
            raise UsageError(f"{quoted(text)} has an empty name", hint="write names such as phone,address.street")
        fields.append(Field(_unescaped(name), path, optional))
    paths = [field.path for field in fields]
    for path in paths:
        if any(other[: len(path)] == path for other in paths if other is not path):
            raise UsageError(f"{quoted(text)} names {quoted('.'.join(path))} twice, or a field inside it")
    return tuple(fields)


def parse_path(name: str) -> tuple[str, ...]:
    """Parse the path of a JSON field in a placeholder."""
    return tuple(map(_unescaped, _split(name, ".")))


def _split(text: str, separator: str) -> list[str]:
    """Split at separators that are not escaped by a backslash."""
    words, escaped = [""], False
    for character in text:
        if character == separator and not escaped:
            words.append("")
        else:
            words[-1] += character
        escaped = character == "\\" and not escaped
    return words


def _unescaped(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word)


@dataclass(frozen=True, slots=True)
class ContextTemplate:
    """The context of a field of a record, such as `users.{}:{id}`.

    `{}` is the name of the field, `{name}` the value of another field of the record, `{{` and `}}` are literal braces.
    """

    parts: tuple[str, ...]
    """Text and names alternately, starting and ending with text."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises UsageError."""
        parts, at = [""], 0
        for match in _PLACEHOLDER.finditer(text):
            parts[-1] += text[at : match.start()]
            at = match.end()
            if match[0] in ("{{", "}}"):
                parts[-1] += match[0][0]
            elif match[1] is None:
                raise UsageError(f"{quoted(text)} has a single brace", hint="write {{ or }} for a literal brace")
            else:
                parts += [match[1], ""]
        parts[-1] += text[at:]
        return cls(tuple(parts))

    @classmethod
    def constant(cls, text: str) -> Self:
        return cls((text,))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the fields whose values it needs, as written."""
        return tuple(name for name in self.parts[1::2] if name)

    def context(self, field: str, content: Callable[[str], str]) -> bytes:
        """Return the context of `field`. `content` returns the value of a named field.

        Raises InvalidInput, also for an empty value, which would not bind the context to anything; and the errors of
        `content`.
        """
        text = self.parts[0]
        for name, after in zip(self.parts[1::2], self.parts[2::2], strict=True):
            filling = content(name) if name else field
            if not filling:
                raise InvalidInput(f"its field {quoted(name)}, which the context needs, is empty")
            text += filling + after
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise InvalidInput("its context would contain an unpaired surrogate") from None
