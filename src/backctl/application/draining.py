"""The worker of write-behind: takes updates from the queue and writes them to the database.

It acknowledges updates after their transaction is committed. If it is killed in between, another worker takes them
again, and the database knows by their positions that they were written.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from backctl.application.cache_values import decoded
from backctl.application.drain_turns import Turns
from backctl.application.write_behind import Writer, Writers, text_of
from backctl.application.write_behind_views import DrainReport
from backctl.domain.errors import (
    BackctlError,
    DatabaseFull,
    OutcomeUnknown,
    ResourcesExhausted,
    TransactionAborted,
    Unavailable,
    Unusable,
)
from backctl.domain.quoting import escaped, masked
from backctl.domain.write_behind import WriterId, retry_after

if TYPE_CHECKING:
    from backctl.application.ports.write_behind import Taken, UpdateTarget, WriteQueue, WriterDepth

BATCH_SIZE: Final = 1000
LEASE_US: Final = 60_000_000
"""How long others leave the updates to a worker that has taken them; longer than a batch takes."""
IDLE_S: Final = 1.0
"""How long to wait for more updates when few are left. Meanwhile, updates of the same key replace each other."""
_STEP_S: Final = 0.2
"""How often to check for `stop` while waiting, in seconds."""
_PAUSES_S: Final = (1.0, 30.0)
"""The first and the longest pause after the database or the queue failed."""
_TRIES: Final = 3
"""How often a transaction is tried that the database aborts, for example because of a deadlock."""
_KEEP_US: Final = 7 * 86_400_000_000
"""How long to remember which positions were written, at least: a copy of the queue that is put back may be that old."""
_KEEP_OTHERS_US: Final = 365 * 86_400_000_000
"""How long to remember the positions of other queues: of other machines, and of a queue that was lost."""
_FORGET_EVERY_US: Final = 3_600_000_000
_ERROR_LENGTH: Final = 300


class Worker(NamedTuple):
    """The dependencies and limits of a worker.

    `name` is unique among workers. `clock` returns microseconds since 1970. `pause` waits for seconds and `retrying`
    before the attempt with the given number. `warn` receives what operators should know. An update that has failed
    `attempts` times is moved to the dead-letter list.
    """

    queue: "WriteQueue"
    target: "UpdateTarget"
    writers: Writers
    name: str
    clock: Callable[[], int]
    pause: Callable[[float], object]
    retrying: Callable[[int], object]
    warn: Callable[[str], object]
    attempts: int


class _Batch(NamedTuple):
    """How many updates were taken, and how many of them were written or have failed. `is_full`: more can be due."""

    taken: int
    settled: int
    is_full: bool


class _NoAnswer(Exception):
    """A writer failed as if the database was not available, but it is."""

    def __init__(self, error: Unavailable | Unusable) -> None:
        super().__init__(error.message)
        self.error = error


class _Call:
    """A call of a writer, as a target makes it. `has_failed` tells whether the writer raised an error."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.has_failed = False

    def __call__(self, connection: Any, updates: "Sequence[Taken]") -> None:
        values = {text_of(update.key): decoded(update.value.payload, update.value.binary) for update in updates}
        self.has_failed = True
        self._writer.write(connection, values)
        self.has_failed = False


def never() -> bool:
    """A `stop` for a worker that goes on until its work is done."""
    return False


def no_progress(updates: int) -> None:
    """Ignore the progress."""


