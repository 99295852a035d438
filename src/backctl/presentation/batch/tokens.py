"""Verifies many tokens from standard input, one per line, and prints one record for each as it arrives."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from backctl.application.records.bounded_lines import bounded_lines
from backctl.application.token_views import TokenCheck, VerifiedToken
from backctl.domain.errors import AnswerIsNo
from backctl.domain.plain_text import BYTE_ORDER_MARK
from backctl.presentation.batch.report import Report
from backctl.presentation.batch.signals import Interruption, lines_until
from backctl.presentation.context import Invocation
from backctl.presentation.output import members

Verify = Callable[[Iterable[str]], "Iterator[VerifiedToken | AnswerIsNo]"]

_LINE_MAX = 16_384
"""Bytes of a line that are kept: twice the longest token. A line that is cut here is not a valid token."""


def verify_lines(call: Invocation, verify: Verify) -> None:
    """Print the answer to each line that is not empty, with its number `line`.

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
        for answer in verify(lines()):
            number, check = numbers.popleft(), TokenCheck.of(answer)
            if isinstance(answer, AnswerIsNo):
                report.add_failure(number, answer)
            else:
                report.succeeded(changed=0)
            yield {"ok": check.ok, "line": number, **{name: getattr(check, name) for name in members(TokenCheck)}}

    with report.interrupted_by(interruption):
        if call.results.quiet:
            for _ in records():
                continue
        else:
            renderer.records(("ok", "line", *members(TokenCheck)[1:]), records(), report.answers)
    if report.failed:
        raise report.failure(failed="are not valid")
