"""Cache values for all processes of a backend, and inspect, change and invalidate what is cached."""

import base64
import functools
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from string import Formatter
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, cast
from urllib.parse import quote

from backctl.application.cache_levels import Levels
from backctl.application.cache_values import PLAIN, Recipe, checked_payload, checked_ttl, microseconds
from backctl.application.durations import Seconds
from backctl.application.guard import Guard, guarded
from backctl.application.views import Change, is_change
from backctl.domain.cache_entry import RESERVED, checked_key, checked_tags, decoded, is_reserved
from backctl.domain.errors import CacheEntryNotFound, CacheReserved, InvalidCacheEntry
from backctl.domain.glob import parse_glob
from backctl.domain.quoting import quoted
from backctl.domain.values import Instant

if TYPE_CHECKING:
    from backctl.application.cache_views import (
        CacheStats,
        EntryState,
        EntryView,
        ExplanationView,
        InvalidationView,
        RemovedEntry,
        StoredValue,
    )
    from backctl.application.ports.cache import CacheStore, Reading
    from backctl.domain.cache_entry import Entry

T = TypeVar("T")
P = ParamSpec("P")
_AT_ONCE = 256
_COUNTERS = ("memory_hits", "store_hits", "loads", "stale_served", "bypasses", "failures", "refused")


class Lifetimes(NamedTuple):
    """The configured lifetimes of entries, in microseconds; see `Recipe`."""

    ttl: int
    negative_ttl: int
    stale: int


def _no_progress(entries: int) -> None:
    """Ignore how many entries a step has removed."""