class Drain:
    """One run of a worker. Several can share a queue. Methods raise Unavailable, Unusable.

    `stop` is called before each batch and ends the run when it returns True. `progress` receives the size of each.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        batch_size: int = BATCH_SIZE,
        stop: Callable[[], bool] = never,
        progress: Callable[[int], object] = no_progress,
    ) -> None:
        self._worker = worker
        self._queue = worker.queue
        self._batch_size = batch_size
        self._turns = Turns(batch_size)
        self._stop = stop
        self._progress = progress
        self._counts: Counter[str] = Counter()
        self._forgotten_at = 0
        self._log = logging.getLogger("backctl.cache")

    def set_aside_unknown(self) -> None:
        """Move the updates of unknown writers to the dead-letter list."""
        unknown = [depth.writer for depth in self._queue.depths() if depth.waiting and not self._knows(depth.writer)]
        if unknown:
            error = "this writer was not registered"
            self._counts["set_aside"] += self._queue.set_aside(unknown, error, now=self._worker.clock())

    def run_once(self) -> DrainReport:
        """Write the updates that are due now, and return what was done. Failed updates are left for later.

        Ends even if updates are added faster than they are written.
        """
        left = self._waiting()
        while left > 0 and not self._stop():
            batch = self._batch(min(self._batch_size, left))
            if not batch.taken:
                break
            left -= batch.settled
        if not self._stop():
            with suppress(Unavailable):  # what is due was written; the next run forgets
                self._forget()
        return self.report()

    def follow(self) -> DrainReport:
        """Write updates until `stop` returns True. While the database or the queue fails, wait and try again.

        Raises Unusable only if it cannot begin.
        """
        pause = 0.0
        has_begun = False
        while not self._stop():
            try:
                batch = self._batch(self._batch_size)
                if not batch.is_full:
                    self._forget()
            except (Unavailable, Unusable) as error:
                if isinstance(error, Unusable) and not has_begun:
                    raise
                if not pause:
                    self._worker.warn(f"updates cannot be written, trying again: {error.message}")
                pause = min(2 * pause, _PAUSES_S[1]) or _PAUSES_S[0]
                self._wait(pause)
                continue
            if pause:
                self._worker.warn("updates can be written again")
            pause, has_begun = 0.0, True
            if not batch.is_full:
                self._wait(IDLE_S)
        return self.report()

    def report(self) -> DrainReport:
        """Return what was done so far, and what is left."""
        depths: Sequence[WriterDepth] | None = None
        with suppress(Unavailable, Unusable):
            depths = self._queue.depths()
        counts = self._counts
        return DrainReport(
            written=counts["written"],
            superseded=counts["superseded"],
            retried=counts["retried"],
            dead=counts["dead"],
            set_aside=counts["set_aside"],
            waiting=None if depths is None else sum(depth.waiting for depth in depths),
            unknown_writers=tuple(
                str(depth.writer) for depth in depths or () if depth.waiting and not self._knows(depth.writer)
            ),
        )

    def pending(self) -> int:
        """Return how many updates of known writers wait."""
        return self._waiting()

    def _knows(self, writer: WriterId) -> bool:
        return writer in self._worker.writers

    def _waiting(self) -> int:
        return sum(depth.waiting for depth in self._queue.depths() if self._knows(depth.writer))

    def _wait(self, seconds: float) -> None:
        while seconds > 0 and not self._stop():
            self._worker.pause(min(seconds, _STEP_S))
            seconds -= _STEP_S

    # One batch.

    def _batch(self, count: int) -> _Batch:
        """Take up to `count` updates and write them."""
        taken, wanted = self._taken(count)
        if not taken:
            return _Batch(0, 0, is_full=False)
        left = dict.fromkeys(taken)
        try:
            identity = self._identity()
            for writer, updates in _by_writer(taken).items():
                for done in self._written(identity, writer, updates):
                    left.pop(done)
            if left:
                self._queue.retry(list(left), after_us=0)
        except (Unavailable, Unusable):
            with suppress(Unavailable, Unusable):  # otherwise, they are due again when the lease ends
                self._queue.retry(list(left), after_us=0)
            raise
        settled = len(taken) - len(left)
        self._progress(settled)
        return _Batch(len(taken), settled, is_full=len(taken) >= wanted)

    def _taken(self, count: int) -> "tuple[list[Taken], int]":
        """Take updates of the writers whose turn it is; return them, and how many were wanted."""
        worker = self._worker
        for writers, size in self._turns.each(list(worker.writers)):
            wanted = min(count, size)
            taken = self._queue.take(writers, worker=worker.name, count=wanted, lease_us=LEASE_US)
            if taken:
                return taken, wanted
        return [], count

    def _identity(self) -> str:
        """Return the identity of the queue. Call it after `take`, whose updates then belong to it.

        If the queue has lost positions that were written, it goes on after them, so that no later update is taken for
        one that was written. Older updates that are back in it are not written over newer ones.
        """
        state = self._queue.state()
        while True:
            written = self._worker.target.position(state.identity)  # before the state: other workers go on writing
            before, state = state, self._queue.state()
            if state.identity != before.identity:
                continue
            if state.position < written:
                self._queue.advance(written)
                self._worker.warn(
                    "the write-behind queue has lost its last updates, for example in a failover or because an older "
                    "copy was restored; those that were not written are lost, and later ones are not affected"
                )
            return state.identity

    def _written(self, identity: str, ident: WriterId, updates: "Sequence[Taken]") -> "Iterator[Taken]":
        """Write updates of one writer; yield each that was acknowledged or has failed.

        Divides updates of which one fails, until it is alone or this worker is stopped. If the writer gets no answer
        for several, leaves the rest to smaller batches: each call may take so long that the lease would end.
        """
        failures: Counter[str] = Counter()
        parts, is_divided = [part for part in _by_attempts(updates) if part], False
        while parts and not (is_divided and self._stop()):
            part = parts.pop()
            try:
                written = self._applied(identity, ident, part)
            except (Unavailable, Unusable, MemoryError):
                raise
            except _NoAnswer as found:
                if len(part) > 1:
                    if self._turns.slow_down(ident, len(part)):
                        self._worker.warn(f"updates of {ident} are written in smaller batches: {found.error.message}")
                    break
                self._failed(part[0], found.error)
                failures[type(found.error).__name__] += 1
            except Exception as error:
                if len(part) > 1:
                    is_divided = True
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
                    continue
                self._failed(part[0], error)
                failures[type(error).__name__] += 1
            else:
                self._counts["written"] += written
                self._counts["superseded"] += len(part) - written
                self._queue.acknowledge(part, now=self._worker.clock())
                self._turns.speed_up(ident)
            yield from part
        for kind, number in failures.items():  # without messages, which can contain personal data
            self._worker.warn(f"updates of {ident} were not written: {number} with {kind}")

    def _applied(self, identity: str, ident: WriterId, updates: "Sequence[Taken]") -> int:
        """Write updates in one transaction; return how many were not yet written.

        Raises _NoAnswer if the writer failed although the database is available.
        """
        target, number = self._worker.target, 1
        while True:
            call = _Call(self._worker.writers[ident])
            try:
                return target.apply(identity, ident.name, updates, call, now=self._worker.clock())
            except (Unavailable, Unusable) as error:
                number += 1
                if number <= _TRIES and isinstance(error, TransactionAborted | OutcomeUnknown):
                    self._worker.retrying(number)
                elif call.has_failed and not isinstance(error, DatabaseFull | ResourcesExhausted):
                    target.position(identity)  # raises if the database is not available
                    raise _NoAnswer(error) from error
                else:
                    raise

    def _failed(self, update: "Taken", error: Exception) -> None:
        """Let an update wait for its next attempt, or give it up after the last one."""
        attempts = update.attempts + 1
        if attempts < self._worker.attempts:
            self._queue.retry([update], after_us=retry_after(attempts))
            self._counts["retried"] += 1
        else:
            self._queue.bury(update, _described(error), now=self._worker.clock())
            self._counts["dead"] += 1

    # Positions that are no longer needed.

    def _forget(self) -> None:
        """Forget, every hour, positions that no update in the queue can have any more."""
        now = self._worker.clock()
        if now < self._forgotten_at + _FORGET_EVERY_US:
            return
        self._forgotten_at = now
        depths = self._queue.depths()
        if not depths:  # a queue that was never used has no identity
            return
        identity = self._queue.state().identity
        oldest = [depth.oldest_at for depth in depths if depth.oldest_at is not None]
        first = min((now, *oldest, *(dead.queued_at for dead in self._queue.dead())))
        forget = partial(
            self._worker.target.forget,
            identity,
            written_before=first - _KEEP_US,
            others_before=now - _KEEP_OTHERS_US,
        )
        while not self._stop() and forget():
            pass


def _by_writer(taken: "Iterable[Taken]") -> "Mapping[WriterId, list[Taken]]":
    found: dict[WriterId, list[Taken]] = {}
    for update in taken:
        found.setdefault(update.writer, []).append(update)
    return found


def _by_attempts(updates: "Sequence[Taken]") -> "tuple[list[Taken], list[Taken]]":
    """Return the updates that have failed before, and the others."""
    return [one for one in updates if one.attempts], [one for one in updates if not one.attempts]


def _described(error: Exception) -> str:
    """Return the error for the dead-letter list: its type and the first line of its message."""
    if isinstance(error, BackctlError):
        return escaped(masked(error.message)[:_ERROR_LENGTH])
    first, *_ = str(error).splitlines() or [""]
    name = type(error).__name__
    return escaped(masked(f"{name}: {first}" if first else name)[:_ERROR_LENGTH])
