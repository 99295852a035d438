"""Factories for the cache, from the settings."""

import time
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backctl.application.cache_envelope import Seal
    from backctl.application.cache_levels import Levels
    from backctl.application.cache_values import RefreshAfter
    from backctl.application.ports.cache import CacheStore
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.redis.connection import RedisServers
    from backctl.settings import LoadedSettings
    from backctl.settings.model import Settings
    from backctl.wiring.storage import Storage

FILE = "cache.db"
"""The name of the cache file. The file alone is not an installation."""

_NO_INSTALLATION = "none"
_SQLITE = "sqlite:///"


def cache_level(loaded: "LoadedSettings") -> str:
    """Return the name of the shared store: `redis` or `file`."""
    return "redis" if loaded.settings.redis.url.reveal() else "file"


def cache_file(loaded: "LoadedSettings") -> "Path":
    """Return the cache file: next to an SQLite database, so that all who use the database find it, or in the data
    folder."""
    import os
    from pathlib import Path

    url = loaded.database_url
    if not url.startswith(_SQLITE):
        return loaded.data_folder / FILE
    return Path(os.path.realpath(url.removeprefix(_SQLITE))).with_name(FILE)


def caches_accounts(loaded: "LoadedSettings") -> bool:
    """Whether all who change accounts reach the shared store. Machines that share PostgreSQL do not share a file."""
    return bool(loaded.settings.redis.url.reveal()) or loaded.database_url.startswith(_SQLITE)


def may_have_entries(loaded: "LoadedSettings") -> bool:
    """Whether there may be entries that this process can invalidate: Redis is configured, or there is a file."""
    import os

    return bool(loaded.settings.redis.url.reveal()) or os.path.lexists(cache_file(loaded))


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
                    if self._store is not None:
                        self._store.close()
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
            cache_file(self._loaded),
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
    loaded: "LoadedSettings", store: "Callable[[], CacheStore]", storage: "Storage", *, short_lived: bool
) -> "Levels":
    """Create the levels of this process. `short_lived`: keep nothing in memory."""
    from backctl.application.cache_levels import Environment, Levels
    from backctl.infrastructure.clock import microseconds, seconds_with_suspensions
    from backctl.infrastructure.forks import pause_during_forks, start_over_in_children
    from backctl.infrastructure.memory.cache import MemoryCache

    cache = loaded.settings.cache
    if short_lived:
        import logging

        logging.getLogger("backctl.cache").addHandler(logging.NullHandler())  # or Python would print notices again
    levels = Levels(
        Environment(
            store=store,
            memory=MemoryCache(0 if short_lived else cache.memory_entries),
            seal=CurrentSeal(storage),
            monotonic=seconds_with_suspensions,
            clock=microseconds,
            sleep=time.sleep,
            lock_timeout=cache.lock_timeout,
            max_staleness=cache.max_staleness,
            refresh_after=refresh_after(loaded.settings),
            start=None if short_lived else start_renewal,
        )
    )
    start_over_in_children(levels)
    pause_during_forks(levels)
    return levels


def refresh_after(settings: "Settings") -> "RefreshAfter":
    """Return the configured part of its TTL after which an entry is renewed."""
    from backctl.application.cache_values import RefreshAfter

    namespaces = {name.encode(): _part(table.refresh_after) for name, table in settings.cache_namespaces.items()}
    return RefreshAfter(_part(settings.cache.refresh_after), namespaces)


def _part(text: str) -> float:
    return 0.0 if text == "off" else int(text.removesuffix("%")) / 100


def start_renewal(renew: "Callable[[], None]") -> None:
    """Run a renewal in a thread that does not keep the process alive. Raises RuntimeError if there is no thread."""
    from threading import Thread

    Thread(target=renew, name="backctl cache renewal", daemon=True).start()


class CurrentSeal:
    """Returns what signs the entries of accounts, derived from the primary `index` key of the current keyring."""

    def __init__(self, storage: "Storage") -> None:
        self._storage = storage
        self._made: tuple[Keyring, Seal] | None = None

    def __call__(self) -> "Seal":
        """Raises the errors of reading the keyring and the database."""
        from backctl.application.cache_envelope import Seal
        from backctl.infrastructure.crypto.hkdf import hkdf_expand

        keyring, made = self._storage.open_keyring(), self._made
        if made is None or made[0] is not keyring:
            secret = keyring.primary("index").secret_bytes()
            seal = Seal(hkdf_expand("sha256", secret, b"backctl/cache/1", 32), installation_id(self._storage))
            made = self._made = keyring, seal
        return made[1]


def installation_id(storage: "Storage") -> str:
    """Return the id of the installation, or a fixed text if there is none. Raises Unavailable, Unusable."""
    from backctl.domain.errors import DatabaseMissing, InstallationMissing

    try:
        return storage.installation.stored().installation_id
    except (InstallationMissing, DatabaseMissing):
        return _NO_INSTALLATION
