"""The levels of the cache together, over every store. Clocks and pauses are injected."""

import json
import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.redis_stores import ON_REDIS, redis_servers, redis_url

from backctl.application.cache_entries import CacheEntryService
from backctl.application.cache_envelope import Seal
from backctl.application.cache_levels import Environment, Levels
from backctl.application.cache_values import Codec, Recipe, decoded, encoded, itself
from backctl.application.caching import CacheService, Lifetimes
from backctl.application.ports.cache import CacheStore, Heard
from backctl.domain.cache_entry import Entry
from backctl.domain.cache_entry import decoded as entry_of
from backctl.domain.errors import CacheReserved, InvalidCacheEntry, Unavailable
from backctl.infrastructure.memory.cache import MemoryCache
from backctl.infrastructure.redis.cache import RedisCache
from backctl.infrastructure.redis.exchange import Call
from backctl.infrastructure.sqlite.cache import SqliteCache

NOW = 1_795_000_000_000_000
SECOND = 1_000_000
TTL, NEGATIVE, STALE = 60 * SECOND, 10 * SECOND, 600 * SECOND
MAX_STALENESS = 1.0


class Times:
    """The clock of the computer in microseconds and the monotonic one in seconds. A pause moves both."""

    def __init__(self) -> None:
        self.now = NOW
        self.monotonic = 1000.0

    def clock(self) -> int:
        return self.now

    def seconds(self) -> float:
        return self.monotonic

    def sleep(self, seconds: float) -> None:
        threading.Event().wait(0.001)  # lets the thread continue that is waited for
        self.monotonic += seconds

    def pass_by(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)
        self.monotonic += seconds


class Away(Unavailable):
    code = "redis.unavailable"


class Between:
    """Passes calls to a store, without messages. Tests can make it fail, and act before and after calls."""

    def __init__(self, store: CacheStore, *, listens: bool = False) -> None:
        self._store = store
        self._listens = listens
        self.calls: list[str] = []
        self.away = False
        self.before: dict[str, Callable[[], object]] = {}
        self.after: dict[str, Callable[[], object]] = {}
        self.before_listening: Callable[[], object] = lambda: None
        self.heard: Callable[[Heard], object] = lambda heard: None

    def listen(self, heard: Heard) -> None:
        act, self.before_listening = self.before_listening, lambda: None
        act()
        self.heard(heard)
        if self._listens:
            self._store.listen(heard)

    def close(self) -> None:
        self._store.close()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            if self.away:
                raise Away("the server does not answer", hint=None)
            self.before.pop(name, lambda: None)()
            answer = method(*arguments, **options)
            self.after.pop(name, lambda: None)()
            return answer

        return call


class Process:
    """One process: its levels, and the store as it sees it."""

    def __init__(
        self,
        store: CacheStore,
        times: Times,
        *,
        memory: int = 100,
        listens: bool = False,
        secret: bytes = b"s" * 32,
        lock_timeout: int = 2 * SECOND,
    ) -> None:
        self.store = Between(store, listens=listens)
        self.times = times
        self.memory = MemoryCache(memory)
        self.levels = Levels(
            Environment(
                store=lambda: self.store,
                memory=self.memory,
                seal=lambda: Seal(secret, "inst-1"),
                monotonic=times.seconds,
                clock=times.clock,
                sleep=times.sleep,
                lock_timeout=lock_timeout,
                max_staleness=round(MAX_STALENESS * SECOND),
            )
        )
        self.cache = CacheService(
            levels=self.levels,
            store=lambda: self.store,
            level="file",
            lifetimes=Lifetimes(TTL, NEGATIVE, STALE),
            clock=times.clock,
        )


class World:
    """Several processes with one store."""

    def __init__(self, open_store: Callable[[], CacheStore]) -> None:
        self.times = Times()
        self.open_store = open_store

    def process(self, **options: Any) -> Process:
        return Process(self.open_store(), self.times, **options)


@pytest.fixture(params=("sqlite", *ON_REDIS))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    kind: str = request.param
    namespace = f"t{secrets.token_hex(6)}"
    stores: list[CacheStore] = []

    def open_store() -> CacheStore:
        if kind == "sqlite":
            path = tmp_path / "cache.db"
            stores.append(SqliteCache(path, installation="inst-1", timeout_us=30 * SECOND, clock=made.times.clock))
        else:
            url = redis_url(request.getfixturevalue("servers"), kind)
            stores.append(RedisCache(redis_servers(url), namespace=namespace, installation="inst-1"))
        return stores[-1]

    made = World(open_store)
    yield made
    for store in stores:
        store.close()


