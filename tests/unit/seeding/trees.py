"""Trees of documents in a form that can be compared."""

from pathlib import Path
from typing import Any

from backctl.application.seeding.documents import Items, Members, Node, Scalar
from backctl.infrastructure.documents.reading import read_document

Lines = list[tuple[str, int]]


def tree(folder: Path, form: str, text: str | bytes) -> Node:
    path = folder / f"seed.{form}"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_document(str(path), {})


def values(node: Node) -> Any:
    """The values, with scalars as pairs of kind and text."""
    match node:
        case Scalar():
            return node.kind, node.text
        case Items():
            return [values(item) for item in node.items]
        case Members():
            return {entry.key: values(entry.value) for entry in node.entries}


def lines(node: Node) -> Lines:
    """The line of each key and scalar, in order."""
    match node:
        case Scalar():
            return [(node.text, node.line)]
        case Items():
            return [line for item in node.items for line in lines(item)]
        case Members():
            found: Lines = []
            for entry in node.entries:
                found += [(entry.key, entry.line), *lines(entry.value)]
            return found
