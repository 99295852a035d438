"""The port for the shared level of the cache. Adapters in `infrastructure` implement it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from backctl.domain.cache_entry import Versions


class Reading(NamedTuple):
    """What the store contains for a key, and the versions that decide about it, from one moment."""

    entry: bytes | None
    versions: Versions


class Begun(NamedTuple):
    """The answer to `begin`. Without `held`, another process is filling the entry.

    `reading` has a version of everything. `contended`: another process is writing the value that this one replaces.
    `fence` belongs to `complete`.
    """

    held: bool
    contended: bool
    fence: bytes
    reading: Reading


class Change(NamedTuple):
    """What an invalidation affected: keys, entries with tags, the keys that match a glob, or everything."""

    kind: Literal["keys", "tags", "glob", "all"]
    names: tuple[bytes, ...] = ()


class Announced(NamedTuple):
    """The sequence before and after an invalidation; `before` is None if the store had none."""

    before: bytes | None
    after: bytes


class Swept(NamedTuple):
    """What one step of a sweep found, or removed."""

    entries: int
    bytes: int


Heard = Callable[["Announced | None", "Change | None"], None]
"""Receives an invalidation by any process. None: some may have been missed."""


class Held(NamedTuple):
    """A value in memory. It may be used until `until`, in seconds; `share` returns a value that a caller may change."""

    value: Any
    until: float
    tags: tuple[bytes, ...]
    share: Callable[[Any], Any]


class Memory(Protocol):
    """The level in the memory of one process. Works in any thread."""

    @property
    def generation(self) -> int:
        """A number that every `drop` and `clear` changes."""
        ...

    @property
    def is_used(self) -> bool:
        """Whether it keeps anything."""
        ...

    def get(self, key: str) -> Held | None: ...

    def put(self, key: str, held: Held, *, generation: int) -> None:
        """Keep a value, unless something was dropped since that generation: the value may be older."""
        ...

    def drop(self, change: Change) -> None:
        """Drop what an invalidation affects."""
        ...

    def clear(self) -> None: ...


class CacheStore(Protocol):
    """Stores entries for all processes. Keys and tags are bytes, times are microseconds.

    Filling an entry begins with `begin`, which locks the key and returns the versions, and ends with `complete`, which
    stores nothing if anything was invalidated that the entry depends on. Methods raise Unavailable, and Unusable for
    problems that do not go away by waiting.
    """

    def read(self, keys: Sequence[bytes], tags: Sequence[Sequence[bytes]]) -> list[Reading]:
        """Return the entry of each key with the versions of these tags."""
        ...

    def begin(
        self, key: bytes, token: bytes, tags: Sequence[bytes], *, hold_us: int, keep_us: int, take_over: bool = False
    ) -> Begun:
        """Lock a key for at most `hold_us`, unless another token holds it; then read it, and create missing versions.

        `keep_us` is how long the versions of the tags must last. `take_over` removes the entry and takes the lock from
        whoever fills it: for a process that is about to change the value.
        """
        ...

    def complete(self, key: bytes, token: bytes, fence: bytes, entry: bytes, *, ttl_us: int) -> bool:
        """Store the entry and unlock the key. False if the token no longer holds the lock; nothing is stored then."""
        ...

    def release(self, key: bytes, token: bytes) -> None:
        """Unlock the key without storing anything."""
        ...

    def remove(self, keys: Sequence[bytes]) -> tuple[int, Announced]:
        """Remove entries, and keep processes that are loading them from storing them. Return how many there were."""
        ...

    def announce(self, keys: Sequence[bytes]) -> Announced:
        """Tell all processes that these entries were replaced."""
        ...

    def renew_tags(self, tags: Sequence[bytes]) -> Announced:
        """Invalidate all entries with any of these tags. Takes the same time for any number of entries."""
        ...

    def renew_epoch(self) -> Announced:
        """Invalidate all entries. Takes the same time for any number of entries."""
        ...

    def sweep(self, pattern: bytes, *, dry_run: bool) -> Iterator[Swept]:
        """Remove the entries whose keys match a glob, in short steps; a dry run only counts them.

        Complete when the iterator ends: then the invalidation is announced. Call again to finish an interrupted sweep.
        """
        ...

    def keys(self, pattern: bytes) -> Iterator[bytes]:
        """Yield the keys that match a glob, in any order; a key can appear twice."""
        ...

    def sequence(self) -> bytes:
        """Return the sequence; see `domain.cache_sequence`."""
        ...

    def listen(self, heard: Heard) -> None:
        """Call `heard` in another thread for each invalidation until `close`. Does nothing without such messages."""
        ...

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the counters that all processes share."""
        ...

    def counts(self) -> dict[str, int]:
        """Return the counters."""
        ...

    def close(self) -> None:
        """Release connections and stop listening; the next use reconnects."""
        ...
