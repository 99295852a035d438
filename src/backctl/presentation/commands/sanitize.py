"""`backctl sanitize`: what others wrote comes in at standard input and leaves harmless at standard output."""

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from typer import Option

from backctl.application.content_views import SanitizedPart
from backctl.domain.errors import PartialFailure, UsageError
from backctl.presentation import errors, terminal
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun
from backctl.presentation.input_files import standard_input
from backctl.presentation.output import Format

if TYPE_CHECKING:
    from backctl.application.sanitizing import CleanedInput, LineOutcome, Tally

app = noun("sanitize")

_NAMED = 5
"""Lines that the last error names."""


class InputFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


@leaf(app, view=SanitizedPart)
def sanitize(
    call: Invocation,
    form: Annotated[
        InputFormat, Option("--format", help="What is read: one text, one JSON document, or one document a line.")
    ] = InputFormat.TEXT,
    explain: Annotated[bool, Option("--explain", help="Say what would be changed instead of the result.")] = False,
) -> None:
    """Make text or JSON that others wrote harmless.

    Reads standard input. Control and bidirectional characters and HTML are removed, from the keys of JSON too.

    With no sanitize.tags configured the result is plain text, with character references decoded, and safe as the
    content of an HTML element as well: 'a < b & c' stays as it is. With tags it is HTML, and that becomes
    'a &lt; b &amp; c'. Lines that are no JSON are left out, and the exit code is 7.
    """
    service = call.backend.sanitizing
    if call.renderer.fields is not None and not explain:
        raise UsageError("--fields has no meaning here without --explain")
    call.take_stdin("sanitize")
    terminal.collect_garbage_again()
    if form is InputFormat.JSONL:
        _lines(call, service.lines(standard_input("readline")), explain=explain)
        return
    raw = standard_input("read")(service.max_bytes + 2)
    _whole(call, form, service.text(raw) if form is InputFormat.TEXT else service.document(raw), explain=explain)


def _whole(call: Invocation, form: InputFormat, cleaned: "CleanedInput", *, explain: bool) -> None:
    if explain:
        call.show_all(cleaned.changes.parts(), SanitizedPart)
    elif call.renderer.is_json:
        value = cleaned.text if form is InputFormat.JSON else json.dumps(cleaned.text, ensure_ascii=False)
        call.renderer.raw(_members(value, cleaned) + "\n")
    else:
        call.renderer.raw(cleaned.text)


def _lines(call: Invocation, outcomes: "Iterator[LineOutcome]", *, explain: bool) -> None:
    from backctl.application.sanitizing import Tally

    tally, failed, named = Tally(), 0, list[int]()
    as_document = call.output is Format.JSON and not explain
    separator = '{"items": [' if as_document else ""
    for outcome in outcomes:
        if outcome.error is not None:
            failed += 1
            if failed <= _NAMED:
                named.append(outcome.number)
        if explain or not call.renderer.is_json:
            _tell(call, outcome, tally, explain=explain)
        elif outcome.cleaned is None or outcome.cleaned.text.strip():
            call.renderer.raw(separator + _record(outcome) + ("" if as_document else "\n"))
            separator = ",\n" if as_document else ""
    if explain:
        call.show_all(tally.parts(), SanitizedPart)
    elif as_document:
        call.renderer.raw((separator if separator.startswith("{") else "") + '], "next_cursor": null}\n')
    call.renderer.sink.flush()
    if failed:
        shown = ", ".join(map(str, named)) + (", …" if failed > _NAMED else "")
        raise PartialFailure(f"{failed} line{'s' * (failed > 1)} could not be cleaned: {shown}")


def _tell(call: Invocation, outcome: "LineOutcome", tally: "Tally", *, explain: bool) -> None:
    if outcome.error is not None and call.renderer.is_json:
        terminal.say_raw(json.dumps({"line": outcome.number, "error": errors.document(outcome.error)}) + "\n")
    elif outcome.error is not None:
        terminal.say(f"line {outcome.number}: {outcome.error.message}", "error")
    elif outcome.cleaned is not None and explain:
        tally.merge(outcome.cleaned.changes)
    elif outcome.cleaned is not None:
        call.renderer.raw(outcome.cleaned.text)


def _record(outcome: "LineOutcome") -> str:
    number = f'"line": {outcome.number}, '
    if outcome.cleaned is not None:
        return _members(outcome.cleaned.text.strip(), outcome.cleaned, number)
    assert outcome.error is not None  # noqa: S101 - one of the two is there
    return "{" + number + '"error": ' + json.dumps(errors.document(outcome.error)) + "}"


def _members(value: str, cleaned: "CleanedInput", before: str = "") -> str:
    """The object of a cleaned input: its JSON as it is, for a parser would round its numbers."""
    return "{" + before + '"value": ' + value + ', "changed": ' + ("true" if cleaned.changed else "false") + "}"
