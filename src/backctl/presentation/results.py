"""Prints the result of a command on standard output."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from backctl.presentation import terminal
from backctl.presentation.cells import cell
from backctl.presentation.errors import ExitCode
from backctl.presentation.messages import Messages
from backctl.presentation.output import Format, Renderer, members

if TYPE_CHECKING:
    from pathlib import Path

    from backctl.application.views import Change
    from backctl.domain.repositories import Page

_SHOWN_ONCE = ("password", "secret", "recovery_codes")
"""Members that are shown once and stored nowhere."""


class Answer(Protocol):
    """The answer of a check: a view whose first member is `ok`."""

    @property
    def ok(self) -> bool:
        """Whether the answer is yes."""
        ...


class Results:
    """The result of one command, in the format that the flags select.

    Methods raise ResultLost if a change was made but its result cannot be written.
    """

    def __init__(
        self,
        form: Format | None,
        *,
        fields: tuple[str, ...] | None,
        header: bool,
        empty: str,
        quiet: bool,
        dry_run: bool,
        messages: Messages,
    ) -> None:
        """`form` None selects a table on a terminal and TSV elsewhere."""
        self.form = form
        self.quiet = quiet
        self.exit_code = ExitCode.OK
        """The exit code of the process if nothing is raised."""
        self._dry_run = dry_run
        self._messages = messages
        self._color = terminal.color_wanted(sys.stdout)
        sink = terminal.Sink(sys.stdout, before_write=messages.clear_progress)
        self.renderer = Renderer(form, fields=fields, header=header, sink=sink, color=self._color, empty=empty)

    # Queries.

    def show(self, view: object) -> None:
        """Print one object."""
        self.renderer.one(view)

    def show_page(self, page: "Page[Any]", view: type, *, next_page: str | None = None) -> None:
        """Print a page of objects of the class `view`, and a notice with the flags for the next page.

        `next_page` are those flags; by default `--cursor` with the cursor of the page.
        """
        self.renderer.page(page.items, view, page.next_cursor)
        self._say_if_none(view, none=not page.items)
        if page.next_cursor is not None and not self.renderer.is_json_document:
            flags = next_page or f"--cursor {page.next_cursor}"
            self._messages.notice(f"more results: use --all, or continue with {flags}")

    def show_all(self, items: Iterable[object], view: type) -> None:
        """Print a complete, short list. In JSON it has the form of a last page."""
        found = tuple(items)
        self.renderer.page(found, view, None)
        self._say_if_none(view, none=not found)

    def stream(self, items: Iterator[Any], view: type) -> None:
        """Print any number of objects in constant memory."""
        terminal.collect_garbage_again()
        first = next(items, None)
        self.renderer.stream(items if first is None else chain((first,), items), view)
        self._say_if_none(view, none=first is None)

    def _say_if_none(self, view: type, *, none: bool) -> None:
        """Print on a terminal that a list is empty, because an empty table looks like a failure."""
        if none and self.renderer.sink.terminal and not self.renderer.is_json:
            self._messages.notice(f"no {getattr(view, 'PLURAL', 'results')} found")

    def plan(
        self,
        items: Iterator[Any],
        view: type,
        summary: Mapping[str, int],
        differences: Callable[[bool], Iterator[str]],
    ) -> None:
        """Print what would change: as a table the lines of `differences`, which is told whether to use colours.

        A JSON document ends with the summary.
        """
        terminal.collect_garbage_again()
        if self.renderer.is_table and self.renderer.fields is None:
            self.renderer.lines(differences(self._color))
        else:
            self.renderer.summed_up(items, view, summary)

    def use_json_lines(self) -> None:
        """Print JSON lines unless `-o` selects another format: for results that arrive one by one."""
        if self.form is None:
            before = self.renderer
            self.renderer = Renderer(
                Format.JSONL, fields=before.fields, header=False, sink=before.sink, color=self._color
            )

    # Mutations.

    def changed(self, change: "Change[Any]", **members: object) -> None:
        """Print the object that a mutation changed, with `changed`, `dry_run` in a dry run, and `members`.

        Members that are None are omitted. `-q` suppresses the result, except for secrets that are shown only once:
        `password`, `secret` and `recovery_codes`.
        """
        extra = self._state(change)
        extra.update((name, value) for name, value in members.items() if value is not None)
        shown_once = next((name for name in _SHOWN_ONCE if name in extra), None)
        with self._written(f"its {(shown_once or 'result').replace('_', ' ')}", once=shown_once is not None):
            if not self.quiet:
                self.renderer.one(change.value, extra)
            elif shown_once is not None:
                secret = extra[shown_once]
                text = "\n".join(secret) if isinstance(secret, list) else str(secret)
                self.renderer.alone(text, {shown_once: secret})

    def changed_with_list(self, change: "Change[Any]", name: str, view: type) -> None:
        """Like `changed`, but a table has the objects of the member `name`, of the class `view`, below the others.

        It omits empty lists.
        """
        if self.quiet or not self.renderer.is_table or self.renderer.fields is not None:
            self.changed(change)
            return
        listed = getattr(change.value, name)
        others = {member: getattr(change.value, member) for member in members(type(change.value)) if member != name}
        with self._written("its result"):
            self.renderer.one({other: value for other, value in others.items() if value != ()}, self._state(change))
            if listed:
                self.renderer.sink.write("\n")
                self.renderer.page(listed, view, None)

    def instead(self, change: "Change[Any]", commands: Sequence[str]) -> None:
        """Print the commands that a person must run instead, one per line; in JSON the object."""
        if self.renderer.is_json or self.renderer.fields is not None:
            self.changed(change)
        elif not self.quiet:
            self.renderer.raw("".join(f"{cell(command)}\n" for command in commands))

    def created(self, change: "Change[Any]", members: Mapping[str, object], *, secrets: tuple[str, ...]) -> None:
        """Print secrets that are stored nowhere, with `-q` too: one per line, without anything else.

        With JSON or `--fields` print `members` instead, with `changed`, and `dry_run` in a dry run.
        """
        with self._written("its result", once=True):
            if self.renderer.is_json or self.renderer.fields is not None:
                self.renderer.one(members, self._state(change))
            elif secrets:
                self.renderer.value("\n".join(secrets), members)

    def wrote(self, report: object) -> None:
        """Print the report about a file that was written."""
        with self._written("the report about it", done="the file was written"):
            self.renderer.one(report)

    # Single values and checks.

    def value(self, text: str, view: object, *, changed: bool = False) -> None:
        """Print a single value: only `text` in text formats, `view` as an object in JSON.

        `changed` says whether something was changed for it.
        """
        with self._written("its result") if changed else nullcontext():
            self.renderer.value(text, view)

    def path(self, path: "Path", view: object) -> None:
        """Print a path, whose bytes need not be UTF-8; in JSON `view` as an object."""
        if self.renderer.sink.terminal:
            self.renderer.value(str(path), view)
        else:
            self.renderer.exactly(os.fsencode(path) + b"\n", view)

    def check(self, answer: Answer, *, no: ExitCode = ExitCode.NO) -> None:
        """Print the answer of a check, unless `-q`, and set the exit code: 0 for yes, `no` for no.

        A table omits the members that are None.
        """
        if not self.quiet:
            self.renderer.one(answer, without_none=self.renderer.is_table)
        if not answer.ok:
            self.exit_code = no

    def check_all(self, items: Iterable[object], view: type, ok: bool, *, no: ExitCode = ExitCode.NO) -> None:
        """Print the answers of several checks, unless `-q`, and set the exit code. `ok` is the overall answer."""
        if not self.quiet:
            self.renderer.checks(ok, tuple(items), view)
        if not ok:
            self.exit_code = no

    def plot(self, times: Sequence[int], admitted: Sequence[int]) -> None:
        """Print requests over time below a table on a terminal, and nothing anywhere else."""
        if self.renderer.is_table and self.renderer.sink.terminal and not self.quiet:
            from backctl.presentation.limit_plot import plot

            self.renderer.sink.write(plot(times, admitted))
            self.renderer.sink.flush()

    def qr_code(self, text: str) -> None:
        """Print `text` as a QR code below a table on a terminal, and nothing anywhere else."""
        if self.quiet or not (self.renderer.is_table and self.renderer.sink.terminal):
            return
        from backctl.presentation.qr_code import qr_code

        lines = terminal.height() - 1  # one for the prompt of the shell
        code = qr_code(text, columns=terminal.width(), lines=lines, color=self._color)
        if code is None:
            self._messages.notice("the terminal is too narrow for the QR code")
        else:
            self.renderer.sink.write(code)
            self.renderer.sink.flush()

    def _state(self, change: "Change[Any]") -> dict[str, object]:
        state: dict[str, object] = {"changed": change.changed}
        if self._dry_run:
            state["dry_run"] = True
        return state

    @contextmanager
    def _written(self, what: str, *, done: str = "the change was made", once: bool = False) -> Iterator[None]:
        """Turn an error of writing into ResultLost. `once`: nobody can show it again, so a closed pipe is one too."""
        try:
            yield
        except (terminal.OutputFailed, terminal.ClosedOutput) as error:
            if self._dry_run or (isinstance(error, terminal.ClosedOutput) and not once):
                raise
            raise terminal.ResultLost(
                f"{done}, but {what} could not be written",
                hint="check what was changed instead of repeating the command",
            ) from error
