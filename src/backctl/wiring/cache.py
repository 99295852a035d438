"""Factories for the cache, from the settings."""

import time
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from backctl.application.cache_envelope import Seal
    from backctl.application.cache_levels import Levels
    from backctl.application.ports.cache import CacheStore
    from backctl.infrastructure.redis.connection import RedisServers
    from backctl.settings import LoadedSettings
    from backctl.wiring.storage import Storage

FILE = "cache.db"
"""The name of the cache file in the data folder. The file alone is not an installation."""

_NO_INSTALLATION = "none"


def has_cache(loaded: "LoadedSettings") -> bool:
    """Whether there may be cache entries: Redis is configured, or the cache file exists."""
    import os

    return bool(loaded.settings.redis.url.reveal()) or os.path.lexists(loaded.data_folder / FILE)


def cache_level(loaded: "LoadedSettings") -> str:
    """Return the name of the shared store: `redis` or `file`."""
    return "redis" if loaded.settings.redis.url.reveal() else "file"


class InstalledStore:
    """The store of the installation: Redis if configured, otherwise a file. Entries are separate per installation.

    A service can start before there is an installation; the store then checks for one at most once a second.
    """

    def __init__(self, loaded: "LoadedSettings", redis: "Callable[[], RedisServers]", storage: "Storage") -> None:
        self._loaded = loaded
        self._redis = redis
        self._storage = storage
        self._lock = Lock()
        self._installation = ""
        self._store: CacheStore | None = None
        self._look_again_at = 0.0

    def start_over(self) -> None:
        """Replace the lock; called in a forked child."""
        self._lock = Lock()

    def __call__(self) -> "CacheStore":
        """Return the store. Raises the errors of reading the id."""
        store = self._store
        if store is not None and self._installation != _NO_INSTALLATION:
            return store
        with self._lock:
            now = time.monotonic()
            if self._store is None or now >= self._look_again_at:
                self._look_again_at = now + 1
                installation = installation_id(self._storage)
                if self._store is None or installation != self._installation:
                    self._installation, self._store = installation, self._made(installation)
            return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def _made(self, installation: str) -> "CacheStore":
        settings = self._loaded.settings
        if settings.redis.url.reveal():
            servers = self._redis()  # first, because it decides how redis-py is imported
            from backctl.infrastructure.redis.cache import RedisCache

            return RedisCache(servers, namespace=settings.redis.namespace, installation=installation)
        from backctl.infrastructure.clock import microseconds
        from backctl.infrastructure.sqlite.cache import SqliteCache

        return SqliteCache(
            self._loaded.data_folder / FILE,
            installation=installation,
            timeout_us=settings.database.timeout,
            clock=microseconds,
        )


def cache_store(loaded: "LoadedSettings", redis: "Callable[[], RedisServers]", storage: "Storage") -> InstalledStore:
    """Create the store. It reads the id of the installation on first use."""
    from backctl.infrastructure.forks import start_over_in_children

    store = InstalledStore(loaded, redis, storage)
    start_over_in_children(store)
    return store


def cache_levels(
    loaded: "LoadedSettings", store: "Callable[[], CacheStore]", seal: "Callable[[], Seal]", *, short_lived: bool
) -> "Levels":
    """Create the levels of this process. `short_lived`: keep nothing in memory."""
    from backctl.application.cache_levels import Environment, Levels
    from backctl.infrastructure.clock import microseconds, seconds_with_suspensions
    from backctl.infrastructure.forks import start_over_in_children
    from backctl.infrastructure.memory.cache import MemoryCache

    cache = loaded.settings.cache
    levels = Levels(
        Environment(
            store=store,
            memory=MemoryCache(0 if short_lived else cache.memory_entries),
            seal=seal,
            monotonic=seconds_with_suspensions,
            clock=microseconds,
            sleep=time.sleep,
            lock_timeout=cache.lock_timeout,
            max_staleness=cache.max_staleness,
        )
    )
    start_over_in_children(levels)
    return levels


def cache_seal(storage: "Storage") -> "Seal":
    """Return the seal that signs reserved entries. Raises the errors of reading the keyring and the database."""
    from backctl.application.cache_envelope import Seal
    from backctl.infrastructure.crypto.hkdf import hkdf_expand

    secret = storage.open_keyring().primary("index").secret_bytes()
    return Seal(hkdf_expand("sha256", secret, b"backctl/cache/1", 32), installation_id(storage))


def installation_id(storage: "Storage") -> str:
    """Return the id of the installation, or a fixed text if there is none. Raises Unavailable, Unusable."""
    from backctl.domain.errors import DatabaseMissing

    try:
        return storage.installation.stored().installation_id
    except DatabaseMissing:
        return _NO_INSTALLATION
