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
    SequenceStartEvent,
    StreamEndEvent,
)

from backctl.application.seeding.documents import Scalar, fault
from backctl.domain.quoting import quoted

if TYPE_CHECKING:
    from backctl.domain.errors import InvalidSeed
    from backctl.infrastructure.documents.tree import TreeBuilder

_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_MERGE: Final = "<<"
# YAML 1.1 §5.1, the characters that a stream may contain. A byte order mark within the text is refused too.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def read_yaml(file: str, text: str, builder: "TreeBuilder") -> None:
    """Read a document. Raises InvalidSeed with the line, and the errors of the builder.

    Anchors, aliases, tags, merge keys, keys that are not texts, and further documents are refused.
    """
    if (forbidden := _FORBIDDEN.search(text)) is not None:
        line = text.count("\n", 0, forbidden.start()) + 1
        raise fault(file, line, f"the character {quoted(forbidden[0])} is not allowed in YAML")
    try:
        _read_events(file, _parser(text), builder)
    except MarkedYAMLError as error:
        raise _syntax_error(file, error) from None
    except (YAMLError, RecursionError, ValueError):
        raise fault(file, 1, "it is not YAML") from None


def _parser(text: str) -> Any:
    """Return libyaml's parser, or the ten times slower one of PyYAML if it was built without libyaml."""
    try:
        from yaml.cyaml import CParser
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


def _read_events(file: str, parser: Any, builder: "TreeBuilder") -> None:
    documents = 0
    while True:
        event = parser.get_event()
        kind = type(event)
        line = event.start_mark.line + 1
        if kind is ScalarEvent:
            _require_plain_node(file, event, line)
            text = event.value
            if builder.expects_key:
                _require_key(file, text, line, is_plain=not event.style)
                builder.key(text, line)
            elif event.style:
                builder.add(Scalar(text, line, "string"))
            else:
                builder.add(Scalar(text, line, "null" if text in _NULLS else "plain"))
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            _require_plain_node(file, event, line)
            if builder.expects_key:
                raise fault(file, line, "a key is a list or a mapping", hint="write a text as the key")
            if kind is MappingStartEvent:
                builder.open_mapping(line)
            else:
                builder.open_list(line)
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            builder.close()
        elif kind is AliasEvent:
            raise fault(file, line, "aliases are not supported", hint="write the value again")
        elif kind is DocumentStartEvent:
            documents += 1
            if documents > 1:
                raise fault(file, line, "there is a second document", hint="write it to a file of its own")
            if event.tags:
                raise fault(file, line, "tags are not supported", hint="remove the directive")
        elif kind is StreamEndEvent:
            return


def _require_plain_node(file: str, event: Any, line: int) -> None:
    if event.anchor is not None:
        raise fault(file, line, "anchors are not supported", hint="write the value where it is needed")
    if event.tag is not None:
        raise fault(file, line, "tags are not supported", hint="remove what starts with '!'")


def _require_key(file: str, text: str, line: int, *, is_plain: bool) -> None:
    if not is_plain:
        return
    if text == _MERGE:
        raise fault(file, line, "merge keys are not supported", hint="write the members where they are needed")
    if text in _NULLS:
        raise fault(file, line, "a key is missing", hint="write a text as the key")


def _syntax_error(file: str, error: MarkedYAMLError) -> "InvalidSeed":
    mark = error.problem_mark or error.context_mark
    line = 1 if mark is None else mark.line + 1
    where = f" {error.context}" if error.context else ""
    return fault(file, line, f"it is not YAML:{where}{',' if where else ''} {error.problem or 'syntax error'}")
