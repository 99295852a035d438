"""What must not happen between the threads, the children and the clocks of services that use the cache."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.redis_servers import until
from tests.redis_stores import redis_servers
from tests.servers import Servers

from backctl.application.cache_envelope import Seal
from backctl.application.cache_levels import Environment, Levels
from backctl.application.cache_values import PLAIN, Recipe, RefreshAfter
from backctl.application.ports.cache import CacheStore, Change, Heard
from backctl.domain.errors import DatabaseUnavailable
from backctl.infrastructure.clock import microseconds
from backctl.infrastructure.forks import pause_during_forks, start_over_in_children
from backctl.infrastructure.memory.cache import MemoryCache
from backctl.infrastructure.redis.cache import RedisCache
from backctl.infrastructure.sqlite.cache import SqliteCache
from backctl.wiring.cache import start_renewal

S = 1_000_000
RECIPE = Recipe(PLAIN, 300 * S, 300 * S, 0, (b"red",))
PATIENCE_S = 60


class Stores:
    """Opens the same store several times, as processes do."""

    def __init__(self, kind: str, servers: Servers, folder: Path, cleanup: ExitStack) -> None:
        self._kind = kind
        self._servers = servers
        self._path = folder / "cache.db"
        self._cleanup = cleanup

    def open(self, clock: Callable[[], int] = microseconds) -> CacheStore:
        store: CacheStore
        if self._kind == "sqlite":
            store = SqliteCache(self._path, installation="i", timeout_us=30 * S, clock=clock)
        else:
            server = self._servers.redis()
            store = RedisCache(redis_servers(server.url()), namespace=self._path.parent.name, installation="i")
        self._cleanup.callback(store.close)
        return store

    def levels(self, memory: MemoryCache | None = None, *, max_staleness: int = 1000, **other: Any) -> Levels:
        store = self.open()
        environment = Environment(
            store=lambda: store,
            memory=MemoryCache(100) if memory is None else memory,
            seal=lambda: Seal(b"k" * 32, "i"),
            monotonic=time.monotonic,
            clock=microseconds,
            sleep=time.sleep,
            lock_timeout=60 * S,
            max_staleness=max_staleness,
        )
        return Levels(environment._replace(**other))


@pytest.fixture(params=["sqlite", "redis"])
def stores(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Stores]:
    with ExitStack() as cleanup:
        yield Stores(request.param, servers, tmp_path, cleanup)


INVALIDATIONS: dict[str, Callable[[Levels], object]] = {
    "a tag": lambda levels: levels.renew_tags([b"red"]),
    "all": lambda levels: levels.renew_epoch(),
    "a key": lambda levels: levels.remove([b"k"]),
    "a pattern": lambda levels: list(levels._access.store().sweep(b"k*", dry_run=False)),
}


@pytest.mark.parametrize("invalidation", INVALIDATIONS)
@pytest.mark.parametrize("size", [100, 0], ids=["memory", "no memory"])
def test_a_caller_after_an_invalidation_gets_nothing_that_was_loaded_before(
    stores: Stores, invalidation: str, size: int
) -> None:
    levels, elsewhere = stores.levels(MemoryCache(size)), stores.levels()
    values, loading, may_end = ["old", "new"], threading.Event(), threading.Event()

    def loader() -> str:
        value = values.pop(0)
        loading.set()
        assert may_end.wait(PATIENCE_S)
        return value

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(levels.load, "k", loader, RECIPE)
        assert loading.wait(PATIENCE_S)
        INVALIDATIONS[invalidation](elsewhere)
        later = pool.submit(levels.load, "k", loader, RECIPE)
        flight = levels._flights._running["k"]
        until(lambda: flight.done._cond._waiters, "a thread that waits")  # type: ignore[attr-defined]
        may_end.set()
        assert first.result() == "old"
        assert later.result() == "new"


def test_threads_that_miss_a_key_at_the_same_time_load_it_once(stores: Stores) -> None:
    levels, loading, may_end = stores.levels(MemoryCache(0)), threading.Event(), threading.Event()
    count = []

    def loader() -> str:
        count.append(1)
        loading.set()
        assert may_end.wait(PATIENCE_S)
        return "value"

    with ThreadPoolExecutor(20) as pool:
        found = [pool.submit(levels.load, "k", loader, RECIPE) for _ in range(20)]
        assert loading.wait(PATIENCE_S)
        may_end.set()
        assert [one.result() for one in found] == ["value"] * 20
    assert len(count) == 1


class Deaf:
    """A store that sends no messages."""

    def __init__(self, store: CacheStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def listen(self, heard: Heard) -> None:
        """Do nothing."""


class SlowMemory(MemoryCache):
    """Stops in `drop` until `may_go_on`."""

    def __init__(self) -> None:
        super().__init__(100)
        self.stopped = threading.Event()
        self.may_go_on = threading.Event()

    def drop(self, change: Change) -> None:
        self.stopped.set()
        assert self.may_go_on.wait(PATIENCE_S)
        super().drop(change)


def test_a_child_forked_while_another_thread_drops_an_entry_does_not_use_it(stores: Stores) -> None:
    memory, store = SlowMemory(), Deaf(stores.open())
    levels = stores.levels(memory, max_staleness=60 * S, store=lambda: store)
    start_over_in_children(levels)
    assert levels.load("k", lambda: "old", RECIPE) == "old"
    dropping = threading.Thread(target=levels.remove, args=([b"k"],))
    dropping.start()
    assert memory.stopped.wait(PATIENCE_S)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if levels.load("k", lambda: "new", RECIPE) == "new" else 1)
        finally:
            os._exit(2)
    memory.may_go_on.set()
    dropping.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert levels.load("k", lambda: "new", RECIPE) == "new"


AHEAD = RefreshAfter(0.001)
RENEWED = RECIPE._replace(stale=300 * S)
"""Reads renew it after 0.3 s."""


class Slow:
    """A loader that returns 1, then stops in the background until `may_end`."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.may_end = threading.Event()
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls > 1:
            self.started.set()
            assert self.may_end.wait(PATIENCE_S)
        return self.calls


