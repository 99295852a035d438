"""Keys of a queue on Redis with content that another program has written, or has removed."""

from collections.abc import Sequence

import pytest
from tests.contracts.write_queues import HOUR, MANY, SCORE, SECOND, SEEN, QueueAtClock, Queued
from tests.redis_stores import ON_REDIS

from backctl.application.ports.write_behind import Taken
from backctl.domain.write_behind import QueuedValue

only_redis = pytest.mark.parametrize("queued", ON_REDIS, indirect=True)
KINDS = ("waiting", "updates", "retries", "moved", "dead", "writers")
CONTENTS: dict[str, Sequence[bytes | str]] = {
    "list": ("RPUSH", "x", "y"),
    "empty": ("SET", ""),
    "long": ("SET", b"x" * 1000),
    "hash": ("HSET", "x", "1", "seen@1:x", "1"),
    "set": ("ZADD", "1", "x", "2", b"\0" * 60, "3", "1-1", "4", "9" * 30 + "-1"),
    "stream": ("XADD", "*", "x", "y"),
    "last": ("XADD", f"{2**64 - 1}-{2**64 - 1}", "x", "y"),
    "nothing": (),
}


def on_redis(queued: Queued) -> QueueAtClock:
    assert queued.redis is not None
    return queued.redis


def name_of(queue: QueueAtClock, kind: str) -> bytes:
    return queue._prefix + kind.encode() + (b"" if kind in ("waiting", "writers") else b":seen@1")


def damage(queue: QueueAtClock, kind: str, content: str) -> None:
    """Replace a key."""
    name = name_of(queue, kind)
    queue.command("DEL", name)
    if CONTENTS[content]:
        command, *words = CONTENTS[content]
        queue.command(command, name, *words)


def fill(queued: Queued) -> None:
    """Queue `a`, which is to be retried, `b`, which a worker has, `c`, `d`, which has waited before, and dead ones."""
    queued.buried(b"d")
    queued.put(b"a")
    queued.put(b"b")
    queued.queue.retry(queued.take(count=1), after_us=SECOND)
    assert len(queued.take(count=1)) == 1
    queued.put(b"c")
    queued.queue.requeue(None)
    queued.buried(b"e", writer=SEEN)


def everything(queued: Queued) -> list[Taken]:
    """Take and acknowledge all updates, when all leases have ended."""
    queued.pass_time(2 * HOUR)
    found: list[Taken] = []
    while taken := queued.take(SEEN, SCORE):
        found += taken
        queued.acknowledge(*taken)
        assert len(found) < 100
    return found


