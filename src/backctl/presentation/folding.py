"""Wraps and shortens text to a number of columns of a terminal.

Text must be escaped already. Escapes such as `\\u202e` are not broken if they fit.
"""

import re
from collections.abc import Iterator

from backctl.presentation.terminal import display_width

_CHUNK = re.compile(r" +|[^ ,]+,*|,+")
_UNIT = re.compile(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|\\[nrt]|.", re.DOTALL)
_ELLIPSIS = "…"


def text_width(text: str) -> int:
    """Return the columns that the widest line of `text` takes."""
    return max(map(display_width, text.split("\n"))) if "\n" in text else display_width(text)


def widest_word(text: str) -> int:
    """Return the columns of the widest piece of `text` that wrapping does not break."""
    return max((display_width(chunk) for chunk in _CHUNK.findall(text) if chunk[0] != " "), default=0)


def folded(text: str, columns: int, *, whole_words: bool = False) -> list[str]:
    """Wrap `text` to lines of at most `columns`, after spaces and commas, and within words that are too long.

    With `whole_words`, long words are not broken, so that they can be copied; their lines are too long.
    """
    return [line for part in text.split("\n") for line in _folded(part, columns, whole_words)]


def shortened(text: str, columns: int) -> str:
    """Cut `text` to at most `columns`; `…` replaces the rest."""
    if display_width(text) <= columns:
        return text
    return next(_pieces(text, columns - 1)) + _ELLIPSIS if columns > 1 else _ELLIPSIS


def _folded(text: str, columns: int, whole_words: bool) -> list[str]:
    if display_width(text) <= columns:
        return [text]
    lines: list[str] = []
    line, used, spaces = "", 0, ""
    for chunk in _CHUNK.findall(text):
        if chunk[0] == " ":
            spaces = chunk
            continue
        width = display_width(chunk)
        if used + len(spaces) + width <= columns:
            line += spaces + chunk
            used += len(spaces) + width
        else:
            if line:
                lines.append(line)
            pieces = [chunk] if whole_words or width <= columns else list(_pieces(chunk, columns))
            lines += pieces[:-1]
            line = pieces[-1]
            used = display_width(line)
        spaces = ""
    return [*lines, line] if line or not lines else lines


def _pieces(text: str, columns: int) -> Iterator[str]:
    """Split `text` into pieces of at most `columns`. A combining mark stays with its character."""
    piece, used = "", 0
    for unit in _UNIT.findall(text):
        for part in unit if len(unit) > columns else (unit,):
            width = display_width(part)
            if used + width > columns and piece:
                yield piece
                piece, used = "", 0
            piece += part
            used += width
    if piece:
        yield piece
