"""Versions, sweeps, and the sequence of invalidations."""

from collections.abc import Callable

import pytest
from tests.contracts.cache_stores import HOUR, INVALIDATIONS, PATIENCE_S, SECOND, Stored, only_redis, only_sqlite, swept

from backctl.application.ports.cache import Announced


@pytest.mark.parametrize("renew", ["epoch", "tag"])
def test_renewed_versions_invalidate_the_entries_that_have_them(stored: Stored, renew: str) -> None:
    stored.fill(b"a", b"t1", b"t2")
    stored.fill(b"b", b"t1")
    stored.store.renew_epoch() if renew == "epoch" else stored.store.renew_tags([b"t2", b"t3"])
    assert stored.state(b"a") == "invalidated"
    assert stored.state(b"b") == ("invalidated" if renew == "epoch" else "fresh")
    stored.fill(b"a", b"t1", b"t2")
    assert stored.state(b"a") == "fresh"


@pytest.mark.parametrize("name", ["epoch", "tag"])
def test_a_missing_version_is_created_with_another_value(stored: Stored, name: str) -> None:
    key = b"t" if name == "tag" else b"a"
    stored.fill(b"a", b"t")
    before = stored.reading(b"a", b"t").versions
    stored.lose_version(name, key)
    assert stored.state(b"a") == "invalidated"
    after = stored.begin(b"a", b"f2", b"t").reading.versions
    assert (after.epoch == before.epoch) == (name == "tag")
    assert (after.tags[b"t"] == before.tags[b"t"]) == (name == "epoch")
    assert stored.state(b"a") == "invalidated"


def test_a_missing_fence_stops_those_who_are_filling(stored: Stored) -> None:
    begun = stored.begin(b"a")
    stored.lose_version("fence", b"a")
    list(stored.store.sweep(b"*", dry_run=False))
    assert not stored.commit(b"a", begun)


def test_a_fence_that_was_created_again_stops_those_who_are_filling(stored: Stored) -> None:
    begun = stored.begin(b"a")
    stored.lose_version("fence", b"a")
    assert stored.begin(b"a", b"f2").fence != begun.fence
    assert not stored.commit(b"a", begun)


def test_renewing_a_missing_tag_creates_nothing(stored: Stored) -> None:
    stored.fill(b"a", b"t")
    before = stored.number_of_versions()
    stored.store.renew_tags([b"missing-%d" % number for number in range(50)])
    assert stored.number_of_versions() == before
    assert stored.reading(b"a", b"missing-1").versions.tags[b"missing-1"] is None
    assert stored.state(b"a") == "fresh"


@only_redis
def test_versions_of_tags_outlive_entries_on_redis(on_redis: Stored) -> None:
    for keep in (2 * HOUR, 3 * HOUR, HOUR):
        on_redis.store.begin(b"a", b"f1", [b"t"], hold_us=SECOND, keep_us=keep)
    assert on_redis.redis is not None
    name, epoch = on_redis.redis._tag(b"t"), on_redis.redis._group(b"a") + b"epoch"
    longest = 3 * HOUR // 1000
    assert longest - 1000 * PATIENCE_S < on_redis.command(name, "PTTL", name) <= longest
    assert on_redis.command(epoch, "PTTL", epoch) == -1
    on_redis.store.renew_tags([b"t"])
    on_redis.store.renew_epoch()
    assert on_redis.command(name, "EXISTS", name) == on_redis.command(epoch, "EXISTS", epoch) == 0


@only_sqlite
def test_versions_of_tags_outlive_entries_in_a_file(stored: Stored) -> None:
    stored.fill(b"a", b"t")  # an entry of one hour, a version of two
    stored.clock.now += 2 * HOUR - 1
    for number in range(10):
        stored.fill(b"b%d" % number)  # each deletes some of what has ended
    assert stored.payload(b"a") is None
    assert stored.reading(b"a", b"t").versions.tags[b"t"] is not None
    stored.clock.now += 1
    for number in range(10):
        stored.fill(b"c%d" % number)
    assert stored.reading(b"a", b"t").versions.tags[b"t"] is None
    assert stored.reading(b"a").versions.epoch is not None


