"""A queue of write-behind, and what only a test may do with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.contracts.cache_stores import HOUR, NOW, SECOND, Clock

from backctl.application.ports.write_behind import DeadUpdate, Taken, WriteQueue, WriterDepth
from backctl.domain.write_behind import QueuedValue, WriterId
from backctl.infrastructure.redis.connection import RedisServers
from backctl.infrastructure.redis.exchange import Call, Word
from backctl.infrastructure.redis.queue import RedisQueue, script
from backctl.infrastructure.redis.scripts import Script

SEEN = WriterId("seen", 1)
SCORE = WriterId("score", 1)
SCORE_2 = WriterId("score", 2)
MANY = 1_000_000


class QueueAtClock(RedisQueue):
    """A queue on Redis whose scripts contain the time of the test."""

    def __init__(self, servers: RedisServers, *, namespace: str, installation: str, clock: Clock) -> None:
        super().__init__(servers, namespace=namespace, installation=installation)
        self._test_clock = clock

    def command(self, *words: Word) -> Any:
        """Execute a command of Redis at the node of the queue."""
        return self._run(Call(self._waiting_key, words))

    def stream(self, writer: WriterId) -> bytes:
        return self._line(writer).stream

    def age_leases(self, microseconds: int) -> None:
        """Make pending entries older, because the server measures leases with its own clock."""
        for stream in [line.stream for line in self._lines.values()]:
            if self.command("TYPE", stream) != b"stream" or not self.command("XINFO", "GROUPS", stream):
                continue
            for entry, worker, idle, _ in self.command("XPENDING", stream, "workers", "-", "+", MANY):
                ended = idle + microseconds // 1000
                self.command("XCLAIM", stream, "workers", worker, 0, entry, "IDLE", ended, "JUSTID")

    def _script(self, name: str) -> Script:
        return script(name, f"local function now() return {self._test_clock.now} end")


@dataclass
class Queued:
    """A queue, and what only a test may do with it."""

    queue: WriteQueue
    clock: Clock
    another: Callable[..., WriteQueue]
    """Opens the same server or file as another process would, or for another installation or namespace."""
    path: Path

    @property
    def redis(self) -> "QueueAtClock | None":
        return self.queue if isinstance(self.queue, QueueAtClock) else None

    def pass_time(self, microseconds: int, queue: WriteQueue | None = None) -> None:
        self.clock.now += microseconds
        queue = queue or self.queue
        if isinstance(queue, QueueAtClock):
            queue.age_leases(microseconds)

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
        found = self.queue.waiting([writer], key)
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
