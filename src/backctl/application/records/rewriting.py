"""Rewrite the selected values of a stream of records and keep every other byte.

A shape finds the values in a record. The function that replaces a value is a parameter; it also gets the context.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from backctl.application.records.lines import Line, read_lines
from backctl.domain.errors import AnswerIsNo, BackctlError, InvalidInput
from backctl.domain.plain_text import BYTE_ORDER_MARK

if TYPE_CHECKING:
    from backctl.application.ports.security import Read

Replace = Callable[[bytes, bytes], bytes]
"""(value, context) → the new value, or the same object for no change. Raises InvalidInput, DecryptFailed."""

LONGEST = 128 << 20
"""Maximum bytes of a record: the longest encrypted value, and as many bytes around it."""


class Shape(Protocol):
    """A format of records."""

    def gather(self, lines: list[Line], *, last: bool) -> list[Line]:
        """Return the records completed by these lines. Raises InvalidInput if the rest of the input cannot be read."""
        ...

    def rewrite(self, content: bytes, replace: Replace) -> bytes:
        """Return the record with its values replaced. Raises the errors of `replace`, and InvalidInput."""
        ...


@dataclass(slots=True)
class Tally:
    """The counts of a run."""

    records: int = 0
    values: int = 0
    changed: int = 0
    failed: int = 0


def rewritten(
    read: "Read", shape: Shape, replace: Replace, tally: Tally, failed: Callable[[int, BackctlError], None]
) -> Iterator[bytes]:
    """Yield the rewritten records in blocks; call `failed` with line number and error for each other record."""

    values = changed = 0

    def counted(value: bytes, context: bytes) -> bytes:
        nonlocal values, changed
        after = replace(value, context)
        values += 1
        changed += after is not value
        return after

    for lines, last in read_lines(read, LONGEST):
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
    """Treats every line as a value and keeps its line end, `\\n` or `\\r\\n`.

    If the values are text, a byte order mark before the first one is dropped.
    """

    def __init__(self, context: bytes, *, text: bool = False) -> None:
        self._context = context
        self._text = text

    def gather(self, lines: list[Line], *, last: bool) -> list[Line]:
        if self._text and lines and lines[0].number == 1:
            return [lines[0]._replace(content=lines[0].content.removeprefix(BYTE_ORDER_MARK)), *lines[1:]]
        return lines

    def rewrite(self, content: bytes, replace: Replace) -> bytes:
        ends = content.endswith(b"\r")
        after = replace(content[:-1] if ends else content, self._context)
        if b"\n" in after:
            raise InvalidInput("it contains a line break, so it does not fit on one line", hint="decrypt it separately")
        return after + b"\r" if ends else after
