"""Many tokens from standard input, one a line, each answered by one record as they come."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from backctl.application.records.bounded_lines import bounded_lines
from backctl.application.token_views import VerifiedToken
from backctl.domain.errors import PartialFailure
from backctl.presentation.errors import document
from backctl.presentation.input_files import standard_input
from backctl.presentation.output import members

if TYPE_CHECKING:
    from backctl.application.tokens import TokenVerdict
    from backctl.presentation.context import Invocation

Verify = Callable[[Iterable[str]], "Iterator[TokenVerdict]"]

_LINE_MAX = 16_384
"""Bytes of a line that are kept: twice the longest token. What is cut there is no token any more, and says so."""


def verify_lines(call: "Invocation", verify: Verify) -> None:
    """Print one record for each line that is not empty: `line`, `valid`, and the claims or the `error`.

    JSON lines unless `-o` says otherwise. Raises PartialFailure when some are not valid.
    """
    call.take_stdin("--batch")
    call.by_lines()
    numbers: deque[int] = deque()
    counts = {"total": 0, "valid": 0, "invalid": 0}

    def records() -> Iterator[dict[str, object]]:
        for verdict in verify(_lines(numbers)):
            record: dict[str, object] = {"line": numbers.popleft(), "valid": verdict.token is not None}
            counts["total"] += 1
            if verdict.token is not None:
                counts["valid"] += 1
                record.update((name, getattr(verdict.token, name)) for name in members(VerifiedToken))
            elif verdict.error is not None:
                counts["invalid"] += 1
                record["error"] = document(verdict.error) if call.renderer.is_json else verdict.error.message
            yield record

    if call.quiet:
        for _ in records():
            continue
    else:
        call.renderer.records(("line", "valid", *members(VerifiedToken), "error"), records(), lambda: counts)
    if counts["invalid"]:
        raise PartialFailure(f"{counts['invalid']} of {counts['total']} tokens are not valid")


def _lines(numbers: deque[int]) -> Iterator[str]:
    """The tokens, and in `numbers` the number of the line of each."""
    for number, line, _ in bounded_lines(standard_input("readline"), _LINE_MAX):
        text = line.strip(b" \t\r\n").decode("ascii", "replace")
        if text:
            numbers.append(number)
            yield text
