"""Who may fill an entry: locks, fences, and writers that take over."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.contracts.cache_stores import HOUR, PATIENCE_S, SECOND, Stored, only_sqlite

from backctl.application.ports.cache import Begun
from backctl.domain.cache_entry import decoded


def test_one_token_holds_the_lock(stored: Stored) -> None:
    begun = stored.begin(b"a", b"f1")
    assert (begun.held, begun.contended) == (True, False)
    other = stored.begin(b"a", b"f2")
    assert (other.held, other.contended) == (False, False)
    assert not stored.commit(b"a", other, b"f2", payload=b"2")
    assert stored.begin(b"b", b"f2").held
    assert stored.commit(b"a", begun)
    assert stored.payload(b"a") == b"1"


def test_a_commit_unlocks(stored: Stored) -> None:
    stored.fill(b"a")
    begun = stored.begin(b"a", b"f2")
    assert begun.held
    assert decoded(begun.reading.entry) == decoded(stored.reading(b"a").entry)
    assert stored.commit(b"a", begun, b"f2", payload=b"2")
    assert stored.payload(b"a") == b"2"


def test_a_token_commits_once(stored: Stored) -> None:
    begun = stored.begin(b"a")
    assert stored.commit(b"a", begun)
    assert not stored.commit(b"a", begun, payload=b"2")
    assert stored.payload(b"a") == b"1"


def test_a_release_unlocks_only_for_its_token(stored: Stored) -> None:
    stored.begin(b"a", b"f1")
    stored.store.release(b"a", b"f2")
    assert not stored.begin(b"a", b"f3").held
    stored.store.release(b"a", b"f1")
    begun = stored.begin(b"a", b"f3")
    assert begun.held
    stored.store.release(b"a", b"f1")
    assert stored.commit(b"a", begun, b"f3")


def test_a_release_keeps_the_entry(stored: Stored) -> None:
    stored.fill(b"a")
    stored.begin(b"a", b"f2")
    stored.store.release(b"a", b"f2")
    assert stored.payload(b"a") == b"1"


def test_one_of_many_threads_holds_the_lock(stored: Stored) -> None:
    tokens = [b"f%d" % number for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        begun = list(pool.map(lambda token: stored.begin(b"a", token, b"t"), tokens))
    assert sum(one.held for one in begun) == 1
    assert len({one.fence for one in begun}) == 1
    assert len({one.reading.versions.tags[b"t"] for one in begun}) == 1


def after_its_lock(stored: Stored, key: bytes) -> Begun:
    """Begin to fill a key once the lock of another has ended."""
    if stored.redis is None:
        stored.clock.now += 1000
        return stored.begin(key, b"f2")
    give_up = time.monotonic() + PATIENCE_S
    while not (begun := stored.begin(key, b"f2")).held:
        assert time.monotonic() < give_up
    return begun


def test_a_lock_ends(stored: Stored) -> None:
    late = stored.begin(b"a", b"f1", hold=1000)
    begun = after_its_lock(stored, b"a")
    assert begun.held
    assert not stored.commit(b"a", late, b"f1", payload=b"late")
    stored.store.release(b"a", b"f1")
    assert stored.commit(b"a", begun, b"f2", payload=b"2")
    assert stored.payload(b"a") == b"2"


def test_a_commit_after_the_end_of_its_lock_stores_nothing(stored: Stored) -> None:
    begun = stored.begin(b"a", b"f1", hold=1000)
    if stored.redis is None:
        stored.clock.now += 1000
    else:
        lock = stored.redis._group(b"a") + b"l:a"
        give_up = time.monotonic() + PATIENCE_S
        while stored.command(lock, "EXISTS", lock):
            assert time.monotonic() < give_up
    assert not stored.commit(b"a", begun)
    assert stored.payload(b"a") is None


@only_sqlite
def test_a_clock_that_goes_back_keeps_no_lock_for_longer_than_it_was_asked_for(stored: Stored) -> None:
    """A process that ended while it held the lock must not block the others for hours."""
    stored.clock.now += 10 * HOUR
    stored.begin(b"a", b"f1", hold=SECOND)
    stored.clock.now -= 10 * HOUR
    assert stored.begin(b"a", b"f2", hold=SECOND).held


def test_a_writer_takes_over_from_a_filler(stored: Stored) -> None:
    filler = stored.begin(b"a", b"f1")
    writer = stored.begin(b"a", b"w1", take_over=True)
    assert (writer.held, writer.contended, writer.reading.entry) == (True, False, None)
    assert not stored.commit(b"a", filler, b"f1", payload=b"old")
    assert stored.commit(b"a", writer, b"w1", payload=b"new")
    assert stored.payload(b"a") == b"new"


def test_a_writer_removes_the_entry_at_once(stored: Stored) -> None:
    stored.fill(b"a")
    assert stored.begin(b"a", b"w1", take_over=True).reading.entry is None
    assert stored.payload(b"a") is None
    assert not stored.begin(b"a", b"f1").held


def test_two_writers_contend(stored: Stored) -> None:
    first = stored.begin(b"a", b"w1", take_over=True)
    second = stored.begin(b"a", b"w2", take_over=True)
    assert (first.contended, second.held, second.contended) == (False, True, True)
    assert not stored.commit(b"a", first, b"w1")
    assert stored.commit(b"a", second, b"w2", payload=b"2")
    assert not stored.begin(b"a", b"w3", take_over=True).contended


def test_a_writer_whose_lock_has_ended_does_not_contend(stored: Stored) -> None:
    stored.begin(b"a", b"w1", hold=1000, take_over=True)
    begun = after_its_lock(stored, b"a")
    assert begun.held
    assert not stored.begin(b"a", b"w2", take_over=True).contended


def test_a_remove_wins_over_a_filler_and_a_writer(stored: Stored) -> None:
    for token, take_over in ((b"f1", False), (b"w1", True)):
        begun = stored.begin(b"a", token, take_over=take_over)
        stored.store.remove([b"a"])
        assert not stored.commit(b"a", begun, token)
        assert stored.payload(b"a") is None
    assert stored.begin(b"a", b"f2").held


def test_a_remove_counts_the_entries(stored: Stored) -> None:
    for key in (b"a", b"b", b"c"):
        stored.fill(key)
    removed, _ = stored.store.remove([b"a", b"c", b"missing", b"a"])
    assert removed == 2
    assert [stored.payload(key) for key in (b"a", b"b", b"c")] == [None, b"1", None]
    assert stored.store.remove([])[0] == 0


@pytest.mark.parametrize("sweep", [b"*", b"other"])
def test_a_sweep_stops_those_who_are_filling(stored: Stored, sweep: bytes) -> None:
    begun = stored.begin(b"a")
    list(stored.store.sweep(sweep, dry_run=False))
    assert not stored.commit(b"a", begun)
    assert stored.payload(b"a") is None
    begun = stored.begin(b"a", b"f2")
    assert begun.held  # the commit unlocked, although it stored nothing
    assert stored.commit(b"a", begun, b"f2")


def test_a_sweep_stops_fillers_before_its_first_step(stored: Stored) -> None:
    begun = stored.begin(b"a")
    steps = stored.store.sweep(b"*", dry_run=False)
    next(steps, None)
    assert not stored.commit(b"a", begun)
    list(steps)


def test_a_dry_run_stops_nobody(stored: Stored) -> None:
    begun = stored.begin(b"a")
    list(stored.store.sweep(b"*", dry_run=True))
    assert stored.commit(b"a", begun)


@pytest.mark.parametrize("renew", ["epoch", "tag"])
def test_versions_that_are_renewed_during_a_fill_invalidate_its_entry(stored: Stored, renew: str) -> None:
    begun = stored.begin(b"a", b"f1", b"t1", b"t2")
    stored.store.renew_epoch() if renew == "epoch" else stored.store.renew_tags([b"t2"])
    stored.commit(b"a", begun)
    assert stored.state(b"a") in (None, "invalidated")
