"""Read the lines of an input that may be endless, in bounded memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from backctl.domain.errors import InputTooLarge

if TYPE_CHECKING:
    from backctl.application.ports.security import Read

ENDLESS = 256 << 20
"""Bytes of a line after which the whole input is refused; /dev/zero, for example, has no line end."""
_DISCARDED_AT_ONCE = 1 << 16


class BoundedLine(NamedTuple):
    """A line, numbered from 1, with its line end; `is_cut` if it was too long and only its beginning was kept."""

    number: int
    content: bytes
    is_cut: bool


def bounded_lines(read_line: "Read", most: int) -> Iterator[BoundedLine]:
    """Yield every line, cut to `most` bytes plus `\\n`; `read_line(n)` must return at most n bytes of a line.

    The rest of a cut line is skipped when the next line is requested. Raises InputTooLarge for an endless line.
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
