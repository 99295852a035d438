"""A store of the cache, and what only a test may do with it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.redis_stores import ON_REDIS

from backctl.application.ports.cache import Begun, CacheStore, Reading, Swept
from backctl.domain.cache_entry import Entry, State, decoded
from backctl.infrastructure.redis.cache import RedisCache
from backctl.infrastructure.redis.exchange import Call

NOW = 1_795_000_000_000_000
SECOND = 1_000_000
HOUR = 3600 * SECOND
PATIENCE_S = 30


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@dataclass
class Stored:
    """A store, and what only a test may do with it."""

    store: CacheStore
    clock: Clock
    another: Callable[..., CacheStore]
    """Opens the same server or file as another process would, or for another installation or namespace."""
    path: Path

    def begin(self, key: bytes, token: bytes = b"f1", *tags: bytes, hold: int = HOUR, take_over: bool = False) -> Begun:
        return self.store.begin(key, token, tags, hold_us=hold, keep_us=2 * HOUR, take_over=take_over)

    def commit(self, key: bytes, begun: Begun, token: bytes = b"f1", *, payload: bytes = b"1") -> bool:
        entry = an_entry(begun, payload)
        return self.store.complete(key, token, begun.fence, entry.encoded(), ttl_us=HOUR)

    def fill(self, key: bytes, *tags: bytes, payload: bytes = b"1") -> None:
        begun = self.begin(key, b"f1", *tags)
        assert begun.held
        assert self.commit(key, begun, payload=payload)

    def reading(self, key: bytes, *tags: bytes) -> Reading:
        (reading,) = self.store.read([key], [tags])
        return reading

    def payload(self, key: bytes) -> bytes | None:
        entry = decoded(self.reading(key).entry)
        return None if entry is None else entry.payload

    def state(self, key: bytes) -> State | None:
        """Return the state of an entry, None if there is none."""
        found = decoded(self.reading(key).entry)
        if found is None:
            return None
        tags = [tag for tag, _ in found.tags]
        return found.state(self.reading(key, *tags).versions, NOW)

    @property
    def redis(self) -> RedisCache | None:
        return self.store if isinstance(self.store, RedisCache) else None

    def command(self, key: bytes, *words: bytes | str | int) -> Any:
        """Execute a command of Redis at the node of a key."""
        assert self.redis is not None
        (reply,) = self.redis._servers.run([Call(key, words)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def lose_version(self, name: str, key: bytes) -> None:
        """Delete the epoch or the fence of a key, or the version of a tag, as an eviction does."""
        if self.redis is not None:
            at = self.redis._tag(key) if name == "tag" else self.redis._group(key) + name.encode()
            assert self.command(at, "DEL", at) == 1
            return
        with closing(sqlite3.connect(self.path)) as connection, connection:
            raw = b"t:" + key if name == "tag" else name.encode()
            assert connection.execute("DELETE FROM versions WHERE name = ?", (raw,)).rowcount == 1

    def number_of_versions(self) -> int:
        if self.redis is not None:
            return sum(not key.endswith(b"sequence") for key in self.redis._servers.scan(self.redis._prefix + b"*"))
        with closing(sqlite3.connect(self.path)) as connection:
            found = connection.execute("SELECT count(*) FROM versions WHERE name != CAST('sequence' AS BLOB)")
            return int(found.fetchone()[0])


def an_entry(begun: Begun, payload: bytes = b"1") -> Entry:
    versions = begun.reading.versions
    assert versions.epoch is not None
    tags = [(tag, version) for tag, version in versions.tags.items() if version is not None]
    assert len(tags) == len(versions.tags)
    return Entry(NOW, NOW + HOUR, NOW + HOUR, versions.epoch, tuple(tags), payload=payload)


STORES = ("sqlite", *ON_REDIS)
only_redis = pytest.mark.parametrize("stored", ON_REDIS, indirect=True)
only_sqlite = pytest.mark.parametrize("stored", ["sqlite"], indirect=True)


def swept(steps: Iterator[Swept]) -> tuple[int, int]:
    found = list(steps)
    return sum(step.entries for step in found), sum(step.bytes for step in found)


def sweep_everything(store: CacheStore) -> None:
    list(store.sweep(b"none", dry_run=False))


INVALIDATIONS: dict[str, Callable[[CacheStore], object]] = {
    "remove": lambda store: store.remove([b"none"]),
    "announce": lambda store: store.announce([b"none"]),
    "renew_tags": lambda store: store.renew_tags([b"none"]),
    "renew_epoch": lambda store: store.renew_epoch(),
    "sweep": sweep_everything,
}
