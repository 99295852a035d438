"""Inspect, change and invalidate cache entries, for operators."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from backctl.application.cache_values import PLAIN, checked_payload, checked_ttl
from backctl.application.cache_views import (
    CachedValue,
    CacheStats,
    EntryState,
    EntryView,
    ExplanationView,
    InvalidationView,
    RemovedEntry,
    StoredValue,
    TagView,
)
from backctl.application.caching import CacheService, no_progress, raw_pattern, require_free
from backctl.application.durations import Seconds
from backctl.application.guard import guarded
from backctl.application.ports.cache import Reading
from backctl.application.views import Change, is_change
from backctl.application.write_behind_views import WriterView
from backctl.domain.cache_entry import Entry, checked_key, checked_tags, decoded, is_reserved
from backctl.domain.errors import CacheEntryNotFound
from backctl.domain.quoting import quoted
from backctl.domain.values import LATEST, Instant

_AT_ONCE = 64
_COUNTERS = (
    "memory_hits",
    "store_hits",
    "loads",
    "renewals",
    "renewal_failures",
    "stale_served",
    "bypasses",
    "failures",
    "refused",
)


class _Examined(NamedTuple):
    reading: Reading
    entry: Entry | None
    state: EntryState

    @property
    def size(self) -> int:
        return len(self.reading.entry or b"")


@dataclass(frozen=True, slots=True)
class CacheEntryService:
    """Reads and changes entries of the shared store. Methods raise InvalidCacheEntry, Unavailable and Unusable."""

    service: CacheService

    def value(self, key: str) -> CachedValue:
        """Return a value. Raises CacheEntryNotFound unless its entry is fresh."""

        raw = checked_key(key)
        (examined,) = self._examined([raw])
        if examined is None or examined.state != "fresh" or examined.entry is None:
            state = "" if examined is None else f": its entry is {examined.state}"
            hint = None if examined is None else "run '{backctl} cache explain' to see why"
            raise CacheEntryNotFound(f"{quoted(key)} is not cached{state}", hint=hint)
        entry = examined.entry
        try:
            value = PLAIN.decode(entry.payload, entry.binary)
        except ValueError:
            raise CacheEntryNotFound(f"{quoted(key)} is not cached: its entry is damaged") from None
        return CachedValue(_shown(raw), value, "bytes" if entry.binary else "json")

    def store_value(
        self, key: str, value: object, *, ttl: int | None = None, tags: Sequence[str] = (), dry_run: bool = False
    ) -> Change[StoredValue]:
        """Store a value. `ttl` is in microseconds. Unchanged if another process changed the entry at the same time."""

        require_free(checked_key(key))
        payload = checked_payload(PLAIN.encode(value))
        recipe = self.service.recipe(tags=tags)
        recipe = recipe if ttl is None else recipe._replace(ttl=checked_ttl(ttl))
        view = StoredValue(key, Seconds.of(recipe.ttl), len(payload[0]), tuple(tags))

        def attempt(dry_run: bool) -> Change[StoredValue]:
            return Change(view, changed=dry_run or self.service.levels.replace(key, value, recipe))

        return guarded(attempt, guard=self.service.guard, changes=is_change, dry_run=dry_run)

    def remove(self, key: str, *, if_exists: bool = False, dry_run: bool = False) -> Change[RemovedEntry]:
        """Invalidate one entry. Raises CacheEntryNotFound unless `if_exists`."""

        raw = checked_key(key)

        def attempt(dry_run: bool) -> Change[RemovedEntry]:
            existed = self._examined([raw])[0] is not None if dry_run else self.service.levels.remove([raw]) > 0
            if not existed and not if_exists:
                raise CacheEntryNotFound(f"{quoted(key)} is not cached")
            return Change(RemovedEntry(key), changed=existed)

        return guarded(attempt, guard=self.service.guard, changes=is_change, dry_run=dry_run)

    def remove_matching(
        self, pattern: str, *, dry_run: bool = False, progress: Callable[[int], None] = no_progress
    ) -> Change[InvalidationView]:
        """Invalidate the entries whose keys match a Redis glob; see `CacheService.invalidate`."""

        def attempt(dry_run: bool) -> Change[InvalidationView]:
            view = self.service.invalidate(pattern, dry_run=dry_run, progress=progress)
            return Change(view, changed=bool(view.entries))

        return guarded(attempt, guard=self.service.guard, changes=is_change, dry_run=dry_run)

    def renew_tags(self, tags: Sequence[str], *, dry_run: bool = False) -> Change[InvalidationView]:
        """Invalidate the entries with any of these tags. Not changed if there are none."""
        raw, view = checked_tags(tags), InvalidationView(None, tuple(tags), False, None, None)

        def attempt(dry_run: bool) -> Change[InvalidationView]:
            if not dry_run:
                return Change(view, changed=self.service.levels.renew_tags(raw) > 0)
            (reading,) = self.service.store().read([b"*"], [raw])
            return Change(view, changed=any(reading.versions.tags.values()))

        return guarded(attempt, guard=self.service.guard, changes=is_change, dry_run=dry_run)

    def renew_all(self, *, dry_run: bool = False) -> Change[InvalidationView]:
        """Invalidate all entries. Not changed if there are none."""
        view = InvalidationView(None, (), True, None, None)

        def attempt(dry_run: bool) -> Change[InvalidationView]:
            if not dry_run:
                return Change(view, changed=self.service.levels.renew_epoch() > 0)
            return Change(view, changed=next(self.service.store().keys(b"*"), None) is not None)

        return guarded(attempt, guard=self.service.guard, changes=is_change, dry_run=dry_run)

    def entries(self, pattern: str = "*") -> Iterator[EntryView]:
        """Yield the entries whose keys match a Redis glob, in any order, including those that are no longer used."""

        raw = raw_pattern(pattern)
        seen: set[bytes] = set()
        keys = self.service.store().keys(raw)
        while batch := list(islice(keys, _AT_ONCE)):
            new = [key for key in batch if key not in seen]
            seen.update(new)
            now = self.service.clock()
            for key, found in zip(new, self._examined(new), strict=True):
                if found is None:  # removed meanwhile
                    continue
                entry = found.entry
                yield EntryView(
                    _shown(key),
                    found.state,
                    None if entry is None else _since(entry.created_at, now),
                    None if entry is None else _until(entry.soft_at, now),
                    found.size if entry is None else len(entry.payload),
                    () if entry is None else tuple(_shown(tag) for tag, _ in entry.tags),
                    entry is not None and entry.negative,
                )

    def explain(self, key: str) -> ExplanationView:
        """Return everything about an entry. Raises CacheEntryNotFound."""

        raw = checked_key(key)
        (found,) = self._examined([raw])
        if found is None:
            raise CacheEntryNotFound(f"{quoted(key)} is not cached")
        entry, versions, now = found.entry, found.reading.versions, self.service.clock()
        known = entry is not None
        tags = entry.tags if entry is not None else ()
        return ExplanationView(
            key=_shown(raw),
            level=self.service.level,
            state=found.state,
            why=_why(found),
            age=None if entry is None else _since(entry.created_at, now),
            ttl=None if entry is None else _until(entry.soft_at, now),
            stored_at=None if entry is None else _instant(entry.created_at),
            renews_at=None if entry is None or not entry.renew_at else _instant(entry.renew_at),
            stale_at=None if entry is None else _instant(entry.soft_at),
            expires_at=None if entry is None else _instant(entry.hard_at),
            size_bytes=found.size if entry is None else len(entry.payload),
            format=None if entry is None else "bytes" if entry.binary else "json",
            negative=entry is not None and entry.negative,
            signed=found.state != "untrusted" if known and is_reserved(raw) else None,
            tags=tuple(TagView(_shown(tag), versions.tags.get(tag) == version) for tag, version in tags),
            epoch=None if entry is None else entry.epoch.hex(),
            current_epoch=None if versions.epoch is None else versions.epoch.hex(),
            writer=None if entry is None else entry.writer,
            renewed_by=entry.writer if entry is not None and entry.renewed else None,
        )

    def stats(self) -> CacheStats:
        """Count the entries and updates, and return the counters of all services. Reads every key, in short steps."""

        entries = size = 0
        for step in self.service.store().sweep(b"*", dry_run=True):
            entries += step.entries
            size += step.bytes
        counts = self.service.store().counts()
        found = {name: counts.get(name, 0) for name in _COUNTERS}
        hits = found["memory_hits"] + found["store_hits"]
        reads = hits + found["loads"]
        ratio = round(hits / reads, 4) if reads else None
        writers = self._writers()
        return CacheStats(
            level=self.service.level,
            entries=entries,
            size_bytes=size,
            hit_ratio=ratio,
            **found,
            queued=sum(writer.waiting for writer in writers),
            queue_oldest=max((writer.oldest for writer in writers if writer.oldest is not None), default=None),
            queue_lag=max((writer.lag for writer in writers if writer.lag is not None), default=None),
            dead=sum(writer.dead for writer in writers),
            writers=writers,
        )

    def _writers(self) -> tuple[WriterView, ...]:
        now = self.service.clock()
        return tuple(
            WriterView(
                writer=str(depth.writer),
                waiting=depth.waiting,
                oldest=None if depth.oldest_at is None else _since(depth.oldest_at, now),
                lag=None if depth.lag is None else Seconds.of(depth.lag),
                dead=depth.dead,
            )
            for depth in self.service.updates.depths()
        )

    def _examined(self, keys: Sequence[bytes]) -> list[_Examined | None]:
        """Return each entry with its state; None for a key without an entry."""
        store, now = self.service.store(), self.service.clock()
        readings = store.read(keys, [()] * len(keys))
        entries = [decoded(reading.entry) for reading in readings]
        tagged = [number for number, entry in enumerate(entries) if entry is not None and entry.tags]
        if tagged:
            tags = [[tag for tag, _ in entry.tags] for entry in entries if entry is not None and entry.tags]
            for number, reading in zip(tagged, store.read([keys[number] for number in tagged], tags), strict=True):
                readings[number] = reading._replace(entry=readings[number].entry)
        found: list[_Examined | None] = []
        for key, reading, entry in zip(keys, readings, entries, strict=True):
            if reading.entry is None:
                found.append(None)
            elif entry is None:
                found.append(_Examined(reading, None, "unreadable"))
            elif is_reserved(key) and not self.service.levels.is_trusted(key, entry):
                found.append(_Examined(reading, entry, "untrusted"))
            else:
                found.append(_Examined(reading, entry, entry.state(reading.versions, now)))
        return found


def _why(found: _Examined) -> str | None:
    """Return why an entry is not used; None if it is fresh."""
    entry, versions = found.entry, found.reading.versions
    match found.state:
        case "fresh":
            return None
        case "unreadable":
            return "its format is unknown; another version of backctl may have written it"
        case "untrusted":
            return "its signature is missing or wrong, so another program may have written it"
        case "stale":
            return "its TTL has passed; it is used only if loading the value fails, or while it is renewed"
        case "expired":
            return "it has expired"
    if entry is None or entry.epoch != versions.epoch:
        return "all entries were invalidated"
    changed = [quoted(_shown(tag)) for tag, version in entry.tags if versions.tags.get(tag) != version]
    return f"the tag {', '.join(changed)} was invalidated"


def _shown(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def _instant(time: int) -> Instant:
    """Return the time in an entry, at most the last one that can be shown: others can write to the store."""
    return Instant(min(time, LATEST))


def _since(earlier: int, now: int) -> Seconds:
    return Seconds.of(max(0, now - earlier))


def _until(later: int, now: int) -> Seconds:
    return Seconds.of(max(0, later - now))
