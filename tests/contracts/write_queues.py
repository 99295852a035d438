"""A queue of write-behind, and what only a test may do with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.contracts.cache_stores import HOUR, NOW, SECOND, Clock

from backctl.application.ports.write_behind import DeadUpdate, Taken, WriteQueue, WriterDepth
from backctl.domain.write_behind import QueuedValue, WriterId

SEEN = WriterId("seen", 1)
SCORE = WriterId("score", 1)
SCORE_2 = WriterId("score", 2)
MANY = 1_000_000


@dataclass
class Queued:
    """A queue, and what only a test may do with it."""

    queue: WriteQueue
    clock: Clock
    another: Callable[..., WriteQueue]
    """Opens the same server or file as another process would, or for another installation or namespace."""
    path: Path
    age: Callable[[WriteQueue, int], None]
    """Lets leases grow older by microseconds, where they do not follow the clock of the test."""

    def pass_time(self, microseconds: int) -> None:
        self.clock.now += microseconds
        self.age(self.queue, microseconds)

    def put(self, key: bytes, value: bytes = b"1", writer: WriterId = SEEN, *, limit: int = MANY) -> int:
        """Queue an update and return its position."""
        position = self.queue.put(writer, key, QueuedValue(value), limit=limit)
        assert position is not None
        return position

    def take(
        self,
        *writers: WriterId,
        worker: str = "w1",
        count: int = 100,
        lease: int = HOUR,
        queue: WriteQueue | None = None,
    ) -> list[Taken]:
        return (queue or self.queue).take(writers or [SEEN], worker=worker, count=count, lease_us=lease)

    def take_one(self, *writers: WriterId, worker: str = "w1", lease: int = HOUR) -> Taken:
        (taken,) = self.take(*writers, worker=worker, lease=lease)
        return taken

    def acknowledge(self, *taken: Taken) -> None:
        self.queue.acknowledge(taken, now=self.clock.now)

    def bury(self, taken: Taken, error: str = "no such column") -> None:
        self.queue.bury(taken, error, now=self.clock.now)

    def buried(self, key: bytes, value: bytes = b"1", writer: WriterId = SEEN) -> DeadUpdate:
        """Queue an update, give it up, and return what stands in the dead-letter list."""
        position = self.put(key, value, writer)
        (taken,) = [one for one in self.take(writer) if one.key == key]
        self.bury(taken)
        return next(dead for dead in self.queue.dead() if dead.id == str(position))

    def value(self, key: bytes, writer: WriterId = SEEN) -> bytes | None:
        found = self.queue.waiting(writer, key)
        return None if found is None else found.payload

    def depth(self, writer: WriterId = SEEN) -> WriterDepth:
        return next(
            (depth for depth in self.queue.depths() if depth.writer == writer), WriterDepth(writer, 0, None, 0, None)
        )

    def dead(self) -> list[tuple[bytes, str]]:
        return [(dead.key, dead.id) for dead in self.queue.dead()]


def keys(taken: Sequence[Taken]) -> list[bytes]:
    return [one.key for one in taken]


def values(taken: Sequence[Taken]) -> dict[bytes, bytes]:
    return {one.key: one.value.payload for one in taken}


__all__ = ["HOUR", "MANY", "NOW", "SCORE", "SCORE_2", "SECOND", "SEEN", "Clock", "Queued", "keys", "values"]
