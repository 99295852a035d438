"""TTLs, entries for None, and stale entries when a loader fails."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.contracts.cache_levels import (
    MAX_STALENESS,
    SECOND,
    SIGNED,
    STALE,
    TTL,
    Loader,
    Process,
    World,
    each_invalidation,
    two_stores,
)

from backctl.application.caching import CacheService
from backctl.domain.errors import InvalidCacheEntry


def test_the_ttl_ends_a_value(process: Process, world: World) -> None:
    loader = Loader(1)
    for passed in (0, 59.999999):
        world.times.pass_by(passed)
        process.cache.get_or_load("k", loader)
    assert loader.calls == 1
    world.times.pass_by(0.000001)
    loader.value = 2
    assert process.cache.get_or_load("k", loader) == 2
    assert process.cache.get("k") == 2


@two_stores
@pytest.mark.parametrize(("ttl", "seconds"), [(5, 5), (0.5, 0.5), (timedelta(milliseconds=1500), 1.5)])
def test_a_ttl_of_its_own(process: Process, world: World, ttl: float | timedelta, seconds: float) -> None:
    loader = Loader(1)
    process.cache.get_or_load("k", loader, ttl=ttl)
    world.times.pass_by(seconds - 0.000001)
    process.cache.get_or_load("k", loader, ttl=ttl)
    assert loader.calls == 1
    world.times.pass_by(0.000001)
    process.cache.get_or_load("k", loader, ttl=ttl)
    assert loader.calls == 2


@two_stores
@pytest.mark.parametrize("ttl", [0, -1, 0.0001, 32 * 86400, float("inf"), float("nan"), timedelta(0), 1e300])
def test_an_impossible_ttl_is_refused(process: Process, ttl: Any) -> None:
    with pytest.raises(InvalidCacheEntry, match="TTL"):
        process.cache.get_or_load("k", Loader(1), ttl=ttl)
    with pytest.raises(InvalidCacheEntry, match="TTL"):
        process.cache.set("k", 1, ttl=ttl)


@two_stores
def test_none_has_a_ttl_of_its_own(process: Process, world: World) -> None:
    loader = Loader(None)
    process.cache.get_or_load("k", loader)
    process.cache.get_or_load("own", loader, negative_ttl=2)
    process.cache.get_or_load("short", loader, ttl=1)
    loader.value = 1
    world.times.pass_by(1)
    assert process.cache.get_or_load("short", loader) == 1
    assert process.cache.get_or_load("own", loader) is None
    world.times.pass_by(1)
    assert process.cache.get_or_load("own", loader) == 1
    assert process.cache.get_or_load("k", loader) is None
    world.times.pass_by(8)
    assert process.cache.get_or_load("k", loader) == 1


@two_stores
@pytest.mark.parametrize("where", ["the call", "the setting"])
def test_none_is_not_cached_with_a_negative_ttl_of_zero(process: Process, world: World, where: str) -> None:
    cache, negative_ttl = process.cache, None
    if where == "the call":
        negative_ttl = 0
    else:
        cache = replace(cache, lifetimes=cache.lifetimes._replace(negative_ttl=0))
    loader = Loader(None)
    for calls in (1, 2):
        assert cache.get_or_load("k", loader, negative_ttl=negative_ttl) is None
        assert loader.calls == calls
    (reading,) = process.store.read([b"k"], [[]])
    assert reading.entry is None  # not even a stale one, for a loader that fails
    before = world.times.monotonic
    loader.value = 0  # a value, unlike None
    for _ in range(2):
        assert cache.get_or_load("k", loader, negative_ttl=negative_ttl) == 0
    assert loader.calls == 3
    assert world.times.monotonic == before  # no lock was left


def test_a_stale_value_replaces_a_loader_that_fails(
    process: Process, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    loader = Loader("old")
    process.cache.get_or_load("k", loader)
    loader.error = LookupError("no")
    world.times.pass_by((TTL + STALE) / SECOND - 0.000001)
    assert process.cache.get_or_load("k", loader) == "old"
    assert "LookupError" in caplog.text
    assert loader.calls == 2
    world.times.pass_by(0.000001)
    with pytest.raises(LookupError):
        process.cache.get_or_load("k", loader)


def test_a_stale_value_is_not_kept_in_memory(process: Process, world: World) -> None:
    loader = Loader("old")
    process.cache.get_or_load("k", loader)
    loader.error = LookupError("no")
    world.times.pass_by(TTL / SECOND)
    for calls in (2, 3):
        process.cache.get_or_load("k", loader)
        assert loader.calls == calls
    loader.error, loader.value = None, "new"
    assert process.cache.get_or_load("k", loader) == "new"


def test_without_stale_if_error_the_error_is_raised(process: Process, world: World) -> None:
    loader = Loader("old")
    process.cache.get_or_load("k", loader, stale_if_error=0)
    loader.error = LookupError("no")
    world.times.pass_by(TTL / SECOND)
    with pytest.raises(LookupError):
        process.cache.get_or_load("k", loader, stale_if_error=0)


def test_who_accepts_no_stale_value_gets_the_error_although_another_stored_one(process: Process, world: World) -> None:
    process.cache.get_or_load("k", Loader("old"), stale_if_error=300)
    world.times.pass_by(TTL / SECOND)
    failing = Loader()
    failing.error = LookupError("no")
    for cache in (process.cache, world.process().cache):
        with pytest.raises(LookupError):
            cache.get_or_load("k", failing, stale_if_error=0)
        assert cache.get_or_load("k", failing, stale_if_error=300) == "old"
        assert cache.get_or_load("k", failing, stale_if_error=0.001) == "old"
    world.times.pass_by(0.001)
    with pytest.raises(LookupError):
        process.cache.get_or_load("k", failing, stale_if_error=0.001)


@two_stores
@each_invalidation
@pytest.mark.parametrize("when", ["before", "while it loads"])
def test_an_invalidated_value_never_replaces_a_loader_that_fails(
    process: Process, world: World, invalidate: Callable[[CacheService], object], when: str
) -> None:
    loader = Loader("old")
    process.cache.get_or_load("k", loader, tags=["t"])
    world.times.pass_by(TTL / SECOND)
    other = world.process().cache
    if when == "before":
        invalidate(other)
    else:
        loader.during = lambda: invalidate(other)
    loader.error = LookupError("no")
    world.times.pass_by(MAX_STALENESS)
    with suppress(LookupError):
        assert process.cache.get_or_load("k", loader, tags=["t"]) == "written"


def test_an_entry_from_the_future_is_not_used(process: Process, world: World) -> None:
    loader = Loader("old")
    world.times.now += 3600 * SECOND
    process.cache.get_or_load("k", loader)
    world.times.now -= 3600 * SECOND
    loader.value = "new"
    assert world.process().cache.get_or_load("k", loader) == "new"


@two_stores
def test_a_signed_entry_is_used_no_longer_than_its_reader_permits(world: World) -> None:
    world.process().levels.load("user:1", Loader("old"), SIGNED)
    strict = SIGNED._replace(ttl=5 * SECOND, negative_ttl=5 * SECOND, stale=5 * SECOND)
    world.times.pass_by(4)
    reader = world.process()
    assert reader.levels.load("user:1", Loader("new"), strict) == "old"
    world.times.pass_by(1)
    assert world.process().levels.load("user:1", Loader("new"), strict) == "new"
    assert reader.levels.load("user:1", Loader("newer"), strict) == "new"


@two_stores
def test_a_stale_signed_entry_is_used_no_longer_than_its_reader_permits(world: World) -> None:
    world.process().levels.load("user:1", Loader("old"), SIGNED)
    strict, failing = SIGNED._replace(ttl=5 * SECOND, stale=5 * SECOND), Loader()
    failing.error = LookupError()
    world.times.pass_by(9.999)
    assert world.process().levels.load("user:1", failing, strict) == "old"
    world.times.pass_by(0.001)
    with pytest.raises(LookupError):
        world.process().levels.load("user:1", failing, strict)


@two_stores
def test_none_that_is_set_has_the_ttl_of_other_values(process: Process, world: World) -> None:
    process.cache.set("k", None, ttl=50)
    process.cache.write_through("w", None, lambda value: value, ttl=50)
    world.times.pass_by(49)
    assert process.cache.get("k", "missing") is None
    assert process.cache.get("w", "missing") is None
