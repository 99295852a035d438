"""Reads a seed file into a tree. The ending of its name chooses the format."""

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from backctl.application.seeding.documents import fault
from backctl.domain.errors import InputTooLarge, UsageError
from backctl.domain.plain_text import text_of
from backctl.domain.quoting import quoted
from backctl.infrastructure.documents.tree import Source
from backctl.infrastructure.files.regular import TooLarge, Unreadable, read_regular

if TYPE_CHECKING:
    from collections.abc import Callable

    from backctl.application.seeding.documents import Node, TakeElement

LARGEST: Final = 64 << 20
"""The most bytes of a seed file. One with 100,000 accounts has about 10 MB."""


def read_document(path: str, elements: "Mapping[str, TakeElement]") -> "Node":
    """Read a seed file; see the port `DocumentReader`."""
    read = _reader_of(path)
    raw = _content(path)
    try:
        text = text_of(raw)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise fault(path, line, "it is not UTF-8 text", hint="save the file as UTF-8") from None
    del raw
    root = read(Source(path, elements), text)
    if root is None:
        raise fault(path, 1, "the file is empty", hint="it must contain at least 'version' and 'name'")
    return root


def _reader_of(path: str) -> "Callable[[Source, str], Node | None]":
    """Return the parser for a file. Raises UsageError for an unknown ending."""
    match PurePath(path).suffix.lower():
        case ".yaml" | ".yml":
            from backctl.infrastructure.documents.yaml_events import read_yaml

            return read_yaml
        case ".json":
            from backctl.infrastructure.documents.json_text import read_json

            return read_json
        case ".toml":
            from backctl.infrastructure.documents.toml_text import read_toml

            return read_toml
    if path == "-":
        raise UsageError(
            "a seed file cannot be read from standard input",
            hint="write it to a file that ends with .yaml, .toml or .json, so that it can be applied again",
        )
    raise UsageError(
        f"the format of {quoted(path)} is unknown", hint="name the file with the ending .yaml, .toml or .json"
    )


def _content(path: str) -> bytes:
    """Read a whole file. Raises UsageError, InputTooLarge."""
    try:
        return read_regular(path, LARGEST)
    except Unreadable as error:
        hint = None
        if Path(path).is_fifo():
            hint = "write the seed to a file, so that it can be applied again"
        raise UsageError(f"{quoted(path, limit=400)} cannot be read: {error}", hint=hint) from None
    except TooLarge:
        raise InputTooLarge(
            f"{quoted(path, limit=400)} has more than {LARGEST >> 20} MiB", hint="split it into several files"
        ) from None
