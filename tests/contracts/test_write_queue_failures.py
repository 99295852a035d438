"""One suite for every queue of write-behind: retries and the dead-letter list."""

import pytest
from tests.contracts.write_queues import HOUR, MANY, NOW, SCORE, SECOND, SEEN, Queued, keys, values

from backctl.application.ports.write_behind import DeadUpdate
from backctl.domain.write_behind import QueuedValue


def test_a_failed_update_is_due_again_after_a_while(queued: Queued) -> None:
    queued.put(b"a")
    queued.put(b"b")
    taken = queued.take(count=1)
    queued.queue.retry(taken, after_us=5 * SECOND)
    assert keys(queued.take(worker="w2")) == [b"b"]
    queued.pass_time(4 * SECOND)
    assert queued.take() == []
    queued.pass_time(SECOND)
    again = queued.take_one()
    assert (again.key, again.attempts, again.position, again.queued_at) == (b"a", 1, taken[0].position, NOW)
    queued.queue.retry([again], after_us=SECOND)
    queued.pass_time(SECOND)
    assert queued.take_one().attempts == 2


def test_a_wait_longer_than_the_lease_is_kept(queued: Queued) -> None:
    queued.put(b"a")
    queued.queue.retry([queued.take_one(lease=SECOND)], after_us=HOUR)
    queued.pass_time(HOUR // 2)
    assert queued.take(worker="w2", lease=SECOND) == []
    queued.pass_time(HOUR // 2)
    assert keys(queued.take(worker="w2", lease=SECOND)) == [b"a"]


def test_an_update_that_was_not_tried_is_due_at_once_without_an_attempt(queued: Queued) -> None:
    queued.put(b"a")
    queued.put(b"b")
    queued.queue.retry(queued.take(), after_us=0)
    again = queued.take(worker="w2")
    assert [(one.key, one.attempts) for one in again] == [(b"a", 0), (b"b", 0)]


def test_an_update_to_be_retried_keeps_its_place(queued: Queued) -> None:
    for key in (b"a", b"b", b"c", b"d"):
        queued.put(key)
    taken = queued.take(count=3)
    queued.queue.retry([taken[2]], after_us=SECOND)
    queued.queue.retry([taken[0]], after_us=3 * SECOND)
    queued.pass_time(3 * SECOND)
    assert keys(queued.take()) == [b"a", b"c", b"d"]


def test_a_retried_update_that_was_replaced_meanwhile_is_due_at_once(queued: Queued) -> None:
    queued.put(b"a", b"1")
    queued.put(b"b")
    taken = queued.take(count=1)
    queued.pass_time(SECOND)
    queued.put(b"a", b"2")
    queued.queue.retry(taken, after_us=HOUR)
    again = queued.take(worker="w2")
    assert [(one.key, one.value.payload, one.attempts, one.queued_at) for one in again] == [
        (b"a", b"2", 0, NOW),
        (b"b", b"1", 0, NOW),
    ]


def test_an_update_that_replaces_a_failed_one_is_due_at_once(queued: Queued) -> None:
    """The value that failed is gone."""
    queued.put(b"a", b"1")
    queued.put(b"b")
    queued.queue.retry(queued.take(count=1), after_us=HOUR)
    queued.put(b"a", b"2")
    assert [(one.key, one.value.payload, one.attempts) for one in queued.take()] == [(b"a", b"2", 0), (b"b", b"1", 0)]


@pytest.mark.parametrize("action", ["retry", "bury"])
def test_a_worker_whose_lease_has_ended_decides_nothing(queued: Queued, action: str) -> None:
    queued.put(b"a")
    stale = queued.take_one()
    queued.pass_time(2 * HOUR)
    taken = queued.take_one()  # perhaps by the same worker
    if action == "retry":
        queued.queue.retry([stale], after_us=0)
    else:
        queued.bury(stale)
    assert (queued.take(worker="w2"), queued.dead()) == ([], [])
    queued.queue.retry([taken], after_us=SECOND)
    queued.pass_time(SECOND)
    assert queued.take_one().attempts == 1


def test_a_buried_update_is_in_the_dead_letter_list(queued: Queued) -> None:
    position = queued.put(b"a", b"[1, 2]")
    queued.queue.retry([queued.take_one()], after_us=SECOND)
    queued.pass_time(SECOND)
    taken = queued.take_one()
    queued.pass_time(SECOND)
    queued.bury(taken, "column 'x' is missing: é\n\N{PILE OF POO}")
    assert list(queued.another().dead()) == [
        DeadUpdate(str(position), SEEN, b"a", 6, NOW, NOW + 2 * SECOND, 2, "column 'x' is missing: é\n\N{PILE OF POO}")
    ]
    assert queued.value(b"a") is None
    queued.pass_time(2 * HOUR)
    assert queued.take() == []
    assert queued.depth() == (SEEN, 0, None, 1, None)
    queued.put(b"a", b"2")
    assert values(queued.take()) == {b"a": b"2"}


def test_an_update_that_was_replaced_is_not_buried(queued: Queued) -> None:
    queued.put(b"a", b"1")
    taken = queued.take_one()
    queued.pass_time(SECOND)
    queued.put(b"a", b"2")
    queued.bury(taken)
    assert queued.dead() == []
    again = queued.take_one(worker="w2")
    assert (again.value.payload, again.attempts, again.queued_at) == (b"2", 0, NOW + SECOND)


def test_the_dead_letter_list_is_in_the_order_of_the_positions(queued: Queued) -> None:
    for number in range(6):
        queued.put(b"%d" % number, writer=SCORE if number % 2 else SEEN)
    for one in reversed(queued.take(SEEN, SCORE)):
        queued.bury(one)
    assert [dead.key for dead in queued.queue.dead()] == [b"%d" % number for number in range(6)]


def test_a_requeued_update_waits_with_its_position_and_no_attempts(queued: Queued) -> None:
    dead = [queued.buried(key) for key in (b"a", b"b", b"c")]
    queued.pass_time(HOUR)
    assert queued.queue.requeue([dead[0].id, dead[2].id]) == 2
    assert queued.dead() == [(b"b", dead[1].id)]
    taken = {one.key: one for one in queued.take()}
    assert taken.keys() == {b"a", b"c"}
    assert [str(taken[b"a"].position), str(taken[b"c"].position)] == [dead[0].id, dead[2].id]
    assert (taken[b"a"].attempts, taken[b"a"].queued_at) == (0, NOW)
    assert queued.depth() == (SEEN, 2, NOW, 1, None)
    queued.acknowledge(*taken.values())
    assert queued.queue.requeue(None) == 1
    assert queued.take_one().key == b"b"


def test_what_was_queued_long_ago_is_old_after_it_was_requeued(queued: Queued) -> None:
    queued.buried(b"a")
    queued.pass_time(HOUR)
    queued.put(b"b")
    assert queued.depth().oldest_at == NOW + HOUR
    queued.queue.requeue(None)
    assert queued.depth().oldest_at == NOW
    queued.acknowledge(*[one for one in queued.take() if one.key == b"a"])
    assert queued.depth().oldest_at == NOW + HOUR


def test_a_dead_update_with_a_newer_one_is_dropped(queued: Queued) -> None:
    queued.buried(b"a", b"1")
    newer = queued.put(b"a", b"2")
    assert queued.queue.requeue(None) == 1
    assert queued.dead() == []
    taken = queued.take_one()
    assert (taken.value.payload, taken.position) == (b"2", newer)


def test_of_two_dead_updates_of_a_key_the_newer_one_waits(queued: Queued) -> None:
    older, newer = queued.buried(b"a", b"1"), queued.buried(b"a", b"2")
    assert queued.queue.requeue([newer.id]) == 1
    assert queued.queue.requeue([older.id]) == 1
    assert values(queued.take()) == {b"a": b"2"}
    queued.acknowledge(*queued.take(lease=0))
    older, newer = queued.buried(b"a", b"3"), queued.buried(b"a", b"4")
    assert queued.queue.requeue([older.id]) == 1
    assert queued.queue.requeue([newer.id]) == 1
    assert values(queued.take()) == {b"a": b"4"}
    assert queued.depth().waiting == 1


def test_an_older_update_that_is_being_written_does_not_acknowledge_a_requeued_one(queued: Queued) -> None:
    older, newer = queued.buried(b"a", b"1"), queued.buried(b"a", b"2")
    queued.queue.requeue([older.id])
    taken = queued.take_one()
    queued.queue.requeue([newer.id])
    queued.acknowledge(taken)
    assert values(queued.take()) == {b"a": b"2"}


def test_dead_updates_can_be_dropped(queued: Queued) -> None:
    dead = [queued.buried(key) for key in (b"a", b"b", b"c")]
    assert queued.queue.drop([dead[1].id]) == 1
    assert [key for key, _ in queued.dead()] == [b"a", b"c"]
    assert queued.queue.drop(None) == 2
    assert queued.dead() == []
    assert queued.queue.requeue(None) == 0
    assert queued.depth() == (SEEN, 0, None, 0, None)


def test_only_ids_in_the_list_stand_for_anything(queued: Queued) -> None:
    dead = queued.buried(b"a")
    strange = ["", "0", "-1", "1", "x", f"0{dead.id}", f"{dead.id} ", f"+{dead.id}", "9" * 40, "1e3", "inf", "(1", "é"]
    assert queued.queue.requeue(strange) == 0
    assert queued.queue.drop(strange) == 0
    assert queued.queue.requeue([]) == queued.queue.drop([]) == 0
    assert queued.queue.drop([dead.id, "1", dead.id]) == 1


def test_updates_of_unknown_writers_can_be_set_aside(queued: Queued) -> None:
    """Taken ones and those that are to be retried too; others stay."""
    positions = [queued.put(b"%d" % number) for number in range(4)]
    queued.put(b"0", writer=SCORE)
    taken = queued.take(count=2)
    queued.queue.retry(taken[:1], after_us=HOUR)
    queued.clock.now += SECOND
    assert queued.another().set_aside([SEEN], "unknown writer", now=queued.clock.now) == 4
    found = list(queued.queue.dead())
    assert [(dead.id, dead.key) for dead in found] == [
        (str(position), b"%d" % number) for number, position in enumerate(positions)
    ]
    assert {(dead.error, dead.failed_at) for dead in found} == {("unknown writer", NOW + SECOND)}
    assert [dead.attempts for dead in found] == [1, 0, 0, 0]
    assert [depth[:4] for depth in queued.queue.depths()] == [(SCORE, 1, NOW, 0), (SEEN, 0, None, 4)]
    queued.acknowledge(*taken)
    queued.queue.retry(taken, after_us=0)
    assert queued.take() == []
    assert len(queued.dead()) == 4
    assert queued.queue.requeue(None) == 4
    assert len(queued.take()) == 4


def test_thousands_of_dead_updates_are_listed_requeued_and_dropped(queued: Queued) -> None:
    for number in range(1300):
        queued.put(b"%d" % number, writer=SCORE if number % 3 else SEEN)
    assert queued.queue.set_aside([SEEN, SCORE, SCORE], "unknown writer", now=NOW) == 1300
    assert [dead.key for dead in queued.queue.dead()] == [b"%d" % number for number in range(1300)]
    assert queued.queue.requeue(None) == 1300
    assert queued.queue.depths() == [(SCORE, 866, NOW, 0, None), (SEEN, 434, NOW, 0, None)]
    taken = queued.take(SEEN, SCORE, count=2000)
    assert len({one.position for one in taken}) == 1300
    assert queued.queue.set_aside([SEEN, SCORE], "unknown writer", now=NOW) == 1300
    assert queued.queue.drop(None) == 1300
    assert queued.dead() == []


def test_the_list_can_change_while_it_is_read(queued: Queued) -> None:
    dead = [queued.buried(b"%d" % number) for number in range(5)]
    listed = queued.queue.dead()
    assert next(listed).id == dead[0].id
    queued.queue.drop(None)
    assert {one.id for one in listed} <= {one.id for one in dead}


def test_a_requeued_update_can_be_put_again_at_the_limit(queued: Queued) -> None:
    queued.buried(b"a")
    queued.queue.requeue(None)
    assert queued.queue.put(SEEN, b"b", QueuedValue(b"1"), limit=1) is None
    queued.put(b"a", b"2", limit=1)
    assert values(queued.take()) == {b"a": b"2"}
    assert queued.queue.put(SEEN, b"a", QueuedValue(b"3"), limit=MANY)
