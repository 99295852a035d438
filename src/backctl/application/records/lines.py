"""Split a stream into lines in bounded memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from backctl.application.records.bounded_lines import ENDLESS, endless_line

if TYPE_CHECKING:
    from backctl.application.ports.security import Read

BLOCK = 256 << 10
"""Bytes that are read at once."""


class Line(NamedTuple):
    """A line or record: the number of its first line, from 1, its bytes, and its line end. Number 0: keep it as is."""

    number: int
    content: bytes
    end: bytes
    problem: str | None = None
    """Why it cannot be used."""


def too_long(longest: int) -> str:
    return f"it is longer than {longest} bytes"


def read_lines(read: "Read", longest: int) -> Iterator[tuple[list[Line], bool]]:
    """Yield the lines of each block, and whether they are the last. Raises InputTooLarge.

    A line of more than `longest` bytes has a problem instead of its content.
    """
    number, size = 1, 0
    held: list[bytes] = []

    def line(part: bytes, end: bytes) -> Line:
        if size > longest:
            return Line(number, b"", end, too_long(longest))
        return Line(number, b"".join((*held, part)) if held else part, end)

    while block := read(BLOCK):
        *whole, part = block.split(b"\n")
        lines = []
        for content in whole:
            size += len(content)
            lines.append(line(content, b"\n"))
            number, size = number + 1, 0
            held.clear()
        size += len(part)
        if size > ENDLESS:
            raise endless_line(number)
        if size > longest:
            held.clear()
        elif part:
            held.append(part)
        yield lines, False
    yield [line(b"", b"")] if size else [], True