@dataclass(frozen=True, slots=True)
class CacheService:
    """Caches values that JSON can express, and bytes, in the memory of this process and in a shared store.

    Works in any thread. A key is a text of up to 512 bytes, such as `report:2026`; what stands before the first colon
    is its namespace. `user` and `revocation` are reserved. A TTL is a number of seconds or a timedelta. Methods raise
    InvalidCacheEntry for impossible keys, tags, TTLs and values, and CacheReserved. Methods that change the cache, and
    those that only inspect it, also raise Unavailable and Unusable.
    """

    levels: Levels
    store: "Callable[[], CacheStore]"
    level: str
    """The name of the shared store: `redis` or `file`."""
    lifetimes: Lifetimes
    clock: Callable[[], int]
    """Returns microseconds since 1970."""
    guard: Guard = field(default_factory=Guard)

    # For services.

    def get_or_load(
        self,
        key: str,
        loader: Callable[[], T],
        *,
        ttl: float | timedelta | None = None,
        tags: Sequence[str] = (),
        negative_ttl: float | timedelta | None = None,
        stale_if_error: float | timedelta | None = None,
    ) -> T:
        """Return the value of a key, from `loader()` if it is not cached. Raises the errors of the loader.

        The value has the types that JSON has: a tuple becomes a list. At most one process calls the loader for a key at
        a time. `negative_ttl` is the TTL of None. When an entry is older than its TTL and the loader fails, the entry
        is still used for `stale_if_error`. The defaults are those of the configuration. If the cache is not available,
        the loader answers.
        """
        reserved = key.startswith(RESERVED)
        held = None if reserved else self.levels.held(key)
        if held is not None:
            return cast(T, held.share(held.value))
        if reserved:
            _require_free(checked_key(key))
        recipe = self._recipe(ttl, tags, negative_ttl, stale_if_error)
        return cast(T, self.levels.load(key, loader, recipe))

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, `default` if it is not cached or if the cache is not available."""
        _require_free(checked_key(key))
        return self.levels.get(key, self._recipe(), default)

    def set(self, key: str, value: object, *, ttl: float | timedelta | None = None, tags: Sequence[str] = ()) -> bool:
        """Store a value. False if another process stored or invalidated it at the same time; then nothing is cached."""
        _require_free(checked_key(key))
        return self.levels.replace(key, value, self._recipe(ttl, tags))

    def write_through(
        self,
        key: str,
        value: Any,
        write: Callable[[Any], T],
        *,
        ttl: float | timedelta | None = None,
        tags: Sequence[str] = (),
    ) -> T:
        """Call `write(value)`, for example to change a database, then cache the value; return the result of `write`.

        If `write` fails, or if another process writes or invalidates the same key at the same time, nothing is cached.
        If the cache is not available, `write` is called nevertheless, and an older entry can stay until it ends. Raises
        the errors of `write`.
        """
        _require_free(checked_key(key))
        return self.levels.write_through(key, value, write, self._recipe(ttl, tags))

    def cached(
        self, key: str, *, ttl: float | timedelta | None = None, tags: Sequence[str] = ()
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Return a decorator that caches the results of a function.

        `key` and `tags` are templates with the names of parameters in braces, such as `report:{year}`. Their values are
        percent-encoded in the key. Raises InvalidCacheEntry for a template that names no parameter of the function.
        """

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            signature = inspect.signature(function)
            for template in (key, *tags):
                for _, name, _, _ in Formatter().parse(template):
                    if name is not None and name not in signature.parameters:
                        raise InvalidCacheEntry(
                            f"the template {quoted(template)} names {quoted(name)}, which is not a parameter",
                            hint="use the names of parameters of the function",
                        )

            @functools.wraps(function)
            def cached(*args: P.args, **kwargs: P.kwargs) -> T:
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                values = {name: quote(str(value), safe="@+") for name, value in bound.arguments.items()}
                return self.get_or_load(
                    key.format_map(values),
                    functools.partial(function, *args, **kwargs),
                    ttl=ttl,
                    tags=[tag.format_map(values) for tag in tags],
                )

            return cached

        return decorate

    def delete(self, key: str) -> bool:
        """Invalidate one entry. False if there was none."""
        return self.levels.remove([checked_key(key)]) > 0

    def invalidate_tags(self, *tags: str) -> None:
        """Invalidate all entries with any of these tags. Takes the same time for any number of entries."""
        self.levels.renew_tags(checked_tags(tags))

    def invalidate_all(self) -> None:
        """Invalidate all entries. Takes the same time for any number of entries."""
        self.levels.renew_epoch()

    def invalidate(
        self, pattern: str, *, dry_run: bool = False, progress: Callable[[int], None] = _no_progress
    ) -> "InvalidationView":
        """Invalidate the entries whose keys match a glob of Redis. Looks at every key, in short steps.

        If it is interrupted, call it again to finish it. `progress` receives the number of entries of each step.
        """
        from backctl.application.cache_views import InvalidationView

        raw, entries, size = _raw_pattern(pattern), 0, 0
        for step in self.store().sweep(raw, dry_run=dry_run):
            entries += step.entries
            size += step.bytes
            progress(step.entries)
        if not dry_run:
            self.levels.swept(raw)
        return InvalidationView(pattern, (), False, entries, size)

    # For operators.

    def value(self, key: str) -> tuple[object, bool]:
        """Return a value as it is stored and whether it consists of bytes. Raises CacheEntryNotFound."""
        raw = checked_key(key)
        (examined,) = self._examined([raw])
        if examined is None or examined.state != "fresh" or examined.entry is None:
            state = "" if examined is None else f": its entry is {examined.state}"
            hint = None if examined is None else "run '{backctl} cache explain' to see why"
            raise CacheEntryNotFound(f"{quoted(key)} is not cached{state}", hint=hint)
        entry = examined.entry
        try:
            return PLAIN.decode(entry.payload, entry.binary), entry.binary
        except ValueError:
            raise CacheEntryNotFound(f"{quoted(key)} is not cached: its entry is damaged") from None

    def store_value(
        self, key: str, value: object, *, ttl: int | None = None, tags: Sequence[str] = (), dry_run: bool = False
    ) -> "Change[StoredValue]":
        """Store a value for operators. `ttl` is in microseconds. Not changed if another process did the same."""
        from backctl.application.cache_views import StoredValue

        _require_free(checked_key(key))
        payload = checked_payload(PLAIN.encode(value))
        recipe = self._recipe(tags=tags)
        recipe = recipe if ttl is None else recipe._replace(ttl=checked_ttl(ttl))
        view = StoredValue(key, Seconds.of(recipe.ttl), len(payload[0]), tuple(tags))

        def attempt(dry_run: bool) -> Change[StoredValue]:
            return Change(view, changed=dry_run or self.levels.replace(key, value, recipe))

        return guarded(attempt, guard=self.guard, changes=is_change, dry_run=dry_run)

    def remove(self, key: str, *, if_exists: bool = False, dry_run: bool = False) -> "Change[RemovedEntry]":
        """Invalidate one entry for operators. Raises CacheEntryNotFound unless `if_exists`."""
        from backctl.application.cache_views import RemovedEntry

        raw = checked_key(key)

        def attempt(dry_run: bool) -> Change[RemovedEntry]:
            existed = self._examined([raw])[0] is not None if dry_run else self.levels.remove([raw]) > 0
            if not existed and not if_exists:
                raise CacheEntryNotFound(f"{quoted(key)} is not cached")
            return Change(RemovedEntry(key, existed), changed=existed)

        return guarded(attempt, guard=self.guard, changes=is_change, dry_run=dry_run)

    def remove_matching(
        self, pattern: str, *, dry_run: bool = False, progress: Callable[[int], None] = _no_progress
    ) -> "Change[InvalidationView]":
        """Like `invalidate`, for operators."""

        def attempt(dry_run: bool) -> Change[InvalidationView]:
            view = self.invalidate(pattern, dry_run=dry_run, progress=progress)
            return Change(view, changed=bool(view.entries))

        return guarded(attempt, guard=self.guard, changes=is_change, dry_run=dry_run)

    def renew(self, tags: Sequence[str] = (), *, dry_run: bool = False) -> "Change[InvalidationView]":
        """Invalidate the entries with any of these tags, or all entries without tags, for operators."""
        from backctl.application.cache_views import InvalidationView

        raw = checked_tags(tags)

        def attempt(dry_run: bool) -> Change[InvalidationView]:
            if not dry_run:
                self.levels.renew_tags(raw) if raw else self.levels.renew_epoch()
            return Change(InvalidationView(None, tuple(tags), not raw, None, None), changed=True)

        return guarded(attempt, guard=self.guard, changes=is_change, dry_run=dry_run)

    def entries(self, pattern: str = "*") -> "Iterator[EntryView]":
        """Yield the entries whose keys match a glob of Redis, in any order, also those that are no longer used."""
        from backctl.application.cache_views import EntryView

        raw = _raw_pattern(pattern)
        seen: set[bytes] = set()
        keys = self.store().keys(raw)
        while batch := list(islice(keys, _AT_ONCE)):
            new = [key for key in batch if key not in seen]
            seen.update(new)
            now = self.clock()
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

    def explain(self, key: str) -> "ExplanationView":
        """Return everything about an entry. Raises CacheEntryNotFound."""
        from backctl.application.cache_views import ExplanationView, TagView

        raw = checked_key(key)
        (found,) = self._examined([raw])
        if found is None:
            raise CacheEntryNotFound(f"{quoted(key)} is not cached")
        entry, versions, now = found.entry, found.reading.versions, self.clock()
        known = entry is not None
        tags = entry.tags if entry is not None else ()
        return ExplanationView(
            key=_shown(raw),
            level=self.level,
            state=found.state,
            why=_why(found),
            age=None if entry is None else _since(entry.created_at, now),
            ttl=None if entry is None else _until(entry.soft_at, now),
            stored_at=None if entry is None else Instant(entry.created_at),
            stale_at=None if entry is None else Instant(entry.soft_at),
            expires_at=None if entry is None else Instant(entry.hard_at),
            bytes=found.size if entry is None else len(entry.payload),
            format=None if entry is None else "bytes" if entry.binary else "json",
            negative=entry is not None and entry.negative,
            signed=found.state != "untrusted" if known and is_reserved(raw) else None,
            tags=tuple(TagView(_shown(tag), versions.tags.get(tag) == version) for tag, version in tags),
            epoch=None if entry is None else entry.epoch.hex(),
            current_epoch=None if versions.epoch is None else versions.epoch.hex(),
            writer=None if entry is None else entry.writer,
        )

    def stats(self) -> "CacheStats":
        """Count the entries, and add up what all services have counted. Looks at every key, in short steps."""
        from backctl.application.cache_views import CacheStats

        entries = size = 0
        for step in self.store().sweep(b"*", dry_run=True):
            entries += step.entries
            size += step.bytes
        counts = self.store().counts()
        found = {name: counts.get(name, 0) for name in _COUNTERS}
        hits = found["memory_hits"] + found["store_hits"]
        reads = hits + found["loads"]
        ratio = round(hits / reads, 4) if reads else None
        return CacheStats(level=self.level, entries=entries, bytes=size, hit_ratio=ratio, **found)

    # Inside.

    def _recipe(
        self,
        ttl: float | timedelta | None = None,
        tags: Sequence[str] = (),
        negative_ttl: float | timedelta | None = None,
        stale_if_error: float | timedelta | None = None,
    ) -> Recipe:
        ours = self.lifetimes
        return Recipe(
            PLAIN,
            ours.ttl if ttl is None else microseconds(ttl),
            ours.negative_ttl if negative_ttl is None else microseconds(negative_ttl),
            ours.stale if stale_if_error is None else microseconds(stale_if_error) if stale_if_error else 0,
            checked_tags(tags) if tags else (),
        )

    def _examined(self, keys: Sequence[bytes]) -> "list[_Examined | None]":
        """Return what is known about entries, None for keys without one."""
        store, now = self.store(), self.clock()
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
            elif is_reserved(key) and not self.levels.trusts(key, entry):
                found.append(_Examined(reading, entry, "untrusted"))
            else:
                found.append(_Examined(reading, entry, entry.state(reading.versions, now)))
        return found


