"""Factories for write-behind: the queue, the built-in writer and the worker, from the settings."""

import os
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from backctl.application.draining import Worker
    from backctl.application.ports.storage import HealthProbe
    from backctl.application.ports.write_behind import WriteQueue
    from backctl.application.write_behind import Writers
    from backctl.infrastructure.probes import Finding
    from backctl.infrastructure.redis.connection import RedisServers
    from backctl.settings import LoadedSettings
    from backctl.wiring.storage import Storage

FILE: Final = "queue.db"
"""The name of the queue file. The file alone is not an installation."""


def queue_file(loaded: "LoadedSettings") -> "Path":
    """Return the queue file, which is beside the cache file."""
    from backctl.wiring.cache import cache_file

    return cache_file(loaded).with_name(FILE)


class InstalledQueue:
    """The queue of the installation: on Redis if configured, otherwise in a file. Opened at the first call."""

    def __init__(self, loaded: "LoadedSettings", redis: "Callable[[], RedisServers]", storage: "Storage") -> None:
        self._loaded = loaded
        self._redis = redis
        self._storage = storage
        self._lock = Lock()
        self._queue: WriteQueue | None = None

    def start_over(self) -> None:
        """Replace the lock; called in a forked child."""
        self._lock = Lock()

    def __call__(self) -> "WriteQueue":
        """Return the queue. Raises InstallationMissing, DatabaseMissing and the errors of reading the id."""
        if self._queue is None:
            with self._lock:
                if self._queue is None:
                    self._queue = self._made(self._storage.installation_id())
        return self._queue

    def durability(self) -> "Finding":
        """Return which updates can be lost. Raises Unavailable, Unusable."""
        from backctl.domain.quoting import quoted
        from backctl.infrastructure.probes import ok

        redis = self._loaded.settings.redis
        if not redis.url.reveal():
            file = quoted(str(queue_file(self._loaded)), limit=400)
            return ok(f"each update is flushed to {file} before it is accepted")
        servers = self._redis()  # first, because it decides how redis-py is imported
        from backctl.infrastructure.redis.durability import QueueDurability
        from backctl.infrastructure.redis.queue import waiting_key

        return QueueDurability(servers, waiting_key(redis.namespace, self._storage.installation_id())).finding()

    def left_behind(self) -> "tuple[HealthProbe, ...]":
        """Return the check of the file if the queue is on Redis, but was in the file before. Raises as `__call__`."""
        from backctl.domain.quoting import quoted
        from backctl.infrastructure.queue_health import left_behind

        file = queue_file(self._loaded)
        if not self._loaded.settings.redis.url.reveal() or not file.exists():
            return ()
        return (left_behind(self._in_file(self._storage.installation_id()), quoted(str(file), limit=400)),)

    def close(self) -> None:
        if self._queue is not None:
            self._queue.close()

    def _made(self, installation: str) -> "WriteQueue":
        settings = self._loaded.settings
        if settings.redis.url.reveal():
            servers = self._redis()  # first, because it decides how redis-py is imported
            from backctl.infrastructure.redis.queue import RedisQueue

            return RedisQueue(servers, namespace=settings.redis.namespace, installation=installation)
        return self._in_file(installation)

    def _in_file(self, installation: str) -> "WriteQueue":
        from backctl.infrastructure.clock import microseconds
        from backctl.infrastructure.sqlite.queue import SqliteQueue

        return SqliteQueue(
            queue_file(self._loaded),
            installation=installation,
            timeout_us=self._loaded.settings.database.timeout,
            clock=microseconds,
        )


def write_queue(loaded: "LoadedSettings", redis: "Callable[[], RedisServers]", storage: "Storage") -> InstalledQueue:
    """Create the queue. It reads the id of the installation at the first call."""
    from backctl.infrastructure.forks import start_over_in_children

    queue = InstalledQueue(loaded, redis, storage)
    start_over_in_children(queue)
    return queue


def add_built_in(writers: "Writers") -> None:
    """Add the writer `last_seen`. Its code is loaded when it is used."""
    from backctl.application.write_behind import Writer
    from backctl.domain.write_behind import WriterId

    def check(key: str, value: Any) -> None:
        from backctl.infrastructure.sql.last_seen import checked_time, parsed_key

        parsed_key(key)
        checked_time(value)

    def write(connection: Any, updates: "Mapping[str, Any]") -> None:
        from backctl.infrastructure.sql.last_seen import write_last_seen

        write_last_seen(connection, updates)

    writers[WriterId("last_seen", 1)] = Writer(write, cached=False, check=check, built_in=True)


def queue_worker(
    loaded: "LoadedSettings",
    queue: "WriteQueue",
    storage: "Storage",
    writers: "Writers",
    warn: "Callable[[str], None]",
) -> "Worker":
    """Create a worker with the writers that are known now."""
    import time

    from backctl.application.draining import Worker
    from backctl.infrastructure.clock import microseconds
    from backctl.infrastructure.host import jittered_pause

    return Worker(
        queue=queue,
        target=storage.update_target(),
        writers=writers,
        name=f"{os.uname().nodename[:100]}:{os.getpid()}:{os.urandom(4).hex()}",
        clock=microseconds,
        pause=time.sleep,
        retrying=jittered_pause,
        warn=warn,
        attempts=loaded.settings.cache.queue_attempts,
    )


def queue_probes(loaded: "LoadedSettings", queue: InstalledQueue) -> "tuple[HealthProbe, ...]":
    """Return the checks of `doctor`; none if the queue is not used, or if other checks show why it cannot be opened."""
    from backctl.domain.errors import BackctlError, ResourcesExhausted
    from backctl.infrastructure.clock import microseconds
    from backctl.infrastructure.queue_health import QueueHealth

    try:
        opened, left_behind = queue(), queue.left_behind()
    except ResourcesExhausted:
        raise
    except BackctlError:
        return ()
    health = QueueHealth(
        opened, limit=loaded.settings.cache.queue_limit, clock=microseconds, durability=queue.durability
    )
    return (*health.probes(), *left_behind)
