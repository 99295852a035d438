"""Encrypts, decrypts and re-encrypts records and whole files."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from backctl.application.content_views import CipherReport
from backctl.domain.errors import BackctlError, TemporaryFolderUnusable, UsageError
from backctl.domain.quoting import quoted
from backctl.presentation.batch.report import Report
from backctl.presentation.batch.signals import Interruption
from backctl.presentation.context import Invocation
from backctl.presentation.encryption_options import Choices, Verb
from backctl.presentation.input_files import NamedFile

if TYPE_CHECKING:
    from backctl.application.encryption import EncryptionService
    from backctl.application.ports.security import Read
    from backctl.application.records.rewriting import Tally


def transform(call: Invocation, service: "EncryptionService", verb: Verb, choices: Choices) -> None:
    """Apply `verb` to records or to a whole file. Raises PartialFailure if records failed, after the others."""
    if call.secrets.is_given("value"):
        raise UsageError("--value-… gives one value", hint="records and files come from standard input or --file")
    if choices.is_records:
        _transform_records(call, service, verb, choices)
    else:
        _transform_file(call, service, verb, choices)


def _transform_records(call: Invocation, service: "EncryptionService", verb: Verb, choices: Choices) -> None:
    from backctl.application.records.rewriting import Tally, rewritten

    tally, shape = Tally(), choices.shape(verb)
    report, interruption = Report("records", as_json=call.results.renderer.is_json), Interruption(announce=False)
    with report.interrupted_by(interruption), _reading(call, verb, choices) as read:

        def failed(line: int, error: BackctlError) -> None:
            call.messages.clear_progress()
            report.add_failed_line(line, error)

        def pieces() -> Iterator[bytes]:
            try:
                yield from rewritten(interruption.waiting(read), shape, verb.replace(service), tally, failed)
            finally:
                report.succeeded(changed=tally.changed, count=tally.records - tally.failed)
            if report.failed and choices.all_or_nothing:
                raise report.failure("nothing was written", with_hint=True)

        size = _write(
            call, service, choices, pieces(), held_back=choices.all_or_nothing, unheld="leave --all-or-nothing out"
        )
    _print_report(call, verb, choices, tally, size)
    if report.failed:
        raise report.failure("they were left out", with_hint=True)


def _transform_file(call: Invocation, service: "EncryptionService", verb: Verb, choices: Choices) -> None:
    from backctl.application.records.rewriting import Tally

    if choices.out in (None, "-") and call.results.renderer.sink.terminal:
        raise UsageError("a file is not written to a terminal", hint="add --out FILE, or pipe the output")
    with _reading(call, verb, choices) as read:
        changed, pieces = verb.stream(service, read, choices.context or "")
        size = _write(call, service, choices, pieces, held_back=verb.held_back, unheld="use --stream")
    _print_report(call, verb, choices, Tally(records=1, values=1, changed=int(changed)), size)


def _write(
    call: Invocation,
    service: "EncryptionService",
    choices: Choices,
    pieces: Iterator[bytes],
    *,
    held_back: bool,
    unheld: str,
) -> int:
    """Write the output. Returns the size of the file, 0 for standard output.

    `held_back` writes nothing to standard output before the last piece has arrived. `unheld` is the hint for doing
    without, if there is no folder for temporary files.
    """
    if choices.out is not None and choices.out != "-":
        return service.files.write(choices.out, pieces, replace=choices.overwrite)
    try:
        for piece in service.files.held_back(pieces) if held_back else pieces:
            call.results.renderer.data(piece)
    except TemporaryFolderUnusable as error:
        raise TemporaryFolderUnusable(error.message, hint=f"{error.hint}, use --out FILE, or {unheld}") from None
    return 0


def _print_report(call: Invocation, verb: Verb, choices: Choices, tally: "Tally", size: int) -> None:
    if choices.out is None or choices.out == "-":
        if choices.is_records:
            same = tally.values - tally.changed
            unchanged = f", {same} unchanged" if same else ""
            call.messages.notice(
                f"{tally.changed} {verb.done}{unchanged}, {tally.failed} of {tally.records} records failed"
            )
    elif not call.results.quiet:
        call.results.wrote(
            CipherReport(choices.out, size, tally.records, tally.values, tally.changed, tally.failed),
        )


@contextmanager
def _reading(call: Invocation, verb: Verb, choices: Choices) -> "Iterator[Read]":
    """Open the input; progress shows how many MiB were read.

    Raises UsageError if the input cannot be read, then or later, and if the output would replace it.
    """
    path = choices.file
    if path is None or path == "-":
        call.stdin.claim("standard input" if path is None else "--file -")
        descriptor = call.stdin.descriptor()
        choices.require_another_file(descriptor)
        # Unbuffered: data is processed as soon as it arrives, and nothing is read ahead.
        with _counted(call, verb, partial(os.read, descriptor), "standard input", None) as reading:
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
    call: Invocation, verb: Verb, source: Callable[[int], bytes | None], name: str, size: int | None
) -> "Iterator[Read]":
    with call.messages.progress(f"{verb.doing}, MiB", size) as progress:
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

        yield read
