"""What `encrypt`, `decrypt` and `reencrypt` share: their flags, and the way of records and files through them."""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from typer import Option

from backctl.application.content_views import CipherReport
from backctl.domain.errors import BackctlError, PartialFailure, UsageError, quoted
from backctl.presentation import terminal
from backctl.presentation.errors import document
from backctl.presentation.input_files import NamedFile, require_standard_input

if TYPE_CHECKING:
    from backctl.application.encryption import EncryptionService
    from backctl.application.ports.security import Read
    from backctl.application.records.rewriting import Replace, Shape, Tally
    from backctl.presentation.context import Invocation
    from backctl.presentation.progress import Progress

_RECORDS = "Records and files"

Context = Annotated[
    str | None,
    Option("--context", metavar="TEXT", help="Where the value lives, such as users.phone:1; '' for nowhere."),
]
Template = Annotated[
    str | None,
    Option(
        "--context-template",
        metavar="TEXT",
        help="The same for records: {id} is what their field holds, {} the name of the field at hand.",
        rich_help_panel=_RECORDS,
    ),
]
EachLine = Annotated[bool, Option("--lines", help="Every line is a value.", rich_help_panel=_RECORDS)]
Jsonl = Annotated[
    str | None,
    Option(
        "--jsonl",
        metavar="A,B.C",
        help="Lines are JSON objects: these strings in them; a? may be missing.",
        rich_help_panel=_RECORDS,
    ),
]
Csv = Annotated[
    str | None,
    Option("--csv", metavar="A,B", help="CSV with a header: the cells of these columns.", rich_help_panel=_RECORDS),
]
File = Annotated[
    str | None,
    Option(
        "--file",
        metavar="FILE",
        help="Take a file of any size, whole or as records; '-' is standard input.",
        rich_help_panel=_RECORDS,
    ),
]
Out = Annotated[
    str | None,
    Option(
        "--out",
        metavar="FILE",
        help="Write a new file, which appears when it is complete, and print a report.",
        rich_help_panel=_RECORDS,
    ),
]
Overwrite = Annotated[
    bool, Option("--overwrite", help="Replace the file of --out where it exists.", rich_help_panel=_RECORDS)
]
AllOrNothing = Annotated[
    bool, Option("--all-or-nothing", help="Write nothing when a record fails.", rich_help_panel=_RECORDS)
]


@dataclass(frozen=True, slots=True)
class Verb:
    """What is done to a value and to a stream."""

    doing: str
    done: str
    replace: "Callable[[EncryptionService], Replace]"
    stream: "Callable[[EncryptionService, Read, str], tuple[bool, Iterator[bytes]]]"
    """Whether it changes, and what it becomes."""
    held_back: bool = False
    """Whether a stream must be verified to its end before any of it may be seen."""


