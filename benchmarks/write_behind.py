"""The queue of write-behind compared with a bare XADD of redis-py, and on an SQLite file with a plain INSERT."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count

from tests.redis_servers import RedisServer, client

from backctl.application.ports.write_behind import WriteQueue
from backctl.domain.write_behind import QueuedValue, WriterId
from backctl.infrastructure.redis.address import parse_address
from backctl.infrastructure.redis.connection import RedisServers
from backctl.infrastructure.redis.queue import RedisQueue
from backctl.infrastructure.sqlite.queue import SqliteQueue
from benchmarks.calls import Call, interleaved_calls
from benchmarks.report import Comparison, section
from benchmarks.sandbox import Sandbox

_SEEN = WriterId("seen", 1)
_KEYS = 1000
_LIMIT = 10_000_000
_VALUE = QueuedValue(b"1795000000000000")
_NEW, _REPLACED, _XADD = "put, new keys", "put, 1,000 keys", "redis-py, XADD"
_INSERT = "sqlite3, INSERT, flushed"


def queueing(sandbox: Sandbox, rounds: int) -> str:
    """One update in a service: of a key that nothing waits for, and of one of 1,000 keys."""
    with closing(RedisServer()) as server, closing(client(server.port)) as plain:
        queue = RedisQueue(
            RedisServers(
                parse_address(server.url()), label="redis", timeout_s=10, monotonic=time.monotonic, pause=time.sleep
            ),
            namespace="bench",
            installation="bench",
        )

        numbers = count()

        def xadd() -> bool:
            return bool(plain.xadd("plain", {"key": b"user:%d" % next(numbers), "value": _VALUE.payload}))

        calls = [*_puts(queue), Call(_XADD, xadd)]
        comparisons = [Comparison(_NEW, _XADD, 1.3), Comparison(_REPLACED, _XADD, 1.3)]
        on_redis = section(
            "An update queued on Redis",
            interleaved_calls(calls, rounds, seconds=0.1),
            comparisons,
            (),
            what="call",
            unit="µs",
        )
        queue.close()
    return on_redis + "\n" + _in_a_file(sandbox, rounds)


def _in_a_file(sandbox: Sandbox, rounds: int) -> str:
    path, plain = sandbox.root / "queue.db", sandbox.root / "plain.db"
    queue = SqliteQueue(path, installation="bench", timeout_us=10_000_000, clock=lambda: time.time_ns() // 1000)
    with closing(sqlite3.connect(plain, isolation_level=None)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE u (k, v);")

        def insert() -> bool:
            return connection.execute("INSERT INTO u VALUES (?, ?)", ("user:1", _VALUE.payload)).rowcount == 1

        timings = interleaved_calls([*_puts(queue), Call(_INSERT, insert)], rounds, seconds=0.1)
    queue.close()
    comparisons = [Comparison(_NEW, _INSERT), Comparison(_REPLACED, _INSERT)]
    return section("An update queued in a file", timings, comparisons, (), what="call", unit="µs")


def _puts(queue: WriteQueue) -> list[Call]:
    numbers = count()

    def put(key: Callable[[int], int]) -> bool:
        return queue.put(_SEEN, b"user:%d" % key(next(numbers)), _VALUE, limit=_LIMIT) is not None

    return [
        Call(_NEW, lambda: put(lambda number: _KEYS + number)),
        Call(_REPLACED, lambda: put(lambda number: number % _KEYS)),
    ]
