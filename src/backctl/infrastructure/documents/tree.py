"""What the readers of all formats share."""

from collections.abc import Mapping

from backctl.application.seeding.documents import (
    DEEPEST,
    Entry,
    Node,
    TakeElement,
    nested_too_deep,
    repeated_key,
)


class Source:
    """A document that is being read: the name of its file for errors, and where the elements of long lists go.

    `elements` is explained at the port `DocumentReader`.
    """

    __slots__ = ("_elements", "file")

    def __init__(self, file: str, elements: Mapping[str, TakeElement]) -> None:
        self.file = file
        self._elements = elements

    def taker(self, key: str, depth: int) -> TakeElement | None:
        """Return what takes the elements of a list under `key`, in a mapping at `depth`; None to keep them."""
        return self._elements.get(key) if depth == 1 else None

    def require_depth(self, depth: int, line: int) -> None:
        """Raises InvalidSeed for a mapping or list at a depth, from 1, that is too deep."""
        if depth > DEEPEST:
            raise nested_too_deep(self.file, line)

    def require_new(self, key: str, line: int, entries: Mapping[str, Entry]) -> None:
        """Raises InvalidSeed for a key that its mapping has already."""
        if key in entries:
            raise repeated_key(self.file, line, key, entries[key].line)


def added(take: TakeElement | None, elements: list[Node]) -> TakeElement:
    """Return the function that adds an element to a list: `take` if it is given."""
    return elements.append if take is None else take
