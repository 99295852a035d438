"""Reads a value from memory, the shared store or its loader, and stores it in the levels above.

An entry that cannot be read is treated as a miss. While the store is not available, values are loaded.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from backctl.application.cache_access import StoreAccess, StoreAway
from backctl.application.cache_coherence import Coherence
from backctl.application.cache_envelope import Envelope, Filling, Found, Seal
from backctl.application.cache_flights import Flights, Produced
from backctl.application.cache_values import Codec, Payload, Recipe, checked_payload
from backctl.application.ports.cache import CacheStore, Change, Held, Memory
from backctl.domain.cache_entry import Entry, checked_key
from backctl.domain.errors import InvalidCacheEntry
from backctl.domain.quoting import quoted

R = TypeVar("R")

_POLL_S: Final = (0.005, 0.1)
"""The first and the longest pause between checks of an entry that another process is filling."""
_PATIENCE: Final = 2.5
"""How many lock timeouts to wait for other processes: if one is killed, a second one takes over."""
_KEEP_US: Final = 60_000_000
"""How much longer the versions of its tags last than an entry."""


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
        self._envelope = Envelope(environment.seal, environment.clock, self._access)
        self._coherence = Coherence(
            self._access, environment.memory, environment.monotonic, environment.max_staleness / 1_000_000
        )
        self.start_over()

    def start_over(self) -> None:
        self._own = threading.local()
        self._coherence.start_over()
        self._access.start_over()
        self._flights.start_over()
        self._envelope.start_over()

    def close(self, store: Callable[[], CacheStore]) -> None:
        """Add the counters to those in the store, before it is closed."""
        self._access.close(store)

    # Reading.

    def held(self, key: str) -> Held | None:
        """Return the value in memory if it may be used without asking the store."""
        held = self._memory.get(key)
        if held is not None:
            now = self._monotonic()
            if now < held.until and now < self._coherence.confirmed_until:
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
        if key in self._own_keys():
            return alone().value
        found = self._cached(key, raw, recipe)
        if found is not None:
            return found.value
        value = self._flights.run(key, partial(self._beyond_store, key, raw, loader, recipe), alone)
        return recipe.codec.share(value)(value)

    def get(self, key: str, recipe: Recipe, default: Any) -> Any:
        """Return the value of a key without loading it; `default` if it is not cached."""
        found = self._cached(key, checked_key(key), recipe)
        return default if found is None else found.value

    def is_trusted(self, raw: bytes, entry: Entry) -> bool:
        """Whether an entry of a reserved namespace was stored by a process with the same keyring."""
        return self._envelope.is_trusted(raw, entry)

    def _cached(self, key: str, raw: bytes, recipe: Recipe) -> Produced | None:
        """Return the value in memory or in the store, for one caller; None if there is none, or the store is away."""
        try:
            self._access.flush()
            if recipe.codec.signed:
                self._envelope.require_seal()
            if self._memory.is_used:
                self._coherence.confirm()
                held = self._memory.get(key)
                if held is not None and held.has(recipe.tags) and self._monotonic() < held.until:
                    self._access.memory_hits += 1
                    return Produced(held.share(held.value))
            generation = self._memory.generation
            found = self._access.ask(lambda store: self._envelope.read(store, raw, recipe))
        except StoreAway:
            return None
        return None if found is None else self._used(key, found, generation, recipe)

    def _beyond_store(self, key: str, raw: bytes, loader: Callable[[], Any], recipe: Recipe) -> Produced:
        """Load the value, and store it unless the store is away."""
        try:
            if recipe.codec.signed:
                self._envelope.require_seal()
            return self._filled(key, raw, loader, recipe)
        except StoreAway:
            self._access.count("bypasses")
            return self._loaded(loader, recipe)

    def _used(self, key: str, found: Found, generation: int, recipe: Recipe) -> Produced | None:
        """Use an entry of the store if it is fresh."""
        if found.state != "fresh":
            return None
        self._access.count("store_hits")
        self._remember(key, found.entry, found.value, generation, recipe)
        return Produced(found.value)

    def _loaded(self, loader: Callable[[], Any], recipe: Recipe) -> Produced:
        """Load a value without storing it."""
        self._access.count("loads")
        return Produced(_exchanged(loader(), recipe.codec)[1])

    def _filled(self, key: str, raw: bytes, loader: Callable[[], Any], recipe: Recipe) -> Produced:
        """Load and store the value, or wait for the process that does. Raises StoreAway only before loading."""
        generation = self._memory.generation
        give_up, pause = self._monotonic() + _PATIENCE * self._environment.lock_timeout / 1_000_000, _POLL_S[0]
        token = b"f" + os.urandom(16)
        while True:
            filling = self._access.ask(partial(self._begun, raw, token, recipe))
            found = self._envelope.opened(raw, filling.begun.reading, recipe)
            used = None if found is None else self._used(key, found, generation, recipe)
            if used is not None:
                if filling.begun.held:
                    self._released(filling)
                return used
            if filling.begun.held:
                break
            if self._monotonic() >= give_up:
                return self._loaded(loader, recipe)
            self._environment.sleep(pause)
            pause = min(2 * pause, _POLL_S[1])
        self._access.count("loads")
        try:
            with self._owning(key):
                loaded = loader()
        except Exception as error:
            self._released(filling)
            stale = self._stale(raw, recipe, error)
            if stale is None:
                raise
            return Produced(stale.value)
        except BaseException:
            self._released(filling)
            raise
        try:
            payload, value = _exchanged(loaded, recipe.codec)
        except InvalidCacheEntry:
            self._released(filling)
            raise
        self._store_loaded(key, filling, payload, value, generation, recipe)
        return Produced(value)

    def _begun(
        self, raw: bytes, token: bytes, recipe: Recipe, store: CacheStore, *, take_over: bool = False
    ) -> Filling:
        hold, began_at = self._environment.lock_timeout, self._clock()
        keep = recipe.ttl + recipe.stale + hold + _KEEP_US
        begun = store.begin(raw, token, recipe.tags, hold_us=hold, keep_us=keep, take_over=take_over)
        return Filling(raw, token, began_at, begun)

    def _store_loaded(
        self, key: str, filling: Filling, payload: Payload, value: Any, generation: int, recipe: Recipe
    ) -> None:
        """Store a loaded value unless it was invalidated meanwhile, is too large, or the store is not available."""
        if value is None and not recipe.negative_ttl:
            self._released(filling)
            return
        try:
            entry = self._envelope.made(filling, checked_payload(payload), recipe, negative=value is None)
        except InvalidCacheEntry as error:
            self._log.warning("the entry %s is not cached: %s", quoted(key), error.message)
            self._released(filling)
            return
        with suppress(StoreAway):
            if self._access.ask(lambda store: self._completed(store, filling, entry)):
                self._remember(key, entry, value, generation, recipe)

    def _completed(self, store: CacheStore, filling: Filling, entry: Entry) -> bool:
        ttl_us = entry.hard_at - self._clock()
        if ttl_us <= 0:  # loading took longer than the value may be used
            store.release(filling.key, filling.token)
            return False
        return store.complete(filling.key, filling.token, filling.begun.fence, entry.encoded(), ttl_us=ttl_us)

    def _stale(self, raw: bytes, recipe: Recipe, error: Exception) -> Found | None:
        """Return an entry to use because the loader failed; never one that was invalidated."""
        try:
            found = self._access.ask(lambda store: self._envelope.read(store, raw, recipe, again=True))
        except StoreAway:
            return None
        if found is None or found.state not in ("fresh", "stale"):
            return None
        if found.state == "stale" and self._clock() >= found.entry.soft_at + recipe.stale:
            return None
        self._access.count("stale_served")
        self._log.warning("loading failed with %s; using a stale entry", type(error).__name__)
        return found

    def _released(self, filling: Filling) -> None:
        self._access.attempt(lambda store: store.release(filling.key, filling.token))

    def _remember(self, key: str, entry: Entry, value: Any, generation: int, recipe: Recipe) -> None:
        if not self._memory.is_used:
            return
        # At most its TTL, even if the clock of the process that stored it is ahead.
        ttl = entry.soft_at - entry.created_at
        if recipe.codec.signed:
            ttl = min(ttl, recipe.ttl)
        left = min(entry.created_at + ttl - self._clock(), ttl) / 1_000_000
        tags = tuple(tag for tag, _ in entry.tags)
        share = recipe.codec.share(value)
        held = Held(share(value), self._monotonic() + left, tags, share)
        self._memory.put(key, held, generation=generation)

    def _own_keys(self) -> set[str]:
        """Return the keys that this thread is loading or writing. What needs them meanwhile must not wait for them."""
        if not hasattr(self._own, "keys"):
            self._own.keys = set()
        found: set[str] = self._own.keys
        return found

    @contextmanager
    def _owning(self, key: str) -> Iterator[None]:
        keys = self._own_keys()
        keys.add(key)
        try:
            yield
        finally:
            keys.discard(key)

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
        filling = self._begun(raw, b"f" + os.urandom(16), recipe, store)
        if not filling.begun.held:
            return False
        try:
            value = loader()
            payload = checked_payload(recipe.codec.encode(value))
        except BaseException:
            self._released(filling)
            raise
        return self._completed(store, filling, self._envelope.made(filling, payload, recipe, negative=value is None))

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
            with self._owning(key):
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
        filling = self._begun(raw, b"w" + os.urandom(16), recipe, store, take_over=True)
        self._coherence.heard(store.announce((raw,)), Change("keys", (raw,)))
        return filling

    def _finished(self, store: CacheStore, filling: Filling, entry: Entry) -> bool:
        """Store the replacement entry; if another process was writing too, remove the entry instead."""
        if filling.begun.contended or not self._completed(store, filling, entry):
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


def _exchanged(value: Any, codec: Codec) -> tuple[Payload, Any]:
    """Return the payload of a value, and the value as decoded from it. Raises InvalidCacheEntry."""
    payload = codec.encode(value)
    return payload, codec.decode(*payload)
