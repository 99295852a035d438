"""Estimates how deep markup nests, without building its tree.

The time of an HTML parser grows with the number of tags times their depth: 500 kB of `<div>` take a minute. Worse, the
parser repeats every open formatting element in each following paragraph: 23 kB can become a million elements. It also
compares every attribute of a tag with all others: 2 MB of attributes take half a minute. So the markup is measured
before it is parsed. The estimate is never too low: it uses an end tag only where the tag certainly closes the innermost
element, and ignores all end tags after text that can hide tags from a simple reader.
https://html.spec.whatwg.org/multipage/parsing.html
"""

import re
from typing import NamedTuple

from backctl.domain.errors import InputTooDeep

_DEPTH_MAX = 256  # browsers' engines stop at 512
_REPEATED_MAX = 250_000  # formatting elements that the parser may repeat: about 60 MB

_ATTRIBUTES_MAX = 1_000

_ATTRIBUTES = r"""(?:\s++[^\s"'<>/=`]++(?:\s*+=\s*+(?:"[^"<>]*+"|'[^'<>]*+'|[^\s"'<>=`]++))?+)*+\s*+/?"""
_RAW = "iframe|noembed|noframes|script|style|textarea|title|xmp"
_TOKEN = re.compile(
    rf"<(?P<raw>{_RAW}){_ATTRIBUTES}>(?:(?!</?(?:{_RAW})|<!--).)*+</(?P=raw)\s*+>"
    rf"|<(?P<end>/?)(?P<name>[a-z][a-z0-9-]*+){_ATTRIBUTES}>"
    r"|(?P<comment><!--(?!-?>)(?:(?!--).)*+-->)"
    r"|<!doctype[^<>\"']*+>"
    r"|<(?P<odd>[a-z/!?])",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
_START = re.compile("<[a-z]", re.IGNORECASE | re.ASCII)
# Any spelling of a tag that the standard's tokenizer accepts, §13.2.5.8 and §13.2.5.32 to .40.
_TAG = re.compile(r"</?[a-z][^\s/>]*+", re.IGNORECASE | re.ASCII)
_ATTRIBUTE = re.compile(
    r"""[\s/]*+(?:=[^\s/>=]*+|[^\s/>=]++)(?:\s*+=\s*+(?:"[^"]*+"?|'[^']*+'?|[^\s>]*+))?+""", re.ASCII
)
_BEFORE_ATTRIBUTE = re.compile(r"[\s/]+|[\"']")
# fmt: off
_VOID = frozenset((
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "image", "input", "keygen",
    "link", "meta", "param", "source", "track", "wbr",
))
_FORMATTING = frozenset((
    "a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
))
# fmt: on
# The innermost elements that a start tag closes, because it begins the next paragraph, item, cell or row.
_ENDED_BY = {
    "p": frozenset(["p"]),
    "li": frozenset(["li"]),
    "dt": frozenset(["dt", "dd"]),
    "dd": frozenset(["dt", "dd"]),
    "option": frozenset(["option"]),
    "td": frozenset(["td", "th"]),
    "th": frozenset(["td", "th"]),
    "tr": frozenset(["tr", "td", "th"]),
}
# Inside these, the parser reads tags differently: it ignores some, and others close other elements.
_OTHERWISE_READ = frozenset(["listing", "math", "noscript", "plaintext", "select", "svg", "template", *_RAW.split("|")])


class Nesting(NamedTuple):
    """Upper bounds of what a parser finds: nesting depth, start tags, and open formatting elements."""

    deepest: int
    tags: int
    formatting: int


def require_shallow(html: str) -> None:
    """Raise InputTooDeep for markup that would take too long to parse.

    That is when elements nest deeper than 256 levels, too many open formatting elements would be repeated, or a tag has
    more than 1000 attributes.
    """
    if has_more_attributes(html, _ATTRIBUTES_MAX):
        raise InputTooDeep(f"the markup would take too long to parse: a tag has more than {_ATTRIBUTES_MAX} attributes")
    found = measured(html)
    if found.deepest > _DEPTH_MAX:
        raise InputTooDeep(f"the markup nests elements deeper than {_DEPTH_MAX} levels")
    if found.tags * found.formatting > _REPEATED_MAX:
        raise InputTooDeep(
            f"the markup would take too long to parse: it has {found.tags} tags and leaves {found.formatting} "
            "formatting elements open"
        )


def has_more_attributes(html: str, limit: int) -> bool:
    """Whether a tag, or text that may be one, has more than `limit` attributes. Takes linear time."""
    begun = _suspect(html, limit)
    return begun is not None and _has_more_from(html, begun, limit)


def _suspect(html: str, limit: int) -> int | None:
    """Return where a tag may begin that has more than `limit` attributes; None if there is none.

    White space, a slash or a quote precedes each attribute. A tag ends at `>`, except in a quoted value: there the
    last quote of its kind follows an equals sign.
    """
    at, begun, count = 0, None, 0
    opened = {'"': False, "'": False}
    for piece in html.split(">"):
        start = 0
        if begun is None and (tag := _TAG.search(piece)) is not None:
            start, begun, count = tag.end(), at + tag.start(), 0
            opened = {'"': False, "'": False}
        if begun is not None:
            rest = piece[start:]
            count += len(_BEFORE_ATTRIBUTE.findall(rest))
            if count > limit:
                return begun
            for quote in opened:
                before, found, _ = rest.rpartition(quote)
                if found:
                    opened[quote] = before.rstrip().endswith("=")
            if not any(opened.values()):
                begun = None
        at += len(piece) + 1
    return None


def _has_more_from(html: str, at: int, limit: int) -> bool:
    """Check every tag that may begin from `at` on. True also if too many of them begin inside others."""
    work = 8 * len(html)
    for tag in _TAG.finditer(html, at):
        end, count = tag.end(), 0
        while (attribute := _ATTRIBUTE.match(html, end)) is not None:
            end, count = attribute.end(), count + 1
            if count > limit:
                return True
        work -= end - tag.start()
        if work < 0:
            return True
    return False


def measured(html: str) -> Nesting:
    """Return an upper bound of what an HTML parser builds from this. Takes linear time."""
    reading = _Reading()
    for match in _TOKEN.finditer(html):
        reading.take(match)
    return Nesting(reading.deepest, reading.tags, reading.most_formatting)


class _Reading:
    """The elements that may be open at the current position."""

    def __init__(self) -> None:
        self.tags = 0
        self.deepest = 0
        self.most_formatting = 0
        self._open: list[str] = []
        self._formatting = 0
        self._certain = True

    def take(self, token: re.Match[str]) -> None:
        name = (token["name"] or "").lower()
        if token["raw"] or token["comment"]:
            if not self._certain:  # it may be neither, so its tags may be real tags
                for _ in _START.findall(token[0]):
                    self._start("")
            elif token["raw"]:
                self._start(token["raw"])
                self._open.pop()
        elif token["odd"] or name:
            if token["odd"] or name in _OTHERWISE_READ:
                self._certain = False
            if token["end"] or token["odd"] in ("/", "!", "?"):
                self._end(name)
            elif name not in _VOID:
                self._start(name)
            else:
                self.tags += 1

    def _start(self, name: str) -> None:
        """Open an element. An empty name stands for an unknown element."""
        self.tags += 1
        if self._certain:
            ended = _ENDED_BY.get(name, frozenset())
            while self._open and self._open[-1] in ended:
                self._open.pop()
        self._open.append(name)
        self._formatting += name in _FORMATTING or not name
        self.deepest = max(self.deepest, len(self._open))
        self.most_formatting = max(self.most_formatting, self._formatting)

    def _end(self, name: str) -> None:
        """Close the innermost element if it has this name, with the items and cells that end in it."""
        if not self._certain:
            return
        at = len(self._open) - 1
        if name not in _FORMATTING:
            while at >= 0 and self._open[at] != name and self._open[at] in _ENDED_BY:
                at -= 1
        if at >= 0 and self._open[at] == name:
            del self._open[at:]
            self._formatting -= name in _FORMATTING
