"""One object as lines of `name: value`. Values must be escaped already."""

from collections.abc import Sequence

from backctl.presentation.colors import BOLD, RESET, painted
from backctl.presentation.folding import folded

_NARROWEST = 24
"""The columns that values need to the right of their names; with fewer, values are printed below the names."""
_INDENT = 2


def card(
    names: Sequence[str], values: Sequence[str], *, color: bool, columns: int | None, whole_words: bool = True
) -> str:
    """Format one object. The lines of a value are aligned. `columns` None: lines are never wrapped.

    A word that is wider than the terminal is not broken, so that it can be copied, unless `whole_words` is False.
    """
    widest = max(map(len, names), default=0)
    margin = widest + 2
    below = columns is not None and columns - margin < _NARROWEST
    if below:
        margin = _INDENT
    text = ""
    for name, value in zip(names, values, strict=True):
        shown = value.split("\n") if columns is None else folded(value, columns - margin, whole_words=whole_words)
        if color:
            shown = [painted(name, line) for line in shown]
        title = f"{BOLD}{name}:{RESET}" if color else f"{name}:"
        gap = "\n" + " " * margin if below and value else " " * (widest - len(name) + 1)
        text += (title + gap + ("\n" + " " * margin).join(shown)).rstrip() + "\n"
    return text
