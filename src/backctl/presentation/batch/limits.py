"""Checks a rate limit for each line of an input, as the lines arrive."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from backctl.application.limit_simulation import RequestLog, parsed_request
from backctl.application.limit_views import LimitView
from backctl.application.limits import LimitService, checked_cost, checked_identifier
from backctl.application.ports.limits import Request
from backctl.application.records.bounded_lines import ENDLESS, endless_line
from backctl.domain.errors import BackctlError, DamagedLimit, InvalidInput, InvalidRateLimit, PartialFailure
from backctl.domain.plain_text import BYTE_ORDER_MARK
from backctl.domain.quoting import quoted
from backctl.domain.rate_limit import Decision, Policy
from backctl.presentation import terminal
from backctl.presentation.batch.report import Report
from backctl.presentation.batch.signals import Interruption, lines_until
from backctl.presentation.context import Invocation
from backctl.presentation.input_files import NamedFile

LINE_MAX = 65_536
"""Bytes of a line."""
_READ_AT_ONCE = 65_536
"""Bytes that are read at once at most. The lines in them are checked together."""


class NumberedLine(NamedTuple):
    """A line with its end, numbered from 1. `content` is None if it is too long."""

    number: int
    content: bytes | None


class _Answer(NamedTuple):
    """The decision about one line."""

    line: bytes
    request: Request
    decision: Decision

    def view(self) -> LimitView:
        return LimitView.of(self.decision, self.request.identifier)


_Failure = dict[str, object]
"""The JSON object for a line that could not be checked."""


def check_lines(call: Invocation, policy: str | Policy, source: str, *, cost: int, passes_lines: bool) -> None:
    """Check the identifier in each line, and print the answers, or with `passes_lines` the lines that are admitted.

    Each line is an identifier, or a JSON object with `ident` and optionally `cost`. Ends with exit code 7 if a request
    was refused or a line contains no identifier, and with that of the store if it fails, after the answers so far.
    """
    limits = call.backend.limits
    if isinstance(policy, str):
        limits.policy(policy)
    as_json = call.results.renderer.is_json
    report = Report("lines", as_json=as_json)
    keeps_failures = as_json and not (passes_lines or call.results.quiet)
    batch = _Batch(limits, policy, checked_cost(cost), report, keeps_failures=keeps_failures)
    interruption = Interruption(announce=False)
    terminal.collect_garbage_again()
    with _opened(call, source) as read, report.interrupted_by(interruption):
        answers = batch.answers(lines_until(interruption, read))
        if passes_lines:
            for block in answers:
                admitted = [answer.line for answer in block if isinstance(answer, _Answer) and answer.decision.allowed]
                call.results.renderer.data(b"".join(admitted))
        elif call.results.quiet:
            for _ in answers:
                continue
        else:
            views = (
                [answer.view() if isinstance(answer, _Answer) else answer for answer in block] for block in answers
            )
            call.results.renderer.in_blocks(views, LimitView, batch.summary)
    batch.finish(refusals_fail=not passes_lines)


def read_log(call: Invocation, source: str, *, time_field: str, ident_field: str) -> tuple[RequestLog, Report]:
    """Read the requests of a log, and report lines that are not requests on standard error."""
    log, interruption = RequestLog(), Interruption(announce=False)
    report = Report("lines", as_json=call.results.renderer.is_json)
    terminal.collect_garbage_again()
    with _opened(call, source, flag="--log") as read, report.interrupted_by(interruption):
        for lines in blocks_of_lines(interruption.waiting(read)):
            for number, line in lines:
                try:
                    found = parsed_request(_whole(line), time_field=time_field, ident_field=ident_field)
                except BackctlError as error:
                    report.add_failed_line(number, error)
                    continue
                if found is not None:
                    log.add(*found)
                    report.succeeded(changed=0)
    if not len(log):
        raise InvalidInput("the log contains no requests", hint="each line is a time and an identifier")
    return log, report


class _Batch:
    """Counts the answers. `stopped_by` is the error of the store that ended the input early."""

    def __init__(
        self, limits: LimitService, policy: str | Policy, cost: int, report: Report, *, keeps_failures: bool
    ) -> None:
        self.report = report
        self._keeps_failures = keeps_failures
        self._limits = limits
        self._policy = policy
        self._cost = cost
        self._refused = 0
        self._stopped_by: BackctlError | None = None

    def answers(self, read: Callable[[int], bytes]) -> Iterator[list[_Answer | _Failure]]:
        """Yield the answers to the lines of each read, with the failures among them if `keeps_failures`."""
        for lines in blocks_of_lines(read):
            wanted = list(self._requests(lines))
            requests = [request for _, _, request in wanted if isinstance(request, Request)]
            outcomes = iter(self._limits.check_each(self._policy, requests))
            block: list[_Answer | _Failure] = []
            for number, line, request in wanted:
                if isinstance(request, BackctlError):
                    block += self._failed(number, request)
                    continue
                outcome = next(outcomes)
                if isinstance(outcome, DamagedLimit):
                    block += self._failed(number, outcome)
                elif isinstance(outcome, BackctlError):
                    self._stopped_by = self._stopped_by or outcome
                else:
                    self._refused += not outcome.allowed
                    self.report.succeeded(changed=0)
                    block.append(_Answer(line, request, outcome))
            yield block
            if self._stopped_by is not None:
                return

    def finish(self, *, refusals_fail: bool) -> None:
        """Raise the error that ends the command, if there is one."""
        report, answered = self.report, self.report.done - self.report.failed
        if self._stopped_by is not None:
            terminal.say(f"stopped: {answered} lines were answered, {self._refused} of them refused")
            raise self._stopped_by
        if report.failed:
            raise report.failure(f"{self._refused} of {answered} requests were refused", failed="were not checked")
        if self._refused and refusals_fail:
            raise PartialFailure(f"{self._refused} of {answered} requests were refused")

    def summary(self) -> dict[str, object]:
        """Return the end of the JSON document."""
        return self.report.answers(no=self._refused)

    def _failed(self, number: int, error: BackctlError) -> list[_Failure]:
        if self._keeps_failures:
            return [{"line": number, "error": self.report.add_failure(number, error)}]
        self.report.add_failed_line(number, error)
        return []

    def _requests(self, lines: Sequence[NumberedLine]) -> Iterator[tuple[int, bytes, Request | BackctlError]]:
        for number, line in lines:
            try:
                whole = _whole(line)
                content = whole.strip(b" \t\r\n")
                if content[:1] == b"{":
                    yield number, whole, _of_object(content, self._cost)
                elif content:
                    yield number, whole, Request(checked_identifier(content), self._cost)
            except BackctlError as error:
                yield number, b"", error


def blocks_of_lines(read: Callable[[int], bytes]) -> Iterator[list[NumberedLine]]:
    """Yield the complete lines of each read. `read(n)` must return at most n bytes, as soon as there are any.

    Unlike `bounded_lines`, it never waits for a line while others could be answered together.
    """
    number, rest, too_long, discarded = 0, b"", False, 0
    while data := read(_READ_AT_ONCE):
        *lines, rest = (rest + data).split(b"\n")
        if number == 0 and lines:
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
        block = []
        for line in lines:
            number += 1
            block.append(NumberedLine(number, None if too_long or len(line) > LINE_MAX else line + b"\n"))
            too_long = False
        if len(rest) > LINE_MAX or too_long:  # keep only that it was too long
            discarded = discarded + len(rest) if too_long else 0
            rest, too_long = b"", True
            if discarded > ENDLESS:
                raise endless_line(number + 1)
        if block:
            yield block
    if rest or too_long:
        yield [
            NumberedLine(number + 1, None if too_long else rest.removeprefix(BYTE_ORDER_MARK if number == 0 else b""))
        ]


def _whole(line: bytes | None) -> bytes:
    if line is None:
        raise InvalidInput(f"it is longer than {LINE_MAX} bytes")
    return line


def _of_object(content: bytes, cost: int) -> Request:
    import json

    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{quoted(content.decode(errors='backslashreplace'))} is not JSON") from None
    ident = found.get("ident")
    if not isinstance(ident, str):
        raise InvalidInput("the object has no text 'ident'")
    own = found.get("cost", cost)
    if not isinstance(own, int) or isinstance(own, bool):
        raise InvalidRateLimit("the member 'cost' is not a whole number")
    return Request(checked_identifier(ident.encode(errors="surrogatepass")), checked_cost(own))


@contextmanager
def _opened(call: Invocation, source: str, *, flag: str = "--from-file") -> Iterator[Callable[[int], bytes]]:
    """Open standard input (`-`) or a file. Yields a function that reads what there is, at most so many bytes."""
    if source == "-":
        call.stdin.claim(flag)
        yield call.stdin.reader("read1")
    else:
        with NamedFile(flag, source) as file:
            yield lambda size: file.read(size) or b""
