"""Several threads and processes that load one key."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.contracts.cache_levels import SECOND, TTL, Loader, Process, World, load_at_once

from backctl.domain.errors import InvalidCacheEntry


def test_sixteen_threads_load_once(process: Process) -> None:
    loader = Loader({"a": 1})
    assert load_at_once(process, loader, 16) == [{"a": 1}] * 16
    assert loader.calls == 1


def test_processes_load_once(world: World) -> None:
    processes = [world.process(lock_timeout=600 * SECOND) for _ in range(6)]

    def until_all_have_begun() -> None:
        while not all("begin" in process.store.calls for process in processes):
            threading.Event().wait(0.001)

    loader = Loader(1)
    loader.during = until_all_have_begun
    start = threading.Barrier(6)

    def load(one: Process) -> Any:
        start.wait()
        return one.cache.get_or_load("k", loader)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(load, processes)) == [1] * 6
    assert loader.calls == 1


def test_a_process_that_ends_while_it_loads_delays_the_others_only(world: World) -> None:
    store = world.open_store()
    store.begin(b"k", b"f-gone", (), hold_us=2 * SECOND, keep_us=SECOND)
    process = world.process()
    before = world.times.monotonic
    assert process.cache.get_or_load("k", Loader(1)) == 1
    assert world.times.monotonic - before < 6


def test_loads_of_different_keys_nest(process: Process) -> None:
    inner = Loader(1)

    def outer() -> list[Any]:
        return [process.cache.get_or_load("inner", inner), process.cache.get_or_load("inner", inner)]

    assert process.cache.get_or_load("outer", outer) == [1, 1]
    assert inner.calls == 1


def test_a_loader_that_asks_for_its_own_key_ends(process: Process) -> None:
    calls = []

    def load() -> int:
        calls.append(1)
        return 7 if len(calls) > 1 else process.cache.get_or_load("k", load) + 1

    assert process.cache.get_or_load("k", load) == 8
    assert len(calls) == 2


def test_a_loader_error_reaches_every_thread_and_is_not_kept(process: Process) -> None:
    loader = Loader(1)
    loader.error = LookupError("no")

    def load(_: int) -> object:
        try:
            return process.cache.get_or_load("k", loader)
        except LookupError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(load, range(4))) == ["no"] * 4
    loader.error = None
    assert process.cache.get_or_load("k", loader) == 1


def test_an_interrupted_loader_leaves_no_lock(process: Process) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.cache.get_or_load("k", interrupted)
    before = process.times.monotonic
    assert process.cache.get_or_load("k", Loader(1)) == 1
    assert process.times.monotonic == before


@pytest.mark.parametrize("use", ["loader", "write"])
def test_what_needs_its_own_key_does_not_wait_for_itself(process: Process, world: World, use: str) -> None:
    def inner(*_: object) -> object:
        return process.cache.get_or_load("k", Loader("inner"))

    started = world.times.monotonic
    if use == "loader":
        assert process.cache.get_or_load("k", inner) == "inner"
    else:
        assert process.cache.write_through("k", "written", inner) == "inner"
        assert process.cache.get("k") == "written"
    assert world.times.monotonic == started


def test_a_loader_that_returns_what_cannot_be_cached_is_not_hidden_by_a_stale_entry(
    process: Process, world: World
) -> None:
    process.cache.get_or_load("k", Loader("old"))
    world.times.pass_by(TTL / SECOND)
    with pytest.raises(InvalidCacheEntry, match="JSON"):
        process.cache.get_or_load("k", Loader(object()))
    assert process.cache.get_or_load("k", Loader("new")) == "new"
