"""How deep markup nests, judged without building it.

A parser of HTML needs time that grows with tags times depth: 500 kB of `<div>` keep one busy for a minute. Worse, it
repeats every formatting element left open in each paragraph that follows: 23 kB can become a million elements. So what
will be parsed is measured first, and never found shallower than it is: an end tag only counts where it certainly closes
the innermost element, and no more once the text holds what hides tags from a simple reader.
https://html.spec.whatwg.org/multipage/parsing.html
"""

import re
from typing import NamedTuple

from backctl.domain.errors import InputTooDeep

_DEPTH_MAX = 256  # browsers' engines stop at 512
_REPEATED_MAX = 250_000  # formatting elements that may have to be made anew: some 60 MB

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
# fmt: off
_VOID = frozenset((
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "image", "input", "keygen",
    "link", "meta", "param", "source", "track", "wbr",
))
_FORMATTING = frozenset((
    "a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
))
# fmt: on
# Which elements a start tag closes when one stands innermost: it begins the next paragraph, item, cell or row.
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
# Below these, tags are read in another way: some are none, others close something else.
_OTHERWISE_READ = frozenset(["listing", "math", "noscript", "plaintext", "select", "svg", "template", *_RAW.split("|")])


class Nesting(NamedTuple):
    """The most that a parser can find: elements inside each other, start tags, and formatting elements left open."""

    deepest: int
    tags: int
    formatting: int


def require_shallow(html: str) -> None:
    """Raises InputTooDeep when elements nest deeper than 256, or leave too much open that has to be repeated."""
    found = measured(html)
    if found.deepest > _DEPTH_MAX:
        raise InputTooDeep(f"the markup nests deeper than {_DEPTH_MAX} elements")
    if found.tags * found.formatting > _REPEATED_MAX:
        raise InputTooDeep(f"the markup leaves {found.formatting} formatting elements open among {found.tags} tags")


def measured(html: str) -> Nesting:
    """An upper bound of what a parser of HTML makes of this, in time that grows with its length alone."""
    reading = _Reading()
    for match in _TOKEN.finditer(html):
        reading.take(match)
    return Nesting(reading.deepest, reading.tags, reading.most_formatting)


class _Reading:
    """What is open at the place reached, at least."""

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
            if not self._certain:  # it may be neither, and the tags in it be tags
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
        """An empty name is an element that nobody knows."""
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
        """Close the innermost element if it is this one, with the items and cells that end in it; else nothing."""
        if not self._certain:
            return
        at = len(self._open) - 1
        if name not in _FORMATTING:
            while at >= 0 and self._open[at] != name and self._open[at] in _ENDED_BY:
                at -= 1
        if at >= 0 and self._open[at] == name:
            del self._open[at:]
            self._formatting -= name in _FORMATTING
