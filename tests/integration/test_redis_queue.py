"""The write-behind queue on Redis servers of its own: persistence, failovers, memory, what it sends."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

import pytest
from tests.redis_servers import Cluster, RedisServer, WithSentinel, until
from tests.redis_stores import redis_servers

from backctl.application.ports.write_behind import Taken
from backctl.domain.errors import RedisUnavailable
from backctl.domain.write_behind import QueuedValue, WriterId
from backctl.infrastructure.redis.durability import QueueDurability
from backctl.infrastructure.redis.exchange import Call
from backctl.infrastructure.redis.queue import RedisQueue, waiting_key
from backctl.infrastructure.redis.topology import open_topology

WRITER = WriterId("seen", 1)
HOUR = 3_600_000_000
Start = Callable[..., RedisServer]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as cleanup:

        def started(settings: Mapping[str, str] | None = None) -> RedisServer:
            return cleanup.enter_context(closing(RedisServer(settings=settings or {})))

        yield started


def opened(url: str) -> RedisQueue:
    return RedisQueue(redis_servers(url, timeout_s=10), namespace="test", installation="inst-1")


def put(queue: RedisQueue, key: bytes, value: bytes = b"1") -> int:
    position = queue.put(WRITER, key, QueuedValue(value), limit=1_000_000)
    assert position is not None
    return position


def take(queue: RedisQueue, worker: str = "w1", count: int = 1000, lease: int = HOUR) -> list[Taken]:
    return queue.take([WRITER], worker=worker, count=count, lease_us=lease)


def keys(taken: Sequence[Taken]) -> list[bytes]:
    return [one.key for one in taken]


class Sent:
    """Counts the round trips of a queue, and their commands."""

    def __init__(self, queue: RedisQueue, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trips: list[list[str]] = []
        run = queue._servers.run

        def counted(calls: Sequence[Call]) -> list[Any]:
            self.trips.append([str(call.command[0]) for call in calls])
            return run(calls)

        monkeypatch.setattr(queue._servers, "run", counted)


def test_each_call_of_a_worker_and_of_a_service_is_one_round_trip(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = opened(start().url())
    for _ in range(2):
        for key in (b"a", b"b"):
            put(queue, key)
        taken = take(queue)
        queue.waiting([WRITER], b"a")
        queue.retry(taken[:1], after_us=0)
        queue.acknowledge(taken[1:], now=0)
        queue.acknowledge(take(queue), now=0)
        take(queue)
        sent = Sent(queue, monkeypatch)  # the second time, the server knows the scripts
    put(queue, b"a")
    put(queue, b"a")
    taken = take(queue)
    queue.waiting([WRITER], b"a")
    queue.retry(taken, after_us=0)
    queue.acknowledge(take(queue), now=0)
    take(queue)
    assert sent.trips == [["EVALSHA"]] * 8


def test_the_server_can_forget_the_scripts(start: Start) -> None:
    server = start()
    queue = opened(server.url())
    put(queue, b"a")
    server.ask("SCRIPT", "FLUSH")
    put(queue, b"b")
    server.ask("SCRIPT", "FLUSH")
    assert keys(take(queue)) == [b"a", b"b"]


def test_all_keys_are_in_one_slot_and_belong_to_the_installation(start: Start) -> None:
    server = start()
    queue = opened(server.url())
    for key in (b"a", b"b", b"{c}", b"d"):
        put(queue, key)
    first, second, *_ = take(queue)
    queue.bury(first, "failed", now=0)
    queue.retry([second], after_us=HOUR)
    queue.requeue(None)
    queue.bury(take(queue)[0], "failed", now=0)
    found = set(server.ask("KEYS", "*"))
    own = b"test:queue:{inst-1.queue}:"
    names = {b"waiting", b"writers", b"updates:seen@1", b"retries:seen@1", b"dead:seen@1"}
    assert found == {own + name for name in names}


def test_values_do_not_lengthen_the_stream(start: Start) -> None:
    server = start()
    queue = opened(server.url())
    for number in range(1000):
        put(queue, b"%d" % (number % 10), b"%d" % number)
    stream = "test:queue:{inst-1.queue}:updates:seen@1"
    assert server.ask("XLEN", stream) == 10
    queue.acknowledge(take(queue), now=0)
    assert server.ask("XLEN", stream) == 0
    assert server.ask("HLEN", "test:queue:{inst-1.queue}:waiting") == 1  # the state


def test_workers_that_are_gone_are_removed(start: Start) -> None:
    server = start()
    queue = opened(server.url())
    put(queue, b"a")
    put(queue, b"b")
    for number in range(5):
        take(queue, f"gone-{number}", count=1, lease=0)
    take(queue, "alive", lease=0)
    stream = "test:queue:{inst-1.queue}:updates:seen@1"
    assert {consumer["name"] for consumer in server.admin().xinfo_consumers(stream, "workers")} == {b"alive"}


def test_a_worker_that_has_updates_is_not_removed(start: Start) -> None:
    server = start()
    queue = opened(server.url())
    put(queue, b"a")
    put(queue, b"b")
    taken = take(queue, "slow", count=1)
    take(queue, "other")
    take(queue, "another", lease=HOUR)
    queue.retry(taken, after_us=0)
    assert keys(take(queue, "other")) == [b"a"]


def test_one_expired_update_is_found_among_thousands_that_are_not(start: Start) -> None:
    server = start()
    queue = opened(server.url())
    for number in range(3000):
        put(queue, b"%d" % number)
    taken = take(queue, count=3000)
    stream = "test:queue:{inst-1.queue}:updates:seen@1"
    last = f"{taken[-1].position}-0"
    queue._run(Call(b"", ("XCLAIM", stream, "workers", "w1", 0, last, "IDLE", 2 * HOUR // 1000, "JUSTID")))
    assert keys(take(queue, "w2")) == [b"2999"]
    assert take(queue, "w2") == []


def test_a_worker_keeps_what_it_has_taken_if_the_server_fails_in_between(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = opened(start().url())
    for number in range(300):
        put(queue, b"%d" % number)
    real = queue._taken

    def fails_later(*words: Any) -> tuple[int, list[Taken]]:
        monkeypatch.setattr(queue, "_taken", fail)
        return real(*words)

    def fail(*words: Any) -> tuple[int, list[Taken]]:
        raise RedisUnavailable("down")

    monkeypatch.setattr(queue, "_taken", fails_later)
    assert len(take(queue, count=300)) == 256
    with pytest.raises(RedisUnavailable):
        take(queue, count=300)


def test_a_server_without_memory_accepts_no_updates_but_can_be_drained(start: Start) -> None:
    server = start()
    queue = opened(server.url())
    for key in (b"a", b"b", b"c", b"d"):
        put(queue, key)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(RedisUnavailable, match="has no memory left"):
        put(queue, b"e")
    with pytest.raises(RedisUnavailable, match="has no memory left"):
        put(queue, b"a", b"2")
    a, b, c, _ = take(queue)
    assert queue.waiting([WRITER], b"a") == QueuedValue(b"1")
    assert queue.state().position == queue.state().position
    queue.acknowledge([a], now=0)
    queue.retry([b], after_us=0)
    queue.bury(c, "failed", now=0)
    assert [dead.key for dead in queue.dead()] == [b"c"]
    assert queue.drop(None) == 1
    queue.acknowledge(take(queue), now=0)
    assert queue.set_aside([WRITER], "unknown writer", now=0) == 1
    server.ask("CONFIG", "SET", "maxmemory", "0")
    put(queue, b"e")
    assert keys(take(queue)) == [b"e"]


def test_a_queue_that_lost_everything_has_a_new_identity(start: Start) -> None:
    server = start()
    queue = opened(server.url())
    last = put(queue, b"a")
    before = queue.state()
    server.kill()
    server.start()
    after = queue.state()
    assert after.identity != before.identity
    assert after.position == 0
    assert queue.waiting([WRITER], b"a") is None
    assert put(queue, b"a") > last
    assert len(take(queue)) == 1


def test_with_an_append_only_file_a_killed_server_loses_nothing(start: Start) -> None:
    server = start({"appendonly": "yes", "appendfsync": "always"})
    queue = opened(server.url())
    for key in (b"a", b"b", b"c"):
        put(queue, key)
    first = take(queue, count=1)
    queue.bury(take(queue, count=1)[0], "failed", now=0)
    before = queue.state()
    server.kill()
    server.start()
    until(lambda: server.ask("PING"), "a loaded server")
    assert queue.state() == before
    assert keys(take(queue, "w2")) == [b"c"]  # the lease of the first goes on
    assert [dead.key for dead in queue.dead()] == [b"b"]
    queue.acknowledge(first, now=0)
    assert queue.depths()[0].waiting == 1


def test_after_a_failover_of_a_sentinel_the_queue_goes_on() -> None:
    with closing(WithSentinel(down_after_ms=500)) as servers:
        queue = opened(servers.url())
        put(queue, b"a")
        put(queue, b"b")
        taken = take(queue, count=1)
        servers.primary.wait_for_replica("probe")
        before = queue.state()
        servers.fail_over()
        assert queue.state() == before
        assert keys(take(queue, "w2")) == [b"b"]
        queue.acknowledge(taken, now=0)
        assert put(queue, b"c") > before.position
        assert keys(take(queue, "w2")) == [b"c"]


def test_after_a_failover_of_a_cluster_the_queue_goes_on() -> None:
    with closing(Cluster(node_timeout_ms=1000)) as cluster:
        queue = opened(cluster.url())
        put(queue, b"a")
        put(queue, b"b")
        taken = take(queue, count=1)
        before, number = queue.state(), node_of(queue, cluster)
        cluster.nodes[number].wait_for_replica("{inst-1.queue}:probe")
        cluster.fail_over(number)
        assert queue.state() == before
        assert keys(take(queue, "w2")) == [b"b"]
        queue.acknowledge(taken, now=0)
        assert put(queue, b"c") > before.position
        assert [depth.waiting for depth in queue.depths()] == [2]


def node_of(queue: RedisQueue, cluster: Cluster) -> int:
    """Return the number of the primary that has the queue."""
    key = waiting_key("test", "inst-1")
    topology = open_topology(queue._servers._address, 10)
    try:
        port = topology.pool(key).connection_kwargs["port"]
    finally:
        topology.close()
    return [node.port for node in cluster.nodes].index(port)


AOF, FULL = {"appendonly": "yes"}, {"maxmemory": "1gb"}
FAILOVER = "; a replica that takes over may lack the last updates"


@pytest.mark.parametrize(
    ("settings", "status", "part"),
    [
        ({}, "warn", "the server saves nothing to disk: when it stops, it loses all queued updates"),
        ({"save": "3600 1"}, "warn", "a crash loses the updates that were queued since its last snapshot"),
        (AOF, "ok", "a power failure loses the updates of about one second (appendfsync everysec)"),
        ({**AOF, "appendfsync": "always"}, "ok", "each update is flushed to disk before it is accepted"),
        ({**AOF, "appendfsync": "no"}, "warn", "a power failure loses the updates of about half a minute"),
        ({**AOF, "rename-command": 'CONFIG ""'}, "ok", "it does not show how often it is flushed"),
        ({"rename-command": 'CONFIG ""'}, "warn", "since its last snapshot"),
        (
            {**AOF, "maxmemory": "1gb", "maxmemory-policy": "allkeys-lru"},
            "fail",
            "deletes queued updates (allkeys-lru)",
        ),
        ({**AOF, "maxmemory": "1gb", "maxmemory-policy": "volatile-lru"}, "ok", "about one second"),
        ({**AOF, "maxmemory-policy": "allkeys-lfu"}, "ok", "about one second"),
    ],
)
def test_doctor_says_what_can_be_lost(start: Start, settings: Mapping[str, str], status: str, part: str) -> None:
    found = durability(start(settings).url())
    assert (found.status, part in found.text) == (status, True), found
    assert (found.hint is None) == (status == "ok")
    assert "replica" not in found.text


def test_doctor_says_that_a_replica_may_lack_updates() -> None:
    with closing(WithSentinel()) as servers:
        servers.primary.ask("CONFIG", "SET", "appendonly", "yes")
        assert durability(servers.url()).text.endswith(FAILOVER)


def test_doctor_says_that_an_append_only_file_cannot_be_written(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = redis_servers(start().url())
    monkeypatch.setattr(servers, "run", lambda calls: [b"aof_enabled:1\r\naof_last_write_status:err\r\n"])
    found = QueueDurability(servers, b"a").finding()
    assert (found.status, "cannot write to its append-only file" in found.text) == ("warn", True)


def durability(url: str) -> Any:
    return QueueDurability(redis_servers(url, timeout_s=10), waiting_key("test", "inst-1")).finding()
