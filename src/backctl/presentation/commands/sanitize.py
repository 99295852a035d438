"""`backctl sanitize`: remove HTML and control characters from text and JSON."""

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from typer import Option

from backctl.application.content_views import SanitizedPart, SanitizedValue
from backctl.domain.errors import UsageError
from backctl.presentation import terminal
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.output import Format

if TYPE_CHECKING:
    from backctl.application.sanitizing import CleanedInput, LineOutcome, SanitizingService

app = noun("sanitize")


class InputFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


@leaf(
    app,
    kind="value",
    view=SanitizedValue,
    others={"--explain": ("list", SanitizedPart)},
    members=("line", "error"),
    examples="""
    # Remove HTML from a text
    echo '<b>Hello</b>' | backctl sanitize
    # Remove HTML from all texts of a JSON document
    backctl sanitize --format json < comments.json
    # Show what would be removed
    backctl sanitize --explain < comments.json
    """,
)
def sanitize(
    call: Invocation,
    form: Annotated[
        InputFormat, Option("--format", help="Input format: a text, a JSON document, or one JSON document per line.")
    ] = InputFormat.TEXT,
    explain: Annotated[bool, Option("--explain", help="Print what would be removed instead of the result.")] = False,
) -> None:
    """Remove HTML and control characters from text or JSON.

    Use it for content that other people wrote. Reads standard input. Removes control and bidirectional characters
    and HTML, also from the keys of JSON.

    If sanitize.tags is not set, the result is plain text: character references are decoded, and it is safe as the
    content of an HTML element, so 'a < b & c' stays the same. If it is set, the result is HTML: 'a &lt; b &amp; c'.
    Lines that are not JSON are left out (exit code 7).
    """
    service = call.backend.sanitizing
    if call.results.renderer.fields is not None and not explain:
        raise UsageError("--fields has no effect here without --explain")
    call.stdin.claim("sanitize")
    terminal.collect_garbage_again()
    if form is InputFormat.JSONL:
        _lines(call, service, explain=explain)
        return
    raw = call.stdin.reader("read")(service.max_bytes + 2)
    _whole(call, form, service.text(raw) if form is InputFormat.TEXT else service.document(raw), explain=explain)


def _whole(call: Invocation, form: InputFormat, cleaned: "CleanedInput", *, explain: bool) -> None:
    if explain:
        call.results.show_all(cleaned.changes.parts(), SanitizedPart)
    elif call.results.renderer.is_json:
        value = cleaned.text if form is InputFormat.JSON else json.dumps(cleaned.text, ensure_ascii=False)
        call.results.renderer.raw(_members(value, cleaned) + "\n")
    else:
        call.results.renderer.raw(cleaned.text)


def _lines(call: Invocation, service: "SanitizingService", *, explain: bool) -> None:
    from backctl.application.sanitizing import Tally
    from backctl.presentation.batch.report import Report
    from backctl.presentation.batch.signals import Interruption, lines_until

    renderer, interruption = call.results.renderer, Interruption(announce=False)
    report, tally = Report("lines", as_json=renderer.is_json), Tally()

    def cleaned_lines() -> Iterator[str]:
        """The results, as text or JSON. Errors are in the JSON records, otherwise on standard error."""
        for outcome in service.lines(lines_until(interruption, call.stdin.reader("readline"))):
            if outcome.cleaned is not None:
                if outcome.cleaned.text.strip():
                    report.succeeded(changed=outcome.cleaned.changed)
                if explain:
                    tally.merge(outcome.cleaned.changes)
                elif not renderer.is_json:
                    yield outcome.cleaned.text
                elif outcome.cleaned.text.strip():
                    yield _members(outcome.cleaned.text.strip(), outcome.cleaned, _number(outcome))
            elif outcome.error is not None and renderer.is_json and not explain:
                error = report.add_failure(outcome.number, outcome.error)
                yield "{" + _number(outcome) + '"error": ' + json.dumps(error) + "}"
            elif outcome.error is not None:
                report.add_failed_line(outcome.number, outcome.error)

    with report.interrupted_by(interruption):
        if explain:
            for _ in cleaned_lines():
                continue
            call.results.show_all(tally.parts(), SanitizedPart)
        elif call.results.form is Format.JSON:
            separator = '{"items": ['
            for record in cleaned_lines():
                renderer.raw(separator + record)
                separator = ",\n"
            rest = json.dumps(report.summary())[1:]
            renderer.raw(f"{separator if separator.startswith('{') else ''}], {rest}\n")
        else:
            end = "\n" if renderer.is_json else ""
            for line in cleaned_lines():
                renderer.raw(line + end)
        renderer.sink.flush()
    if report.failed:
        raise report.failure(failed="could not be cleaned")


def _number(outcome: "LineOutcome") -> str:
    return f'"line": {outcome.number}, '


def _members(value: str, cleaned: "CleanedInput", before: str = "") -> str:
    """The object of a cleaned input. Its JSON is not parsed, because a parser would round its numbers."""
    return "{" + before + '"value": ' + value + ', "changed": ' + ("true" if cleaned.changed else "false") + "}"
