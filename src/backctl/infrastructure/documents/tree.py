"""Builds the tree of a document from what a parser finds, in its order."""

from collections.abc import Mapping

from backctl.application.seeding.documents import (
    DEEPEST,
    Entry,
    Items,
    Members,
    Node,
    Scalar,
    TakeElement,
    fault,
    nested_too_deep,
    repeated_key,
)


class _Open:
    """A mapping or list that has not ended. `take` gets the elements of a list as they are read."""

    __slots__ = ("elements", "entries", "key", "key_line", "line", "take")

    def __init__(self, line: int, entries: dict[str, Entry] | None, take: TakeElement | None = None) -> None:
        self.line = line
        self.entries = entries
        self.elements: list[Node] = []
        self.take = take
        self.key: str | None = None
        self.key_line = line


class TreeBuilder:
    """Collects values. All methods raise InvalidSeed with the line.

    `file` is named in errors; `elements` is explained at the port `DocumentReader`.
    """

    def __init__(self, file: str, elements: Mapping[str, TakeElement]) -> None:
        self._file = file
        self._takers = elements
        self._open: list[_Open] = []
        self._root: Node | None = None

    @property
    def is_in_mapping(self) -> bool:
        """Whether the innermost value that has not ended is a mapping."""
        return bool(self._open) and self._open[-1].entries is not None

    @property
    def expects_key(self) -> bool:
        """Whether a key must come next, if not the end of the mapping."""
        return self.is_in_mapping and self._open[-1].key is None

    def root(self) -> Node:
        """Return the whole document."""
        if self._root is None:
            raise fault(self._file, 1, "the file is empty", hint="it must contain at least 'version' and 'name'")
        return self._root

    def open_mapping(self, line: int) -> None:
        self._push(_Open(line, {}))

    def open_list(self, line: int) -> None:
        take = None
        if len(self._open) == 1 and (key := self._open[0].key) is not None:
            take = self._takers.get(key)
        self._push(_Open(line, None, take))

    def key(self, key: str, line: int) -> None:
        """Begin a member of the innermost mapping."""
        innermost = self._open[-1]
        if innermost.entries is not None and (first := innermost.entries.get(key)) is not None:
            raise repeated_key(self._file, line, key, first.line)
        innermost.key, innermost.key_line = key, line

    def add(self, node: Node) -> None:
        """Add a complete value: to the innermost list, or to the key of the innermost mapping."""
        if not self._open:
            self._root = node
            return
        innermost = self._open[-1]
        if innermost.entries is not None:
            if (key := innermost.key) is None:
                raise AssertionError("a value without a key")
            innermost.entries[key] = Entry(key, innermost.key_line, node)
            innermost.key = None
        elif innermost.take is not None:
            innermost.take(node)
        else:
            innermost.elements.append(node)

    def close(self) -> None:
        """End the innermost mapping or list."""
        ended = self._open.pop()
        if ended.entries is not None:
            self.add(Members(tuple(ended.entries.values()), ended.line))
        else:
            self.add(Items(tuple(ended.elements), ended.line))

    def add_tree(self, node: Node) -> None:
        """Add a value that may contain others."""
        match node:
            case Scalar():
                self.add(node)
            case Members():
                self.open_mapping(node.line)
                for key, line, value in node.entries:
                    self.key(key, line)
                    self.add_tree(value)
                self.close()
            case Items():
                self.open_list(node.line)
                for element in node.items:
                    self.add_tree(element)
                self.close()

    def _push(self, opened: _Open) -> None:
        if len(self._open) == DEEPEST:
            raise nested_too_deep(self._file, opened.line)
        self._open.append(opened)