class _Examined(NamedTuple):
    reading: "Reading"
    entry: "Entry | None"
    state: "EntryState"

    @property
    def size(self) -> int:
        return len(self.reading.entry or b"")


def as_json(value: object, *, binary: bool) -> str:
    """Return a value as JSON; bytes as a string of base64."""
    if binary and isinstance(value, bytes):
        value = base64.b64encode(value).decode()
    return json.dumps(value, ensure_ascii=False)


def _why(found: _Examined) -> str | None:
    """Say why an entry is not used."""
    entry, versions = found.entry, found.reading.versions
    match found.state:
        case "fresh":
            return None
        case "unreadable":
            return "it has another format, for example that of another version of backctl"
        case "untrusted":
            return "its signature is missing or wrong, so another program may have written it"
        case "stale":
            return "its TTL has passed; it is only used if loading the value fails"
        case "expired":
            return "it has ended"
    if entry is None or entry.epoch != versions.epoch:
        return "all entries were invalidated"
    changed = [quoted(_shown(tag)) for tag, version in entry.tags if versions.tags.get(tag) != version]
    return f"the tag {', '.join(changed)} was invalidated"


def _raw_pattern(pattern: str) -> bytes:
    raw = pattern.encode(errors="surrogateescape")
    parse_glob(raw)
    return raw


def _require_free(key: bytes) -> None:
    """Raises CacheReserved for the key of an entry that only backctl stores."""
    if is_reserved(key):
        raise CacheReserved(
            f"{quoted(_shown(key))} is in a reserved namespace", hint="use another word before the first colon"
        )


def _shown(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def _since(earlier: int, now: int) -> Seconds:
    return Seconds.of(max(0, now - earlier))


def _until(later: int, now: int) -> Seconds:
    return Seconds.of(max(0, later - now))
