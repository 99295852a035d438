"""Queues updates for the database, and keeps the writers that write them."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from backctl.application.cache_values import decoded, encoded
from backctl.domain.cache_entry import checked_key
from backctl.domain.errors import (
    DatabaseMissing,
    InstallationMissing,
    InvalidCacheEntry,
    QueueFull,
    Unavailable,
    Unusable,
)
from backctl.domain.quoting import quoted
from backctl.domain.write_behind import QueuedValue, WriterId, checked_update, checked_writer

if TYPE_CHECKING:
    from backctl.application.ports.write_behind import WriteQueue, WriterDepth

T = TypeVar("T")

WriteMany = Callable[[Any, Mapping[str, Any]], object]
"""Writes values by their keys, with a SQLAlchemy connection whose transaction it must not end."""


def _accept(key: str, value: object) -> None:
    """Accept every update."""


class Writer(NamedTuple):
    """Writes the updates of one name and version.

    `cached`: the entry `NAME:KEY` of the cache has the value at once. `check` raises InvalidCacheEntry for an update
    that cannot be written. Services cannot replace a writer that is `built_in`.
    """

    write: WriteMany
    cached: bool = True
    check: Callable[[str, Any], object] = _accept
    built_in: bool = False


Writers = dict[WriterId, Writer]


class Update(NamedTuple):
    """A checked update. `entry` is the key of its entry in the cache; None if it is not cached."""

    writer: WriterId
    key: bytes
    value: QueuedValue
    entry: str | None


class WriteBehind:
    """The queue of updates, as one process uses it. Works in any thread.

    `queue` returns the queue, and raises InstallationMissing or DatabaseMissing if there is no installation. `writers`
    are the known ones; `limit` is how many updates can wait.
    """

    def __init__(self, queue: "Callable[[], WriteQueue]", writers: Writers, *, limit: int) -> None:
        self._queue = queue
        self._writers = writers
        self._limit = limit
        self._is_failing = False
        self._log = logging.getLogger("backctl.cache")

    def register(self, name: str, writer: Writer, *, version: int) -> None:
        """Add a writer, or replace the one with the same name and version. Raises InvalidCacheEntry."""
        ident = checked_writer(name, version)
        if not callable(writer.write):
            raise InvalidCacheEntry(
                f"the writer {quoted(name)} is not a function",
                hint="use a function with the parameters connection, updates",
            )
        if any(known.name == name and found.built_in for known, found in list(self._writers.items())):
            raise InvalidCacheEntry(f"the writer {quoted(name)} is built in", hint="use another name")
        self._writers[ident] = writer

    def registered(self) -> Writers:
        """Return the known writers."""
        return dict(self._writers)

    def checked(self, name: str, key: str, value: object) -> Update:
        """Return an update for the newest version of a writer. Raises InvalidCacheEntry."""
        versions = self._versions(name)
        if not versions:
            raise InvalidCacheEntry(
                f"there is no writer {quoted(name)}", hint="register it first with cache.register_writer"
            )
        writer = self._writers[versions[0]]
        raw = checked_key(key)
        entry = f"{name}:{key}" if writer.cached else None
        if entry is not None:
            checked_key(entry)
        writer.check(key, value)
        payload, binary = encoded(value)
        return Update(versions[0], raw, checked_update(payload, binary=binary), entry)

    def put(self, update: Update) -> None:
        """Queue an update; it is durable when this returns. Raises QueueFull and the errors of the queue."""
        if self._queue().put(update.writer, update.key, update.value, limit=self._limit) is None:
            raise QueueFull(
                f"{self._limit} updates are waiting to be written, which is the limit",
                hint="run '{backctl} cache drain', or increase cache.queue_limit",
            )

    def loader(self, key: str, load: Callable[[], T], forget: Callable[[], object]) -> Callable[[], T]:
        """Return a loader that prefers the value of a waiting update, so that it is never older than what was queued.

        Calls `forget` if the queue is not available: then a loaded value can be older and must not be cached.
        """
        if not self._writers:
            return load
        name, _, rest = key.partition(":")
        versions = [ident for ident in self._versions(name) if self._writers[ident].cached]
        return partial(self._loaded, versions, rest, load, forget) if versions and rest else load

    def depths(self) -> "list[WriterDepth]":
        """Return the state of each writer that has or had updates; nothing if there is no installation."""
        try:
            return self._queue().depths()
        except (InstallationMissing, DatabaseMissing):
            return []

    def _versions(self, name: str) -> list[WriterId]:
        """Return the writers with a name, newest version first."""
        return sorted((ident for ident in list(self._writers) if ident.name == name), reverse=True)

    def _loaded(self, versions: list[WriterId], key: str, load: Callable[[], T], forget: Callable[[], object]) -> T:
        try:
            found = self._queue().waiting(versions, checked_key(key))
        except (InstallationMissing, DatabaseMissing):
            return load()  # nothing can wait
        except (Unavailable, Unusable) as error:
            if not self._is_failing:
                self._is_failing = True
                self._log.warning("the write-behind queue is not available: %s", error.message)
            with suppress(Unavailable, Unusable):
                forget()
            return load()
        self._is_failing = False
        if found is not None:
            with suppress(ValueError):  # another program wrote it; the worker reports it
                value: T = decoded(found.payload, found.binary)  # type: ignore[assignment]  # as the caller declares
                return value
        return load()


def text_of(key: bytes) -> str:
    """Return the key of an update as the service gave it."""
    return key.decode(errors="surrogateescape")
