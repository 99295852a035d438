"""Processes that share a store, for the tests of the levels of the cache.

Clocks and pauses are injected, and renewals run when a test says so.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from backctl.application.cache_entries import CacheEntryService
from backctl.application.cache_envelope import Seal
from backctl.application.cache_levels import Environment, Levels
from backctl.application.cache_values import Codec, Recipe, RefreshAfter, decoded, encoded, itself
from backctl.application.caching import CacheService, Lifetimes
from backctl.application.ports.cache import CacheStore, Heard
from backctl.application.write_behind import WriteBehind
from backctl.domain.errors import InstallationMissing, Unavailable
from backctl.infrastructure.memory.cache import MemoryCache

NOW = 1_795_000_000_000_000
SECOND = 1_000_000
TTL, NEGATIVE, STALE = 60 * SECOND, 10 * SECOND, 600 * SECOND
MAX_STALENESS = 1.0
AHEAD = RefreshAfter(0.8)
DUE_S = 48.0
"""When reads renew an entry with this part of the TTL, in seconds."""


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


class Background:
    """Runs renewals when the test says so, in the thread of the test."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.is_exhausted = False

    def start(self, renew: Callable[[], None]) -> None:
        if self.is_exhausted:
            raise RuntimeError("can't start new thread")
        self.waiting.append(renew)

    def run(self) -> int:
        """Run the renewals that have begun; return how many there were."""
        waiting, self.waiting = self.waiting, []
        for renew in waiting:
            renew()
        return len(waiting)


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
        refresh_after: RefreshAfter | None = None,
        updates: WriteBehind | None = None,
    ) -> None:
        self.store = Between(store, listens=listens)
        self.times = times
        self.memory = MemoryCache(memory)
        self.background = Background()
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
                refresh_after=refresh_after or RefreshAfter(),
                start=None if refresh_after is None else self.background.start,
            )
        )
        self.cache = CacheService(
            levels=self.levels,
            store=lambda: self.store,
            level="file",
            lifetimes=Lifetimes(TTL, NEGATIVE, STALE),
            clock=times.clock,
            updates=updates or WriteBehind(no_queue, {}, limit=1),
            worker=no_queue,
        )


def no_queue() -> Any:
    raise InstallationMissing("these tests use no queue")


class World:
    """Several processes with one store."""

    def __init__(self, open_store: Callable[[], CacheStore]) -> None:
        self.times = Times()
        self.open_store = open_store

    def process(self, **options: Any) -> Process:
        return Process(self.open_store(), self.times, **options)


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


class Foreground(Loader):
    """A loader that must run in the background after its first call."""

    def __init__(self, process: Process, value: Any = None) -> None:
        super().__init__(value)
        self._process = process

    def read(self, key: str = "k", **options: Any) -> Any:
        """Read a value. No renewal runs meanwhile."""
        calls = self.calls
        value = self._process.cache.get_or_load(key, self, **options)
        assert self.calls == calls, "a read waited for the loader"
        return value


def loaded(process: Process, value: Any = "old", key: str = "k", **options: Any) -> Foreground:
    """Return the loader of an entry that was just stored."""
    loader = Foreground(process, value)
    assert process.cache.get_or_load(key, loader, **options) == value
    return loader


def load_at_once(
    process: Process, loader: Loader, number: int, during: Callable[[], object] = lambda: None
) -> list[Any]:
    """Load one key in several threads, all of which have begun before the loader returns."""
    waiting = threading.Semaphore(0)
    run = process.levels._flights.run

    def counted(key: str, produce: Any, alone: Any) -> Any:
        waiting.release()
        return run(key, produce, alone)

    def slowly() -> None:
        for _ in range(number):
            assert waiting.acquire(timeout=30)
        during()

    loader.during = slowly
    process.levels._flights.run = counted  # type: ignore[method-assign]  # to see who waits
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(lambda _: process.cache.get_or_load("k", loader, tags=["t"]), range(number)))


INVALIDATIONS: dict[str, Callable[[CacheService], object]] = {
    "delete": lambda cache: cache.delete("k"),
    "tags": lambda cache: cache.invalidate_tags("t"),
    "all": lambda cache: cache.invalidate_all(),
    "glob": lambda cache: cache.invalidate("k*"),
    "operator": lambda cache: CacheEntryService(cache).remove("k", if_exists=True),
    "write": lambda cache: cache.write_through("k", "written", itself, tags=["t"]),
}
each_invalidation = pytest.mark.parametrize("invalidate", INVALIDATIONS.values(), ids=INVALIDATIONS)


SIGNED = Recipe(Codec(encoded, decoded, lambda _: itself, signed=True), TTL, TTL, STALE, (b"user:1",))
"""How accounts are cached."""
