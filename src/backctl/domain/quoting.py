"""Makes text of users safe to show: in messages, on terminals and in logs."""

import unicodedata

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def escaped(text: str) -> str:
    """`text` with control, format, bidirectional and unpaired surrogate characters written as escapes.

    Safe to show on a terminal: no character of the answer moves the cursor or reorders its neighbours.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if character in _BIDI_CONTROLS or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else character
        for character in text
    )


def masked(text: str) -> str:
    """`text` with all but the first letters of every token in it taken out: one given in a wrong place is not told."""
    if "eyJ" not in text and "bkr_" not in text:
        return text
    import re

    return re.sub(r"(bkr_|eyJ)[\w.-]{8,}", r"\1…", text)


def quoted(text: str, *, limit: int = 80) -> str:
    """`text` in single quotes, escaped, and cut after `limit` code points: safe in a message and on a terminal.

    It shows no token, whatever it was taken for.
    """
    text = masked(text)
    shown = escaped(text[:limit])
    return f"'{shown}…'" if len(text) > limit else f"'{shown}'"
