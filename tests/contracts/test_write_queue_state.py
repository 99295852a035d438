"""One suite for every queue of write-behind: its identity and its positions."""

from itertools import pairwise

from tests.contracts.write_queues import HOUR, MANY, NOW, SCORE, SECOND, SEEN, Queued, keys

from backctl.domain.write_behind import QueuedValue


def test_positions_only_grow(queued: Queued) -> None:
    """Also if the clock stands still or goes back, and whoever queues what."""
    other, found = queued.another(), [queued.queue.state().position]
    assert found == [0]
    for ahead in (0, 0, SECOND, 0, -HOUR, 0, 2 * HOUR):
        queued.clock.now += ahead
        found += [queued.put(b"a"), queued.put(b"b"), queued.put(b"a", writer=SCORE)]
        found.append(other.put(SEEN, b"c", QueuedValue(b"1"), limit=MANY) or 0)
        assert queued.queue.state().position == found[-1]
        assert found[-4] >= queued.clock.now
    assert all(former < later for former, later in pairwise(found))
    assert found[1] == NOW


def test_the_identity_is_random_and_stays(queued: Queued) -> None:
    first = queued.queue.state()
    queued.put(b"a")
    assert queued.another().state().identity == queued.queue.state().identity == first.identity
    assert len(first.identity) >= 16
    assert queued.another("inst-2").state().identity != first.identity


def test_a_queue_gets_an_identity_with_its_first_update(queued: Queued) -> None:
    position = queued.put(b"a")
    state = queued.queue.state()
    assert (state.position, len(state.identity) >= 16) == (position, True)
    assert queued.queue.state() == state


def test_a_queue_that_advances_keeps_its_identity_and_its_updates(queued: Queued) -> None:
    before, position = queued.queue.state().identity, queued.put(b"a")
    ahead = position + HOUR
    queued.another().advance(ahead)
    assert queued.queue.state() == (before, ahead)
    taken = queued.take_one()
    assert (taken.position, taken.value.payload) == (position, b"1")
    assert queued.put(b"b") == ahead + 1
    assert queued.put(b"a", b"2") == ahead + 2
    queued.acknowledge(taken)
    queued.clock.now = ahead + HOUR
    assert queued.put(b"c") == ahead + HOUR
    assert sorted(keys(queued.take())) == [b"a", b"b", b"c"]


def test_a_queue_never_goes_back(queued: Queued) -> None:
    queued.queue.state()
    queued.queue.advance(NOW + HOUR)
    before = queued.queue.state()
    for position in (0, 1, NOW, NOW + HOUR):
        queued.queue.advance(position)
    assert queued.queue.state() == before


def test_an_empty_queue_can_advance(queued: Queued) -> None:
    queued.queue.advance(5)
    identity, position = queued.queue.state()
    assert (len(identity) >= 16, position) == (True, 5)
    assert queued.put(b"a") == NOW
    assert queued.another("inst-2").state().position == 0
