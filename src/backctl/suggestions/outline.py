"""TOML as configuration files are mostly written, read without importing a parser.

`tomllib` takes 13 ms to import, more than the interpreter needs to start. Known here are tables and dotted keys without
quotes, strings on one line without escapes, arrays of them, whole numbers and booleans: TOML 1.0,
https://toml.io/en/v1.0.0.
Whoever gets no answer asks `tomllib`; an answer is always the one that it would give.
"""

TYPE_CHECKING = False  # `collections.abc` takes a millisecond
if TYPE_CHECKING:
    from collections.abc import Iterator

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_DIGITS = 18

Table = dict[str, object]


class _Unknown(Exception):
    """Something that this module does not read."""


def outline(text: str) -> Table | None:
    """The document, or None when something in it is written in another way, be it right or wrong."""
    document: Table = {}
    table = document
    lines = iter(text.split("\n"))
    try:
        for line in lines:
            table = _read(_trimmed(line), lines, table, document)
    except _Unknown:
        return None
    return document


def _trimmed(line: str) -> str:
    if not line.replace("\t", " ").isprintable():
        raise _Unknown
    return line.strip(" \t")


def _read(line: str, lines: "Iterator[str]", table: Table, document: Table) -> Table:
    """Read one line, for an array also those that it goes on in; answer the table that the next one belongs to."""
    if not line or line.startswith("#"):
        return table
    if line.startswith("["):
        name, closed, rest = line[1:].partition("]")
        if not closed:
            raise _Unknown
        _require_end(rest)
        *above, last = _path(name)
        begun: Table = {}
        _insert(_within(document, above), last, begun)
        return begun
    key, _, written = line.partition("=")
    *above, last = _path(key)
    value, rest = _value(written.strip(" \t"), lines)
    _require_end(rest)
    _insert(_within(table, above), last, value)
    return table


def _path(text: str) -> list[str]:
    parts = [part.strip(" \t") for part in text.split(".")]
    if not all(part and _BARE.issuperset(part) for part in parts):
        raise _Unknown
    return parts


def _within(table: Table, path: list[str]) -> Table:
    for part in path:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            raise _Unknown
        table = inner
    return table


def _insert(table: Table, key: str, value: object) -> None:
    if key in table:  # given twice, or a table that was begun further up
        raise _Unknown
    table[key] = value


def _value(text: str, lines: "Iterator[str]") -> tuple[object, str]:
    """The value at the beginning of `text`, and what follows it."""
    if text.startswith("["):
        return _array(text[1:], lines)
    if text.startswith(('"', "'")):
        return _string(text)
    word = text.partition("#")[0].rstrip(" \t")
    rest = text[len(word) :]
    if word in ("true", "false"):
        return word == "true", rest
    if word.isascii() and word.isdigit() and len(word) <= _DIGITS and (word == "0" or not word.startswith("0")):
        return int(word), rest
    raise _Unknown


def _array(text: str, lines: "Iterator[str]") -> tuple[object, str]:
    items: list[str] = []
    text = _onward(text, lines)
    while not text.startswith("]"):
        item, rest = _string(text)
        items.append(item)
        text = _onward(rest, lines)
        if text.startswith(","):
            text = _onward(text[1:], lines)
        elif not text.startswith("]"):
            raise _Unknown
    return items, text[1:]


def _onward(text: str, lines: "Iterator[str]") -> str:
    """`text` from the next thing in it that counts, else what follows in the lines below."""
    text = text.lstrip(" \t")
    while not text or text.startswith("#"):
        line = next(lines, None)
        if line is None:
            raise _Unknown
        text = _trimmed(line)
    return text


def _string(text: str) -> tuple[str, str]:
    quote = text[:1]
    if quote not in ('"', "'"):
        raise _Unknown
    content, closed, rest = text[1:].partition(quote)
    if not closed or (quote == '"' and "\\" in content) or rest.startswith(quote):
        raise _Unknown
    return content, rest


def _require_end(rest: str) -> None:
    rest = rest.lstrip(" \t")
    if rest and not rest.startswith("#"):
        raise _Unknown
