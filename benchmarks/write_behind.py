"""The queue of write-behind compared with a bare XADD of redis-py, and on an SQLite file with a plain INSERT.

Also counts the SQL statements that it takes to write the updates of a queue.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import count

from sqlalchemy import Connection, Engine, event, text
from tests.redis_servers import RedisServer, client

from backctl import open_backend
from backctl.application.ports.write_behind import WriteQueue
from backctl.domain.write_behind import QueuedValue, WriterId
from backctl.infrastructure.redis.address import parse_address
from backctl.infrastructure.redis.connection import RedisServers
from backctl.infrastructure.redis.queue import RedisQueue
from backctl.infrastructure.sqlite.queue import SqliteQueue
from benchmarks.calls import Call, interleaved_calls
from benchmarks.measure import Broken
from benchmarks.report import Comparison, Figure, section
from benchmarks.sandbox import Sandbox
from benchmarks.seeding import Account

_SEEN = WriterId("seen", 1)
_KEYS = 1000
_LIMIT = 10_000_000
_VALUE = QueuedValue(b"1795000000000000")
_NEW, _REPLACED, _XADD = "put, new keys", "put, 1,000 keys", "redis-py, XADD"
_INSERT = "sqlite3, INSERT, flushed"
_UPDATES = 100_000
_SHARE = 0.02
"""The part of the statements of writing each update that write-behind may take."""


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


def writing(sandbox: Sandbox, rounds: int) -> str:
    """100,000 updates of 1,000 keys: the statements of a writer with one statement for each value, and of `last_seen`.

    A worker writes them at the end, or all the time while they are queued.
    """
    settings = sandbox.installation("behind", _KEYS).settings()
    with closing(RedisServer()) as server:
        environment = settings | {"BACKCTL_REDIS_URL": server.url()}
        figures = [
            _statements(environment, "at the end, one statement for each value", _one_by_one, follow=False, bound=True),
            _statements(environment, "at the end, last_seen", None, follow=False, bound=True),
            _statements(environment, "meanwhile, one statement for each value", _one_by_one, follow=True, bound=False),
            _statements(environment, "meanwhile, last_seen", None, follow=True, bound=True),
        ]
    return section(f"{_UPDATES:,} updates of {_KEYS:,} keys written behind", {}, (), figures)


def _one_by_one(connection: Connection, updates: Mapping[str, object]) -> None:
    """Write in the simplest way."""
    connection.execute(text("CREATE TABLE IF NOT EXISTS plain (k text PRIMARY KEY, v bigint)"))
    for key, value in updates.items():
        connection.execute(
            text("INSERT INTO plain VALUES (:k, :v) ON CONFLICT (k) DO UPDATE SET v = excluded.v"),
            {"k": key, "v": value},
        )


def _statements(
    environment: dict[str, str],
    name: str,
    write: Callable[[Connection, Mapping[str, object]], None] | None,
    *,
    follow: bool,
    bound: bool,
) -> Figure:
    """Queue the updates and write them; return how many statements that took. `write` is None for `last_seen`."""
    ended = threading.Event()
    with open_backend(environ=environment) as backend, _counted() as statements:
        cache, writer = backend.cache, "last_seen" if write is None else "plain"
        if write is not None:
            cache.register_writer(writer, write, cached=False)
        keys = [f"user:{Account(number).id}" for number in range(_KEYS)]
        written: list[int] = []

        def work() -> None:
            written.append(cache.drain(follow=True, stop=ended.is_set).written)

        worker = threading.Thread(target=work)
        if follow:
            worker.start()
        began = time.time_ns() // 1000
        for number in range(_UPDATES):
            cache.write_behind(writer, keys[number % _KEYS], began + number)
        if follow:
            ended.set()
            worker.join()
        written.append(cache.drain().written)
        if sum(written) < _KEYS or cache.drain().waiting:
            raise Broken(f"{name}: {sum(written)} updates were written")
    share = statements[0] / _UPDATES
    value = f"{statements[0]:,} statements, {share:.2%} of {_UPDATES:,}; {sum(written):,} updates written"
    return Figure(name, value, f"at most {_SHARE:.0%}" if bound else "", share <= _SHARE if bound else None)


@contextmanager
def _counted() -> Iterator[list[int]]:
    """Count the statements of all engines, each row of a statement with many rows of values."""
    counted = [0]

    def count_it(_c: object, _u: object, _s: str, parameters: list[object], _x: object, executemany: bool) -> None:
        counted[0] += len(parameters) if executemany else 1

    event.listen(Engine, "before_cursor_execute", count_it)
    try:
        yield counted
    finally:
        event.remove(Engine, "before_cursor_execute", count_it)
