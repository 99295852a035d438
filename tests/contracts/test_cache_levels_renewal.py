"""Refresh-ahead: entries that are renewed in the background before their TTL ends."""

import contextvars
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.contracts.cache_levels import (
    AHEAD,
    DUE_S,
    MAX_STALENESS,
    SECOND,
    SIGNED,
    TTL,
    Foreground,
    Loader,
    Process,
    World,
    each_invalidation,
    loaded,
    two_stores,
)

from backctl.application.cache_entries import CacheEntryService
from backctl.application.cache_renewals import AT_ONCE
from backctl.application.cache_values import itself
from backctl.application.caching import CacheService

TTL_S = TTL / SECOND
TICK_S = 0.000001


@pytest.fixture(params=[100, 0], ids=["with memory", "without memory"])
def process(request: pytest.FixtureRequest, world: World) -> Process:
    return world.process(memory=request.param, refresh_after=AHEAD)


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """Another thread. A thread that loads a value does not use the cached one."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_a_read_after_its_part_of_the_ttl_renews_the_entry(process: Process, world: World) -> None:
    loader = loaded(process)
    loader.value = "new"
    world.times.pass_by(DUE_S - TICK_S)
    assert loader.read() == "old"
    assert process.background.waiting == []
    world.times.pass_by(TICK_S)
    for _ in range(3):
        assert loader.read() == "old"
    assert process.background.run() == 1
    assert loader.calls == 2
    for _ in range(3):
        assert loader.read() == "new"
    world.times.pass_by(DUE_S - TICK_S)
    assert loader.read() == "new"
    assert process.background.waiting == []
    world.times.pass_by(TICK_S)
    assert loader.read() == "new"
    assert process.background.run() == 1


@pytest.mark.parametrize("pause_s", [1, 7])
def test_under_steady_reads_nobody_waits_for_the_loader_after_the_first(
    process: Process, world: World, elsewhere: ThreadPoolExecutor, pause_s: int
) -> None:
    """Renewals take seconds, and fail for five minutes."""
    loader = loaded(process)
    other = Foreground(world.process(refresh_after=AHEAD), "from the other process")
    reads = 0

    def read() -> None:
        nonlocal reads
        reads += 2
        loader.read()
        other.read()

    def slowly() -> None:
        for _ in range(20):
            world.times.pass_by(0.05)
            elsewhere.submit(read).result()

    for second in range(0, 1500, pause_s):
        for one in (loader, other):
            one.during = slowly
            one.error = LookupError("no") if 300 <= second < 600 else None
        read()
        process.background.run()
        other._process.background.run()
        world.times.pass_by(pause_s)
    assert reads > 400
    assert loader.calls + other.calls > 20


def test_one_process_renews_an_entry(process: Process, world: World, elsewhere: ThreadPoolExecutor) -> None:
    loader = loaded(process)
    other = world.process(refresh_after=AHEAD)
    world.times.pass_by(DUE_S)
    assert loader.read() == "old"
    theirs = Foreground(other)

    def meanwhile() -> None:
        for _ in range(3):
            assert elsewhere.submit(theirs.read).result() == "old"
            other.background.run()
            world.times.pass_by(0.3)

    loader.during, loader.value = meanwhile, "new"
    process.background.run()
    assert (loader.calls, theirs.calls) == (2, 0)
    world.times.pass_by(MAX_STALENESS)
    theirs.read()
    other.background.run()
    assert theirs.read() == "new"
    assert (loader.calls, theirs.calls) == (2, 0)


def test_an_entry_that_another_process_has_renewed_is_not_loaded_again(process: Process, world: World) -> None:
    loader = loaded(process)
    theirs = Foreground(world.process(refresh_after=AHEAD))
    assert theirs.read() == "old"
    world.times.pass_by(DUE_S)
    assert (loader.read(), theirs.read()) == ("old", "old")
    loader.value = "new"
    process.background.run()
    theirs._process.background.run()
    assert theirs.read() == "new"
    assert theirs.calls == 0
    before = world.times.monotonic
    process.cache.delete("k")
    assert process.cache.get_or_load("k", Loader("newer")) == "newer"
    assert world.times.monotonic == before  # no lock was left


@each_invalidation
def test_an_invalidation_during_a_renewal_wins(
    process: Process, world: World, invalidate: Callable[[CacheService], object]
) -> None:
    loader = loaded(process, tags=["t"])
    other = world.process(refresh_after=AHEAD).cache
    world.times.pass_by(DUE_S)
    loader.read(tags=["t"])
    loader.value = "outdated"
    loader.during = lambda: invalidate(other)
    process.background.run()
    assert loader.calls == 2
    world.times.pass_by(MAX_STALENESS)
    after = Loader("after")
    for one in (process.cache, other, world.process().cache):
        assert one.get_or_load("k", after, tags=["t"]) in ("after", "written")


@two_stores
@each_invalidation
def test_an_entry_that_was_invalidated_before_its_renewal_is_not_loaded(
    process: Process, world: World, invalidate: Callable[[CacheService], object]
) -> None:
    loader = loaded(process, tags=["t"])
    world.times.pass_by(DUE_S)
    loader.read(tags=["t"])
    invalidate(world.process(refresh_after=AHEAD).cache)
    process.background.run()
    assert loader.calls == 1
    before = world.times.monotonic
    world.times.pass_by(MAX_STALENESS)
    assert process.cache.get_or_load("k", Loader("after"), tags=["t"]) in ("after", "written")
    assert world.times.monotonic == before + MAX_STALENESS  # no lock was left


def test_a_renewal_keeps_the_tags_of_the_entry(process: Process, world: World) -> None:
    process.cache.set("k", "old", tags=["a", "b"])
    loader = Foreground(process, "new")
    world.times.pass_by(DUE_S)
    assert loader.read(tags=["b"]) == "old"
    process.background.run()
    assert loader.read(tags=["b"]) == "new"
    assert [tag.tag for tag in CacheEntryService(process.cache).explain("k").tags] == ["a", "b"]
    world.process().cache.invalidate_tags("a")
    world.times.pass_by(MAX_STALENESS)
    assert process.cache.get_or_load("k", Loader("after")) == "after"


@two_stores
def test_a_process_renews_a_few_entries_at_once(process: Process, world: World) -> None:
    loaders = {f"k{number}": loaded(process, key=f"k{number}") for number in range(AT_ONCE + 2)}
    world.times.pass_by(DUE_S)
    for _ in range(2):
        for key, loader in loaders.items():
            loader.read(key)
        assert len(process.background.waiting) == AT_ONCE
    assert process.background.run() == AT_ONCE
    for key, loader in loaders.items():
        loader.read(key)
    assert process.background.run() == 2
    assert [loader.calls for loader in loaders.values()] == [2] * len(loaders)


@two_stores
def test_without_threads_reads_go_on_and_a_later_one_renews_the_entry(process: Process, world: World) -> None:
    loader = loaded(process)
    world.times.pass_by(DUE_S)
    process.background.is_exhausted = True
    assert loader.read() == "old"
    process.background.is_exhausted = False
    world.times.pass_by(1)
    assert loader.read() == "old"
    assert process.background.run() == 1


@two_stores
def test_the_loader_sees_the_context_variables_of_the_read(process: Process, world: World) -> None:
    tenant = contextvars.ContextVar("tenant", default="nobody")
    seen: list[str] = []

    def load() -> int:
        seen.append(tenant.get())
        tenant.set("changed")
        return 1

    process.cache.get_or_load("k", load)
    tenant.set("ada")
    world.times.pass_by(DUE_S)
    process.cache.get_or_load("k", load)
    tenant.set("bob")
    process.background.run()
    assert seen == ["nobody", "ada"]
    assert tenant.get() == "bob"


@two_stores
def test_a_loader_reads_its_own_and_other_entries_in_the_background(process: Process, world: World) -> None:
    def load() -> list[Any]:
        return [process.cache.get_or_load("k", Loader("inner")), process.cache.get_or_load("other", Loader("other"))]

    for _ in range(2):
        assert process.cache.get_or_load("k", load) == ["inner", "other"]
        world.times.pass_by(DUE_S)
    assert process.background.run() == 1
    assert process.cache.get_or_load("k", load) == ["inner", "other"]


@two_stores
@pytest.mark.parametrize(
    "value", [None, object(), float("nan"), "x" * (1 << 20)], ids=["None", "object", "NaN", "large"]
)
def test_a_value_that_cannot_be_cached_removes_the_old_one(process: Process, world: World, value: Any) -> None:
    loader = loaded(process, negative_ttl=0)
    other = world.process().cache
    assert other.get("k") == "old"
    world.times.pass_by(DUE_S)
    loader.read(negative_ttl=0)
    loader.value = value
    process.background.run()
    world.times.pass_by(MAX_STALENESS)
    for cache in (process.cache, other):
        assert cache.get("k", "nothing") == "nothing"
    assert process.cache.get_or_load("k", Loader("new")) == "new"


@two_stores
def test_only_reads_with_a_loader_renew(process: Process, world: World) -> None:
    loaded(process)
    world.times.pass_by(DUE_S)
    assert process.cache.get("k") == "old"
    process.cache.write_through("k", "written", itself)
    world.times.pass_by(DUE_S)
    assert process.cache.get("k") == "written"
    process.cache.set("k", "set")
    command = world.process().cache  # as in a command, nothing can run in the background
    world.times.pass_by(DUE_S)
    assert command.get_or_load("k", Loader()) == "set"
    assert process.background.waiting == []
    loader = Foreground(process, "new")
    assert loader.read() == "set"
    assert process.background.run() == 1
    assert loader.read() == "new"


@two_stores
def test_a_stale_entry_that_is_renewed_is_not_the_value_for_reads_without_a_loader(
    process: Process, world: World
) -> None:
    loader = loaded(process)
    world.times.pass_by(TTL_S - 1)
    loader.read()
    world.times.pass_by(1)
    assert loader.read() == "old"
    assert process.cache.get("k", "nothing") == "nothing"


@two_stores
def test_renewals_are_counted_apart_from_loads(process: Process, world: World) -> None:
    loader = loaded(process)
    for _ in range(2):
        world.times.pass_by(DUE_S)
        loader.read()
        process.background.run()
        loader.error = LookupError("no")
    process.levels.close(lambda: process.store)
    counts = world.open_store().counts()
    assert (counts["loads"], counts["renewals"], counts["renewal_failures"]) == (1, 2, 1)
    assert counts.get("memory_hits", 0) + counts.get("store_hits", 0) == 2


def test_signed_entries_are_renewed_too(process: Process, world: World) -> None:
    loader = Loader("old")
    process.levels.load("user:1", loader, SIGNED)
    world.times.pass_by(DUE_S)
    assert process.levels.load("user:1", loader, SIGNED) == "old"
    loader.value = "new"
    assert process.background.run() == 1
    assert process.levels.load("user:1", loader, SIGNED) == "new"
    assert world.process().levels.load("user:1", Loader("other"), SIGNED) == "new"
    assert loader.calls == 2


@two_stores
def test_a_renewal_without_problems_logs_nothing(
    process: Process, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    loader = loaded(process)
    world.times.pass_by(DUE_S)
    loader.read()
    process.background.run()
    assert caplog.text == ""
