"""The cache of a backend: values that all its processes share."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from string import Formatter
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, cast
from urllib.parse import quote

from backctl.application.cache_levels import Levels
from backctl.application.cache_values import PLAIN, Recipe, checked_refresh, microseconds
from backctl.application.guard import Guard
from backctl.application.write_behind import WriteBehind, WriteMany, Writer
from backctl.domain.cache_entry import KEY_MAX, RESERVED, checked_key, checked_tags, is_reserved
from backctl.domain.errors import CacheReserved, InvalidCacheEntry
from backctl.domain.glob import parse_glob
from backctl.domain.quoting import quoted

if TYPE_CHECKING:
    from backctl.application.cache_views import InvalidationView
    from backctl.application.draining import Worker
    from backctl.application.ports.cache import CacheStore
    from backctl.application.write_behind_views import DrainReport

T = TypeVar("T")
P = ParamSpec("P")


class Lifetimes(NamedTuple):
    """The configured lifetimes of entries, in microseconds; see `Recipe`."""

    ttl: int
    negative_ttl: int
    stale: int


def no_progress(entries: int) -> None:
    """Ignore the progress of a sweep."""


@dataclass(frozen=True, slots=True)
class CacheService:
    """Caches JSON values and bytes in the memory of this process and in a shared store.

    Works in any thread. A key is a string of up to 512 bytes, such as `report:2026`; the part before its first colon is
    its namespace. `user` and `revocation` are reserved. A TTL is a number of seconds or a timedelta. Methods raise
    InvalidCacheEntry for invalid keys, tags, TTLs and values, and CacheReserved for reserved keys. Methods that change
    the cache, and those that only inspect it, also raise Unavailable and Unusable.
    """

    levels: Levels
    store: "Callable[[], CacheStore]"
    level: str
    """The name of the shared store: `redis` or `file`."""
    lifetimes: Lifetimes
    clock: Callable[[], int]
    """Returns microseconds since 1970."""
    updates: WriteBehind
    worker: "Callable[[], Worker]"
    guard: Guard = field(default_factory=Guard)

    def get_or_load(
        self,
        key: str,
        loader: Callable[[], T],
        *,
        ttl: float | timedelta | None = None,
        tags: Sequence[str] = (),
        negative_ttl: float | timedelta | None = None,
        stale_if_error: float | timedelta | None = None,
        refresh_after: float | None = None,
    ) -> T:
        """Return the cached value of a key, or call `loader()` and cache its result. Raises the errors of the loader.

        The value has JSON types: a tuple becomes a list. One process at a time calls the loader for
        a key, as long as it takes less than `cache.lock_timeout`.
        `negative_ttl` is the TTL of None. If the loader fails, an entry past its TTL is used for another
        `stale_if_error`. A read after the part `refresh_after` of the TTL, such as 0.8, returns the cached value and
        calls the loader in another thread, with the context variables of the caller; 0 disables this. Defaults come
        from the settings. If the cache is not available, the value is loaded.
        """
        reserved = key.startswith(RESERVED)
        held = None if reserved else self.levels.held(key, renews=refresh_after != 0)
        if held is not None and (not tags or held.has(checked_tags(tags))):
            return cast(T, held.share(held.value))
        if reserved:
            require_free(checked_key(key))
        recipe = self.recipe(ttl, tags, negative_ttl, stale_if_error, refresh_after)
        loader = self.updates.loader(key, loader, lambda: self.delete(key))
        return cast(T, self.levels.load_missing(key, loader, recipe))

    def get(self, key: str, default: Any = None) -> Any:
        """Return the cached value of a key; `default` if it is not cached or the cache is not available."""
        require_free(checked_key(key))
        return self.levels.get(key, self.recipe(), default)

    def set(self, key: str, value: object, *, ttl: float | timedelta | None = None, tags: Sequence[str] = ()) -> bool:
        """Store a value. False, with nothing cached, if another process stored or invalidated it at the same time."""
        require_free(checked_key(key))
        return self.levels.replace(key, value, self.recipe(ttl, tags))

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
        If the cache is not available, `write` is still called, and an older entry can remain until it expires. Raises
        the errors of `write`.
        """
        require_free(checked_key(key))
        return self.levels.write_through(key, value, write, self.recipe(ttl, tags))

    def cached(
        self,
        key: str,
        *,
        ttl: float | timedelta | None = None,
        tags: Sequence[str] = (),
        refresh_after: float | None = None,
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Return a decorator that caches the results of a function.

        `key` and `tags` are templates with parameter names in braces, such as `report:{year}`. Arguments are converted
        to strings and percent-encoded, so 1 and "1" share an entry. A key that is too long ends with a digest. Raises
        InvalidCacheEntry if a name in a template is not a parameter of the function.
        """

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            signature = inspect.signature(function)
            for template in (key, *tags):
                for _, name, _, _ in Formatter().parse(template):
                    if name is not None and name not in signature.parameters:
                        raise InvalidCacheEntry(
                            f"the template {quoted(template)} names {quoted(name)}, which is not a parameter",
                            hint="use parameter names of the function",
                        )

            @functools.wraps(function)
            def cached(*args: P.args, **kwargs: P.kwargs) -> T:
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                values = {name: quote(str(value), safe="@+") for name, value in bound.arguments.items()}
                return self.get_or_load(
                    _shortened(key.format_map(values)),
                    functools.partial(function, *args, **kwargs),
                    ttl=ttl,
                    tags=[tag.format_map(values) for tag in tags],
                    refresh_after=refresh_after,
                )

            return cached

        return decorate

    def register_writer(self, name: str, write: WriteMany, *, version: int = 1, cached: bool = True) -> None:
        """Register the function that writes the updates of `write_behind(name, …)` to the database.

        A worker calls `write(connection, updates)` with a SQLAlchemy connection and the values by their keys, each the
        latest for its key. Its changes are committed together with a record of the updates, so each update is written
        at most once; `write` must not commit. `version` is that of the format of the values: register the old version
        too, as long as its updates can wait. `cached`: readers see a value at once, as the entry `NAME:KEY`. Raises
        InvalidCacheEntry for an invalid or built-in name.
        """
        self.updates.register(name, Writer(write, cached), version=version)

    def write_behind(self, name: str, key: str, value: Any) -> None:
        """Queue a value, which a worker writes to the database later; see `register_writer` and `drain`.

        The update is durable when this returns, and replaces one that waits for the same key. Uses the newest
        registered version of the writer. Raises InvalidCacheEntry for a writer that is not registered, an invalid key
        or value; QueueFull; and Unavailable and Unusable, after which the update may or may not be queued.
        """
        update = self.updates.checked(name, key, value)
        if update.entry is None:
            self.updates.put(update)
        else:
            self.write_through(update.entry, value, lambda _: self.updates.put(update))

    def drain(self, *, follow: bool = False, stop: Callable[[], bool] = lambda: False) -> "DrainReport":
        """Write the updates that wait to the database; return what was done.

        `follow`: go on until `stop` returns True, and wait while the database or the queue is not available. `stop` is
        called before each batch. Processes and machines can share the work. Updates of writers that are not registered
        here are left for others. Raises Unavailable, Unusable.
        """
        from backctl.application.draining import Drain

        drain = Drain(self.worker(), stop=stop)
        return drain.follow() if follow else drain.run_once()

    def delete(self, key: str) -> bool:
        """Invalidate one entry. False if there was none."""
        return self.levels.remove([checked_key(key)]) > 0

    def invalidate_tags(self, *tags: str) -> None:
        """Invalidate all entries with any of these tags, in constant time."""
        raw = checked_tags(tags)
        if raw:
            self.levels.renew_tags(raw)

    def invalidate_all(self) -> None:
        """Invalidate all entries, in constant time."""
        self.levels.renew_epoch()

    def invalidate(
        self, pattern: str, *, dry_run: bool = False, progress: Callable[[int], None] = no_progress
    ) -> "InvalidationView":
        """Invalidate the entries whose keys match a Redis glob. Reads every key, in short steps.

        If it is interrupted, call it again to finish. `progress` receives the number of entries in each step.
        """
        from backctl.application.cache_views import InvalidationView

        raw, entries, size = raw_pattern(pattern), 0, 0
        try:
            for step in self.store().sweep(raw, dry_run=dry_run):
                entries += step.entries
                size += step.bytes
                progress(step.entries)
        finally:
            if not dry_run:
                self.levels.swept(raw)
        return InvalidationView(pattern, (), False, entries, size)

    def recipe(
        self,
        ttl: float | timedelta | None = None,
        tags: Sequence[str] = (),
        negative_ttl: float | timedelta | None = None,
        stale_if_error: float | timedelta | None = None,
        refresh_after: float | None = None,
    ) -> Recipe:
        ours = self.lifetimes
        return Recipe(
            PLAIN,
            ours.ttl if ttl is None else microseconds(ttl),
            ours.negative_ttl if negative_ttl is None else microseconds(negative_ttl) if negative_ttl else 0,
            ours.stale if stale_if_error is None else microseconds(stale_if_error) if stale_if_error else 0,
            checked_tags(tags) if tags else (),
            None if refresh_after is None else checked_refresh(refresh_after),
        )


def require_free(key: bytes) -> None:
    """Raises CacheReserved for a key in a namespace where only backctl stores entries."""
    if is_reserved(key):
        shown = quoted(key.decode(errors="backslashreplace"))
        raise CacheReserved(f"{shown} is in a reserved namespace", hint="use another namespace before the first colon")


def _shortened(key: str) -> str:
    """Return a key, or if it is too long, its beginning and its SHA-256."""
    raw = key.encode(errors="surrogateescape")
    if len(raw) <= KEY_MAX:
        return key
    digest = sha256(raw).hexdigest()
    return raw[: KEY_MAX - len(digest) - 1].decode(errors="ignore") + "~" + digest


def raw_pattern(pattern: str) -> bytes:
    raw = pattern.encode(errors="surrogateescape")
    parse_glob(raw)
    return raw
