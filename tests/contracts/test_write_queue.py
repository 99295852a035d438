"""One suite for every queue of write-behind: queueing, taking, acknowledging."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.contracts.write_queues import HOUR, MANY, NOW, SCORE, SCORE_2, SECOND, SEEN, Queued, keys, values

from backctl.application.ports.write_behind import Taken
from backctl.domain.write_behind import UPDATE_MAX, QueuedValue

HOSTILE = [
    b"user:1",
    b"a",
    b"A",
    b"a:b",
    b"@1",
    b":",
    b"{x}",
    b"}{",
    b"*",
    b"$",
    b"-",
    b">",
    b"0-0",
    b"position",
    b"identity",
    b"\0",
    b"a\0b",
    b"a\0",
    b"\xff\xfe",
    b"\xc3\xa9",
    b"e\xcc\x81",
    b"x" * 512,
    b"x" * 511 + b"\0",
    b" a",
    b"a\r\nDEL a",
]


def test_an_empty_queue_has_nothing(queued: Queued) -> None:
    queue = queued.queue
    assert queue.waiting([SEEN], b"a") is None
    assert queued.take(SEEN, SCORE) == []
    assert queue.take([], worker="w1", count=10, lease_us=HOUR) == []
    assert queue.depths() == []
    assert list(queue.dead()) == []
    assert [queue.requeue(None), queue.drop(None), queue.requeue(["1"]), queue.drop(["1"])] == [0, 0, 0, 0]
    assert queue.set_aside([SEEN], "unknown writer", now=NOW) == 0
    queue.acknowledge([], now=NOW)
    queue.retry([], after_us=SECOND)


def test_an_update_is_taken_as_it_was_queued(queued: Queued) -> None:
    position = queued.put(b"a", b"[1]")
    other = queued.another()
    assert other.waiting([SEEN], b"a") == QueuedValue(b"[1]")
    (taken,) = queued.take(queue=other)
    assert taken._replace(receipt=b"") == Taken(SEEN, b"a", QueuedValue(b"[1]"), position, NOW, 0, b"")


@pytest.mark.parametrize("value", [b"", b"0", b"\0\xff\r\n", b"x" * UPDATE_MAX])
@pytest.mark.parametrize("binary", [False, True])
def test_every_value_is_kept(queued: Queued, value: bytes, binary: bool) -> None:
    queued.queue.put(SEEN, b"a", QueuedValue(value, binary), limit=1)
    assert queued.queue.waiting([SEEN], b"a") == QueuedValue(value, binary)
    taken = queued.take_one()
    assert taken.value == QueuedValue(value, binary)
    queued.bury(taken)
    assert [dead.size for dead in queued.queue.dead()] == [len(value)]
    assert queued.queue.requeue(None) == 1
    assert queued.take_one().value == QueuedValue(value, binary)


def test_every_key_is_independent_whatever_its_bytes(queued: Queued) -> None:
    for number, key in enumerate(HOSTILE):
        queued.put(key, b"%d" % number)
        queued.put(key, b"s%d" % number, SCORE)
    assert [queued.value(key) for key in HOSTILE] == [b"%d" % number for number in range(len(HOSTILE))]
    assert [queued.value(key, SCORE) for key in HOSTILE] == [b"s%d" % number for number in range(len(HOSTILE))]
    taken = queued.take()
    assert keys(taken) == HOSTILE
    for number, one in enumerate(taken):
        queued.bury(one)
        assert [queued.value(key) is None for key in HOSTILE] == [at <= number for at in range(len(HOSTILE))]
    assert [dead.key for dead in queued.queue.dead()] == HOSTILE
    assert queued.depth(SCORE).waiting == len(HOSTILE)


def test_an_update_replaces_the_waiting_one(queued: Queued) -> None:
    first = queued.put(b"a", b"1")
    queued.clock.now += SECOND
    queued.put(b"b", b"2")
    second = queued.put(b"a", b"3")
    assert second > first
    assert queued.value(b"a") == b"3"
    taken = queued.take()
    assert keys(taken) == [b"a", b"b"]  # it keeps its place
    assert (taken[0].value.payload, taken[0].position, taken[0].queued_at) == (b"3", second, NOW)
    queued.acknowledge(*taken)
    assert queued.take() == []
    assert queued.depth().waiting == 0


def test_writers_and_their_versions_are_separate(queued: Queued) -> None:
    for number, writer in enumerate((SEEN, SCORE, SCORE_2)):
        queued.put(b"a", b"%d" % number, writer)
    assert values(queued.take(SCORE_2)) == {b"a": b"2"}
    assert values(queued.take(SCORE)) == {b"a": b"1"}
    assert queued.take(SCORE, SCORE_2) == []
    assert [(one.writer, one.value.payload) for one in queued.take(SEEN, SCORE, SCORE_2)] == [(SEEN, b"0")]


def test_installations_are_separate(queued: Queued) -> None:
    other = queued.another("inst-2")
    queued.put(b"a")
    assert other.waiting([SEEN], b"a") is None
    assert queued.take(queue=other) == []
    assert other.depths() == []
    assert other.set_aside([SEEN], "unknown writer", now=NOW) == 0
    other.put(SEEN, b"a", QueuedValue(b"2"), limit=1)
    assert queued.value(b"a") == b"1"
    queued.acknowledge(queued.take_one())
    assert other.waiting([SEEN], b"a") == QueuedValue(b"2")


def test_the_limit_applies_to_all_writers_and_not_to_replaced_updates(queued: Queued) -> None:
    queued.put(b"a", limit=2)
    queued.put(b"b", writer=SCORE, limit=2)
    before = queued.queue.state()
    assert queued.queue.put(SEEN, b"c", QueuedValue(b"1"), limit=2) is None
    assert queued.queue.put(SCORE_2, b"a", QueuedValue(b"1"), limit=2) is None
    assert queued.queue.state() == before
    assert queued.value(b"c") is None
    assert [depth.writer for depth in queued.queue.depths()] == [SCORE, SEEN]
    queued.put(b"a", b"2", limit=2)
    taken = queued.take_one()
    assert queued.queue.put(SEEN, b"c", QueuedValue(b"1"), limit=2) is None  # a taken update waits too
    queued.queue.retry([taken], after_us=SECOND)
    assert queued.queue.put(SEEN, b"c", QueuedValue(b"1"), limit=2) is None
    queued.put(b"a", b"3", limit=2)
    queued.acknowledge(queued.take_one())
    queued.put(b"c", limit=2)


def test_buried_updates_do_not_fill_the_queue(queued: Queued) -> None:
    queued.buried(b"a")
    queued.put(b"b", limit=1)
    assert queued.queue.put(SEEN, b"c", QueuedValue(b"1"), limit=1) is None
    assert queued.queue.requeue(None) == 1  # what was accepted once is not refused
    assert queued.depth().waiting == 2


def test_the_oldest_updates_are_taken_first(queued: Queued) -> None:
    for number in range(30):
        queued.put(b"k%02d" % number, writer=(SEEN, SCORE, SCORE_2)[number % 3])
    assert keys(queued.take(SCORE_2, SEEN, count=4)) == [b"k00", b"k02", b"k03", b"k05"]
    assert keys(queued.take(SEEN, SCORE, SCORE_2, count=4)) == [b"k01", b"k04", b"k06", b"k07"]
    assert keys(queued.take(SEEN, SCORE, SCORE_2)) == [b"k%02d" % number for number in range(8, 30)]


def test_what_is_taken_is_not_taken_again_before_its_lease_ends(queued: Queued) -> None:
    queued.put(b"a")
    queued.put(b"b")
    first = queued.take(count=1)
    assert keys(queued.take(worker="w2", count=1)) == [b"b"]
    queued.pass_time(HOUR // 2)
    assert queued.take(worker="w2") == []
    assert queued.take() == []
    queued.pass_time(HOUR)
    again = queued.take(worker="w2")
    assert keys(again) == [b"a", b"b"]
    assert again[0]._replace(receipt=b"") == first[0]._replace(receipt=b"")
    assert queued.take(worker="w3") == []


def test_an_expired_update_comes_before_younger_ones(queued: Queued) -> None:
    for key in (b"a", b"b", b"c"):
        queued.put(key)
    queued.take(count=1)
    queued.pass_time(2 * HOUR)
    assert keys(queued.take(worker="w2", count=2)) == [b"a", b"b"]


def test_an_acknowledged_update_is_gone(queued: Queued) -> None:
    queued.put(b"a")
    queued.put(b"b")
    taken = queued.take()
    queued.acknowledge(taken[0])
    assert [queued.value(b"a"), queued.value(b"b")] == [None, b"1"]
    queued.acknowledge(*taken)
    queued.acknowledge(*taken)
    assert queued.depth().waiting == 0
    queued.pass_time(2 * HOUR)
    assert queued.take() == []
    queued.put(b"a", b"2")
    assert values(queued.take()) == {b"a": b"2"}


def test_many_updates_are_acknowledged_at_once(queued: Queued) -> None:
    for number in range(700):
        queued.put(b"%d" % number, writer=SEEN if number % 2 else SCORE)
    taken = queued.take(SEEN, SCORE, count=1000)
    assert keys(taken) == [b"%d" % number for number in range(700)]
    queued.acknowledge(*taken)
    assert [depth.waiting for depth in queued.queue.depths()] == [0, 0]


def test_an_update_that_was_replaced_while_it_was_written_waits_again(queued: Queued) -> None:
    queued.put(b"a", b"1")
    taken = queued.take_one()
    queued.pass_time(SECOND)
    newer = queued.put(b"a", b"2")
    queued.pass_time(SECOND)
    queued.put(b"a", b"3")
    assert queued.value(b"a") == b"3"
    assert queued.take(worker="w2") == []  # not before the worker has finished
    queued.pass_time(SECOND)
    queued.acknowledge(taken)
    assert queued.value(b"a") == b"3"
    again = queued.take_one(worker="w2")
    assert (again.value.payload, again.position > newer, again.attempts) == (b"3", True, 0)
    assert again.queued_at == NOW + SECOND  # since then, something has waited
    queued.acknowledge(again)
    assert queued.value(b"a") is None


def test_an_update_that_was_replaced_is_taken_when_the_worker_is_gone(queued: Queued) -> None:
    queued.put(b"a", b"1")
    stale = queued.take_one()
    queued.put(b"a", b"2")
    queued.pass_time(2 * HOUR)
    taken = queued.take_one(worker="w2")
    assert taken.value.payload == b"2"
    queued.acknowledge(stale)  # it was written after all; the newer one is still with the other worker
    assert queued.value(b"a") == b"2"
    assert queued.take(worker="w3") == []
    queued.acknowledge(taken)
    assert queued.value(b"a") is None


def test_an_update_that_was_written_late_is_gone_although_another_worker_has_it(queued: Queued) -> None:
    queued.put(b"a")
    late = queued.take_one()
    queued.pass_time(2 * HOUR)
    taken = queued.take_one(worker="w2")
    queued.acknowledge(late)
    assert queued.value(b"a") is None
    queued.acknowledge(taken)
    queued.queue.retry([taken], after_us=0)
    queued.bury(taken)
    assert (queued.take(worker="w3"), queued.dead()) == ([], [])
    assert queued.depth().waiting == 0


def test_waiting_says_what_waits_at_any_time(queued: Queued) -> None:
    assert queued.value(b"a") is None
    queued.put(b"a", b"1")
    taken = queued.take_one()
    assert queued.value(b"a") == b"1"
    queued.queue.retry([taken], after_us=HOUR)
    assert queued.value(b"a") == b"1"
    assert queued.value(b"a", SCORE) is None
    queued.pass_time(2 * HOUR)
    queued.bury(queued.take_one())
    assert queued.value(b"a") is None


def test_waiting_returns_the_latest_update_of_several_writers(queued: Queued) -> None:
    queue, versions = queued.queue, [SCORE, SCORE_2]
    assert (queue.waiting([], b"a"), queue.waiting(versions, b"a")) == (None, None)
    queued.put(b"a", b"9", SCORE_2)
    queued.put(b"a", b"1", SCORE)
    assert queue.waiting(versions, b"a") == queue.waiting(versions[::-1], b"a") == QueuedValue(b"1")
    queued.put(b"a", b"2", SEEN)
    assert queue.waiting(versions, b"a") == QueuedValue(b"1")
    taken = queued.take_one(SCORE_2)
    queued.put(b"a", b"3", SCORE_2)
    assert queue.waiting(versions, b"a") == QueuedValue(b"3")
    queued.acknowledge(queued.take_one(SCORE))
    queued.acknowledge(taken)
    assert queue.waiting(versions, b"a") == QueuedValue(b"3")


def test_depths_tell_what_waits_since_when(queued: Queued) -> None:
    queued.put(b"a")
    queued.pass_time(SECOND)
    queued.put(b"b")
    queued.put(b"a", b"2")
    queued.put(b"a", writer=SCORE_2)
    assert queued.queue.depths() == [(SCORE_2, 1, NOW + SECOND, 0, None), (SEEN, 2, NOW, 0, None)]
    first = queued.take(count=1)
    assert queued.depth() == (SEEN, 2, NOW, 0, None)
    queued.pass_time(4 * SECOND)
    queued.acknowledge(*first)
    assert queued.depth() == (SEEN, 1, NOW + SECOND, 0, 5 * SECOND)
    queued.queue.retry(queued.take(), after_us=HOUR)
    assert queued.depth() == (SEEN, 1, NOW + SECOND, 0, 5 * SECOND)
    queued.pass_time(2 * HOUR)
    queued.bury(queued.take_one())
    assert queued.depth() == (SEEN, 0, None, 1, 5 * SECOND)
    queued.queue.drop(None)
    assert queued.queue.depths() == [(SCORE_2, 1, NOW + SECOND, 0, None), (SEEN, 0, None, 0, 5 * SECOND)]


def test_the_lag_is_never_negative(queued: Queued) -> None:
    queued.put(b"a")
    queued.clock.now -= HOUR
    queued.acknowledge(queued.take_one())
    assert queued.depth().lag == 0


def test_versions_are_in_the_order_of_their_numbers(queued: Queued) -> None:
    for version in (10, 9, 1):
        queued.put(b"a", writer=SEEN._replace(version=version))
    queued.put(b"a", writer=SCORE)
    assert [str(depth.writer) for depth in queued.queue.depths()] == ["score@1", "seen@1", "seen@9", "seen@10"]


def test_threads_and_processes_lose_and_double_nothing(queued: Queued) -> None:
    """Four threads queue values that grow, and two workers take them."""
    written: list[tuple[bytes, int]] = []
    queues = [queued.another() for _ in range(6)]
    finished: list[int] = []

    def produce(number: int) -> None:
        for value in range(60):
            key = b"%d:%d" % (number, value % 7)
            assert queues[number].put(SEEN, key, QueuedValue(b"%d" % value), limit=MANY)
        finished.append(number)

    def work(number: int) -> None:
        while True:
            last = len(finished) == 4
            taken = queues[number].take([SEEN], worker=f"w{number}", count=5, lease_us=HOUR)
            written.extend((one.key, one.position) for one in taken)
            queues[number].acknowledge(taken, now=NOW)
            if last and not taken and queues[number].depths()[0].waiting == 0:
                return

    with ThreadPoolExecutor(6) as pool:
        for done in [*(pool.submit(produce, n) for n in range(4)), *(pool.submit(work, n) for n in (4, 5))]:
            done.result()
    assert len(set(written)) == len(written)
    assert {key for key, _ in written} == {b"%d:%d" % (number, key) for number in range(4) for key in range(7)}
    assert queued.queue.depths()[0].waiting == 0


def test_a_queue_works_after_a_fork_and_after_it_was_closed(queued: Queued) -> None:
    queued.put(b"a")
    child = os.fork()
    if child == 0:
        try:
            queued.put(b"b")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    queued.queue.close()
    assert keys(queued.take()) == [b"a", b"b"]
