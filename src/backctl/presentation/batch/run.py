"""Changes many accounts in one command: each has its own outcome, and all are reported together."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from backctl.application.attribution import Attribution
from backctl.domain.errors import BackctlError
from backctl.domain.quoting import escaped, quoted
from backctl.presentation import terminal
from backctl.presentation.batch.identities import Identities, gather
from backctl.presentation.batch.report import Report
from backctl.presentation.batch.signals import Interruption
from backctl.presentation.context import Invocation
from backctl.presentation.output import members

if TYPE_CHECKING:
    from backctl.application.transactions import Outcome
    from backctl.application.views import UserView

_NAMED = 5
"""Accounts that a question names."""


class Action(Protocol):
    """Makes one kind of change to many accounts, such as `AccountService.change_each`."""

    def __call__(
        self, idents: Iterable[str], /, *, by: Attribution, dry_run: bool, stop: Callable[[], bool]
    ) -> "Iterator[Outcome[Any]]":
        """Ask the guard at once if it is due; then return the outcomes in order, lazily, each once it is durable.

        Calls `stop` where the run can end without leaving anything half done, and ends when it returns True. Raises
        errors that end the whole run.
        """
        ...


def change_each(
    call: Invocation,
    idents: list[str] | None,
    action: Action,
    *,
    view: type,
    doing: str,
    destroys: "Callable[[str], UserView | None] | None" = None,
    warning: "Callable[[Any], str | None] | None" = None,
) -> None:
    """Run `action` on the accounts of the positionals or of `--from-file`, and print the results.

    For one account, given as a positional, prints the object and raises its error. For a list, prints one record per
    account, in which a failed one has `error`, and raises PartialFailure if any failed.

    Changing several accounts requires `--yes` or a yes at the terminal, if at least one of them would change.

    `doing` describes the work for the progress line ("deactivating"). `destroys` finds the account of an identity: its
    username, or the number of several accounts, must be confirmed; the action then gets the id of the account that was
    confirmed. `warning` returns a warning about a resulting object, or None. Raises TooManyChanges, before anything is
    asked or changed, if more than `--max-changes` accounts would change.
    """
    gathered = gather(idents, call.flags.get("from_file"), call.stdin)
    names, single = gathered.all, gathered.single
    _require_max_changes(call, names, action)
    call.parameters["idents"] = described = _described(names)
    if single is not None:
        account = destroys(single) if destroys else None
        if account is not None:
            call.guard.confirm_name(account.username, f"permanently delete {escaped(account.username)}")
        run = action([single if account is None else account.id], by=call.attribution, dry_run=call.dry_run, stop=never)
        outcome = next(run)
        if isinstance(outcome, BackctlError):
            raise outcome
        call.results.changed(outcome)
        if warning is not None and (text := warning(outcome.value)):
            call.messages.warn(text)
        return
    if destroys and len(names):
        call.guard.confirm_name(str(len(names)), f"permanently delete {described}")
    elif len(names) > 1:
        call.guard.confirm()
    _Batch(call, names, action, view, doing, warning).run()


def never() -> bool:
    """A `stop` for a run that always goes to its end."""
    return False


def _require_max_changes(call: Invocation, names: Identities, action: Action) -> None:
    if call.flags.get("max_changes") is None:
        return
    from backctl.presentation.batch.bound import ChangeBound

    bound = ChangeBound.parse(call.flags["max_changes"])
    trial = action(names, by=call.attribution, dry_run=True, stop=never)
    bound.require(names, trial, population=call.backend.accounts.count)


def _described(names: Identities) -> str:
    """The accounts as a question names them."""
    shown = ", ".join(map(escaped, names.first(_NAMED)))
    if len(names) == 1:
        return shown
    return f"{len(names)} accounts ({shown}{', …' if len(names) > _NAMED else ''})"


class _Batch:
    """The run over several accounts."""

    def __init__(
        self,
        call: Invocation,
        idents: Identities,
        action: Action,
        view: type,
        doing: str,
        warning: Callable[[Any], str | None] | None,
    ) -> None:
        self._call = call
        self._idents = idents
        self._action = action
        self._doing = doing
        self._members = members(view)
        self._warning = warning
        self._warnings: list[str] = []
        self._interruption = Interruption(announce=True)
        self._report = Report("", as_json=call.results.renderer.is_json)
        self._outcomes: Iterator[Outcome[Any]] = iter(())
        self._stopping = False
        self._stopped_by: BaseException | None = None

    def run(self) -> None:
        """Change all accounts and print one record for each. A closed output pipe does not stop the changes.

        Raises PartialFailure if some failed, and what stopped the run early (a signal, a lost database).
        """
        call, report, renderer = self._call, self._report, self._call.results.renderer
        self._outcomes = self._action(
            self._idents,
            by=call.attribution,
            dry_run=call.dry_run,
            stop=lambda: self._stopping or self._interruption.has_come,
        )
        records = self._records()
        renderer.sink.patient = True
        try:
            if call.results.quiet:
                for _ in records:
                    continue
            else:
                columns = () if renderer.is_table and not renderer.is_wide else self._members
                names = ("ident", *columns, "changed", *(("dry_run",) if call.dry_run else ()), "error")
                renderer.records(names, records, self._summary)
        except BaseException as error:
            self._stopped_by = error
            self._finish()
        finally:
            records.close()
        for text in self._warnings:
            call.messages.warn(text)
        if self._stopped_by is not None:
            self._raise(self._stopped_by)
        if not renderer.is_json:
            call.messages.notice(f"{report.done} done, {report.changed} changed, {report.failed} failed")
        if report.failed:
            raise report.failure()

    def _records(self) -> Generator[Mapping[str, object], None, None]:
        """Make the changes and yield one record for each. Sets `_stopped_by` instead of raising."""
        extra: dict[str, object] = {"dry_run": True} if self._call.dry_run else {}
        progressing = self._call.messages.progress(self._doing, len(self._idents))
        with self._interruption.watched(), progressing as progress:
            for ident in self._idents:
                try:
                    outcome = next(self._outcomes, None)
                except BaseException as error:
                    self._stopped_by = error
                    return
                if outcome is None:
                    self._stopped_by = self._interruption.error()
                    return
                record: dict[str, object] = {"ident": ident}
                if isinstance(outcome, BackctlError):
                    record["error"] = self._report.add_failure(quoted(ident), outcome)
                else:
                    self._report.succeeded(changed=outcome.changed)
                    record.update((name, getattr(outcome.value, name)) for name in self._members)
                    record["changed"] = outcome.changed
                    record.update(extra)
                    if self._warning is not None and (text := self._warning(outcome.value)):
                        self._warnings.append(text)
                progress.advance()
                yield record

    def _finish(self) -> None:
        """Begin nothing further, and count the outcomes of the last transaction that were not read yet."""
        self._stopping = True
        for outcome in self._outcomes:
            if isinstance(outcome, BackctlError):
                self._report.add_failure("", outcome)
            else:
                self._report.succeeded(changed=outcome.changed)

    def _raise(self, error: BaseException) -> None:
        changed = self._report.changed
        self._report.say_stopped(total=len(self._idents))
        if isinstance(error, terminal.OutputFailed) and changed and not self._call.dry_run:
            raise terminal.ResultLost(
                f"{changed} changes were made, but their results could not be written",
                hint="free some space for the output, or add -q",
            ) from error
        raise error

    def _summary(self) -> dict[str, object]:
        return self._report.summary(total=len(self._idents))