@only_redis
def test_redis_ends_entries_itself(on_redis: Stored) -> None:
    on_redis.fill(b"a")
    assert on_redis.redis is not None
    name = on_redis.redis._group(b"a") + b"e:a"
    assert HOUR // 1000 - PATIENCE_S * 1000 < on_redis.command(name, "PTTL", name) <= HOUR // 1000


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        (b"a*", [b"b:1", b"b\\:1", b"c"]),
        (b"*:1", [b"aa", b"c"]),
        (b"b\\\\:1", [b"a:1", b"aa", b"b:1", b"c"]),
        (b"[ac]*", [b"b:1", b"b\\:1"]),
        (b"?", [b"a:1", b"aa", b"b:1", b"b\\:1"]),
        (b"none", [b"a:1", b"aa", b"b:1", b"b\\:1", b"c"]),
        (b"*", []),
    ],
)
def test_a_sweep_removes_what_matches_and_a_dry_run_counts_it(
    stored: Stored, pattern: bytes, left: list[bytes]
) -> None:
    keys = [b"a:1", b"aa", b"b:1", b"b\\:1", b"c"]
    for key in keys:
        stored.fill(key, payload=b"x" * 100)
    counted = swept(stored.store.sweep(pattern, dry_run=True))
    assert sorted(stored.store.keys(b"*")) == keys
    assert counted[0] == len(keys) - len(left)
    assert counted[1] >= 100 * counted[0]
    assert swept(stored.store.sweep(pattern, dry_run=False)) == counted
    assert sorted(stored.store.keys(b"*")) == left
    assert swept(stored.store.sweep(pattern, dry_run=False)) == (0, 0)


def test_an_interrupted_sweep_can_be_finished(stored: Stored) -> None:
    for number in range(30):
        stored.fill(b"k%d" % number)
    steps = stored.store.sweep(b"*", dry_run=False)
    first = next(steps).entries
    steps.close()  # type: ignore[attr-defined]  # it is a generator
    assert first + swept(stored.store.sweep(b"*", dry_run=False))[0] == 30
    assert list(stored.store.keys(b"*")) == []


@pytest.mark.parametrize("change", INVALIDATIONS)
def test_every_invalidation_changes_the_sequence(stored: Stored, change: str) -> None:
    stored.fill(b"a", b"t")
    before = stored.store.sequence()
    assert stored.store.sequence() == before
    assert len(before) == 8
    INVALIDATIONS[change](stored.store)
    after = stored.store.sequence()
    assert after != before
    assert stored.another().sequence() == after


def test_an_announcement_contains_the_sequence_before_and_after(stored: Stored) -> None:
    stored.fill(b"a", b"t")
    known = stored.store.sequence()
    changes: list[Callable[[], Announced]] = [
        lambda: stored.store.remove([b"a"])[1],
        lambda: stored.store.announce([b"a"]),
        lambda: stored.store.renew_tags([b"t"])[1],
        lambda: stored.store.renew_epoch()[1],
    ]
    for change in changes:
        announced = change()
        assert announced.before == known
        known = announced.after
        assert stored.store.sequence() == known


@pytest.mark.parametrize("act", ["read", "fill", "release", "dry run", "keys", "count"])
def test_nothing_else_changes_the_sequence(stored: Stored, act: str) -> None:
    stored.fill(b"a", b"t")
    before = stored.store.sequence()
    match act:
        case "read":
            stored.reading(b"a", b"t", b"t2")
        case "fill":
            stored.fill(b"b", b"t3")
        case "release":
            stored.store.release(b"a", b"f1")
        case "dry run":
            list(stored.store.sweep(b"*", dry_run=True))
        case "keys":
            list(stored.store.keys(b"*"))
        case _:
            stored.store.count({"loads": 1})
    assert stored.store.sequence() == before
