"""The ports for the shared store of the cache and for its memory. Adapters in `infrastructure` implement them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from backctl.domain.cache_entry import Versions


class Reading(NamedTuple):
    """The entry of a key, and the versions that decide whether it is valid, read at the same moment."""

    entry: bytes | None
    versions: Versions


class Begun(NamedTuple):
    """The result of `begin`. Without `held`, another process is filling the entry.

    `contended`: another process was also replacing the value. `fence` is passed to `complete`. `reading` has no missing
    versions.
    """

    held: bool
    contended: bool
    fence: bytes
    reading: Reading


class Change(NamedTuple):
    """What was invalidated: keys, entries with tags, keys that match a glob, or all entries."""

    kind: Literal["keys", "tags", "glob", "all"]
    names: tuple[bytes, ...] = ()


class Announced(NamedTuple):
    """The sequence before and after an invalidation; `before` is None if the store had none."""

    before: bytes | None
    after: bytes


class Swept(NamedTuple):
    """The entries that one step of a sweep found or removed, and their size."""

    entries: int
    bytes: int


Heard = Callable[["Announced | None", "Change | None"], None]
"""Receives each invalidation by any process. None: some may have been missed."""


class Held(NamedTuple):
    """A value in memory, usable until `until`. `share` returns a value that the caller may change.

    From `renew_at`, a read renews the entry in the background. Times are in seconds.
    """

    value: Any
    until: float
    tags: tuple[bytes, ...]
    share: Callable[[Any], Any]
    renew_at: float = math.inf

    def has(self, tags: Sequence[bytes]) -> bool:
        """Whether an invalidation of any of these tags invalidates it."""
        return all(tag in self.tags for tag in tags)


class Memory(Protocol):
    """The cache in the memory of one process. Works in any thread."""

    @property
    def generation(self) -> int:
        """A number that every `drop` and `clear` changes."""
        ...

    @property
    def is_used(self) -> bool:
        """Whether it can keep values."""
        ...

    def get(self, key: str) -> Held | None: ...

    def put(self, key: str, held: Held, *, generation: int) -> None:
        """Keep a value, unless something was dropped since that generation, because the value may be outdated."""
        ...

    def drop(self, change: Change) -> None:
        """Drop the values that an invalidation affects."""
        ...

    def clear(self) -> None: ...


class CacheStore(Protocol):
    """Stores entries for all processes. Keys and tags are bytes, times are microseconds.

    To fill an entry, call `begin`, which locks the key and returns the versions, then `complete`. An entry that was
    invalidated in between is not stored or not used. Methods raise Unavailable, and Unusable for problems that waiting
    does not solve.
    """

    def read(self, keys: Sequence[bytes], tags: Sequence[Sequence[bytes]]) -> list[Reading]:
        """Return the entry of each key, with the epoch and the versions of the given tags."""
        ...

    def begin(
        self, key: bytes, token: bytes, tags: Sequence[bytes], *, hold_us: int, keep_us: int, take_over: bool = False
    ) -> Begun:
        """Lock a key for at most `hold_us`, unless another token holds it; read its entry and create missing versions.

        The versions of the tags last at least `keep_us`. `take_over` removes the entry and takes the lock from any
        other process; use it before changing the value.
        """
        ...

    def complete(self, key: bytes, token: bytes, fence: bytes, entry: bytes, *, ttl_us: int) -> bool:
        """Store the entry and unlock the key. False, with nothing stored, if the lock was lost or a sweep has begun."""
        ...

    def release(self, key: bytes, token: bytes) -> None:
        """Unlock the key without storing anything."""
        ...

    def remove(self, keys: Sequence[bytes]) -> tuple[int, Announced]:
        """Remove entries, and prevent processes that are loading them from storing them. Return how many existed."""
        ...

    def announce(self, keys: Sequence[bytes]) -> Announced:
        """Notify all processes that these entries were replaced."""
        ...

    def renew_tags(self, tags: Sequence[bytes]) -> tuple[int, Announced]:
        """Invalidate all entries with any of these tags, in constant time. Return 0 if there are none."""
        ...

    def renew_epoch(self) -> tuple[int, Announced]:
        """Invalidate all entries, in constant time. Return 0 if there are none."""
        ...

    def sweep(self, pattern: bytes, *, dry_run: bool) -> Iterator[Swept]:
        """Remove the entries whose keys match a glob, in short steps; a dry run only counts them.

        The invalidation is announced when the iterator ends. Call again to finish an interrupted sweep.
        """
        ...

    def keys(self, pattern: bytes) -> Iterator[bytes]:
        """Yield the keys that match a glob, in any order; a key can appear twice."""
        ...

    def sequence(self) -> bytes:
        """Return the sequence; see `domain.cache_sequence`."""
        ...

    def listen(self, heard: Heard) -> None:
        """Call `heard` in another thread for each invalidation until `close`. Does nothing if there are no messages."""
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
