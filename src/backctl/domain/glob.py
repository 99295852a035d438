"""Matches texts with the glob patterns of Redis (`stringmatchlen` in `util.c`, Redis 7 and Valkey).

`*` matches any bytes, `?` one byte and `[...]` one byte of a class; `\\` makes the next byte literal. Matching is
bytewise and case-sensitive. A class differs from a shell's:

- Only `^` negates it, and `]` always ends it: `[]` matches nothing, `[^]` matches any byte.
- A class without `]` extends to the end of the pattern.
- A range takes any byte after its `-` as its end, even `]` and `\\`. The ends of a range may be in any order.
- Ranges compare signed bytes, so 0x80 to 0xff come before 0x00. This is C's `char` on x86-64 and on macOS; servers on
  Linux for ARM compare unsigned bytes.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from backctl.domain.errors import InvalidInput
from backctl.domain.quoting import quoted

PATTERN_MAX: Final = 512
"""The longest pattern in bytes that `parse_glob` accepts, because the time to match grows with the length."""

_ITEM = rb"\\.|[^]]-.|[^]]"  # in this order: an escaped byte does not start a range
_ITEMS = re.compile(_ITEM, re.DOTALL)
_ELEMENT = re.compile(
    rb"(?P<stars>\*+)|(?P<any>\?)|\[(?P<negated>\^?)(?P<items>(?:" + _ITEM + rb")*)\]?|\\?(?P<byte>.)", re.DOTALL
)
_SPECIAL = re.compile(rb"[*?[\\]")


@dataclass(frozen=True)
class Glob:
    """A pattern that matches the same keys as `KEYS` and `SCAN MATCH` of Redis.

    It is compiled on first use. The time to match is at most proportional to the length of the pattern times the length
    of the text. Parse user input with `parse_glob`, which limits its length.
    """

    pattern: bytes

    def matches(self, text: bytes) -> bool:
        """Return whether the pattern matches the whole text."""
        if not text:
            # The server treats the pattern `*` as no pattern. With any other, even `**`, it skips an empty key.
            return self.pattern in (b"*", b"")
        return self._regex.fullmatch(text) is not None

    @cached_property
    def literal(self) -> bytes:
        """The bytes before the first `*`, `?` or `[`, without escapes. Every matching text starts with them."""
        prefix = bytearray()
        for element in _ELEMENT.finditer(self.pattern):
            if element.lastgroup != "byte":
                break
            prefix += element["byte"]
        return bytes(prefix)

    @cached_property
    def _regex(self) -> re.Pattern[bytes]:
        segments = [b""]
        for element in _ELEMENT.finditer(self.pattern):
            match element.lastgroup:
                case "stars":
                    segments.append(b"")
                case "any":
                    segments[-1] += b"."
                case "items":
                    segments[-1] += _class(element["items"], negated=bool(element["negated"]))
                case _:
                    segments[-1] += re.escape(element["byte"])
        first, *between = segments
        if between:
            # The first match of a segment leaves the most text for the next ones, so a later one cannot help. The
            # atomic group prevents the regex from trying it, which would take exponential time.
            last = between.pop()
            first += b"".join(b"(?>.*?%b)" % segment for segment in between) + b".*" + last
        return re.compile(first, re.DOTALL)


def parse_glob(pattern: bytes) -> Glob:
    """Return the glob for a pattern of 1 to `PATTERN_MAX` bytes. Raises InvalidInput."""
    if not pattern:
        raise InvalidInput("the pattern is empty", hint="use '*' to match every key")
    if len(pattern) > PATTERN_MAX:
        shown = quoted(pattern.decode(errors="backslashreplace"))
        raise InvalidInput(
            f"the pattern {shown} is longer than {PATTERN_MAX} bytes", hint="replace part of the pattern with '*'"
        )
    return Glob(pattern)


def literal_glob(text: bytes) -> bytes:
    """Return a pattern that matches only `text`."""
    return _SPECIAL.sub(rb"\\\g<0>", text)


def _class(items: bytes, *, negated: bool) -> bytes:
    """Return a regular expression for a class, from the bytes between its brackets."""
    members = b"".join(map(_range, _ITEMS.findall(items)))
    if not members:
        return b"." if negated else b"(?!)"
    return b"[%b%b]" % (b"^" if negated else b"", members)


def _range(item: bytes) -> bytes:
    """Return the members of a class that one item adds: a byte, an escaped byte or a range."""
    end = item[-1]
    start = item[0] if len(item) == 3 else end
    low, high = sorted((start, end), key=lambda byte: byte ^ 0x80)  # the order of signed bytes
    if low > high:
        return rb"\x%02x-\xff\x00-\x%02x" % (low, high)
    return rb"\x%02x-\x%02x" % (low, high)
