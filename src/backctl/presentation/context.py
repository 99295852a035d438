"""One run of a command: its shared flags, and access to settings, services, output and prompts.

Everything opens lazily. A command takes its service (`call.backend.accounts`) before it asks for a secret or reads
standard input, so that a configuration error is reported first.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from backctl.domain.errors import BackctlError, ConfirmationRequired, UsageError, escaped, quoted
from backctl.presentation import terminal
from backctl.presentation.errors import ExitCode, remember_place
from backctl.presentation.grammar import LeafSpec
from backctl.presentation.output import Format, Renderer

if TYPE_CHECKING:
    from backctl.application.attribution import Attribution
    from backctl.application.transactions import Outcome
    from backctl.application.views import Change, UserView
    from backctl.backend import Backend
    from backctl.domain.repositories import Page
    from backctl.domain.values import Secret
    from backctl.presentation.bulk import Action
    from backctl.presentation.progress import Progress
    from backctl.presentation.secrets import SecretSources
    from backctl.settings import LoadedSettings

_NAME_MAX = 200
_SHOWN_ONCE = ("password", "secret", "recovery_codes")
"""Members that nobody sees again."""
_NAMED = 5
"""Identities that a question shows."""


class Invocation:
    """What a command function gets as its first parameter."""

    def __init__(self, spec: LeafSpec, flags: Mapping[str, Any]) -> None:
        """`flags` are the parsed shared options by their names without `shared_`. Raises InvalidInput kinds."""
        self._spec = spec
        self._flags = flags
        self._stdin_taken_by: str | None = None
        self._protection_settled = False
        self._variables_known = False
        self.exit_code = ExitCode.OK
        """What the process ends with when nothing is raised."""
        self.profile: str | None = _printable("--profile", flags["profile"])
        """The flag's value; None leaves the choice to the environment and the configuration."""
        self.config_file: str | None = flags["config"]
        remember_place(self.profile, self.config_file)
        self.output: Format | None = Format(flags["output"]) if flags["output"] else None
        """The form asked for, or None: a table on a terminal, tsv in a pipe."""
        self.quiet: bool = flags["quiet"]
        self.verbose: bool = flags["verbose"]
        self.color: bool = terminal.color_wanted(sys.stdout)
        self.interactive: bool = not flags["no_input"] and terminal.is_terminal(sys.stdin)
        """Whether a person can be asked: standard input is a terminal and `--no-input` was not given."""
        self.reason: str | None = flags["reason"]
        if self.reason is not None:
            from backctl.domain.values import checked_reason

            checked_reason(self.reason)  # before anything is opened or asked
        self.dry_run: bool = flags.get("dry_run", False)
        self.yes: bool = flags.get("yes", False)
        self.timeout: str | None = flags["timeout"]
        """Longest wait as typed, in place of the configured one."""
        if self.timeout is not None:
            from backctl.settings.durations import parse_duration

            parse_duration(self.timeout)
        self.renderer = Renderer(
            self.output,
            fields=_names(flags["fields"]),
            header=not flags["no_header"],
            sink=terminal.Sink(sys.stdout),
            color=self.color,
        )
        self._check_fields()
        if spec.secrets:
            self._sources  # noqa: B018 - before anything starts a process

    # What the run stands on.

    @cached_property
    def attribution(self) -> "Attribution":
        """The actor, the reason and the trace from `TRACEPARENT`, recorded with every change."""
        from backctl.domain.trace_context import trace_id_of

        trace_id = trace_id_of(os.environ.get("TRACEPARENT"))
        return self.backend.by(self._flags["actor"], reason=self.reason, trace_id=trace_id)

    @cached_property
    def settings(self) -> "LoadedSettings":
        """The configuration with the origin of every value. Raises InvalidConfiguration."""
        from backctl.settings import load

        self._warn_of_unknown_variables()
        timeout = {} if self.timeout is None else {"database.timeout": self.timeout}
        return load(config_file=self.config_file, profile=self.profile, environ=os.environ, overrides=timeout)

    @cached_property
    def backend(self) -> "Backend":
        """The services; nothing in it is opened before it is used. Closed when the command ends.

        The first use by a mutation under a protected profile asks and demands `--reason` (Refused).
        """
        from backctl.backend import Backend

        self._settle_protection()
        if self.verbose:
            inner = self.settings.settings
            terminal.say(f"configuration {self.settings.file or 'none'}, profile {inner.profile or 'none'}")
            terminal.say(f"database {self.settings.database_shown}, keyring {self.settings.keyring_shown}")
        return Backend(
            self.settings,
            notice=self.notice,
            founder=lambda: self.attribution,
        )

    def reload(self) -> None:
        """Read the configuration anew at its next use, after a command changed it."""
        self.close()
        self.__dict__.pop("settings", None)

    def close(self) -> None:
        """Close what was opened."""
        backend = self.__dict__.pop("backend", None)
        if backend is not None:
            backend.close()

    # Results.

    def show(self, view: object) -> None:
        """Print the one object that a query found."""
        self.renderer.one(view)

    def show_page(self, page: "Page[Any]", view: type, *, onward: str | None = None) -> None:
        """Print a page of objects of the class `view`, and how to get the next one: by its cursor, or by `onward`."""
        self.renderer.page(page.items, view, page.next_cursor)
        if page.next_cursor is not None and not self.renderer.is_json_document:
            onward = onward or f"--cursor {page.next_cursor}"
            self.notice(f"there is more: take --all for everything, or go on with {onward}")

    def show_all(self, items: Iterable[object], view: type) -> None:
        """Print a whole, small list; in JSON the same document as a last page."""
        self.renderer.page(tuple(items), view, None)

    def stream(self, items: Iterator[Any], view: type) -> None:
        """Print everything that comes, in constant memory whatever the form."""
        terminal.collect_garbage_again()
        self.renderer.stream(items, view)

    def changed(self, change: "Change[Any]", **members: object) -> None:
        """Print what a mutation left behind, with `changed`, `dry_run` when asked for, and `members` after them.

        Members that are None are left out. `-q` drops the result, unless it carries a secret that nobody would ever
        see again: a `password` is printed alone, and so are the `secret` and the `recovery_codes` of a second factor.
        Raises ResultLost when the change is made and cannot be told.
        """
        extra: dict[str, object] = {"changed": change.changed}
        if self.dry_run:
            extra["dry_run"] = True
        extra.update((name, value) for name, value in members.items() if value is not None)
        shown_once = next((name for name in _SHOWN_ONCE if name in extra), None)
        with self._telling(f"its {(shown_once or 'result').replace('_', ' ')}", once=shown_once is not None):
            if not self.quiet:
                self.renderer.one(change.value, extra)
            elif shown_once is not None:
                secret = extra[shown_once]
                text = "\n".join(secret) if isinstance(secret, list) else str(secret)
                self.renderer.alone(text, {shown_once: secret})

    def picture(self, text: str) -> None:
        """Show `text` as a QR code below a table on a terminal, and nowhere else."""
        if self.quiet or not (self.renderer.is_table and self.renderer.sink.terminal):
            return
        from backctl.presentation.qr_code import qr_code

        code = qr_code(text, columns=terminal.width(), color=self.color)
        if code is None:
            self.notice("the terminal is too narrow for the QR code")
        else:
            self.renderer.sink.write(code)
            self.renderer.sink.flush()

    def made(self, change: "Change[Any]", members: Mapping[str, object], *, secrets: tuple[str, ...]) -> None:
        """Print what a change made that is nowhere to be had again, with `-q` too: bare, one of `secrets` a line.

        In JSON, and with `--fields`, the object: `members` with `changed`, and `dry_run` when asked for. Raises
        ResultLost when the change is made and cannot be told.
        """
        extra: dict[str, object] = {"changed": change.changed}
        if self.dry_run:
            extra["dry_run"] = True
        with self._telling("its result", once=True):
            if self.renderer.is_json or self.renderer.fields is not None:
                self.renderer.one(members, extra)
            elif secrets:
                self.renderer.value("\n".join(secrets), members)

    def wrote(self, report: object) -> None:
        """Print the report on a file that was written. Raises ResultLost when it cannot be told."""
        with self._telling("the report on it", done="the file was written"):
            self.renderer.one(report)

    def value(self, text: str, view: object, *, changed: bool = False) -> None:
        """Print an answer that is one value: bare in every text form, `view` as an object in JSON.

        Raises ResultLost when something was `changed` for it and it cannot be told.
        """
        with self._telling("its result") if changed else nullcontext():
            self.renderer.value(text, view)

    def by_lines(self) -> None:
        """Print JSON lines unless `-o` says otherwise: for answers that come one by one."""
        if self.output is None:
            before = self.renderer
            self.renderer = Renderer(
                Format.JSONL, fields=before.fields, header=False, sink=before.sink, color=self.color
            )

    def check(self, view: object, answer: bool, no: ExitCode = ExitCode.NO) -> None:
        """Print the outcome of a check (nothing with `-q`) and end with 0 for yes, `no` for no."""
        if not self.quiet:
            self.renderer.one(view)
        if not answer:
            self.exit_code = no

    def check_all(self, items: Iterable[object], view: type, answer: bool, no: ExitCode = ExitCode.NO) -> None:
        """Like `check` for a list of findings."""
        if not self.quiet:
            self.renderer.page(tuple(items), view, None)
        if not answer:
            self.exit_code = no

    # Beside the results.

    def notice(self, text: str) -> None:
        """Tell something on standard error, unless `-q`."""
        if not self.quiet:
            terminal.say(text)

    def warn(self, text: str) -> None:
        """Warn on standard error, with `-q` too."""
        terminal.say(text, "warning")

    @contextmanager
    def progress(self, doing: str, total: int | None = None) -> Iterator["Progress"]:
        """Show how long work comes along: `with call.progress("reading", n) as progress: … progress.advance()`."""
        from backctl.presentation.progress import Progress

        terminal.collect_garbage_again()
        with Progress.on_stderr(doing, total, verbose=self.verbose, quiet=self.quiet) as progress:
            yield progress

    # Asking.

    @cached_property
    def _sources(self) -> "SecretSources":
        from backctl.presentation.secrets import SecretSources

        return SecretSources(self._spec.secrets, self._flags, self.take_stdin)

    def secret_given(self, name: str) -> bool:
        """Whether one of the four flags of the secret `name` was used. Raises UsageError for two of them."""
        return self._sources.given(name) is not None

    def secret(
        self,
        name: str,
        *,
        new: bool = False,
        piped: bool = False,
        judge: "Callable[[Secret], None]" = lambda secret: None,
        instead: str | None = None,
    ) -> "Secret":
        """Read the secret `name` from where its flags say, else ask on the terminal, twice when it is `new`.

        `piped` takes it from standard input without a flag, where that is no terminal. `judge` raises for what need not
        be typed a second time. `instead` names another flag that would do, for the hint, e.g. `--generate-password`.
        Raises UsageError when there is neither a source nor a terminal, InvalidInput for what is no UTF-8 text.
        """
        secret = self._sources.read(name)
        if secret is None and piped and not terminal.is_terminal(sys.stdin):
            secret = self._sources.read_piped()
        if secret is not None:
            return secret
        if not self.interactive:
            raise self._sources.missing(name, instead)
        from backctl.presentation.prompts import ask_secret

        return ask_secret(name, new=new, judge=judge)

    def secret_bytes(self, name: str, *, limit: int) -> bytes:
        """Like `secret`, byte for byte and of at most `limit` of them; without a flag from standard input.

        On a terminal it is asked for instead, and is a line without its end.
        """
        raw = self._sources.read_bytes(name, limit)
        if raw is not None:
            return raw
        if not terminal.is_terminal(sys.stdin):
            return self._sources.stdin_bytes(name, "standard input", limit)
        return self.secret(name).reveal().encode("utf-8")

    def confirm(self, question: str) -> None:
        """Have `question` answered with yes, unless `--yes`. A dry run asks nothing.

        Raises ConfirmationRequired without a terminal or for any other answer.
        """
        if self.yes or self.dry_run:
            return
        if not self.interactive:
            raise ConfirmationRequired(f"not confirmed: {question}", hint="confirm with --yes")
        from backctl.presentation.prompts import ask_yes

        if not ask_yes(question):
            raise ConfirmationRequired("not confirmed; nothing was changed")

    def confirm_name(self, name: str, consequence: str) -> None:
        """Have `name` typed, or given as `--confirm NAME`. A dry run asks nothing. Raises ConfirmationRequired."""
        if self.dry_run:
            return
        typed: str | None = self._flags.get("confirm")
        if typed is None:
            if not self.interactive:
                raise ConfirmationRequired(
                    f"not confirmed: {consequence}", hint=f"confirm with --confirm {terminal.shell_word(name)}"
                )
            from backctl.presentation.prompts import ask_name

            typed = ask_name(name, consequence)
        if typed != name:
            raise ConfirmationRequired(f"{quoted(typed)} is not {quoted(name)}; nothing was changed")

    def take_stdin(self, purpose: str) -> None:
        """Claim standard input for `purpose`, a flag's name. Raises UsageError when it is claimed already."""
        if self._stdin_taken_by is not None:
            raise UsageError(
                f"both {self._stdin_taken_by} and {purpose} read standard input",
                hint="give one of them another way, such as a file or a descriptor",
            )
        self._stdin_taken_by = purpose

    # Many at once.

    def each(
        self,
        idents: list[str] | None,
        action: "Action",
        *,
        view: type,
        doing: str,
        ask: str | None = None,
        destroys: Callable[[str], "UserView | None"] | None = None,
    ) -> None:
        """Run `action` on the identities of the positionals or of `--from-file`.

        One identity given as a positional: its object, and its natural exit code. Otherwise a list in which a failed
        one carries `error`, exit code 7 when there was any, and a progress line `doing` ("deactivating"). `ask`, e.g.
        "deactivate {count} accounts", is confirmed when there are several.

        `destroys` finds the account that an identity names: its name must be typed or given with `--confirm`, for
        several their number, and `action` then gets the id of what was confirmed. Raises TooManyChanges, before
        anything is asked or changed, when it is more than `--max-changes`.
        """
        from backctl.presentation.bulk import run_each
        from backctl.presentation.identities import gather

        names = gather(idents, self._flags.get("from_file"), self.take_stdin)
        if self._flags.get("max_changes") is not None:
            from backctl.presentation.change_bound import ChangeBound

            bound = ChangeBound.parse(self._flags["max_changes"])
            trial = self._run_action(action, names.all, dry_run=True)
            bound.require(names.all, trial, population=self.backend.accounts.count)
        if names.single is not None:
            found = destroys(names.single) if destroys else None
            if found is not None:
                self.confirm_name(found.username, f"{quoted(found.username)} will be gone for good")
            single = names.single if found is None else found.id
            outcome = next(self._run_action(action, [single], dry_run=self.dry_run))
            if isinstance(outcome, BackctlError):
                raise outcome
            self.changed(outcome)
            return
        count = len(names.all)
        if destroys and count:
            self.confirm_name(str(count), f"{count} accounts will be gone for good")
        elif ask is not None and count > 1:
            named = ", ".join(map(escaped, names.all.first(_NAMED))) + (", …" if count > _NAMED else "")
            self.confirm(f"{ask.format(count=count)} ({named})?")
        run_each(self, names.all, action, view=view, doing=doing)

    # Inside.

    @contextmanager
    def _telling(self, what: str, *, done: str = "the change was made", once: bool = False) -> Iterator[None]:
        """Within, tell of what is done, where that cannot be told again when it is told `once`.

        Raises ResultLost when it cannot be written, and also, told `once`, when nobody reads it any more.
        """
        try:
            yield
        except (terminal.OutputFailed, terminal.ClosedOutput) as error:
            if self.dry_run or (isinstance(error, terminal.ClosedOutput) and not once):
                raise
            raise terminal.ResultLost(
                f"{done}, but {what} could not be written",
                hint="look at what is there instead of repeating the command",
            ) from error

    def _run_action(self, action: "Action", idents: Iterable[str], *, dry_run: bool) -> "Iterator[Outcome[Any]]":
        return action(idents, by=self.attribution, dry_run=dry_run, stop=lambda: False)

    def _warn_of_unknown_variables(self) -> None:
        """Once: a typing error in a name would silently work on another database."""
        if self._variables_known or self.quiet:
            return
        self._variables_known = True
        from backctl.settings import misspelt_variables

        for name, meant in misspelt_variables(os.environ):
            self.warn(f"no setting has the environment variable {quoted(name)}; did you mean {meant}?")

    def _settle_protection(self) -> None:
        if self._protection_settled or not self._spec.mutation:
            return
        self._protection_settled = True
        if self.dry_run or not self.settings.settings.protected:
            return
        profile = self.settings.settings.profile
        protected = f"the profile {quoted(profile)} is protected" if profile else "the configuration is protected"
        confirmed = self.yes or self._flags.get("confirm") is not None
        if not self.reason:
            needed = "--reason TEXT" if confirmed or self.interactive else "--reason TEXT and --yes"
            raise ConfirmationRequired(f"{protected}: a change needs a reason", hint=f"add {needed}")
        if not confirmed:
            self.confirm(f"{protected}; go on with '{self._spec.name}'?")

    def _check_fields(self) -> None:
        view = self._spec.view
        if self.renderer.fields is None or (view is None and not self._spec.mutation):
            return
        if view is None:
            raise UsageError("--fields has no meaning here")
        shown = view if isinstance(view, type) else view()
        members = ("changed", "dry_run", *self._spec.members) if self._spec.mutation else self._spec.members
        self.renderer.require_known(shown, members)


def _printable(flag: str, text: str | None) -> str | None:
    if text is not None and not (0 < len(text) <= _NAME_MAX and text.isprintable()):
        raise UsageError(f"{flag} {quoted(text)} is not 1 to {_NAME_MAX} printable characters")
    return text


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise UsageError(f"--fields {quoted(text)} has an empty or repeated name", hint="write --fields id,email")
    return names
