"""Invalidations while others load, read and remember."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from tests.contracts.cache_levels import (
    MAX_STALENESS,
    Away,
    Loader,
    Process,
    World,
    each_invalidation,
    two_stores,
)

from backctl.application.caching import CacheService
from backctl.application.ports.cache import Heard
from backctl.domain.errors import Unavailable


@each_invalidation
def test_what_is_invalidated_is_loaded_again(process: Process, invalidate: Callable[[CacheService], object]) -> None:
    loader = Loader("old")
    process.cache.get_or_load("k", loader, tags=["t"])
    process.cache.get_or_load("other", Loader(1))
    invalidate(process.cache)
    loader.value = "written"
    assert process.cache.get_or_load("k", loader, tags=["t"]) == "written"


@each_invalidation
@pytest.mark.parametrize("by", ["this process", "another process"])
def test_an_invalidation_during_a_load_wins(
    process: Process, world: World, invalidate: Callable[[CacheService], object], by: str
) -> None:
    changing = process.cache if by == "this process" else world.process().cache
    loader = Loader("old")

    def during() -> None:
        loader.value = "written"
        invalidate(changing)

    loader.during = during
    process.cache.get_or_load("k", loader, tags=["t"])
    if by == "another process":
        world.times.pass_by(MAX_STALENESS)
    assert process.cache.get_or_load("k", loader, tags=["t"]) == "written"
    assert world.process().cache.get_or_load("k", loader, tags=["t"]) == "written"


@each_invalidation
@pytest.mark.parametrize("by", ["this process", "another process"])
def test_who_joins_a_load_after_an_invalidation_does_not_get_its_value(
    process: Process, world: World, invalidate: Callable[[CacheService], object], by: str
) -> None:
    changing = process.cache if by == "this process" else world.process().cache
    loader, loading, may_end = Loader("old"), threading.Event(), threading.Event()

    def during() -> None:
        loading.set()
        assert may_end.wait(30)

    loader.during = during
    run, joined = process.levels._flights.run, threading.Event()
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(process.cache.get_or_load, "k", loader, tags=["t"])
        assert loading.wait(30)
        loader.value = "written"
        invalidate(changing)
        if by == "another process":
            world.times.pass_by(MAX_STALENESS)

        def joining(key: str, produce: Any, alone: Any) -> Any:
            joined.set()
            return run(key, produce, alone)

        process.levels._flights.run = joining  # type: ignore[method-assign]  # to see when it waits
        follower = pool.submit(process.cache.get_or_load, "k", loader, tags=["t"])
        follower.add_done_callback(lambda _: joined.set())  # it finds what was written without waiting
        assert joined.wait(30)
        threading.Event().wait(0.01)  # it takes no lock in between
        may_end.set()
        leader.result(30)
        assert follower.result(30) == "written"


@each_invalidation
def test_an_invalidation_between_reading_and_remembering_wins(
    world: World, invalidate: Callable[[CacheService], object]
) -> None:
    process, other = world.process(), world.process()
    loader = Loader("old")
    other.cache.get_or_load("k", loader, tags=["t"])

    def during() -> None:
        loader.value = "written"
        invalidate(process.cache)

    process.store.after["read"] = during
    process.cache.get_or_load("k", loader, tags=["t"])
    assert process.cache.get_or_load("k", loader, tags=["t"]) == "written"


@each_invalidation
@pytest.mark.parametrize("step", ["begin", "complete"])
def test_an_invalidation_around_begin_and_commit_wins(
    process: Process, world: World, invalidate: Callable[[CacheService], object], step: str
) -> None:
    for when in (process.store.before, process.store.after):
        loader = Loader("old")

        def load(loader: Loader = loader) -> Any:
            return process.cache.get_or_load("k", loader, tags=["t"])

        def during(loader: Loader = loader) -> None:
            loader.value = "written"
            invalidate(process.cache)

        when[step] = during
        load()
        assert load() == "written"
        assert world.process().cache.get_or_load("k", loader, tags=["t"]) == "written"
        process.cache.delete("k")


@each_invalidation
@pytest.mark.parametrize("listens", [False, True], ids=["silent", "listening"])
def test_another_process_follows_within_the_bound(
    world: World, invalidate: Callable[[CacheService], object], listens: bool
) -> None:
    reader, writer = world.process(listens=listens), world.process()
    loader = Loader("old")

    def read() -> Any:
        return reader.cache.get_or_load("k", loader, tags=["t"])

    read()
    world.times.pass_by(MAX_STALENESS / 2)
    assert read() == "old"
    loader.value = "written"
    invalidate(writer.cache)
    world.times.pass_by(MAX_STALENESS)
    assert read() == "written"
    assert reader.cache.get("k") == "written"


def test_memory_answers_without_the_store_until_the_bound(world: World) -> None:
    process = world.process()
    process.cache.get_or_load("k", Loader(1))
    process.store.calls.clear()
    world.times.pass_by(MAX_STALENESS - 0.001)
    assert process.cache.get_or_load("k", Loader(2)) == 1
    assert process.store.calls == []
    world.times.pass_by(0.001)
    assert process.cache.get_or_load("k", Loader(2)) == 1
    assert "sequence" in process.store.calls
    assert "read" not in process.store.calls


def test_a_process_listens_although_its_first_attempt_failed(world: World) -> None:
    process = world.process()
    heard: list[Heard] = []

    def fail() -> None:
        raise Away("lost", hint=None)

    process.store.before_listening = fail
    process.store.heard = heard.append
    process.cache.get_or_load("k", Loader(1))
    assert heard == []
    world.times.pass_by(2)
    process.cache.get_or_load("k", Loader(1))
    assert len(heard) == 1


def test_a_suspended_machine_does_not_trust_its_memory(world: World) -> None:
    reader, writer = world.process(), world.process()
    loader = Loader("old")
    reader.cache.get_or_load("k", loader)
    loader.value = "new"
    writer.cache.delete("k")
    world.times.monotonic += 3600  # the clock of the computer may still be wrong
    assert reader.cache.get_or_load("k", loader) == "new"


def test_an_invalidation_of_one_key_keeps_the_others_in_this_memory(world: World) -> None:
    process = world.process()
    for key in ("a", "b"):
        process.cache.get_or_load(key, Loader(key))
    process.cache.delete("a")
    process.store.calls.clear()
    assert process.cache.get_or_load("b", Loader("new")) == "b"
    assert process.store.calls == []


@two_stores
def test_a_value_in_memory_without_the_tags_of_the_caller_is_not_used(process: Process, world: World) -> None:
    process.cache.get_or_load("k", Loader("untagged"))
    assert process.cache.get_or_load("k", Loader("tagged"), tags=["t"]) == "tagged"
    process.cache.invalidate_tags("t")
    assert process.cache.get_or_load("k", Loader("new"), tags=["t"]) == "new"


@two_stores
@each_invalidation
def test_an_invalidation_that_fails_still_drops_the_value_from_memory(
    world: World, invalidate: Callable[[CacheService], object]
) -> None:
    process = world.process()
    process.cache.get_or_load("k", Loader("old"), tags=["t"])
    process.store.away = True
    with suppress(Unavailable):  # writing through ends without an error
        invalidate(process.cache)
    assert process.cache.get_or_load("k", Loader("new"), tags=["t"]) == "new"
