"""The tree of a parsed document, whatever its format, with the line of each value, and the faults of documents.

The reader of a document may hand the elements of one list over as they are read, so that a file with many accounts
needs no more memory than its accounts.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple, Protocol

from backctl.domain.errors import InvalidSeed
from backctl.domain.quoting import escaped, quoted

DEEPEST: Final = 12
"""The most mappings and lists within each other."""

_NAME: Final = re.compile(r"[A-Za-z0-9_$-]{1,40}", re.ASCII)

ScalarKind = Literal["string", "plain", "number", "boolean", "null"]
"""A `string` is quoted. A `plain` scalar is unquoted text whose meaning the schema decides: a scalar of YAML, or a date
or time of TOML."""


class Scalar(NamedTuple):
    """A value that contains no others. `text` is the content of a string, `true` or `false`, or a number as written."""

    text: str
    line: int
    kind: ScalarKind

    def __repr__(self) -> str:
        """Without the text, which may be a secret in the wrong place."""
        return f"Scalar(line={self.line}, kind={self.kind!r})"


class Items(NamedTuple):
    """A list; empty if its elements were handed over as they were read."""

    items: "tuple[Node, ...]"
    line: int


class Entry(NamedTuple):
    """A member of a mapping. `line` is the line of its key."""

    key: str
    line: int
    value: "Node"


class Members(NamedTuple):
    """A mapping. No two entries have the same key."""

    entries: tuple[Entry, ...]
    line: int


Node = Scalar | Items | Members

TakeElement = Callable[[Node], None]


class DocumentReader(Protocol):
    """Reads a seed file. The ending of its name chooses the format: `.yaml`, `.yml`, `.toml` or `.json`."""

    def __call__(self, path: str, elements: Mapping[str, TakeElement]) -> Node:
        """Read the file and return its content.

        The elements of a list that the outermost mapping has under a key of `elements` are passed to its function in
        order, as they are read, and are not part of the result. Raises UsageError for another ending or a file that
        cannot be read; InputTooLarge; InvalidSeed with the line.
        """
        ...


def fault(file: str, line: int, message: str, *, hint: str | None = None) -> InvalidSeed:
    """Return the error for one line of a file."""
    return InvalidSeed(f"{escaped(file)}, line {line}: {message}", hint=hint)


def repeated_key(file: str, line: int, key: str, first: int) -> InvalidSeed:
    """Return the error for a key that its mapping already has since line `first`."""
    where = "" if first == line else f", first on line {first}"
    name = f"the key {quoted(key)}" if may_show(key) else "a key"
    return fault(file, line, f"{name} appears twice{where}", hint="keep one of them")


def may_show(key: str) -> bool:
    """Whether a key looks like the name of a member, not like `password:hunter2`, where a space is missing."""
    return _NAME.fullmatch(key) is not None


def nested_too_deep(file: str, line: int) -> InvalidSeed:
    return fault(file, line, f"it is nested deeper than {DEEPEST} levels")
