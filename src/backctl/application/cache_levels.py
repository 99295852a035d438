"""Reads a value from memory, the shared store or its loader, and stores it in the levels above.

An entry that cannot be read is treated as a miss. While the store is not available, values are loaded.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from backctl.application.cache_access import StoreAccess, StoreAway
from backctl.application.cache_coherence import Coherence
from backctl.application.cache_envelope import Envelope, Filling, Found, Seal
from backctl.application.cache_filling import Filler, new_token
from backctl.application.cache_flights import Flights, Produced
from backctl.application.cache_renewals import Renewals, Start
from backctl.application.cache_values import Recipe, RefreshAfter, checked_payload, exchanged
from backctl.application.ports.cache import CacheStore, Change, Held, Memory
from backctl.domain.cache_entry import Entry, checked_key
from backctl.domain.errors import InvalidCacheEntry

R = TypeVar("R")

_POLL_S: Final = (0.005, 0.1)
"""The first and the longest pause between checks of an entry that another process is filling."""
_PATIENCE: Final = 2.5
"""How many lock timeouts to wait for other processes: if one is killed, a second one takes over."""


class Environment(NamedTuple):
    """Dependencies of the levels. `monotonic` returns seconds, including suspensions; `clock` returns microseconds."""

    store: Callable[[], CacheStore]
    memory: Memory
    seal: Callable[[], Seal]
    monotonic: Callable[[], float]
    clock: Callable[[], int]
    sleep: Callable[[float], None]
    lock_timeout: int
    """How long a process may hold the lock of an entry, in microseconds; then another process takes over."""
    max_staleness: int
    """How long entries in memory may be used without checking the store for invalidations, in microseconds."""
    refresh_after: RefreshAfter = RefreshAfter()
    start: Start | None = None
    """Renews an entry in the background; None if this process renews nothing."""


class Levels:
    """The levels of the cache in one process. Works in any thread; call `start_over` in a forked child."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._access = StoreAccess(environment.store, environment.monotonic)
        self._memory = environment.memory
        self._monotonic = environment.monotonic
        self._clock = environment.clock
        self._log = logging.getLogger("backctl.cache")
        self._flights = Flights(timeout=(_PATIENCE + 1) * environment.lock_timeout / 1_000_000)
        self._envelope = Envelope(environment.seal, environment.clock, self._access, environment.refresh_after)
        self._coherence = Coherence(
            self._access, environment.memory, environment.monotonic, environment.max_staleness / 1_000_000
        )
        times = self._monotonic, self._clock
        self._filler = Filler(self._access, self._envelope, self._memory, *times, environment.lock_timeout)
        self._renewals = Renewals(
            environment.start,
            self._access,
            self._envelope,
            self._filler,
            self._memory,
            self._coherence,
            *times,
            patience=environment.lock_timeout / 1_000_000,
        )

    def start_over(self) -> None:
        self._filler.start_over()
        self._coherence.start_over()
        self._access.start_over()
        self._flights.start_over()
        self._envelope.start_over()
        self._renewals.start_over()

    def before_fork(self) -> None:
        """Wait for renewals, which could be using a database. Call `after_fork` in the parent."""
        self._renewals.before_fork()

    def after_fork(self) -> None:
        self._renewals.after_fork()

    def close(self, store: Callable[[], CacheStore]) -> None:
        """End the renewals, and add the counters to those in the store, before it is closed."""
        self._renewals.close()
        self._access.close(store)

    # Reading.

    def held(self, key: str, *, renews: bool = True) -> Held | None:
        """Return the value in memory if it may be used without asking the store, and without renewing the entry."""
        held = self._memory.get(key)
        if held is not None:
            now = self._monotonic()
            if (
                now < held.until
                and now < self._coherence.confirmed_until
                and (now < held.renew_at or not renews or self._renewals.must_wait(key, now))
            ):
                self._access.memory_hits += 1
                return held
        return None

    def load(self, key: str, loader: Callable[[], Any], recipe: Recipe) -> Any:
        """Return the value of a key. Raises the errors of the loader."""
        held = self.held(key)
        if held is not None:
            return held.share(held.value)
        return self.load_missing(key, loader, recipe)

    def load_missing(self, key: str, loader: Callable[[], Any], recipe: Recipe) -> Any:
        """Return the value of a key for which `held` returned None. Raises the errors of the loader."""
        raw = checked_key(key)
        alone = partial(self._loaded, loader, recipe)
        if key in self._filler.own_keys():
            return alone().value
        found = self._cached(key, raw, recipe, or_stale=True)
        if found is not None:
            if found.due is not None and self._renewals.are_for(raw, recipe):
                self._renewals.begin(key, raw, loader, recipe._replace(tags=found.due))
            return found.value
        value = self._flights.run(key, partial(self._beyond_store, key, raw, loader, recipe), alone)
        return recipe.codec.share(value)(value)

    def get(self, key: str, recipe: Recipe, default: Any) -> Any:
        """Return the value of a key without loading it; `default` if it is not cached."""
        found = self._cached(key, checked_key(key), recipe, or_stale=False)
        return default if found is None else found.value

    def is_trusted(self, raw: bytes, entry: Entry) -> bool:
        """Whether an entry of a reserved namespace was stored by a process with the same keyring."""
        return self._envelope.is_trusted(raw, entry)

    def _cached(self, key: str, raw: bytes, recipe: Recipe, *, or_stale: bool) -> Produced | None:
        """Return the value in memory or in the store, for one caller; None if there is none, or the store is away.

        `or_stale`: also if it is stale and is being renewed.
        """
        try:
            self._access.flush()
            if recipe.codec.signed:
                self._envelope.require_seal()
            if self._memory.is_used:
                self._coherence.confirm()
                held, now = self._memory.get(key), self._monotonic()
                if held is not None and held.has(recipe.tags) and now < held.until:
                    self._access.memory_hits += 1
                    return Produced(held.share(held.value), held.tags if now >= held.renew_at else None)
            generation = self._memory.generation
            found = self._access.ask(lambda store: self._envelope.read(store, raw, recipe))
        except StoreAway:
            return None
        if found is None or (found.state == "stale" and not or_stale):
            return None
        return self._used(key, raw, found, generation, recipe)

    def _beyond_store(self, key: str, raw: bytes, loader: Callable[[], Any], recipe: Recipe) -> Produced:
        """Load the value, and store it unless the store is away."""
        try:
            if recipe.codec.signed:
                self._envelope.require_seal()
            return self._filled(key, raw, loader, recipe)
        except StoreAway:
            self._access.count("bypasses")
            return self._loaded(loader, recipe)

    def _used(self, key: str, raw: bytes, found: Found, generation: int, recipe: Recipe) -> Produced | None:
        """Use an entry of the store if it is fresh, or if it is stale and is being renewed."""
        if found.state == "fresh":
            due = 0 < found.renew_at <= self._clock()
            if not due:
                self._renewals.settled(key)
            self._access.count("store_hits")
            self._filler.remember(key, found.entry, found.value, generation, recipe, renew_at=found.renew_at)
            return Produced(found.value, found.tags if due else None)
        if self._renewals.cover(key) and self._may_use_stale(raw, found, recipe):
            return self._stale_hit(found, found.tags)
        return None

    def _stale_hit(self, found: Found, due: tuple[bytes, ...] | None) -> Produced:
        self._access.count("store_hits")
        self._access.count("stale_served")
        return Produced(found.value, due)

    def _may_use_stale(self, raw: bytes, found: Found, recipe: Recipe) -> bool:
        """Whether an entry may be used while its value is loaded in the background or by another process."""
        return self._is_stale(found, recipe) and self._renewals.are_for(raw, recipe)

    def _is_stale(self, found: Found, recipe: Recipe) -> bool:
        """Whether an entry may be used if its loader fails."""
        return found.state == "stale" and self._clock() < found.entry.soft_at + recipe.stale

    def _loaded(self, loader: Callable[[], Any], recipe: Recipe) -> Produced:
        """Load a value without storing it."""
        self._access.count("loads")
        return Produced(exchanged(loader(), recipe.codec)[1])

    def _filled(self, key: str, raw: bytes, loader: Callable[[], Any], recipe: Recipe) -> Produced:
        """Load and store the value, or wait for the process that does. Raises StoreAway only before loading."""
        generation = self._memory.generation
        give_up, pause = self._monotonic() + _PATIENCE * self._environment.lock_timeout / 1_000_000, _POLL_S[0]
        begin = partial(self._filler.begun, raw, recipe, token=new_token())
        while True:
            filling = self._access.ask(begin)
            found = self._envelope.opened(raw, filling.begun.reading, recipe)
            used = None if found is None else self._used(key, raw, found, generation, recipe)
            if used is not None:
                if filling.begun.held:
                    self._filler.released(filling)
                return used
            if filling.begun.held:
                break
            if found is not None and self._may_use_stale(raw, found, recipe):
                self._renewals.wait(key)
                return self._stale_hit(found, None)
            if self._monotonic() >= give_up:
                return self._loaded(loader, recipe)
            self._environment.sleep(pause)
            pause = min(2 * pause, _POLL_S[1])
        self._access.count("loads")
        try:
            with self._filler.owning(key):
                loaded = loader()
        except Exception as error:
            self._filler.released(filling)
            stale = self._stale(raw, recipe, error)
            if stale is None:
                raise
            if self._renewals.are_for(raw, recipe):
                self._renewals.failed(key)
            return Produced(stale.value)
        except BaseException:
            self._filler.released(filling)
            raise
        try:
            payload, value = exchanged(loaded, recipe.codec)
        except InvalidCacheEntry:
            self._filler.released(filling)
            raise
        self._filler.store_loaded(key, filling, payload, value, generation, recipe)
        self._renewals.settled(key)
        return Produced(value)

    def _stale(self, raw: bytes, recipe: Recipe, error: Exception) -> Found | None:
        """Return an entry to use because the loader failed; never one that was invalidated."""
        try:
            found = self._access.ask(lambda store: self._envelope.read(store, raw, recipe, again=True))
        except StoreAway:
            return None
        if found is None or (found.state != "fresh" and not self._is_stale(found, recipe)):
            return None
        self._access.count("stale_served")
        self._log.warning("loading failed with %s; using a stale entry", type(error).__name__)
        return found

    # Writing.

    def replace(self, key: str, value: Any, recipe: Recipe) -> bool:
        """Store a value. False if another process replaced or invalidated the entry at the same time.

        Raises InvalidCacheEntry and the errors of the store.
        """
        raw = checked_key(key)
        payload = checked_payload(recipe.codec.encode(value))
        store = self._access.store()
        filling = self._taken_over(store, raw, recipe)
        return self._finished(store, filling, self._envelope.made(filling, payload, recipe, negative=False))

    def refresh(self, key: str, loader: Callable[[], Any], recipe: Recipe) -> bool:
        """Load a value and store it, even if it is cached. False if another process loads or invalidates it.

        Raises the errors of the loader and of the store.
        """
        raw, store = checked_key(key), self._access.store()
        if recipe.codec.signed:
            self._envelope.read_seal()
        filling = self._filler.begun(raw, recipe, store)
        if not filling.begun.held:
            return False
        try:
            value = loader()
            payload = checked_payload(recipe.codec.encode(value))
        except BaseException:
            self._filler.released(filling)
            raise
        return self._filler.completed(
            store, filling, self._envelope.made(filling, payload, recipe, negative=value is None)
        )

    def write_through(self, key: str, value: Any, write: Callable[[Any], R], recipe: Recipe) -> R:
        """Call `write(value)`, then store the value, and return the result of `write`. Raises its errors.

        Afterwards the entry has this value, or is removed if another process changed it at the same time. While the
        store is not available, an older entry can remain until it expires.
        """
        raw = checked_key(key)
        payload = checked_payload(recipe.codec.encode(value))
        kept = False
        filling = self._access.attempt(lambda store: self._taken_over(store, raw, recipe))
        try:
            with self._filler.owning(key):
                result = write(value)
            if filling is not None:
                entry = self._envelope.made(filling, payload, recipe, negative=False)
                kept = bool(self._access.attempt(lambda store: self._finished(store, filling, entry)))
        finally:
            if not kept:  # the write may have had an effect, even if it failed
                self._memory.drop(Change("keys", (raw,)))
                self._access.attempt(lambda store: self._removed(lambda: store, (raw,)))
        return result

    def _taken_over(self, store: CacheStore, raw: bytes, recipe: Recipe) -> Filling:
        """Remove an entry everywhere and lock it, so that no old entry remains if this process is killed."""
        filling = self._filler.begun(raw, recipe, store, token=new_token(b"w"), take_over=True)
        self._coherence.heard(store.announce((raw,)), Change("keys", (raw,)))
        return filling

    def _finished(self, store: CacheStore, filling: Filling, entry: Entry) -> bool:
        """Store the replacement entry; if another process was writing too, remove the entry instead."""
        if filling.begun.contended or not self._filler.completed(store, filling, entry):
            self._removed(lambda: store, (filling.key,))
            return False
        self._coherence.heard(store.announce((filling.key,)), Change("keys", (filling.key,)))
        return True

    # Invalidating. The memory of this process drops the entries even if the store fails.

    def invalidate(self, keys: Sequence[str], tags: Sequence[str]) -> None:
        """Invalidate entries by their keys and by their tags. Raises the errors of the store."""
        try:
            if keys:
                self.remove([key.encode() for key in keys])
        finally:
            if tags:
                self.renew_tags([tag.encode() for tag in tags])

    def remove(self, keys: Sequence[bytes]) -> int:
        """Invalidate entries by their keys; return how many there were. Raises the errors of the store."""
        return self._removed(self._access.store, keys)

    def renew_tags(self, tags: Sequence[bytes]) -> int:
        """Invalidate all entries with any of these tags. Return 0 if there are none. Raises the errors of the store."""
        return self._coherence.invalidated(lambda: self._access.store().renew_tags(tags), Change("tags", tuple(tags)))

    def renew_epoch(self) -> int:
        """Invalidate all entries. Return 0 if there were none. Raises the errors of the store."""
        return self._coherence.invalidated(lambda: self._access.store().renew_epoch(), Change("all"))

    def swept(self, pattern: bytes) -> None:
        """Drop from memory what a sweep of the store removes."""
        self._memory.drop(Change("glob", (pattern,)))

    def _removed(self, store: Callable[[], CacheStore], keys: Sequence[bytes]) -> int:
        return self._coherence.invalidated(lambda: store().remove(keys), Change("keys", tuple(keys)))
