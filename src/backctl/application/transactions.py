"""Running steps: each in a transaction of its own, or many that share one.

A step works on an open unit of work and leaves the beginning and the end of it to the runner here. So a change has one
implementation, whether it is made alone or as one of a million. Import and apply compose the same steps.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from backctl.application.attribution import Attribution
from backctl.application.repeating import repeated
from backctl.application.views import Change
from backctl.domain.errors import BackctlError, Unavailable, Unusable
from backctl.domain.values import Identity

if TYPE_CHECKING:
    from backctl.application.ports import UnitOfWork, UnitOfWorkFactory

T = TypeVar("T")

BATCH_SIZE = 50
"""Steps that share a transaction. More would gain little: the COMMIT is no longer what takes the time, and other
writers wait. PostgreSQL keeps 64 subtransactions of a transaction in memory, and here every step is one."""

Step = Callable[["UnitOfWork"], Change[T]]
"""Makes one change and says what it left behind; ends with `work.write()` where that shows a version."""

StepOn = Callable[[Identity, "UnitOfWork"], Change[T]]
"""The same for any account."""

Outcome = Change[T] | BackctlError
"""What became of one of many: the change, or why it could not be made."""


def _nothing() -> None:
    """There is nothing to wait for."""


@dataclass(frozen=True, slots=True)
class Transactions:
    """Runs steps. `pause` waits a little before the try of that number, from 2 on."""

    begin: "UnitOfWorkFactory"
    pause: Callable[[int], None]

    def run(
        self,
        step: Step[T],
        *,
        by: Attribution,
        dry_run: bool,
        creates: bool = False,
        prepare: Callable[[], object] = _nothing,
    ) -> Change[T]:
        """Make one change in a transaction of its own, which commits when the step has changed something.

        A transaction that the database gave up is run again, three times at most. `prepare` is called before each, when
        all that it needs is loaded: whatever is slow belongs there, for others wait for the locks of a step. `creates`
        is the unit of work's. Raises what the step and the unit of work raise.
        """

        def once() -> Change[T]:
            work = self.begin(by=by, dry_run=dry_run, creates=creates)
            prepare()
            with work:
                change = step(work)
                if change.changed:
                    work.commit()
            return change

        return repeated(once, self.pause)

    def run_each(
        self,
        idents: Iterable[str],
        step: StepOn[T],
        *,
        by: Attribution,
        dry_run: bool,
        stop: Callable[[], bool],
    ) -> Iterator[Outcome[T]]:
        """Make a change of each account, in order and as if one after the other; a failed one undoes itself alone.

        Lazy: nothing is done until the outcomes are asked for. Each comes when its change is durable. Several share a
        transaction, and `stop` is asked before each of those. Raises Unavailable, Unusable and what is no
        BackctlError; every outcome that came before stays, and of the others nothing was changed.
        """
        source = iter(idents)
        batches = _Batches(self, step, by, dry_run)
        while not stop() and (names := list(islice(source, BATCH_SIZE))):
            yield from batches.outcomes(names)


@dataclass(frozen=True, slots=True)
class _Batches(Generic[T]):
    """How the batches of one run are made."""

    transactions: Transactions
    step: StepOn[T]
    by: Attribution
    dry_run: bool

    def outcomes(self, names: Sequence[str]) -> Iterator[Outcome[T]]:
        """Of those who share one transaction."""
        if len(names) == 1:
            yield self._alone(names[0])
            return
        done: list[Outcome[T]] = []
        try:
            repeated(lambda: self._together(names, done), self.transactions.pause)
        except Exception:
            # It ended the transaction, so those before it are made once more, without it. A failed COMMIT has nobody
            # before it.
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

    def _together(self, names: Sequence[str], done: list[Outcome[T]]) -> None:
        done.clear()
        with self.transactions.begin(by=self.by, dry_run=self.dry_run) as work:
            # All rows in the one order in which rows are locked, before the steps find them in another.
            work.users.lock_administrators()
            work.users.lock(filter(None, map(_parsed, names)))
            for name in names:
                done.append(self._attempted(name, work))  # noqa: PERF401 - it shows how far this came
            if any(isinstance(outcome, Change) and outcome.changed for outcome in done):
                work.commit()

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
