"""Applies seed files or a saved plan, after what must be confirmed was confirmed."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from backctl.application.seeding.applying import ApplyOptions
from backctl.application.transfer.journal import ImportJournal, require_passwords
from backctl.domain.errors import BackctlError, ConfirmationRequired, OutcomeUnknown, PlanStale, UsageError
from backctl.domain.quoting import quoted
from backctl.presentation import terminal
from backctl.presentation.batch.bound import ChangeBound
from backctl.presentation.batch.report import named
from backctl.presentation.batch.signals import Interruption
from backctl.presentation.context import Invocation
from backctl.presentation.planned_changes import replaced, summarized
from backctl.presentation.seed_options import PruneMode, saved_plan

if TYPE_CHECKING:
    from backctl.application.seeding.applying import ApplyReport
    from backctl.application.seeding.plan import SavedPlan
    from backctl.application.views import Change
    from backctl.domain.seed import Desired, Plan, PlannedChange, Prune
    from backctl.presentation.progress import Progress


class Apply:
    """One run of `backctl apply`."""

    def __init__(
        self,
        call: Invocation,
        files: Sequence[str],
        *,
        prune: PruneMode | None,
        all_or_nothing: bool,
        max_changes: str | None,
        secret_file: str | None,
    ) -> None:
        """Raises UsageError for a limit that cannot be parsed, and for `-` as the secret file."""
        if secret_file == "-":
            raise UsageError("'-' is not a file for --secret-file", hint="give the name of a file")
        self._call = call
        self._files = files
        self._prune = prune
        self._all_or_nothing = all_or_nothing
        self._bound = None if max_changes is None else ChangeBound.parse(max_changes)
        self._most: int | None = None
        self._secret_file = secret_file
        self._interruption = Interruption(announce=True)

    def run(self) -> None:
        """Apply the files and print the report.

        Raises the errors of reading and planning; TooManyChanges, ConfirmationRequired and, for a saved plan, PlanStale
        before anything is changed; and what stopped the run early (a signal, a lost database).
        """
        call, seeding = self._call, self._call.backend.seeding
        saved, desired = self._read()
        plan = saved.plan if saved is not None else seeding.plan(desired, prune=self._pruning)
        if saved is not None:
            seeding.require_fresh(plan)  # before anybody is asked
        if call.reason is None:
            call.reason = plan.reason
        self._require_allowed(plan)
        with self._journal(plan) as journal:
            change = self._apply(saved, desired, plan, journal)
            written = self._secret_file if journal.has_passwords else None
        call.results.changed(change, secret_file=written)

    @property
    def _pruning(self) -> "Prune | None":
        return None if self._prune is None else self._prune.value

    def _read(self) -> "tuple[SavedPlan | None, Desired]":
        """Return a saved plan, or what the seed files declare."""
        from backctl.domain.seed import Desired

        call = self._call
        text = saved_plan(self._files)
        if text is not None:
            if self._prune is not None:
                raise UsageError("a saved plan says what is pruned", hint="give --prune to 'plan' instead")
            return call.backend.seeding.load(text), Desired(())
        return None, call.backend.seeding.read(self._files)

    # Before the first change.

    def _require_allowed(self, plan: "Plan") -> None:
        """Check the limit and the place of generated passwords, and demand the confirmations.

        Raises TooManyChanges, UsageError, ConfirmationRequired.
        """
        call = self._call
        if self._bound is not None:
            self._most = self._bound.most(call.backend.accounts.count)
            if self._is_over(plan, 0):
                raise self._bound.exceeded(self._most, look="run '{backctl} plan FILE'")
        if self._secret_file is None and _generates(plan):
            raise UsageError("the seed generates passwords, which need a file", hint="add --secret-file FILE")
        self._require_own_file(plan)
        call.parameters["files"] = f"{', '.join(self._files)} ({summarized(plan.summary)})"
        if notice := replaced(plan):
            call.messages.notice(notice)
        deleted = [change for change in plan.changes if change.action == "delete"]
        pruned = [change for change in plan.changes if change.action == "close" and change.origin is None]
        closing = f"close {_accounts(pruned)} that no seed lists any more"
        if deleted:
            if pruned and not (call.dry_run or call.interactive or call.flags["yes"]):
                raise ConfirmationRequired(
                    f"not confirmed: {closing}?", hint=f"confirm with --yes, and with --confirm {len(deleted)}"
                )
            also, number = f", and {closing}" if pruned else "", str(len(deleted))
            given = call.flags.get("confirm")
            if given not in (None, number) and not call.dry_run:
                raise ConfirmationRequired(
                    f"{quoted(given)} is not {quoted(number)}; nothing was changed",
                    hint=f"run '{{backctl}} plan FILE' to see what would be deleted, then give --confirm {number}",
                )
            call.guard.confirm_name(number, f"delete {_accounts(deleted)}{also}")
        elif pruned:
            call.guard.confirm(closing)

    def _require_own_file(self, plan: "Plan") -> None:
        """Raise UsageError if the generated passwords would be written to a file that this command reads."""
        path = self._secret_file
        if path is None or not os.path.exists(path):
            return
        sources = {source.name for _, source in plan.sources() if source.kind == "file"}
        for other in (*self._files, *plan.files, *sorted(sources)):
            with suppress(OSError, ValueError):  # a path that cannot be followed is not this file
                if os.path.samefile(path, other):
                    raise UsageError(
                        f"--secret-file {quoted(path)} is a file that this command reads",
                        hint="give --secret-file another name",
                    )

    def _is_over(self, plan: "Plan", done: int) -> bool:
        """Whether a plan would change more than the limit allows after `done` accounts, with enforced secrets.

        Secrets are compared only if their number matters. Raises PlanStale, InvalidSeed.
        """
        if self._most is None:
            return False
        left = self._most - done - plan.summary.changes
        if left < 0:
            return True
        if sum(change.action == "none" for change in plan.changes) <= left:
            return False
        try:
            return self._call.backend.seeding.differing(plan, by=self._call.attribution) > left
        except PlanStale:
            raise PlanStale(
                "other processes have changed the accounts meanwhile", hint="run the same command again"
            ) from None

    def _require_no_more(self, plan: "Plan", before: "Plan", done: int) -> None:
        """Raise PlanStale if a plan of the rest, made because accounts have changed, does more than was allowed."""
        if self._is_over(plan, done) or (_generates(plan) and not _generates(before)):
            raise PlanStale(
                "other processes have changed the accounts, so that more would happen than was planned at first",
                hint="run the same command again",
            )

    @contextmanager
    def _journal(self, plan: "Plan") -> Iterator[ImportJournal]:
        """Open the file of the generated passwords. Its first lines create it, unless an earlier run has done so."""
        path = self._secret_file
        if path is None or not _generates(plan):
            yield ImportJournal()
            return
        file = self._call.backend.files.grow(path, new=not os.path.lexists(path), secret=True)
        try:
            require_passwords(file.lines(), path)
            yield ImportJournal(None, file)
        finally:
            file.close()

    # The changes.

    def _apply(
        self, saved: "SavedPlan | None", desired: "Desired", plan: "Plan", journal: ImportJournal
    ) -> "Change[ApplyReport]":
        call, interruption = self._call, self._interruption
        options = ApplyOptions(self._all_or_nothing, journal, stop=lambda: interruption.has_come)
        total = len(plan.changes)
        with interruption.watched(), call.messages.progress("applying", total) as progress:
            try:
                if saved is not None:
                    change = call.backend.seeding.apply_saved(
                        saved, options, by=call.attribution, dry_run=call.dry_run, progress=progress.advance
                    )
                else:
                    change = call.backend.seeding.apply(
                        desired,
                        plan,
                        options,
                        prune=self._pruning,
                        by=call.attribution,
                        dry_run=call.dry_run,
                        progress=progress.advance,
                        replanned=lambda rest, changed: self._require_no_more(rest, plan, changed),
                    )
                if interruption.has_come:
                    raise interruption.error()
            except BaseException as error:
                progress.clear()
                self._say_stopped(error, progress, total, is_saved=saved is not None)
                raise
        return change

    def _say_stopped(self, error: BaseException, progress: "Progress", total: int, *, is_saved: bool) -> None:
        """Say how many changes were made before the run stopped early, and how to make the rest."""
        done = progress.done
        if self._call.dry_run or (
            done == 0 and isinstance(error, BackctlError) and not isinstance(error, OutcomeUnknown)
        ):
            return  # nothing was changed
        again = ""
        if done < total:
            again = (
                "; make a new plan to finish the rest"
                if is_saved and done
                else "; run the same command again to finish the rest"
            )
        terminal.say(f"stopped: {done} of {total} accounts done{again}")


def _generates(plan: "Plan") -> bool:
    return any(
        change.values.password is not None and change.values.password.kind == "generate" for change in plan.changes
    )


def _accounts(changes: "Sequence[PlannedChange]") -> str:
    """Name accounts in a question: `3 accounts (ada, bob, eve)`."""
    if len(changes) == 1:
        return f"the account {quoted(changes[0].username)}"
    return f"{len(changes)} accounts ({named([change.username for change in changes])})"