def renewing(stores: Stores, loader: Slow, **other: Any) -> Levels:
    """Return levels that are renewing an entry in a thread."""
    levels = stores.levels(refresh_after=AHEAD, start=start_renewal, max_staleness=60 * S, **other)
    start_over_in_children(levels)
    pause_during_forks(levels)
    until(lambda: levels.load("k", loader, RENEWED) and loader.started.is_set(), "a renewal")
    return levels


def test_reads_go_on_while_a_thread_renews_the_entry(stores: Stores) -> None:
    loader = Slow()
    levels = renewing(stores, loader)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: levels.load("k", loader, RENEWED), range(200))) == {1}
    loader.may_end.set()
    until(lambda: levels.load("k", loader, RENEWED) > 1, "the new value")


def test_a_child_forked_during_a_renewal_has_its_own_renewals(stores: Stores) -> None:
    loader = Slow()
    levels = renewing(stores, loader)
    child = os.fork()
    if child == 0:
        try:
            own = Slow()
            own.may_end.set()
            until(lambda: levels.load("of the child", own, RENEWED) > 1, "a renewal in the child")
            os._exit(1 if "k" in levels._renewals._running else 0)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert "k" in levels._renewals._running
    loader.may_end.set()
    until(lambda: not levels._renewals._running, "the end of the renewal")


def test_a_fork_waits_for_a_renewal_that_uses_a_database(stores: Stores) -> None:
    """A child could not use an SQLite file that the renewal is using."""
    used, may_go_on = threading.Event(), threading.Event()
    store = stores.open()

    class Slowly:
        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def complete(self, *arguments: Any, **options: Any) -> bool:
            if loader.calls > 1:
                used.set()
                assert may_go_on.wait(PATIENCE_S)
            return store.complete(*arguments, **options)

    slowly, loader = Slowly(), Slow()
    loader.may_end.set()
    levels = renewing(stores, loader, store=lambda: slowly)
    assert used.wait(PATIENCE_S)
    forked: list[int] = []

    def fork() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0 if not levels._renewals._running and levels.load("other", lambda: 1, RECIPE) == 1 else 1)
        forked.append(child)

    thread = threading.Thread(target=fork)
    thread.start()
    until(lambda: levels._renewals._forks, "the fork")
    may_go_on.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(forked[0], 0)[1]) == 0
    until(lambda: not levels._renewals._running, "the end of the renewal")
    assert levels._renewals._forks == 0


def test_closing_does_not_wait_for_a_loader_and_releases_its_lock(stores: Stores) -> None:
    loader = Slow()
    levels = renewing(stores, loader)
    levels.close(levels._access.store)
    other = stores.levels()
    other.remove([b"k"])
    assert other.load("k", lambda: "new", RECIPE) == "new"
    loader.may_end.set()
    until(lambda: all("renewal" not in thread.name for thread in threading.enumerate()), "the end of the renewal")
    assert stores.levels().load("k", lambda: "newer", RECIPE) == "new"


def test_messages_are_received_although_the_first_read_found_no_store(stores: Stores) -> None:
    store, now, opened, listening = stores.open(), [0.0], [], []

    class Listened:
        def __getattr__(self, name: str) -> object:
            if name == "listen":
                listening.append(name)
            return getattr(store, name)

    def open_() -> Any:
        opened.append(1)
        if len(opened) == 1:
            raise DatabaseUnavailable("the database is away")
        return listened

    listened = Listened()
    levels = stores.levels(store=open_, monotonic=lambda: now[0])
    assert levels.load("k", lambda: "value", RECIPE) == "value"
    now[0] = 10.0
    assert levels.load("k", lambda: "value", RECIPE) == "value"
    assert listening == ["listen"]


def test_one_thread_at_a_time_tries_a_store_that_failed(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    signed = RECIPE._replace(codec=PLAIN._replace(signed=True))
    store, now, asked, trying, may_fail = stores.open(), [0.0], [], threading.Event(), threading.Event()

    class Failing:
        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def sequence(self) -> bytes:
            asked.append(now[0])
            if now[0]:
                trying.set()
                assert may_fail.wait(PATIENCE_S)
            raise DatabaseUnavailable("the store is away")

    failing = Failing()
    levels = stores.levels(store=lambda: failing, monotonic=lambda: now[0])
    assert levels.load("k", lambda: "value", signed) == "value"
    assert levels.load("k", lambda: "value", signed) == "value"
    assert asked == [0.0]
    now[0] = 10.0
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(levels.load, "k", lambda: "value", signed)
        assert trying.wait(PATIENCE_S)
        try:
            assert levels.load("other", lambda: "value", signed) == "value"
        finally:
            may_fail.set()
        assert first.result() == "value"
    assert asked == [0.0, 10.0]
    assert "available again" not in caplog.text


def test_a_lock_from_a_clock_that_was_ahead_blocks_nobody(servers: Servers, tmp_path: Path) -> None:
    now = [1_000_000 * S]
    with ExitStack() as cleanup:
        store = Stores("sqlite", servers, tmp_path, cleanup).open(lambda: now[0])
        began = store.begin(b"k", b"f1", (), hold_us=10 * S, keep_us=S)
        assert began.held
        assert not store.begin(b"k", b"f2", (), hold_us=10 * S, keep_us=S).held
        now[0] -= 3600 * S
        assert store.begin(b"k", b"f3", (), hold_us=10 * S, keep_us=S).held
