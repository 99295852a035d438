"""Records, one after the other, in which chosen values are replaced and every other byte stays.

A shape knows where the values of a record stand. What is done to a value is passed in; it gets its context too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from backctl.application.records.bounded_lines import ENDLESS, endless_line
from backctl.domain.errors import AnswerIsNo, BackctlError, InvalidInput

if TYPE_CHECKING:
    from backctl.application.ports.security import Read

Replace = Callable[[bytes, bytes], bytes]
"""(value, context) → what takes its place; the same object where nothing does. Raises InvalidInput, DecryptFailed."""

LONGEST = 128 << 20
"""Bytes of one record: the longest value, encrypted, and as much again around it."""
_BLOCK = 256 << 10


class Line(NamedTuple):
    """One line or record: where it begins, counted from 1, its bytes, and its end. Number 0 stays as it is."""

    number: int
    content: bytes
    end: bytes
    problem: str | None = None
    """Why there is nothing to do with it."""


TOO_LONG = f"it is longer than {LONGEST} bytes"


class Shape(Protocol):
    """How records are written."""

    def gather(self, lines: list[Line], *, last: bool) -> list[Line]:
        """Whole records of what has come so far. Raises InvalidInput for input that cannot be read on."""
        ...

    def rewrite(self, content: bytes, replace: Replace) -> bytes:
        """The record with its values replaced. Raises what `replace` raises, and InvalidInput."""
        ...


@dataclass(slots=True)
class Tally:
    """How a run came along."""

    records: int = 0
    values: int = 0
    changed: int = 0
    failed: int = 0


def rewritten(
    read: "Read", shape: Shape, replace: Replace, tally: Tally, failed: Callable[[int, BackctlError], None]
) -> Iterator[bytes]:
    """The records that could be rewritten, in blocks as they come; `failed` is told line and cause of the others."""

    values = changed = 0

    def counted(value: bytes, context: bytes) -> bytes:
        nonlocal values, changed
        after = replace(value, context)
        values += 1
        changed += after is not value
        return after

    for lines, last in _lines(read):
        done: list[bytes] = []
        for number, content, end, problem in shape.gather(lines, last=last):
            if not number:
                done += (content, end)
                continue
            tally.records += 1
            try:
                if problem is not None:
                    raise InvalidInput(problem)
                values = changed = 0
                done += (shape.rewrite(content, counted), end)
                tally.values += values
                tally.changed += changed
            except (InvalidInput, AnswerIsNo) as error:
                tally.failed += 1
                failed(number, error)
        if done:
            yield b"".join(done)


class Lines:
    """Every line is a value; its end, `\\n` or `\\r\\n`, stays."""

    def __init__(self, context: bytes) -> None:
        self._context = context

    def gather(self, lines: list[Line], *, last: bool) -> list[Line]:
        return lines

    def rewrite(self, content: bytes, replace: Replace) -> bytes:
        ends = content.endswith(b"\r")
        after = replace(content[:-1] if ends else content, self._context)
        if b"\n" in after:
            raise InvalidInput("it contains a line break, so it does not fit on one line", hint="decrypt it separately")
        return after + b"\r" if ends else after


def _lines(read: "Read") -> Iterator[tuple[list[Line], bool]]:
    """The lines of each block that is read, and whether they are the last ones. Raises InputTooLarge."""
    number, size = 1, 0
    held: list[bytes] = []

    def line(part: bytes, end: bytes) -> Line:
        if size > LONGEST:
            return Line(number, b"", end, TOO_LONG)
        return Line(number, b"".join((*held, part)) if held else part, end)

    while block := read(_BLOCK):
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
        if size > LONGEST:
            held.clear()
        elif part:
            held.append(part)
        yield lines, False
    yield [line(b"", b"")] if size else [], True