@dataclass(frozen=True, slots=True)
class Choices:
    """The flags, checked: what is worked on, and where the result goes."""

    context: str | None
    template: str | None
    lines: bool
    jsonl: str | None
    csv: str | None
    file: str | None
    out: str | None
    overwrite: bool
    all_or_nothing: bool

    def __post_init__(self) -> None:
        """Raises UsageError for flags that contradict each other."""
        shapes = (("--lines", self.lines), ("--jsonl", self.jsonl is not None), ("--csv", self.csv is not None))
        given = [flag for flag, wanted in shapes if wanted]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} exclude each other", hint="give the one that the input is")
        if self.template is not None and given not in (["--jsonl"], ["--csv"]):
            raise UsageError(
                "--context-template needs fields to fill it", hint="add --jsonl or --csv, or use --context"
            )
        if self.context is not None and self.template is not None:
            raise UsageError(
                "--context and --context-template exclude each other",
                hint="a template without a placeholder is a context for all records",
            )
        if self.context is None and self.template is None:
            raise UsageError(
                "no context was given",
                hint="--context users.phone:1 binds a value to where it lives, --context '' to nothing",
            )
        if self.all_or_nothing and not given:
            raise UsageError(
                "--all-or-nothing is for records", hint="one value or a whole file is never written in part"
            )
        if self.out is not None and self.is_value:
            raise UsageError("--out is for records and files", hint="add --file -, or send standard output to a file")
        if self.overwrite and (self.out is None or self.out == "-"):
            raise UsageError("--overwrite says nothing without --out", hint="add --out FILE, or leave it out")

    def require_another_file(self, descriptor: int) -> None:
        """Raises UsageError where a record that fails would be left out of the only file that holds it."""
        if not self.is_records or not self.overwrite or self.all_or_nothing or self.out is None:
            return
        with suppress(OSError, ValueError):  # no such file, or no such name: there is nothing to lose
            if os.path.samestat(os.fstat(descriptor), os.stat(self.out)):
                raise UsageError(
                    f"--out {quoted(self.out)} is the file that is read, so records that fail would be lost",
                    hint="add --all-or-nothing, or write another file",
                )

    @property
    def is_value(self) -> bool:
        """Whether it is about one value."""
        return not self.is_records and self.file is None

    @property
    def is_records(self) -> bool:
        return self.lines or self.jsonl is not None or self.csv is not None

    def shape(self) -> "Shape":
        """Raises UsageError for fields or a template that cannot be read."""
        from backctl.application.records.fields import ContextTemplate, parse_fields

        if self.lines:
            from backctl.application.records.rewriting import Lines

            return Lines((self.context or "").encode())
        template = ContextTemplate.constant(self.context or "")
        if self.template is not None:
            template = ContextTemplate.parse(self.template)
        if self.jsonl is not None:
            from backctl.application.records.json_lines import JsonLines

            return JsonLines(parse_fields(self.jsonl, nested=True), template)
        from backctl.application.records.csv import CsvRecords

        return CsvRecords(parse_fields(self.csv or "", nested=False), template)


def value_to_encrypt(call: "Invocation", *, trim_newline: bool) -> bytes:
    """The bytes of one value. Raises UsageError and InvalidInput."""
    from backctl.application.encryption import LONGEST_VALUE

    value = call.secret_bytes("value", limit=LONGEST_VALUE)
    return without_line_end(value) if trim_newline else value


