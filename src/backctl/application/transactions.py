"""Running steps: the only place where use cases begin and end transactions.

A step works on an open unit of work and leaves its beginning and end to the runner. So a change has one implementation,
whether it is made alone, together with others, or as one of a million.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from backctl.application.attribution import Attribution
from backctl.application.views import Change
from backctl.domain.errors import BackctlError, TransactionAborted, Unavailable, Unusable
from backctl.domain.values import Identity

if TYPE_CHECKING:
    from backctl.application.ports.security import KeyringChange, KeyringChangeFactory
    from backctl.application.ports.storage import Transaction, UnitOfWork, UnitOfWorkFactory
    from backctl.application.reactions import Reaction, ReportFailure

T = TypeVar("T")
R = TypeVar("R")
W = TypeVar("W", bound="Transaction")

TRIES = 3

BATCH_SIZE = 50
"""Steps that share a transaction. With more, other writers would wait longer and little time would be saved; PostgreSQL
keeps 64 subtransactions in memory, and every step is one."""

Step = Callable[["UnitOfWork"], Change[T]]
"""Makes one change and returns what it left behind. Ends with `work.write()`: its events come before those of the next
step, and what it returns shows the version."""

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
    """There is nothing to prepare."""


def _is_changed(change: Change[T]) -> bool:
    return change.changed


@dataclass(frozen=True, slots=True)
class Transactions:
    """Runs steps, repeats transactions that the database aborted, and notifies reactions after each commit.

    `pause` waits before the attempt with that number, from 2 on; each process waits differently long. Reactions get the
    events of a transaction once it is durable: never those of a dry run or of an aborted attempt, and after a lost
    COMMIT only once the log shows that it was made. One that fails is passed to `report`.
    """

    begin: "UnitOfWorkFactory"
    begin_keyring: "KeyringChangeFactory"
    pause: Callable[[int], None]
    reactions: "Sequence[Reaction]" = ()
    report: "ReportFailure" = lambda name, error: None

    def run(
        self,
        step: Step[T],
        *,
        by: Attribution,
        dry_run: bool = False,
        creates: bool = False,
        prepare: Callable[[], object] = _nothing,
    ) -> Change[T]:
        """Make one change in a transaction of its own, which commits when the step changed something.

        A transaction that the database aborted is run again, three times at most. `prepare` is called before each
        attempt, once everything it needs is loaded: slow work belongs there, since others wait for the locks of a step.
        `creates` is passed to the unit of work. Raises what the step and the unit of work raise.
        """
        return self.run_any(step, by=by, dry_run=dry_run, creates=creates, prepare=prepare, commits=_is_changed)

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
        """The same for a step with any result; `commits` says whether that result is to be kept."""
        begin = partial(self.begin, by=by, dry_run=dry_run, creates=creates)
        return self._run(begin, step, commits, prepare)

    def change_keyring(self, step: KeyringStep[T], *, by: Attribution, dry_run: bool = False) -> Change[T]:
        """Change the keyring, under its lock and together with its events, as `run` changes the database."""
        return self.change_keyring_any(step, by=by, dry_run=dry_run, commits=_is_changed)

    def change_keyring_any(
        self,
        step: "Callable[[KeyringChange], R]",
        *,
        commits: Callable[[R], bool],
        by: Attribution,
        dry_run: bool = False,
    ) -> R:
        """The same for a step with any result."""
        return self._run(partial(self.begin_keyring, by=by, dry_run=dry_run), step, commits, _nothing)

    def run_each(
        self,
        idents: Iterable[str],
        step: StepOn[T],
        *,
        by: Attribution,
        dry_run: bool,
        stop: Callable[[], bool],
    ) -> Iterator[Outcome[T]]:
        """Change each account, in order and as if one after the other; a failed change undoes itself alone.

        Lazy: nothing is done until the outcomes are read. Each is returned once its change is durable. Several share a
        transaction, and `stop` is called before each of those. Raises Unavailable, Unusable and any exception that is
        not a BackctlError; what came before it stays, and the rest is unchanged.
        """
        source = iter(idents)
        batches = _Batches(self, step, by, dry_run)
        while not stop() and (names := list(islice(source, BATCH_SIZE))):
            yield from batches.outcomes(names)

    def _run(
        self,
        begin: Callable[[], W],
        step: Callable[[W], R],
        commits: Callable[[R], bool],
        prepare: Callable[[], object],
    ) -> R:
        def once() -> R:
            work = begin()
            prepare()
            try:
                with work:
                    result = step(work)
                    if commits(result):
                        work.commit()
                return result
            finally:
                self._react(work)

        return self.repeated(once)

    def repeated(self, attempt: Callable[[], R]) -> R:
        """What `attempt` returns; it is made three times at most while the database aborts its transaction.

        It does nothing outside of the transaction that may not happen twice. Raises the last TransactionAborted.
        """
        for number in range(2, TRIES + 1):
            try:
                return attempt()
            except TransactionAborted:
                self.pause(number)
        return attempt()

    def _react(self, work: "Transaction") -> None:
        events = work.committed
        if not events:
            return
        for reaction in self.reactions:
            try:
                reaction(events)
            except Exception as error:
                with suppress(Exception):  # the change is made, whatever follows it
                    self.report(getattr(reaction, "__qualname__", type(reaction).__qualname__), error)


@dataclass(frozen=True, slots=True)
class _Batches(Generic[T]):
    """How the batches of one run are made."""

    transactions: Transactions
    step: StepOn[T]
    by: Attribution
    dry_run: bool

    def outcomes(self, names: Sequence[str]) -> Iterator[Outcome[T]]:
        """The outcomes of accounts that share one transaction."""
        if len(names) == 1:
            yield self._alone(names[0])
            return
        done: list[Outcome[T]] = []
        together = partial(self._together, names, done)
        try:
            self.transactions.run_any(together, commits=self._has_changes, by=self.by, dry_run=self.dry_run)
        except Exception:
            # It ended the transaction, so the changes before it are made once more, without it. After a failed COMMIT
            # there are none.
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
        # All rows in the order in which rows are locked, before the steps ask for them in another.
        work.users.lock_administrators()
        work.users.lock(filter(None, map(_parsed, names)))
        for name in names:
            done.append(self._attempted(name, work))  # noqa: PERF401 - a failure leaves what was done so far
        return done

    @staticmethod
    def _has_changes(done: list[Outcome[T]]) -> bool:
        return any(isinstance(outcome, Change) and outcome.changed for outcome in done)

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