@pytest.fixture(params=[100, 0], ids=["with memory", "without memory"])
def process(request: pytest.FixtureRequest, world: World) -> Process:
    return world.process(memory=request.param)


two_stores = pytest.mark.parametrize("world", ["sqlite", "redis"], indirect=True)
"""For what does not depend on the store."""
one_store = pytest.mark.parametrize("world", ["sqlite"], indirect=True)


class Loader:
    """Returns a value, or raises an error; counts its calls. `during` runs while it loads, once."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.calls = 0
        self.error: Exception | None = None
        self.during: Callable[[], object] = lambda: None

    def __call__(self) -> Any:
        self.calls += 1
        value, during, self.during = self.value, self.during, lambda: None
        during()
        if self.error is not None:
            raise self.error
        return value


# Values.


@two_stores
@pytest.mark.parametrize(
    "value", [None, 0, "", [], {}, False, b"", 0.0, True, 1 << 80, "é\0", b"\xff\0", [None], {"a": [1, {"b": None}]}]
)
def test_every_value_is_a_value(process: Process, world: World, value: Any) -> None:
    loader = Loader(value)
    for _ in range(3):
        found = process.cache.get_or_load("k", loader)
        assert (found, type(found)) == (value, type(value))
    assert loader.calls == 1
    other = world.process().cache
    assert other.get("k", "default") == value
    assert other.get("missing", "default") == "default"
    stored = CacheEntryService(other).value("k")
    assert (stored.value, stored.format) == (value, "bytes" if isinstance(value, bytes) else "json")


@two_stores
@pytest.mark.parametrize("value", [None, 0, "", [], False, b""])
def test_every_value_can_be_set_and_written(process: Process, value: Any) -> None:
    assert process.cache.set("k", value)
    assert process.cache.get("k", "default") == value
    assert process.cache.write_through("k2", value, lambda written: (written, 1)) == (value, 1)
    assert process.cache.get("k2", "default") == value
    assert process.cache.get_or_load("k2", Loader("other")) == value


@two_stores
def test_a_loaded_value_has_the_types_of_json_at_once(process: Process) -> None:
    for _ in range(2):
        assert process.cache.get_or_load("k", lambda: {"t": (1, 2), 3: "n"}) == {"t": [1, 2], "3": "n"}


@two_stores
@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), {"a": b""}, "\ud800"])
def test_what_json_cannot_express_is_refused_and_the_lock_is_released(process: Process, value: Any) -> None:
    with pytest.raises(InvalidCacheEntry):
        process.cache.get_or_load("k", lambda: value)
    with pytest.raises(InvalidCacheEntry):
        process.cache.set("k", value)
    with pytest.raises(InvalidCacheEntry):
        process.cache.write_through("k", value, lambda written: pytest.fail("it was written"))
    before = process.times.monotonic
    assert process.cache.get_or_load("k", Loader(1)) == 1
    assert process.times.monotonic == before


@two_stores
def test_a_large_value_is_returned_but_not_kept(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    loader = Loader("x" * (1 << 20))
    assert process.cache.get_or_load("k", loader) == loader.value
    assert process.cache.get_or_load("k", loader) == loader.value
    assert loader.calls == 2
    assert "is not cached" in caplog.text


@two_stores
@pytest.mark.parametrize("depth", [10, 300, 600, 900])
def test_a_deep_value_is_returned_or_refused(process: Process, depth: int) -> None:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]

    def load() -> int:
        try:
            return len(json.dumps(process.cache.get_or_load("k", lambda: value)))
        except InvalidCacheEntry:
            return 0

    assert {load() for _ in range(3)} <= ({2 * depth + 2} if depth <= 300 else {0, 2 * depth + 2})


def test_nobody_changes_the_value_of_another(process: Process, world: World) -> None:
    def value() -> dict[str, Any]:
        return {"list": [1, {"deep": [2]}], "n": 1}

    first = process.cache.get_or_load("k", value)
    first["list"][1]["deep"].append("changed")
    first["new"] = 1
    second = process.cache.get_or_load("k", value)
    assert second == value()
    second["list"].clear()
    third = process.cache.get("k")
    assert third == value()
    third["list"][1].clear()
    assert process.cache.get_or_load("k", value) == value()
    flat = process.cache.get_or_load("flat", lambda: [1, 2])
    flat.append(3)
    assert process.cache.get_or_load("flat", lambda: [0]) == [1, 2]
    assert world.process().cache.get("k") == value()


def test_threads_that_wait_for_one_loader_do_not_share_its_value(process: Process) -> None:
    found = load_at_once(process, Loader([1]), 8)
    for value in found:
        value.append("changed")
    assert [len(value) for value in found] == [2] * 8


# Loading once.


def load_at_once(
    process: Process, loader: Loader, number: int, during: Callable[[], object] = lambda: None
) -> list[Any]:
    """Load one key in several threads, all of which have begun before the loader returns."""
    waiting = threading.Semaphore(0)
    run = process.levels._flights.run

    def counted(key: str, produce: Any) -> Any:
        waiting.release()
        return run(key, produce)

    def slowly() -> None:
        for _ in range(number):
            assert waiting.acquire(timeout=30)
        during()

    loader.during = slowly
    process.levels._flights.run = counted  # type: ignore[method-assign]  # to see who waits
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(lambda _: process.cache.get_or_load("k", loader, tags=["t"]), range(number)))


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


# Invalidation.

INVALIDATIONS: dict[str, Callable[[CacheService], object]] = {
    "delete": lambda cache: cache.delete("k"),
    "tags": lambda cache: cache.invalidate_tags("t"),
    "all": lambda cache: cache.invalidate_all(),
    "glob": lambda cache: cache.invalidate("k*"),
    "operator": lambda cache: CacheEntryService(cache).remove("k", if_exists=True),
    "write": lambda cache: cache.write_through("k", "written", itself, tags=["t"]),
}
each_invalidation = pytest.mark.parametrize("invalidate", INVALIDATIONS.values(), ids=INVALIDATIONS)


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

        def joining(key: str, produce: Any) -> Any:
            joined.set()
            return run(key, produce)

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


# Lifetimes.


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


# Writing.


def test_a_failing_write_leaves_nothing(process: Process, world: World) -> None:
    process.cache.set("k", "old")
    process.cache.get("k")

    def write(value: str) -> None:
        raise LookupError(value)

    with pytest.raises(LookupError, match="new"):
        process.cache.write_through("k", "new", write)
    for cache in (process.cache, world.process().cache):
        assert cache.get("k", "nothing") == "nothing"
    before = world.times.monotonic
    assert process.cache.get_or_load("k", Loader(1)) == 1
    assert world.times.monotonic == before


def test_an_interrupted_write_leaves_nothing(process: Process) -> None:
    process.cache.set("k", "old")

    def write(value: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.cache.write_through("k", "new", write)
    assert process.cache.get("k", "nothing") == "nothing"


@pytest.mark.parametrize("order", ["1122", "1212", "1221", "2112"])
def test_two_writers_never_leave_a_wrong_value(process: Process, world: World, order: str) -> None:
    """They begin in the order 1, 2. The digits say which writes to the database, and which returns from it."""
    database: list[str] = []
    events = [threading.Event() for _ in order]
    turn = {name: [number for number, one in enumerate(order) if one == name] for name in "12"}
    begun = {name: threading.Event() for name in "12"}
    processes = {"1": process, "2": world.process()}
    ended: dict[str, Any] = {}

    def write(name: str) -> None:
        begun[name].set()
        for number in turn[name]:
            assert events[number].wait(30)
            if number == turn[name][0]:
                database[:] = [name]
                done[number].set()

    done = [threading.Event() for _ in order]
    with ThreadPoolExecutor(2) as pool:
        for name in "12":
            ended[name] = pool.submit(processes[name].cache.write_through, "k", name, lambda _, name=name: write(name))
            assert begun[name].wait(30)
        for number, name in enumerate(order):
            events[number].set()
            if number == turn[name][0]:
                assert done[number].wait(30)
            else:
                ended[name].result(30)
    world.times.pass_by(MAX_STALENESS)
    for one in (process, world.process()):
        assert one.cache.get("k", "nothing") in (database[0], "nothing")
        assert one.cache.get_or_load("k", lambda: database[0]) == database[0]


@pytest.mark.parametrize("moment", ["before the write", "after the write"])
def test_a_filler_never_undoes_a_write(process: Process, world: World, moment: str) -> None:
    """A filler that read the database before the write ends after it."""
    database, other = ["old"], world.process()
    read, may_end = threading.Event(), threading.Event()

    def slow() -> str:
        value = database[0]
        read.set()
        assert may_end.wait(30)
        return value

    with ThreadPoolExecutor(1) as pool:
        filler = pool.submit(other.cache.get_or_load, "k", slow)
        assert read.wait(30)

        def write(value: str) -> None:
            if moment == "before the write":
                may_end.set()
                filler.result(30)
            database[0] = value

        process.cache.write_through("k", "new", write)
        may_end.set()
        filler.result(30)
    world.times.pass_by(MAX_STALENESS)
    for one in (process, other, world.process()):
        assert one.cache.get_or_load("k", lambda: database[0]) == "new"


def test_a_value_that_is_removed_while_it_is_written_is_not_kept(process: Process, world: World) -> None:
    other = world.process().cache
    assert process.cache.write_through("k", "new", lambda value: other.delete("k")) is False
    assert process.cache.get("k", "nothing") == "nothing"


def test_readers_never_see_an_older_value_while_others_write(process: Process, world: World) -> None:
    """The values grow, and each reader asks after a write has returned."""
    database, returned = [0], [0]
    lock = threading.Lock()

    def write(number: int) -> None:
        with lock:
            value = database[0] + 1
            process.cache.write_through("k", value, lambda new: database.__setitem__(0, new))
            returned[0] = value

    def read(_: int) -> tuple[int, Any]:
        least = returned[0]
        return least, process.cache.get_or_load("k", lambda: database[0])

    with ThreadPoolExecutor(6) as pool:
        writes = [pool.submit(write, number) for number in range(25)]
        reads = [pool.submit(read, number) for number in range(75)]
        for done in writes:
            done.result(60)
        for one in reads:
            least, found = one.result(60)
            assert found >= least
    assert process.cache.get_or_load("k", lambda: database[0]) == 25


# A store that is away.


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


# Signed entries.


def account_recipe(**changes: Any) -> Recipe:
    return Recipe(Codec(encoded, decoded, lambda _: itself, signed=True), TTL, TTL, STALE, (b"user:1",))._replace(
        **changes
    )


SIGNED = account_recipe()


def raw_entry(process: Process, key: bytes) -> bytes:
    (reading,) = process.store.read([key], [[]])
    assert isinstance(reading.entry, bytes)
    return reading.entry


def put_raw(process: Process, key: bytes, raw: bytes) -> None:
    """Store bytes as somebody would who can write to the store."""
    begun = process.store.begin(key, b"x", [], hold_us=SECOND, keep_us=SECOND, take_over=True)
    assert process.store.complete(key, b"x", begun.fence, raw, ttl_us=3600 * SECOND)


def flipped(raw: bytes, entry: Entry) -> bytes:
    place = raw.index(b'"role"')
    return raw[: place + 1] + bytes([raw[place + 1] ^ 1]) + raw[place + 2 :]


TAMPERED: dict[str, Callable[[bytes, Entry], bytes]] = {
    "a flipped byte": flipped,
    "another role": lambda raw, entry: raw.replace(b'"guest"', b'"admin"'),
    "no signature": lambda raw, entry: entry._replace(mac=b"").encoded(),
    "no signature, another role": lambda raw, entry: entry._replace(mac=b"", payload=b'{"role":"admin"}').encoded(),
    "an empty signature": lambda raw, entry: entry._replace(mac=bytes(32)).encoded(),
    "a later end": lambda raw, entry: entry._replace(soft_at=entry.soft_at + 1, hard_at=entry.hard_at + 1).encoded(),
    "no tags": lambda raw, entry: entry._replace(tags=()).encoded(),
    "an unknown secret": lambda raw, entry: entry.signed(b"x" * 32, b"inst-1\0user:1").encoded(),
    "another installation": lambda raw, entry: entry.signed(b"s" * 32, b"inst-2\0user:1").encoded(),
    "another key": lambda raw, entry: entry.signed(b"s" * 32, b"inst-1\0user:2").encoded(),
}


@two_stores
@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_a_tampered_account_is_a_miss_with_one_warning(
    process: Process, tamper: Callable[[bytes, Entry], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    good = {"role": "guest", "name": "ada"}
    load = Loader(good)
    assert process.levels.load("user:1", load, SIGNED) == good
    raw = raw_entry(process, b"user:1")
    entry = entry_of(raw)
    assert entry is not None
    put_raw(process, b"user:1", tamper(raw, entry))
    process.memory.clear()
    assert process.levels.load("user:1", load, SIGNED) == good
    assert load.calls == 2
    warnings = [record.message for record in caplog.records if "signature" in record.message]
    assert len(warnings) == 1
    assert "user:1" in warnings[0]
    process.memory.clear()
    assert process.levels.load("user:1", load, SIGNED) == good
    assert load.calls == 2  # it was replaced by a good one


def test_a_copied_account_is_a_miss(process: Process, world: World, caplog: pytest.LogCaptureFixture) -> None:
    process.levels.load("user:admin", Loader({"role": "admin"}), SIGNED)
    put_raw(process, b"user:1", raw_entry(process, b"user:admin"))
    other = world.process()
    assert other.levels.load("user:1", Loader({"role": "guest"}), SIGNED) == {"role": "guest"}
    assert other.levels.load("user:1", Loader("not asked"), SIGNED) == {"role": "guest"}
    assert sum("signature" in record.message for record in caplog.records) == 1


def test_a_tampered_account_never_replaces_a_loader_that_fails(
    process: Process, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    load = Loader({"role": "guest"})
    process.levels.load("user:1", load, SIGNED)
    put_raw(process, b"user:1", raw_entry(process, b"user:1").replace(b"guest", b"admin"))
    process.memory.clear()
    world.times.pass_by(TTL / SECOND)
    load.error = LookupError("no")
    with pytest.raises(LookupError):
        process.levels.load("user:1", load, SIGNED)
    assert sum("signature" in record.message for record in caplog.records) == 1


def test_an_account_of_a_process_with_another_keyring_is_a_miss(world: World) -> None:
    one, two = world.process(), world.process(secret=b"t" * 32)
    one.levels.load("user:1", Loader(1), SIGNED)
    assert two.levels.load("user:1", Loader(2), SIGNED) == 2


def test_without_a_keyring_loaders_answer(world: World) -> None:
    process = world.process()

    def no_keyring() -> Seal:
        raise Away("no keyring", hint=None)

    process.levels._envelope._seal = no_keyring
    for _ in range(3):
        assert process.levels.load("user:1", Loader(1), SIGNED) == 1
        world.times.pass_by(1.5)
    assert process.cache.get_or_load("k", Loader(2)) == 2


@two_stores
def test_a_clock_that_is_set_back_does_not_keep_accounts_out_of_the_cache(world: World) -> None:
    process = world.process()
    seal = process.levels._envelope._seal

    def no_keyring() -> Seal:
        raise Away("no keyring", hint=None)

    process.levels._envelope._seal = no_keyring
    process.levels.load("user:1", Loader(1), SIGNED)
    process.levels._envelope._seal = seal
    world.times.now -= 3600 * SECOND
    loader = Loader(1)
    for _ in range(2):
        process.levels.load("user:1", loader, SIGNED)
    assert loader.calls == 1


def test_a_store_that_is_away_is_reported_once_for_accounts_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    process = world.process()
    process.store.away = True
    for _ in range(4):
        assert process.levels.load("user:1", Loader(1), SIGNED) == 1
        world.times.pass_by(2)
    assert len(process.store.calls) == 4
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
    process.store.away = False
    load = Loader(2)
    for _ in range(2):
        assert process.levels.load("user:1", load, SIGNED) == 2
    assert load.calls == 1
    assert caplog.records[-1].message == "the cache is available again"


# The service.


@two_stores
@pytest.mark.parametrize("key", ["user:1", "user", "revocation:a:b", "revocation"])
def test_reserved_keys_are_refused(process: Process, key: str) -> None:
    for act in (
        lambda: process.cache.get_or_load(key, Loader(1)),
        lambda: process.cache.get(key),
        lambda: process.cache.set(key, 1),
        lambda: process.cache.write_through(key, 1, itself),
        lambda: CacheEntryService(process.cache).store_value(key, 1),
        process.cache.cached(key)(lambda: 1),
    ):
        with pytest.raises(CacheReserved):
            act()
    assert process.cache.get_or_load("users:1", Loader(1)) == 1
    process.levels.load("user:1", Loader(1), SIGNED)
    process.cache.delete("user:1")  # invalidating is allowed
    process.cache.invalidate("user:*")


@two_stores
def test_a_decorator_caches_by_the_arguments(process: Process) -> None:
    calls: list[Any] = []

    @process.cache.cached("report:{year}:{name}", tags=["year:{year}"])
    def report(year: int, name: str = "all", *, ignored: int = 0) -> list[Any]:
        """Return a report."""
        calls.append((year, name))
        return [year, name]

    assert (report.__name__, report.__doc__) == ("report", "Return a report.")
    for _ in range(2):
        assert report(2026) == [2026, "all"]
        assert report(year=2026, name="all", ignored=1) == [2026, "all"]
        assert report(2026, "a:b") == [2026, "a:b"]
        assert report(2025, "{year}") == [2025, "{year}"]
    assert calls == [(2026, "all"), (2026, "a:b"), (2025, "{year}")]
    assert process.cache.get("report:2026:a%3Ab") == [2026, "a:b"]
    process.cache.invalidate_tags("year:2026")
    report(2026)
    report(2025, "{year}")
    assert calls[3:] == [(2026, "all")]


@two_stores
def test_arguments_do_not_run_into_each_other(process: Process) -> None:
    @process.cache.cached("pair:{a}:{b}")
    def pair(a: str, b: str) -> list[str]:
        return [a, b]

    for a, b in (("x:y", "z"), ("x", "y:z"), ("", ":"), (":", ""), ("é", "%"), ("%C3%A9", "%25"), ("*", "?")):
        assert pair(a, b) == [a, b]
        assert pair(a, b) == [a, b]


@two_stores
@pytest.mark.parametrize("template", ["k:{other}", "k:{}", "k:{0}", "k:{year.real}", "k:{year[0]}"])
def test_a_template_with_an_unknown_name_is_refused(process: Process, template: str) -> None:
    with pytest.raises(InvalidCacheEntry, match="not a parameter"):
        process.cache.cached(template)(lambda year: year)
    with pytest.raises(InvalidCacheEntry, match="not a parameter"):
        process.cache.cached("k", tags=[template])(lambda year: year)


@two_stores
def test_a_decorated_function_that_fails_is_called_again(process: Process) -> None:
    @process.cache.cached("k")
    def fail() -> None:
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            fail()


@pytest.mark.parametrize("tags", [["a"] * 20, [str(number) for number in range(16)]])
def test_many_tags(process: Process, tags: Sequence[str]) -> None:
    process.cache.get_or_load("k", Loader("old"), tags=tags)
    process.cache.invalidate_tags(tags[-1])
    assert process.cache.get_or_load("k", Loader("new"), tags=tags) == "new"


def test_an_entry_with_other_tags_than_expected_is_read_with_its_own(process: Process, world: World) -> None:
    process.cache.get_or_load("k", Loader("old"), tags=["t"])
    other = world.process()
    assert other.cache.get_or_load("k", Loader("new")) == "old"
    other.cache.invalidate_tags("t")
    assert other.cache.get_or_load("k", Loader("new")) == "new"


def test_an_entry_without_the_tags_of_the_caller_is_a_miss(process: Process, world: World) -> None:
    """Otherwise, invalidating a tag would not reach it."""
    process.cache.get_or_load("k", Loader("old"), tags=["t"])
    other = world.process()
    assert other.cache.get_or_load("k", Loader("new"), tags=["t", "u"]) == "new"
    other.cache.invalidate_tags("u")
    assert other.cache.get_or_load("k", Loader("newer"), tags=["u"]) == "newer"


def test_stats_count_what_happened(world: World) -> None:
    process, other = world.process(), world.process()
    loader = Loader(1)
    for _ in range(3):
        process.cache.get_or_load("k", loader)
    other.cache.get_or_load("k", loader)
    for one in (process, other):
        one.levels.close(one.levels._access.store)
    stats = CacheEntryService(other.cache).stats()
    assert (stats.entries, stats.loads, stats.memory_hits, stats.store_hits) == (1, 1, 2, 1)
    assert stats.hit_ratio == 0.75
