"""Reads YAML from the events of PyYAML's parser. Nothing is constructed from a document, so tags have no effect."""

import re
from typing import TYPE_CHECKING, Any, Final

from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from backctl.application.seeding.documents import Entry, Items, Members, Node, Scalar, TakeElement, fault
from backctl.domain.quoting import quoted
from backctl.infrastructure.documents.tree import Source, added

if TYPE_CHECKING:
    from backctl.domain.errors import InvalidSeed

_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_MERGE: Final = "<<"
# YAML 1.1 §5.1, the characters that a stream may contain, without a byte order mark within the text, and without those
# that end a line in YAML 1.1 only: U+0085, U+2028 and U+2029.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def read_yaml(source: Source, text: str) -> Node | None:
    """Read a document; None for an empty one. Raises InvalidSeed with the line.

    Anchors, aliases, tags, merge keys, keys that are not texts, and further documents are refused.
    """
    file = source.file
    if (forbidden := _FORBIDDEN.search(text)) is not None:
        line = text.count("\n", 0, forbidden.start()) + 1
        raise fault(file, line, f"the character {quoted(forbidden[0])} is not allowed in YAML")
    try:
        return _Reading(source, _parser(text)).whole()
    except MarkedYAMLError as error:
        raise _syntax_error(file, error) from None
    except (YAMLError, RecursionError, ValueError):
        raise fault(file, 1, "it is not YAML") from None


def _parser(text: str) -> Any:
    """Return libyaml's parser, or the ten times slower one of PyYAML if it was built without libyaml."""
    try:
        from yaml._yaml import CParser
    except ImportError:
        return _python_parser(text)
    return CParser(text)


def _python_parser(text: str) -> Any:
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.scanner import Scanner

    class PythonParser(Reader, Scanner, Parser):
        def __init__(self) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)

    return PythonParser()


class _Reading:
    """Recursive, because the depth is limited."""

    def __init__(self, source: Source, parser: Any) -> None:
        self._source = source
        self._file = source.file
        self._next = parser.get_event

    def whole(self) -> Node | None:
        self._next()  # the start of the stream
        event = self._next()
        if type(event) is not DocumentStartEvent:
            return None
        if event.tags:
            raise fault(self._file, _line_of(event), "tags are not supported", hint="remove the directive")
        root = self._node(self._next(), 1)
        self._next()  # the end of the document
        event = self._next()
        if type(event) is not StreamEndEvent:
            line = _line_of(event)
            raise fault(self._file, line, "there is a second document", hint="write it to a file of its own")
        return root

    def _node(self, event: Any, depth: int, take: TakeElement | None = None) -> Node:
        kind = type(event)
        line = event.start_mark.line + 1
        if kind is AliasEvent:
            raise fault(self._file, line, "aliases are not supported", hint="write the value again")
        if event.anchor is not None:
            raise fault(self._file, line, "anchors are not supported", hint="write the value where it is needed")
        if event.tag is not None:
            raise fault(self._file, line, "tags are not supported", hint="remove what starts with '!'")
        if kind is ScalarEvent:
            text = event.value
            return Scalar(text, line, "string" if event.style else "null" if text in _NULLS else "plain")
        self._source.require_depth(depth, line)
        if kind is MappingStartEvent:
            return self._members(line, depth)
        elements: list[Node] = []
        add = added(take, elements)
        while type(event := self._next()) is not SequenceEndEvent:
            add(self._node(event, depth + 1))
        return Items(tuple(elements), line)

    def _members(self, line: int, depth: int) -> Node:
        entries: dict[str, Entry] = {}
        while type(event := self._next()) is not MappingEndEvent:
            key = self._key(event)
            key_line = event.start_mark.line + 1
            self._source.require_new(key, key_line, entries)
            value = self._node(self._next(), depth + 1, self._source.taker(key, depth))
            entries[key] = Entry(key, key_line, value)
        return Members(tuple(entries.values()), line)

    def _key(self, event: Any) -> str:
        node = self._node(event, 1) if type(event) in (ScalarEvent, AliasEvent) else None
        if node is None:
            line = event.start_mark.line + 1
            raise fault(self._file, line, "a key is a list or a mapping", hint="write a text as the key")
        text: str = event.value
        if not event.style:
            if text == _MERGE:
                hint = "write the members where they are needed"
                raise fault(self._file, node.line, "merge keys are not supported", hint=hint)
            if text in _NULLS:
                raise fault(self._file, node.line, "a key is missing", hint="write a text as the key")
        return text


def _line_of(event: Any) -> int:
    line: int = event.start_mark.line + 1
    return line


def _syntax_error(file: str, error: MarkedYAMLError) -> "InvalidSeed":
    mark = error.problem_mark or error.context_mark
    line = 1 if mark is None else mark.line + 1
    where = f" {error.context}" if error.context else ""
    return fault(file, line, f"it is not YAML:{where}{',' if where else ''} {error.problem or 'syntax error'}")
