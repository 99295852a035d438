"""Views of cache entries."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from backctl.application.durations import Seconds
from backctl.domain.values import Instant

EntryState = Literal["fresh", "stale", "expired", "invalidated", "unreadable", "untrusted"]
"""The state of an entry. `unreadable`: another version of the format; `untrusted`: its signature is wrong."""


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry. `ttl` is the time until it becomes stale, `age` the time since it was stored. `bytes` is the size of
    its value. `negative`: the loader found nothing. Times are None for an entry that cannot be read."""

    TABLE: ClassVar = ("key", "state", "age", "ttl", "bytes", "tags")

    key: str
    state: EntryState
    age: Seconds | None
    ttl: Seconds | None
    bytes: int
    tags: tuple[str, ...]
    negative: bool


@dataclass(frozen=True, slots=True)
class CachedValue:
    """A value; `format` is `bytes` for a value that is not JSON."""

    key: str
    value: object
    format: Literal["json", "bytes"]


@dataclass(frozen=True, slots=True)
class TagView:
    """A tag of an entry. `current`: it has not been invalidated since the entry was stored."""

    tag: str
    current: bool


@dataclass(frozen=True, slots=True)
class ExplanationView:
    """Everything about an entry. `level` is where it is: `redis` or `file`. `why` says why it is not used.

    `stale_at` and `expires_at` are when it becomes stale and when it ends. `epoch` is the version of the whole cache
    when it was stored. `writer` is the host and process that stored it. `signed` is None for entries that need no
    signature.
    """

    key: str
    level: str
    state: EntryState
    why: str | None
    age: Seconds | None
    ttl: Seconds | None
    stored_at: Instant | None
    stale_at: Instant | None
    expires_at: Instant | None
    bytes: int
    format: Literal["json", "bytes"] | None
    negative: bool
    signed: bool | None
    tags: tuple[TagView, ...]
    epoch: str | None
    current_epoch: str | None
    writer: str | None


@dataclass(frozen=True, slots=True)
class InvalidationView:
    """What was invalidated: entries that match a `pattern`, that have a tag, or `all`.

    `entries` and `bytes` are None for tags and for all entries, because counting them would take time.
    """

    pattern: str | None
    tags: tuple[str, ...]
    all: bool
    entries: int | None
    bytes: int | None


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value that was stored, and for how long."""

    key: str
    ttl: Seconds
    bytes: int
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemovedEntry:
    """A key, and whether it had an entry."""

    key: str
    existed: bool


@dataclass(frozen=True, slots=True)
class WarmView:
    """How many accounts were read and stored in the cache. `skipped` were changed at the same time."""

    accounts: int
    stored: int
    skipped: int


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The entries in the shared level, and what all services have counted since it was created.

    `hit_ratio` is the part of the reads that needed no loader; None before the first read. `loads` are calls of
    loaders, `bypasses` those while the cache was not available, `failures` failed requests to it, `stale_served` stale
    entries that replaced a failed load, `refused` entries without a valid signature.
    """

    level: str
    entries: int
    bytes: int
    hit_ratio: float | None
    memory_hits: int
    store_hits: int
    loads: int
    stale_served: int
    bypasses: int
    failures: int
    refused: int
