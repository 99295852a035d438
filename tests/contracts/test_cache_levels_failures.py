"""The cache while its store is away or fails at any step."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.contracts.cache_levels import MAX_STALENESS, Away, Loader, Process, World, one_store

from backctl.application.cache_values import itself
from backctl.domain.errors import Unavailable
from backctl.infrastructure.redis.cache import RedisCache
from backctl.infrastructure.redis.exchange import Call


def test_without_the_store_loaders_answer(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    process.cache.get_or_load("k", Loader("old"))
    process.times.pass_by(MAX_STALENESS)
    process.store.away = True
    assert process.cache.get_or_load("k", Loader("new")) == "new"
    assert process.cache.get("k", "default") == "default"
    assert process.cache.write_through("k", 1, lambda value: value + 1) == 2
    for change in (process.cache.invalidate_all, lambda: process.cache.delete("k"), lambda: process.cache.set("k", 1)):
        with pytest.raises(Unavailable):
            change()
    warnings = [record.message for record in caplog.records if "not available" in record.message]
    assert len(warnings) == 1


def test_a_store_that_is_away_is_asked_every_two_seconds(world: World, caplog: pytest.LogCaptureFixture) -> None:
    process = world.process()
    process.store.away = True
    loader = Loader(1)
    for _ in range(5):
        process.cache.get_or_load("k", loader)
    assert len(process.store.calls) == 1
    world.times.pass_by(1.999)
    process.cache.get_or_load("k", loader)
    assert len(process.store.calls) == 1
    world.times.pass_by(0.001)
    for _ in range(5):
        process.cache.get_or_load("k", loader)
    assert len(process.store.calls) == 2
    process.store.away = False
    world.times.pass_by(2)
    for _ in range(3):
        assert process.cache.get_or_load("k", loader) == 1
    assert loader.calls == 5 + 1 + 5 + 1
    assert [record.message.split(";")[0] for record in caplog.records] == [
        "the cache is not available",
        "the cache is available again",
    ]


@one_store
def test_threads_do_not_wait_for_a_store_that_is_away(world: World) -> None:
    process = world.process()
    process.store.away = True
    process.cache.get_or_load("k", Loader(1))
    world.times.pass_by(2)
    process.store.calls.clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: process.cache.get_or_load(f"k{number}", Loader(1)), range(40)))
    assert found == [1] * 40
    assert len(process.store.calls) == 1


def test_memory_is_used_until_its_bound_while_the_store_is_away(world: World) -> None:
    process = world.process()
    process.cache.get_or_load("k", Loader("old"))
    process.store.away = True
    world.times.pass_by(MAX_STALENESS - 0.001)
    assert process.cache.get_or_load("k", Loader("new")) == "old"
    world.times.pass_by(0.001)
    assert process.cache.get_or_load("k", Loader("new")) == "new"
    process.store.away = False
    assert process.cache.get_or_load("k", Loader("newer")) == "newer"


def test_a_write_without_the_store_drops_this_memory(world: World) -> None:
    process = world.process()
    process.cache.get_or_load("k", Loader("old"))
    process.store.away = True
    process.cache.write_through("k", "new", itself)
    assert process.cache.get_or_load("k", Loader("new")) == "new"


@pytest.mark.parametrize("step", ["read", "begin", "complete", "sequence"])
def test_a_store_that_fails_at_any_step_costs_nothing_but_time(world: World, step: str) -> None:
    process = world.process()
    process.store.before[step] = lambda: setattr(process.store, "away", True)

    def fail() -> None:
        raise Away("lost", hint=None)

    process.store.before[step] = fail
    loader = Loader("value")
    assert process.cache.get_or_load("k", loader) == "value"
    assert loader.calls == 1


def test_counters_with_other_content_do_not_stop_the_cache(world: World, caplog: pytest.LogCaptureFixture) -> None:
    store = world.open_store()
    if not isinstance(store, RedisCache):
        return
    store._servers.run([Call(store._counts, ("RPUSH", store._counts, "x"))])
    process = world.process()
    for key in ("a", "b"):
        process.cache.get_or_load(key, Loader(1))
        world.times.pass_by(11)
    loader = Loader(2)
    for _ in range(2):
        assert process.cache.get_or_load("c", loader) == 2
    assert loader.calls == 1
    assert caplog.text == ""
