"""Makes text of users safe to show: in messages, on terminals and in logs."""

import unicodedata

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def escaped(text: str) -> str:
    """Return `text` with control, format, bidirectional and unpaired surrogate characters as escapes.

    The result is safe on a terminal: no character moves the cursor or reorders its neighbours.
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
    """Return `text` with every token cut to its prefix, and without the passwords of URLs, so that a secret that is
    passed in the wrong place is not shown."""
    if "eyJ" not in text and "bkr_" not in text and "://" not in text:
        return text
    import re

    text = re.sub(r"(://[^\s:/@]*:)\S*@", r"\1***@", text)
    return re.sub(r"(bkr_|eyJ)[\w.-]{8,}", r"\1…", text)


def quoted(text: str, *, limit: int = 80) -> str:
    """Return `text` in single quotes, escaped and cut after `limit` code points, for messages and terminals.

    Tokens are masked.
    """
    text = masked(text)
    shown = escaped(text[:limit])
    return f"'{shown}…'" if len(text) > limit else f"'{shown}'"