def encrypted_value(call: "Invocation") -> bytes:
    """One encrypted value, without the line end that `encrypt` writes after it. Raises UsageError and InvalidInput."""
    from backctl.application.encryption import LONGEST_VALUE

    return without_line_end(call.secret_bytes("value", limit=LONGEST_VALUE * 3 // 2))


def without_line_end(value: bytes) -> bytes:
    return value[: -2 if value.endswith(b"\r\n") else -1] if value.endswith(b"\n") else value


def transform(call: "Invocation", service: "EncryptionService", verb: Verb, choices: Choices) -> None:
    """Send records or a whole file through `verb`. Raises PartialFailure when records failed, after the others."""
    if call.secret_given("value"):
        raise UsageError("--value-… gives one value", hint="records and files come from standard input or --file")
    if choices.is_records:
        _transform_records(call, service, verb, choices)
    else:
        _transform_stream(call, service, verb, choices)


def _transform_records(call: "Invocation", service: "EncryptionService", verb: Verb, choices: Choices) -> None:
    from backctl.application.records.rewriting import Tally, rewritten

    tally, shape = Tally(), choices.shape()
    hints: list[str | None] = []  # of the first failure, which mostly explains the others
    with _reading(call, verb, choices) as (read, progress):

        def failed(line: int, error: BackctlError) -> None:
            progress.clear()
            if not hints:
                hints.append(error.hint)
            _tell(call, line, error)

        def pieces() -> Iterator[bytes]:
            yield from rewritten(read, shape, verb.replace(service), tally, failed)
            if tally.failed and choices.all_or_nothing:
                raise _partial(tally, "nothing was written", hints)

        size = _deliver(call, service, choices, pieces(), held_back=choices.all_or_nothing)
    _report(call, verb, choices, tally, size)
    if tally.failed:
        raise _partial(tally, "they were left out", hints)


def _partial(tally: "Tally", consequence: str, hints: list[str | None]) -> PartialFailure:
    return PartialFailure(f"{tally.failed} of {tally.records} records failed; {consequence}", hint=hints[0])


def _transform_stream(call: "Invocation", service: "EncryptionService", verb: Verb, choices: Choices) -> None:
    from backctl.application.records.rewriting import Tally

    if choices.out in (None, "-") and call.renderer.sink.terminal:
        raise UsageError("a file is not written to a terminal", hint="add --out FILE, or a pipe")
    with _reading(call, verb, choices) as (read, _):
        changed, pieces = verb.stream(service, read, choices.context or "")
        size = _deliver(call, service, choices, pieces, held_back=verb.held_back)
    _report(call, verb, choices, Tally(records=1, values=1, changed=int(changed)), size)


def _deliver(
    call: "Invocation", service: "EncryptionService", choices: Choices, pieces: Iterator[bytes], *, held_back: bool
) -> int:
    """Write what comes; answers the size of the file, 0 for standard output."""
    if choices.out is not None and choices.out != "-":
        return service.files.write(choices.out, pieces, replace=choices.overwrite)
    for piece in service.files.held_back(pieces) if held_back else pieces:
        call.renderer.data(piece)
    return 0


def _report(call: "Invocation", verb: Verb, choices: Choices, tally: "Tally", size: int) -> None:
    if choices.out is None or choices.out == "-":
        if choices.is_records:
            same = tally.values - tally.changed
            already = f", {same} already so" if same else ""
            call.notice(f"{tally.changed} {verb.done}{already}, {tally.failed} of {tally.records} records failed")
    elif not call.quiet:
        call.wrote(
            CipherReport(choices.out, size, tally.records, tally.values, tally.changed, tally.failed),
        )


def _tell(call: "Invocation", line: int, error: BackctlError) -> None:
    if call.renderer.is_json:
        import json

        terminal.say_raw(json.dumps({"line": line, "error": document(error)}) + "\n")
    else:
        terminal.say(f"line {line}: {error.message}", "error")


@contextmanager
def _reading(call: "Invocation", verb: Verb, choices: Choices) -> "Iterator[tuple[Read, Progress]]":
    """How to read the file, else standard input; what was read is shown as progress, in MiB.

    Raises UsageError when it cannot be read, at any time, and when it is not to be replaced.
    """
    path = choices.file
    if path is None or path == "-":
        call.take_stdin("standard input" if path is None else "--file -")
        require_standard_input()
        choices.require_another_file(sys.stdin.fileno())
        # Straight from the descriptor: what has come is worked on at once, and nothing is read ahead.
        with _counted(call, verb, partial(os.read, sys.stdin.fileno()), "standard input", None) as reading:
            yield reading
        return
    with NamedFile("--file", path) as file:
        choices.require_another_file(file.fileno())
        status = os.fstat(file.fileno())
        size = status.st_size >> 20 if stat.S_ISREG(status.st_mode) else None
        with _counted(call, verb, file.read, f"--file {quoted(path)}", size) as reading:
            yield reading


@contextmanager
def _counted(
    call: "Invocation", verb: Verb, source: Callable[[int], bytes | None], name: str, size: int | None
) -> "Iterator[tuple[Read, Progress]]":
    with call.progress(f"{verb.doing}, MiB", size) as progress:
        total = 0

        def read(most: int) -> bytes:
            nonlocal total
            try:
                block = source(most) or b""
            except OSError as error:
                raise UsageError(f"{name} cannot be read: {error.strerror}") from None
            before, total = total, total + len(block)
            progress.advance((total >> 20) - (before >> 20))
            return block

        call.renderer.sink.before_write = progress.clear
        try:
            yield read, progress
        finally:
            call.renderer.sink.before_write = None
