"""Views of cache entries."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from backctl.application.durations import Seconds
from backctl.application.write_behind_views import WriterView
from backctl.domain.values import Instant

EntryState = Literal["fresh", "stale", "expired", "invalidated", "unreadable", "untrusted"]
"""The state of an entry. `unreadable`: its format is unknown; `untrusted`: its signature is missing or wrong."""


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry in a list.

    `ttl` is the time until it becomes stale, `age` the time since it was stored, and `size_bytes` that of its value.
    `negative`: the loader found nothing. Times are None for an entry that cannot be read.
    """

    PLURAL: ClassVar = "cache entries"
    TABLE: ClassVar = ("key", "state", "age", "ttl", "size_bytes", "tags")
    SPARE: ClassVar = ("tags", "size_bytes", "age")

    key: str
    state: EntryState
    age: Seconds | None
    ttl: Seconds | None
    size_bytes: int
    tags: tuple[str, ...]
    negative: bool


@dataclass(frozen=True, slots=True)
class CachedValue:
    """A cached value. `format` is `bytes` if it is not JSON."""

    key: str
    value: object
    format: Literal["json", "bytes"]


@dataclass(frozen=True, slots=True)
class TagView:
    """A tag of an entry. `current`: the tag has not been invalidated since the entry was stored."""

    tag: str
    current: bool


@dataclass(frozen=True, slots=True)
class ExplanationView:
    """Everything about an entry. `level` is where it is: `redis` or `file`. `why` says why it is not used.

    From `renews_at`, a read renews it in the background; it becomes stale at `stale_at` and expires at `expires_at`.
    `epoch` is the version of the whole cache when the entry
    was stored. `writer` is the host and process that stored it, and so is `renewed_by` if it was stored by a renewal.
    `signed` is None for entries that need no signature.
    """

    key: str
    level: str
    state: EntryState
    why: str | None
    age: Seconds | None
    ttl: Seconds | None
    stored_at: Instant | None
    renews_at: Instant | None
    stale_at: Instant | None
    expires_at: Instant | None
    size_bytes: int
    format: Literal["json", "bytes"] | None
    negative: bool
    signed: bool | None
    tags: tuple[TagView, ...]
    epoch: str | None
    current_epoch: str | None
    writer: str | None
    renewed_by: str | None


@dataclass(frozen=True, slots=True)
class InvalidationView:
    """What was invalidated: the entries that match `pattern`, those with any of `tags`, or `all`.

    `entries` and `size_bytes` are None for tags and for all entries, because counting them would take time.
    """

    pattern: str | None
    tags: tuple[str, ...]
    all: bool
    entries: int | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value that was stored, and for how long."""

    key: str
    ttl: Seconds
    size_bytes: int
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemovedEntry:
    """The key of an entry that was removed."""

    key: str


@dataclass(frozen=True, slots=True)
class WarmView:
    """How many accounts were read and stored in the cache. `skipped` were changed at the same time."""

    accounts: int
    stored: int
    skipped: int


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The entries in the shared store, and the counters of all services since it was created.

    `hit_ratio` is the share of reads that needed no loader; None before the first read. `loads` counts calls of
    loaders by reads, `renewals` those in the background, and `renewal_failures` how many of these failed. `bypasses`
    counts loads while the cache was not available, `failures` failed requests to it, `stale_served` uses of stale
    entries, and `refused` entries without a valid signature.

    `queued` updates of write-behind wait to be written, the oldest for `queue_oldest`; the last one that was written
    had waited for `queue_lag`, and `dead` ones failed too often. `writers` shows the same for each writer.
    """

    level: str
    entries: int
    size_bytes: int
    hit_ratio: float | None
    memory_hits: int
    store_hits: int
    loads: int
    renewals: int
    renewal_failures: int
    stale_served: int
    bypasses: int
    failures: int
    refused: int
    queued: int
    queue_oldest: Seconds | None
    queue_lag: Seconds | None
    dead: int
    writers: tuple[WriterView, ...]
