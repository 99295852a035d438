"""Write queued updates, and inspect, requeue and drop dead ones, for operators."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backctl.application.draining import BATCH_SIZE, Drain, Worker, never, no_progress
from backctl.application.guard import Guard, guarded
from backctl.application.views import Change, is_change
from backctl.application.write_behind_views import DeadUpdatesChanged, DeadUpdateView, DrainReport
from backctl.domain.errors import DeadUpdateNotFound
from backctl.domain.quoting import quoted
from backctl.domain.values import LATEST, Instant

if TYPE_CHECKING:
    from backctl.application.ports.write_behind import DeadUpdate, WriteQueue


@dataclass(frozen=True, slots=True)
class QueuedUpdates:
    """The updates of write-behind. Methods raise InstallationMissing, Unavailable and Unusable."""

    queue: "Callable[[], WriteQueue]"
    worker: Callable[[], Worker]
    guard: Guard

    def drain(
        self,
        *,
        follow: bool = False,
        batch_size: int = BATCH_SIZE,
        set_aside_unknown: bool = False,
        stop: Callable[[], bool] = never,
        progress: Callable[[int], object] = no_progress,
        dry_run: bool = False,
    ) -> Change[DrainReport]:
        """Write the updates that are due, or with `follow` all until `stop` returns True; see `Drain`.

        `set_aside_unknown` first moves the updates of unknown writers to the dead-letter list.
        """

        def attempt(dry_run: bool) -> Change[DrainReport]:
            drain = Drain(self.worker(), batch_size=batch_size, stop=stop, progress=progress)
            if dry_run:
                report = drain.report()
                changes = drain.pending() > 0 or (set_aside_unknown and bool(report.unknown_writers))
                return Change(report, changed=changes or follow)
            if set_aside_unknown:
                drain.set_aside_unknown()
            report = drain.follow() if follow else drain.run_once()
            return Change(report, changed=any((report.written, report.dead, report.set_aside)))

        return guarded(attempt, guard=self.guard, changes=is_change, dry_run=dry_run)

    def dead(self) -> Iterator[DeadUpdateView]:
        """Yield the dead-letter list, oldest first, in constant memory."""
        return map(_shown, self.queue().dead())

    def requeue(self, ids: Sequence[str] | None, *, dry_run: bool = False) -> Change[DeadUpdatesChanged]:
        """Let dead updates wait again; None for all. Raises DeadUpdateNotFound, with nothing changed."""
        return self._changed(ids, lambda queue: queue.requeue(ids), dry_run=dry_run)

    def drop(self, ids: Sequence[str] | None, *, dry_run: bool = False) -> Change[DeadUpdatesChanged]:
        """Remove dead updates, which are then never written; None for all. Raises DeadUpdateNotFound."""
        return self._changed(ids, lambda queue: queue.drop(ids), dry_run=dry_run)

    def _changed(
        self, ids: Sequence[str] | None, change: "Callable[[WriteQueue], int]", *, dry_run: bool
    ) -> Change[DeadUpdatesChanged]:
        def attempt(dry_run: bool) -> Change[DeadUpdatesChanged]:
            queue = self.queue()
            found = _found(queue.dead(), ids) if dry_run or ids is not None else 0
            number = found if dry_run else change(queue)
            return Change(DeadUpdatesChanged(number), changed=number > 0)

        return guarded(attempt, guard=self.guard, changes=is_change, dry_run=dry_run)


def _found(dead: "Iterator[DeadUpdate]", ids: Sequence[str] | None) -> int:
    """Return how many of the dead updates have these ids. Raises DeadUpdateNotFound if one does not exist."""
    if ids is None:
        return sum(1 for _ in dead)
    missing = dict.fromkeys(ids)
    number = len(missing)
    for update in dead:
        missing.pop(update.id, None)
        if not missing:
            return number
    for id_ in missing:
        raise DeadUpdateNotFound(f"there is no dead update {quoted(id_)}", hint="run '{backctl} cache dead list'")
    return number


def _shown(update: "DeadUpdate") -> DeadUpdateView:
    return DeadUpdateView(
        id=update.id,
        writer=str(update.writer),
        key=update.key.decode(errors="backslashreplace"),
        size_bytes=update.size,
        queued_at=_instant(update.queued_at),
        failed_at=_instant(update.failed_at),
        attempts=update.attempts,
        error=update.error,
    )


def _instant(time: int) -> Instant:
    """Return a time that can be shown: other programs can write to the queue."""
    return Instant(min(max(time, 0), LATEST))
