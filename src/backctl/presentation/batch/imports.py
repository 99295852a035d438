"""Imports accounts from a file, and reports the rows that failed."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from backctl.application.transfer.import_report import ImportTally
from backctl.application.transfer.journal import ImportJournal, resumed_ids
from backctl.application.transfer.mapping import Mapping
from backctl.application.transfer.raw_rows import IgnoredRow, ImportFormat, Row, read_rows
from backctl.application.views import Change
from backctl.domain.errors import BackctlError, OutcomeUnknown, PartialFailure, UsageError
from backctl.domain.quoting import quoted
from backctl.presentation import terminal
from backctl.presentation.batch.report import Report
from backctl.presentation.batch.signals import Interruption
from backctl.presentation.context import Invocation
from backctl.presentation.errors import document
from backctl.presentation.import_options import Files, How, Limits
from backctl.presentation.input_files import NamedFile

if TYPE_CHECKING:
    from backctl.application.ports.security import Read
    from backctl.application.transfer.import_steps import RowOutcome
    from backctl.presentation.progress import Progress

_SHOWN = 20
"""Failed rows that are shown on standard error."""


class Import:
    """One run of `backctl user import`."""

    def __init__(
        self,
        call: Invocation,
        file: str,
        form: ImportFormat,
        mapping: Mapping,
        how: How,
        files: Files,
        limits: Limits,
    ) -> None:
        """Raises UsageError for limits that cannot be parsed, and for a file that cannot be read."""
        self._call = call
        self._options = how.options()
        self._files = files
        self._max_errors, self._max_changes = limits.max_errors(), limits.max_changes()
        self._source = _Source(call, file, form, mapping)
        self._interruption = Interruption(announce=True)
        self._report = Report("rows", as_json=call.results.renderer.is_json)

    def run(self) -> None:
        """Import the rows and print the report.

        Raises PartialFailure if rows failed, TooManyChanges before anything is changed, and what stopped the run early
        (a signal, a lost database).
        """
        call, report = self._call, self._report
        terminal.collect_garbage_again()
        tally = ImportTally(call.backend.imports.hasher() if call.dry_run else None)
        with self._journal() as journal:
            self._require_max_changes(journal)
            self._import(tally, journal)
        call.results.changed(
            Change(tally.report(self._results_file()), changed=tally.changed > 0),
            secret_file=self._files.secrets if journal.has_passwords else None,
        )
        if tally.total and self._source.form != "csv":  # a missing column of CSV is an error
            for column in self._source.mapping.missing():
                call.messages.warn(f"no record has {quoted(column)}, which --map renames")
        if tally.ignored:
            call.messages.notice(f"{tally.ignored} rows are not accounts and were ignored")
        if report.failed > _SHOWN:
            call.messages.notice(
                f"{report.failed - _SHOWN} more failed rows are not shown; --results FILE has them all"
            )
        if self._is_over_errors():
            raise PartialFailure(
                f"stopped: {report.failed} of {report.done} rows failed, over --max-errors {self._max_errors}"
                + ("; nothing was changed" if self._options.all_or_nothing else ""),
                hint=f"correct the rows, then import the file again{self._flag_to_continue()}",
            )
        if report.failed:
            undone = "so nothing was changed" if self._options.all_or_nothing else ""
            raise report.failure(undone, with_hint=True)

    def _import(self, tally: ImportTally, journal: ImportJournal) -> None:
        call = self._call
        with self._interruption.watched(), call.messages.progress("importing") as progress:
            outcomes = call.backend.imports.run(
                lambda: self._source.rows(self._interruption, tally, progress),
                self._options,
                by=call.attribution,
                dry_run=call.dry_run,
                journal=journal,
                stop=lambda: self._interruption.has_come or self._is_over_errors(),
                see=tally.see,
            )
            try:
                for block in outcomes:
                    tally.add(block)
                    self._count(block)
                    progress.advance(len(block))
                if self._interruption.has_come:
                    raise self._interruption.error()
            except BaseException as error:
                progress.clear()
                self._say_stopped(error)
                raise

    def _say_stopped(self, error: BaseException) -> None:
        """Say how far an import came that stops early, and how to import the rest."""
        done = self._report.done
        if done == 0 and isinstance(error, BackctlError) and not isinstance(error, OutcomeUnknown):
            return  # nothing was changed
        if self._call.dry_run:
            again = ""
        elif self._options.all_or_nothing:
            again = "; run it again"
        else:
            again = f"; run it again{self._flag_to_continue()} to import the rest"
        terminal.say(f"stopped: {done} rows done{again}")

    def _flag_to_continue(self) -> str:
        """Return the flag that imports the rest of the file, with a space before it; empty if none is needed."""
        if self._call.dry_run or self._options.all_or_nothing:
            return ""
        if self._results_file() is not None:
            return " with --resume FILE"
        return " with --mode skip" if self._options.mode == "create" else ""

    def _results_file(self) -> str | None:
        """Return the file of results if this run has written it."""
        path = self._files.results or self._files.resume
        return path if path is not None and not self._call.dry_run and os.path.exists(path) else None

    def _count(self, block: "list[RowOutcome]") -> None:
        for outcome in block:
            if outcome.error is None:
                self._report.succeeded(changed=outcome.is_change)
            elif self._report.failed < _SHOWN:
                self._call.messages.clear_progress()
                self._report.add_failed_line(outcome.line, outcome.error)
            else:
                self._report.add_failure(outcome.line, outcome.error)

    def _is_over_errors(self) -> bool:
        bound, report = self._max_errors, self._report
        return bound is not None and bound.is_exceeded(failed=report.failed, done=report.done)

    def _require_max_changes(self, journal: ImportJournal) -> None:
        bound, call = self._max_changes, self._call
        if bound is None:
            return
        most, changing = bound.most(call.backend.accounts.count), 0
        rows = lambda: self._source.rows(self._interruption, ImportTally(), None)  # noqa: E731
        trial = call.backend.imports.run(rows, self._options, by=call.attribution, dry_run=True, journal=journal)
        for block in trial:
            changing += sum(outcome.is_change for outcome in block)
            if changing > most:
                raise bound.exceeded(most)

    @contextmanager
    def _journal(self) -> Iterator[ImportJournal]:
        """Open the files to write. They are created by their first lines, so a dry run leaves none behind.

        Raises UsageError, FileTaken, FolderUnusable, and InvalidInput for a file that does not contain results.
        """
        files, opened = self._files, self._call.backend.files
        with ExitStack() as held:
            results = secrets = None
            ids: dict[int, int] = {}
            path = files.results or files.resume
            if path is not None:
                results = opened.grow(path, new=files.resume is None)
                held.callback(results.close)
                ids = resumed_ids(results.lines())
            if files.secrets is not None:
                exists = files.resume is not None and os.path.lexists(files.secrets)
                if exists and self._source.is_same_file(files.secrets):
                    raise UsageError(
                        "the accounts and the passwords need two files", hint="give --secret-file another name"
                    )
                secrets = opened.grow(files.secrets, new=not exists, secret=True)
                held.callback(secrets.close)
            yield ImportJournal(results, secrets, describe=document, resumed=ids)


class _Source:
    """The file with the accounts, or standard input, which can be read only once."""

    def __init__(self, call: Invocation, file: str, form: ImportFormat, mapping: Mapping) -> None:
        """Raises UsageError if the file cannot be read."""
        self._call = call
        self._file = file
        self.form = form
        self.mapping = mapping
        self._was_read = False
        self._first: NamedFile | None = None if file == "-" else NamedFile("FILE", file)
        self._is_regular = self._first is not None and stat.S_ISREG(os.fstat(self._first.fileno()).st_mode)

    def rows(self, interruption: Interruption, tally: ImportTally, progress: "Progress | None") -> Iterator[Row]:
        """Yield the rows, and count those that are not accounts. Raises UsageError if the file cannot be read again."""
        with self._opened() as (read, size):
            consumed = passed = tally.ignored = 0

            def counted(most: int) -> bytes:
                nonlocal consumed
                if progress is not None and size and passed:
                    progress.expect(passed * size // consumed)
                block = read(most)
                consumed += len(block)
                return block

            for row in read_rows(interruption.waiting(counted), self.form, self.mapping):
                is_ignored = isinstance(row, IgnoredRow)
                tally.ignored += is_ignored
                passed += not is_ignored
                yield row

    def is_same_file(self, path: str) -> bool:
        """Whether the path names the file with the accounts."""
        with suppress(OSError):  # a path that cannot be followed is not this file
            return self._file != "-" and os.path.samefile(self._file, path)
        return False

    @contextmanager
    def _opened(self) -> "Iterator[tuple[Read, int | None]]":
        if self._was_read and not self._is_regular:
            name = "standard input" if self._file == "-" else quoted(self._file)
            raise UsageError(
                f"{name} can be read only once",
                hint="save the accounts in a file, or leave out --max-changes and confirm with --yes",
            )
        self._was_read = True
        if self._file == "-":
            self._call.stdin.claim("'-'")
            yield self._call.stdin.reader("read1"), None
            return
        with self._first or NamedFile("FILE", self._file) as file:
            self._first = None
            yield lambda most: file.read(most) or b"", os.fstat(file.fileno()).st_size if self._is_regular else None
