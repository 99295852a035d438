"""The `doctor` checks of the write-behind queue."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final

from backctl.application.ports.write_behind import WriteQueue, WriterDepth
from backctl.domain.errors import BackctlError, ResourcesExhausted
from backctl.infrastructure.probes import Finding, Probe, ok, warn

_OLDEST_US: Final = 300_000_000
"""How long updates may wait while workers run."""


class QueueHealth:
    """Examines a queue.

    `limit` is how many updates can wait; `clock` returns microseconds. `durability` tells which updates can be lost.
    """

    def __init__(
        self,
        queue: WriteQueue,
        *,
        limit: int,
        clock: Callable[[], int],
        durability: Callable[[], Finding],
    ) -> None:
        self._queue = queue
        self._limit = limit
        self._clock = clock
        self._durability = durability

    def probes(self) -> tuple[Probe, ...]:
        """Return the checks; none if the queue was never used."""
        try:
            if not self._depths:
                return ()
        except ResourcesExhausted:
            raise
        except BackctlError:
            return (Probe("queue.depth", self._depth),)  # which reports it
        checks = {"queue.depth": self._depth, "queue.dead": self._dead, "queue.durability": self._durability}
        return tuple(Probe(name, check) for name, check in checks.items())

    @cached_property
    def _depths(self) -> Sequence[WriterDepth]:
        return self._queue.depths()

    def _depth(self) -> Finding:
        waiting = sum(depth.waiting for depth in self._depths)
        now = self._clock()
        ages = {depth.writer: max(0, now - depth.oldest_at) for depth in self._depths if depth.oldest_at is not None}
        age = max(ages.values(), default=0)
        if age > _OLDEST_US:
            late = [depth for depth in self._depths if ages.get(depth.writer, 0) > _OLDEST_US]
            text = f"updates have waited for {age // 60_000_000} min: {_named(late, 'waiting')}"
        elif waiting * 2 > self._limit:
            text = f"{waiting} updates wait, and {self._limit} is the limit: {_named(self._depths, 'waiting')}"
        else:
            return ok(f"waiting updates: {waiting}")
        return warn(text, "keep '{backctl} cache drain --follow' running, with --register for the writers of a service")

    def _dead(self) -> Finding:
        if not any(depth.dead for depth in self._depths):
            return ok("there are no dead updates")
        return warn(
            f"updates failed too often and are dead: {_named(self._depths, 'dead')}",
            "run '{backctl} cache dead list' to see why, then requeue or drop them",
        )


def _named(depths: Sequence[WriterDepth], number: str) -> str:
    """Return the writers with their numbers of updates, without those that have none."""
    return ", ".join(f"{getattr(depth, number)} of {depth.writer}" for depth in depths if getattr(depth, number))


def left_behind(queue: WriteQueue, file: str) -> Probe:
    """Return the check of a queue in a file that is not used any more."""

    def look() -> Finding:
        depths = queue.depths()
        if not any(depth.waiting for depth in depths):
            return ok(f"no updates wait in {file}, which is not used while redis.url is set")
        return warn(
            f"updates wait in {file}, which is not used while redis.url is set: {_named(depths, 'waiting')}",
            "they may be older than what was written since; run '{backctl} cache drain' without redis.url, "
            "or move the file away",
        )

    return Probe("queue.unused", look)