def require_working(queued: Queued) -> None:
    """Fail unless the queue works as if it was new."""
    queue = queued.queue
    position = queued.put(b"f", b"2")
    assert queue.state().position == position
    assert queued.value(b"f") == b"2"
    taken = [one for one in queued.take() if one.key == b"f"]
    queue.retry(taken, after_us=SECOND)
    queued.pass_time(SECOND)
    (again,) = [one for one in queued.take() if one.key == b"f"]
    assert again.attempts == 1
    queued.bury(again)
    assert (b"f", again.position) in [(key, int(number)) for key, number in queued.dead()]
    assert queue.requeue([str(again.position)]) == 1
    assert queue.set_aside([SEEN], "unknown writer", now=queued.clock.now) >= 1
    queue.drop(None)
    assert [depth.waiting for depth in queue.depths() if depth.writer == SEEN] == [0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", CONTENTS)
@only_redis
def test_a_key_with_other_content_stops_nobody_and_loses_nothing_else(queued: Queued, kind: str, content: str) -> None:
    fill(queued)
    damage(on_redis(queued), kind, content)
    queued.value(b"a")
    queued.queue.depths()
    list(queued.queue.dead())
    assert queued.queue.state().position >= 0
    found = everything(queued)
    assert {one.key for one in found} == (set() if kind == "waiting" else {b"a", b"b", b"c", b"d"})
    if kind == "dead":
        assert b"e" not in [key for key, _ in queued.dead()]
    elif kind not in ("waiting", "writers"):
        assert [key for key, _ in queued.dead()] == [b"e"]
    require_working(queued)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("queued", ["redis", "cluster"], indirect=True)
@pytest.mark.parametrize("action", ["put", "replace", "acknowledge", "retry", "bury", "requeue", "drop", "set_aside"])
def test_any_call_finds_other_content_first(queued: Queued, kind: str, content: str, action: str) -> None:
    fill(queued)
    queued.pass_time(2 * HOUR)
    taken = queued.take(count=2)
    damage(on_redis(queued), kind, content)
    match action:
        case "put":
            queued.put(b"new")
        case "replace":
            queued.put(b"a", b"2")
        case "acknowledge":
            queued.acknowledge(*taken)
        case "retry":
            queued.queue.retry(taken, after_us=SECOND)
        case "bury":
            queued.bury(taken[0])
        case "requeue":
            queued.queue.requeue(None)
        case "drop":
            queued.queue.drop(None)
        case _:
            queued.queue.set_aside([SEEN], "unknown writer", now=queued.clock.now)
    everything(queued)
    require_working(queued)


GARBAGE = [b"", b"x", b"\1" * 52, b"\1" + b"\xff" * 60, b"\2" + b"\0" * 60, b"x" * 1000]


@pytest.mark.parametrize("value", GARBAGE)
@only_redis
def test_a_value_that_nobody_wrote_is_removed(queued: Queued, value: bytes) -> None:
    queue = on_redis(queued)
    queued.put(b"a")
    queued.put(b"b")
    for field in ("seen@1:a", "seen@1:x", "seen@01:a", "x", ":", "unknown:1", b"\xff:\xff"):
        queue.command("HSET", queue._waiting_key, field, value)
    assert queued.value(b"a") is None
    queued.put(b"c")
    assert [one.key for one in everything(queued)] == [b"b", b"c"]
    assert queue.command("HLEN", queue._waiting_key) == 1
    queued.put(b"a", b"2", limit=1)
    assert queued.take_one().value.payload == b"2"


@pytest.mark.parametrize("state", [*GARBAGE, b"x" * 40, b"0" * 32 + b"\xff" * 8, b"0" * 32 + b"\0\x20" + b"\0" * 6])
@only_redis
def test_a_damaged_state_becomes_a_new_queue(queued: Queued, state: bytes) -> None:
    """With a new identity, no update is taken for one that was written."""
    queue, before = on_redis(queued), queued.put(b"a")
    queued.clock.now -= HOUR
    queue.command("HSET", queue._waiting_key, "state", state)
    position = queued.put(b"a", b"2")
    assert position > before
    found = queued.queue.state()
    assert found.position in (0, position)
    assert len(found.identity) == 32
    assert queued.put(b"b") >= queued.clock.now
    assert len(everything(queued)) == 2


@only_redis
def test_a_group_or_a_worker_that_is_deleted_loses_nothing(queued: Queued) -> None:
    queue = on_redis(queued)
    stream = queue.stream(SEEN)
    for command in (
        ("DESTROY", stream, "workers"),
        ("DELCONSUMER", stream, "workers", "w1"),
        ("SETID", stream, "workers", "0"),
        ("SETID", stream, "workers", "$"),
    ):
        fill(queued)
        queue.command("XGROUP", *command)
        assert {one.key for one in everything(queued)} == {b"a", b"b", b"c", b"d"}
        queue.drop(None)


@only_redis
def test_entries_of_other_programs_are_removed(queued: Queued) -> None:
    queue = on_redis(queued)
    for key in (b"a", b"b"):
        queued.put(key)
    queued.put(b"a", writer=SCORE)
    queue.command("XADD", queue.stream(SEEN), "*", "field", "score@1:a")
    queue.command("XADD", queue.stream(SEEN), "*", "x", "seen@1:a", "y", "z")
    queue.command("XADD", queue.stream(SEEN), "*", "x", "")
    assert [(one.writer, one.key) for one in everything(queued)] == [(SEEN, b"a"), (SEEN, b"b"), (SCORE, b"a")]
    assert [depth.waiting for depth in queue.depths()] == [0, 0]
    queue.command("XADD", queue.stream(SEEN), "*", "field", "score@1:a")
    queued.put(b"a", writer=SCORE)
    assert queue.set_aside([SEEN], "unknown writer", now=queued.clock.now) == 0
    assert queued.take_one(SCORE).key == b"a"


@only_redis
def test_a_writer_that_was_forgotten_is_found_again(queued: Queued) -> None:
    queue = on_redis(queued)
    queued.put(b"a")
    queue.command("DEL", queue._writers_key)
    queue.command("HSET", queue._writers_key, "seen@1", "x", "x", "1", "score@0", "1", b"\xff", "1")
    assert queue.depths() == [(SEEN, 1, queued.clock.now, 0, None)]
    queue.command("DEL", queue._writers_key)
    assert queue.depths() == []
    queue.retry(queued.take(), after_us=HOUR)
    assert queued.take() == []
    assert [depth.writer for depth in queue.depths()] == [SEEN]


@only_redis
def test_a_failover_that_lost_updates_leaves_a_queue_that_works(queued: Queued) -> None:
    """The stream has an entry that the hash does not know, and the other way round."""
    queue = on_redis(queued)
    queued.put(b"a")
    queued.put(b"b")
    state = queue.command("HGET", queue._waiting_key, "state")
    later = queued.put(b"c")
    queue.command("HDEL", queue._waiting_key, "seen@1:c")
    queue.command("HSET", queue._waiting_key, "state", state)
    queue.command("XDEL", queue.stream(SEEN), f"{later - 2}-0")
    queued.clock.now -= HOUR
    again = queue.put(SEEN, b"d", QueuedValue(b"1"), limit=MANY)
    assert again == later  # as if nothing had happened
    assert sorted(one.key for one in everything(queued)) == [b"a", b"b", b"d"]
