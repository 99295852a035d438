"""When entries are renewed: settings, arguments, and what entries say about it."""

import pytest
from tests.contracts.cache_levels import (
    AHEAD,
    DUE_S,
    SECOND,
    SIGNED,
    Loader,
    Process,
    World,
    loaded,
    two_stores,
)

from backctl.application.cache_entries import CacheEntryService
from backctl.application.cache_values import RefreshAfter
from backctl.domain.errors import InvalidCacheEntry

TICK_S = 0.000001


@pytest.fixture(params=[100, 0], ids=["with memory", "without memory"])
def process(request: pytest.FixtureRequest, world: World) -> Process:
    return world.process(memory=request.param, refresh_after=AHEAD)


@two_stores
def test_none_is_renewed_in_its_own_ttl(process: Process, world: World) -> None:
    loader = loaded(process, None)
    world.times.pass_by(7.999)
    assert loader.read() is None
    assert process.background.waiting == []
    world.times.pass_by(0.001)
    assert loader.read() is None
    loader.value = 1
    process.background.run()
    assert loader.read() == 1


@two_stores
@pytest.mark.parametrize(("part", "due_s"), [(0.5, 30), (0.01, 0.6), (0.999, 59.94)])
def test_a_call_has_its_own_part_of_the_ttl(process: Process, world: World, part: float, due_s: float) -> None:
    loader = loaded(process, refresh_after=part)
    world.times.pass_by(due_s - TICK_S)
    loader.read(refresh_after=part)
    assert process.background.waiting == []
    world.times.pass_by(TICK_S)
    loader.read(refresh_after=part)
    assert process.background.run() == 1


@two_stores
def test_a_call_can_disable_refresh_ahead(process: Process, world: World) -> None:
    @process.cache.cached("off:{name}", refresh_after=0)
    def off(name: str) -> str:
        return name

    off("x")
    loaded(process)
    world.times.pass_by(DUE_S)
    off("x")
    assert process.cache.get_or_load("k", Loader(), refresh_after=0) == "old"
    assert process.background.waiting == []
    assert CacheEntryService(process.cache).explain("off:x").renews_at is None


@two_stores
@pytest.mark.parametrize("part", [1, 1.5, -0.1, float("nan"), float("inf"), 80])
def test_an_impossible_part_of_the_ttl_is_refused(process: Process, part: float) -> None:
    with pytest.raises(InvalidCacheEntry, match="refresh_after"):
        process.cache.get_or_load("k", Loader(1), refresh_after=part)


@two_stores
def test_a_namespace_has_its_own_part_of_the_ttl(world: World) -> None:
    parts = RefreshAfter(0.8, {b"report": 0.5, b"off": 0.0, b"k": 0.1})
    process = world.process(refresh_after=parts)
    for key in ("report:1", "reports:1", "off:1", "off", "k"):
        process.cache.get_or_load(key, Loader(key))
    entries = CacheEntryService(process.cache)
    due = {key: entries.explain(key).renews_at for key in ("report:1", "reports:1", "off:1", "off", "k")}
    started = world.times.now
    assert due == {
        "report:1": started + 30 * SECOND,
        "reports:1": started + 48 * SECOND,
        "off:1": None,
        "off": None,
        "k": started + 6 * SECOND,
    }


@two_stores
def test_an_entry_says_when_it_is_renewed_and_who_renewed_it(process: Process, world: World) -> None:
    loader = loaded(process)
    entries = CacheEntryService(process.cache)
    first = entries.explain("k")
    assert (first.renews_at, first.renewed_by) == (world.times.now + 48 * SECOND, None)
    world.times.pass_by(DUE_S)
    loader.read()
    process.background.run()
    second = entries.explain("k")
    assert (second.renews_at, second.renewed_by) == (world.times.now + 48 * SECOND, second.writer)
    assert second.writer
    process.cache.set("k", "set")
    assert entries.explain("k").renewed_by is None


@two_stores
def test_a_signed_entry_is_renewed_in_the_ttl_of_its_reader(process: Process, world: World) -> None:
    world.process(refresh_after=AHEAD).levels.load("user:1", Loader("old"), SIGNED)
    strict, loader = SIGNED._replace(ttl=10 * SECOND, negative_ttl=10 * SECOND, stale=0), Loader("new")
    world.times.pass_by(7.9)
    assert process.levels.load("user:1", loader, strict) == "old"
    assert process.background.waiting == []
    world.times.pass_by(0.1)
    assert process.levels.load("user:1", loader, strict) == "old"
    assert process.background.run() == 1
    assert process.levels.load("user:1", loader, strict) == "new"
