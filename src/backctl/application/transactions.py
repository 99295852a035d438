"""Runs the steps of use cases. Only this module begins and ends transactions for them.

A step works on an open unit of work, which the runner begins and ends. So each change has one implementation, whether
it runs alone, together with others, or in a bulk command.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from backctl.application.attribution import Attribution
from backctl.application.guard import Guard, guarded
from backctl.application.views import Change, is_change
from backctl.domain.errors import BackctlError, TransactionAborted, Unavailable, Unusable
from backctl.domain.values import Identity

if TYPE_CHECKING:
    from backctl.application.ports.security import KeyringChange, KeyringChangeFactory
    from backctl.application.ports.storage import Transaction, UnitOfWork, UnitOfWorkFactory
    from backctl.application.reactions import LoggedEvent, Reaction, ReportFailure

T = TypeVar("T")
R = TypeVar("R")
W = TypeVar("W", bound="Transaction")

TRIES = 3

BATCH_SIZE = 50
"""Steps per transaction. More would make other writers wait longer and save little time. Each step is a subtransaction,
and PostgreSQL keeps 64 of them in memory."""

Step = Callable[["UnitOfWork"], Change[T]]
"""Makes one change and returns the result. Ends with `work.write()`, so that its events precede those of the next step
and the result has the new version."""

StepOn = Callable[[Identity, "UnitOfWork"], Change[T]]
"""The same for any account."""

KeyringStep = Callable[["KeyringChange"], Change[T]]
"""Changes the keyring, and with `change.work` other state in the same transaction."""

Outcome = Change[T] | BackctlError
"""What became of one of many: the change, or why it could not be made."""


def always(result: object) -> bool:
    """Commit whatever the step returned."""
    return True


def _nothing() -> None:
    """Do nothing: the default for `prepare`."""


@dataclass(frozen=True, slots=True)
class Transactions:
    """Runs steps, repeats transactions that the database aborted, and notifies reactions after each commit.

    `guard` is asked once, before the first change and outside any transaction; only if a dry run shows a change.

    `pause` waits for a random time before each retry; it receives the number of the attempt, from 2 on. Reactions
    receive the events of a transaction once it is durable: never those of a dry run or an aborted attempt, and after a
    lost COMMIT only if the log shows that it succeeded. `report` receives the reactions that fail.
    """

    begin: "UnitOfWorkFactory"
    begin_keyring: "KeyringChangeFactory"
    pause: Callable[[int], None]
    reactions: "Sequence[Reaction]" = ()
    report: "ReportFailure" = lambda name, error: None
    guard: Guard = field(default_factory=Guard)

    def run(
        self,
        step: Step[T],
        *,
        by: Attribution,
        dry_run: bool = False,
        creates: bool = False,
        prepare: Callable[[], object] = _nothing,
    ) -> Change[T]:
        """Run one step in a transaction of its own, and commit if it changed something.

        Tries a transaction that the database aborts up to three times. Calls `prepare` before each attempt, after the
        modules are loaded and before the transaction begins: do slow work there, since others wait for a step's locks.
        Passes `creates` to the unit of work. Raises the errors of the step and of the unit of work.
        """
        return self.run_any(step, by=by, dry_run=dry_run, creates=creates, prepare=prepare, commits=is_change)

    def run_any(
        self,
        step: "Callable[[UnitOfWork], R]",
        *,
        commits: Callable[[R], bool],
        by: Attribution,
        dry_run: bool = False,
        creates: bool = False,
        prepare: Callable[[], object] = _nothing,
    ) -> R:
        """Like `run`, for a step with any result; `commits` decides from the result whether to commit."""
        return self._run(partial(self.begin, by=by, creates=creates), step, commits, prepare, dry_run=dry_run)

    def change_keyring(self, step: KeyringStep[T], *, by: Attribution, dry_run: bool = False) -> Change[T]:
        """Like `run`, for a step that changes the keyring. Locks the keyring and saves it together with its events."""
        return self.change_keyring_any(step, by=by, dry_run=dry_run, commits=is_change)

    def change_keyring_any(
        self,
        step: "Callable[[KeyringChange], R]",
        *,
        commits: Callable[[R], bool],
        by: Attribution,
        dry_run: bool = False,
    ) -> R:
        """Like `change_keyring`, for a step with any result; `commits` decides from the result whether to commit."""
        return self.run_on(partial(self.begin_keyring, by=by), step, commits=commits, dry_run=dry_run)

    def run_on(
        self, begin: Callable[..., W], step: Callable[[W], R], *, commits: Callable[[R], bool], dry_run: bool
    ) -> R:
        """Like `run_any`, for a transaction of another kind, which `begin` returns when called with `dry_run`."""
        return self._run(begin, step, commits, _nothing, dry_run=dry_run)

    def run_each(
        self,
        idents: Iterable[str],
        step: StepOn[T],
        *,
        by: Attribution,
        dry_run: bool,
        stop: Callable[[], bool],
    ) -> Iterator[Outcome[T]]:
        """Run a step for each account, in order; a step that fails does not affect the others.

        Lazy: does nothing until the outcomes are read, and yields each outcome once its change is durable. Steps share
        transactions; `stop` is called before each transaction and ends the run when it returns True. Raises
        Unavailable, Unusable and any exception that is not a BackctlError; the changes before it stay, and no others
        are made. Only a guard that is due is asked at once, after a dry run that reads `idents` up to the first change.
        """
        if not dry_run and self.guard.is_due:
            if any(map(is_change, self._run_each(idents, step, by, dry_run=True, stop=stop))):
                self.guard.ask()
            else:
                dry_run = True  # nothing would change, and nobody was asked
        return self._run_each(idents, step, by, dry_run=dry_run, stop=stop)

    def _run_each(
        self, idents: Iterable[str], step: StepOn[T], by: Attribution, *, dry_run: bool, stop: Callable[[], bool]
    ) -> Iterator[Outcome[T]]:
        source = iter(idents)
        batches = _Batches(self, step, by, dry_run)
        while not stop() and (names := list(islice(source, BATCH_SIZE))):
            yield from batches.outcomes(names)

    def _run(
        self,
        begin: Callable[..., W],
        step: Callable[[W], R],
        commits: Callable[[R], bool],
        prepare: Callable[[], object],
        *,
        dry_run: bool,
    ) -> R:
        def once(dry_run: bool) -> R:
            work = begin(dry_run=dry_run)
            prepare()
            try:
                with work:
                    result = step(work)
                    if commits(result):
                        work.commit()
                return result
            finally:
                self.react(work.committed)

        def repeated(dry_run: bool) -> R:
            return self.repeated(partial(once, dry_run))

        return guarded(repeated, guard=self.guard, changes=commits, dry_run=dry_run)

    def repeated(self, attempt: Callable[[], R]) -> R:
        """Call `attempt`, up to three times while the database aborts its transaction, and return its result.

        Outside its transaction, `attempt` must do nothing that is unsafe to repeat. Raises the last TransactionAborted.
        """
        for number in range(2, TRIES + 1):
            try:
                return attempt()
            except TransactionAborted:
                self.pause(number)
        return attempt()

    def react(self, events: "Sequence[LoggedEvent]") -> None:
        """Notify the reactions of events that are durable; nothing happens without events."""
        if not events:
            return
        for reaction in self.reactions:
            try:
                reaction(events)
            except Exception as error:
                with suppress(Exception):  # the change is committed, so nothing after it may fail the call
                    self.report(getattr(reaction, "__qualname__", type(reaction).__qualname__), error)


@dataclass(frozen=True, slots=True)
class _Batches(Generic[T]):
    """How the batches of one run are made."""

    transactions: Transactions
    step: StepOn[T]
    by: Attribution
    dry_run: bool

    def outcomes(self, names: Sequence[str]) -> Iterator[Outcome[T]]:
        """Run the step for each of `names` in one transaction and yield the outcomes."""
        if len(names) == 1:
            yield self._alone(names[0])
            return
        done: list[Outcome[T]] = []
        together = partial(self._together, names, done)
        try:
            self.transactions.run_any(together, commits=self._has_changes, by=self.by, dry_run=self.dry_run)
        except Exception:
            # The error ended the transaction: repeat the changes before it in a new one. After a failed COMMIT, repeat
            # nothing.
            if 0 < len(done) < len(names):
                yield from self.outcomes(names[: len(done)])
            raise
        yield from done

    def _alone(self, name: str) -> Outcome[T]:
        try:
            step = partial(self.step, Identity.parse(name))
            return self.transactions.run(step, by=self.by, dry_run=self.dry_run)
        except (Unavailable, Unusable):
            raise
        except BackctlError as error:
            return error

    def _together(self, names: Sequence[str], done: list[Outcome[T]], work: "UnitOfWork") -> list[Outcome[T]]:
        done.clear()
        # Lock all rows in the common order first; locks in the order of the steps could deadlock.
        work.users.lock_administrators()
        work.users.lock(filter(None, map(_parsed, names)))
        for name in names:
            done.append(self._attempted(name, work))  # noqa: PERF401 - a failure must keep the outcomes so far
        return done

    @staticmethod
    def _has_changes(done: list[Outcome[T]]) -> bool:
        return any(map(is_change, done))

    def _attempted(self, name: str, work: "UnitOfWork") -> Outcome[T]:
        try:
            with work.attempt():
                return self.step(Identity.parse(name), work)
        except (Unavailable, Unusable):
            raise
        except BackctlError as error:
            return error


def _parsed(name: str) -> Identity | None:
    try:
        return Identity.parse(name)
    except BackctlError:
        return None
