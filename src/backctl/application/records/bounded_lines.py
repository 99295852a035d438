"""Lines of an input that may be endless, each in bounded memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from backctl.domain.errors import InputTooLarge

if TYPE_CHECKING:
    from backctl.application.ports.security import Read

ENDLESS = 256 << 20
"""Bytes of one line after which the input is not taken for lines any more: /dev/zero has no line end."""
_DISCARDED_AT_ONCE = 1 << 16


class BoundedLine(NamedTuple):
    """A line, counted from 1, with its end; `is_cut` where it is longer and only its beginning was kept."""

    number: int
    content: bytes
    is_cut: bool


def bounded_lines(read_line: "Read", most: int) -> Iterator[BoundedLine]:
    """Every line, of which at most `most` bytes and its `\\n` are kept; `read_line(n)` gives n bytes of it at most.

    The rest of a line that was cut is read when the next line is asked for. Raises InputTooLarge for one without end.
    """
    number = 0
    while content := read_line(most + 1):
        number += 1
        is_cut = len(content) > most and not content.endswith(b"\n")
        yield BoundedLine(number, content, is_cut)
        if is_cut:
            _discard_rest(read_line, number)


def endless_line(number: int) -> InputTooLarge:
    return InputTooLarge(
        f"line {number} is longer than {ENDLESS} bytes",
        hint="check that the input is a text file",
    )


def _discard_rest(read_line: "Read", number: int) -> None:
    discarded = 0
    while (rest := read_line(_DISCARDED_AT_ONCE)) and not rest.endswith(b"\n"):
        discarded += len(rest)
        if discarded > ENDLESS:
            raise endless_line(number)
