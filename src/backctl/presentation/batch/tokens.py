"""Verifies many tokens from standard input, one per line, and prints one record for each as it arrives."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from backctl.application.records.bounded_lines import bounded_lines
from backctl.application.token_views import VerifiedToken
from backctl.domain.plain_text import BYTE_ORDER_MARK
from backctl.presentation.batch.report import Report
from backctl.presentation.batch.signals import Interruption, lines_until
from backctl.presentation.context import Invocation
from backctl.presentation.output import members

if TYPE_CHECKING:
    from backctl.application.tokens import TokenVerdict

Verify = Callable[[Iterable[str]], "Iterator[TokenVerdict]"]

_LINE_MAX = 16_384
"""Bytes of a line that are kept: twice the longest token. A line that is cut here is not a valid token."""


def verify_lines(call: Invocation, verify: Verify) -> None:
    """Print one record for each line that is not empty: `line`, `valid`, and the claims or the `error`.

    Prints JSON lines unless `-o` selects another format. Raises PartialFailure if some tokens are not valid.
    """
    call.stdin.claim("--batch")
    call.results.use_json_lines()
    renderer = call.results.renderer
    interruption, report = Interruption(announce=False), Report("tokens", as_json=renderer.is_json)
    read_line = lines_until(interruption, call.stdin.reader("readline"))
    numbers: deque[int] = deque()

    def lines() -> Iterator[str]:
        for number, line, _ in bounded_lines(read_line, _LINE_MAX):
            text = line.removeprefix(BYTE_ORDER_MARK).strip(b" \t\r\n").decode("ascii", "replace")
            if text:
                numbers.append(number)
                yield text

    def records() -> Iterator[dict[str, object]]:
        for verdict in verify(lines()):
            number = numbers.popleft()
            record: dict[str, object] = {"line": number, "valid": verdict.token is not None}
            if verdict.token is not None:
                report.succeeded(changed=0)
                record.update((name, getattr(verdict.token, name)) for name in members(VerifiedToken))
            elif verdict.error is not None:
                record["error"] = report.add_failure(number, verdict.error)
            yield record

    def summary() -> dict[str, object]:
        return {"total": report.done, "valid": report.done - report.failed, "invalid": report.failed}

    with report.interrupted_by(interruption):
        if call.results.quiet:
            for _ in records():
                continue
        else:
            renderer.records(("line", "valid", *members(VerifiedToken), "error"), records(), summary)
    if report.failed:
        raise report.failure(failed="are not valid")
