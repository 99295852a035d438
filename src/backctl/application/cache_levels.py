"""Reads a value from memory, from the shared store, or from its loader, and stores it on the way back.

Nothing here trusts the store: an entry that cannot be read is a miss, and while the store is away, loaders answer.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from backctl.application.cache_flights import Flights, Produced
from backctl.application.cache_values import Codec, Recipe, checked_payload
from backctl.application.ports.cache import Announced, Begun, CacheStore, Change, Held, Memory, Reading
from backctl.domain.cache_entry import Entry, State, Versions, checked_key, decoded
from backctl.domain.cache_sequence import SequenceWatch
from backctl.domain.errors import InvalidCacheEntry, Unavailable, Unusable
from backctl.domain.quoting import quoted

R = TypeVar("R")

_RETRY_S: Final = 2.0
"""How long to do without the store after it failed; then one thread tries it again."""
_POLL_S: Final = (0.005, 0.1)
"""The first and the longest pause between two looks at an entry that another process is filling."""
_KEEP_US: Final = 60_000_000
"""How much longer than an entry the versions of its tags last."""
_COUNT_S: Final = 10.0
"""How often the counters are added to those in the store."""


class Seal(NamedTuple):
    """What entries of backctl itself are signed with, and for which installation."""

    secret: bytes
    installation: str

    def context(self, key: bytes) -> bytes:
        return self.installation.encode() + b"\0" + key


class Environment(NamedTuple):
    """What the levels need from outside. `monotonic` returns seconds and counts suspensions; `clock` microseconds."""

    store: Callable[[], CacheStore]
    memory: Memory
    seal: Callable[[], Seal]
    monotonic: Callable[[], float]
    clock: Callable[[], int]
    sleep: Callable[[float], None]
    lock_timeout: int
    """How long the others wait for a process that fills an entry, in microseconds."""
    max_staleness: int
    """How long entries in memory may be used without asking the store whether something was invalidated, in µs."""


class Found(NamedTuple):
    """An entry that this process can use, its value, and whether it may."""

    entry: Entry
    value: Any
    state: State


class _StoreAway(Exception):
    """The store cannot be used at the moment."""


class Levels:
    """The levels of the cache in one process. Works in any thread; call `start_over` in a forked child."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._store = environment.store
        self._memory = environment.memory
        self._monotonic = environment.monotonic
        self._log = logging.getLogger("backctl.cache")
        self._flights = Flights(environment.monotonic, timeout=3 * environment.lock_timeout / 1_000_000)
        self._failing = False
        self._retry_at = 0.0
        self._counted_at = 0.0
        self._counts: dict[str, int] = {}
        self._watch = SequenceWatch(environment.max_staleness / 1_000_000)
        self.memory_hits = 0
        self.start_over()

    def start_over(self) -> None:
        self._lock = threading.Lock()
        self._flights.start_over()
        self._listens = False
        self._counts = {}
        self.memory_hits = 0
        self._writer = f"{os.uname().nodename}:{os.getpid()}"[:200]

    # Reading.

    def held(self, key: str) -> Held | None:
        """Return the value in memory, if it may be used without asking the store."""
        held = self._memory.get(key)
        if held is not None:
            now = self._monotonic()
            if now < held.until and now < self._watch.confirmed_until:
                self.memory_hits += 1
                return held
        return None

    def load(self, key: str, loader: Callable[[], Any], recipe: Recipe) -> Any:
        """Return the value of a key. Raises the errors of the loader."""
        held = self.held(key)
        if held is not None:
            return held.share(held.value)
        value = self._flights.run(key, partial(self._beyond_memory, key, loader, recipe))
        return recipe.codec.share(value)(value)

    def get(self, key: str, recipe: Recipe, default: Any) -> Any:
        """Return the value of a key without loading it; `default` if it is not cached."""
        try:
            produced = self._cached(key, checked_key(key), recipe)
        except _StoreAway:
            return default
        return default if produced is None else recipe.codec.share(produced.value)(produced.value)

    def trusts(self, raw: bytes, entry: Entry) -> bool:
        """Whether an entry of a reserved namespace was stored by a process with the same keyring."""
        seal = self._environment.seal()
        return entry.is_signed(seal.secret, seal.context(raw))

    def _beyond_memory(self, key: str, loader: Callable[[], Any], recipe: Recipe) -> Produced:
        raw = checked_key(key)
        try:
            return self._cached(key, raw, recipe) or self._filled(key, raw, loader, recipe)
        except _StoreAway:
            self._count("loads")
            self._count("bypasses")
            return Produced(_exchanged(loader(), recipe.codec)[1], is_current=False)

    def _cached(self, key: str, raw: bytes, recipe: Recipe) -> Produced | None:
        """Return the value in memory or in the store; None if there is none. Raises _StoreAway."""
        if recipe.codec.signed:
            self._asked(lambda store: self._environment.seal())  # to do without the cache if there is no key
        if self._memory.is_used:
            self._confirm()
            held = self._memory.get(key)
            if held is not None and self._monotonic() < held.until:
                self.memory_hits += 1
                return Produced(held.value, is_current=True)
        generation = self._memory.generation
        found = self._found(raw, self._asked(lambda store: self._read(store, raw, recipe.tags)), recipe.codec)
        if found is None or found.state != "fresh":
            return None
        self._count("store_hits")
        self._remember(key, found.entry, found.value, generation, recipe.codec)
        return Produced(found.value, is_current=True)

    def _filled(self, key: str, raw: bytes, loader: Callable[[], Any], recipe: Recipe) -> Produced:
        """Load the value and store it, or wait for the process that does. Raises _StoreAway before it loads."""
        token = b"f" + os.urandom(16)
        generation = self._memory.generation
        begun, found = self._begun(raw, token, recipe)
        if found is not None and found.state == "fresh":
            self._count("store_hits")
            self._remember(key, found.entry, found.value, generation, recipe.codec)
            return Produced(found.value, is_current=True)
        self._count("loads")
        if begun is None:
            return Produced(_exchanged(loader(), recipe.codec)[1], is_current=False)
        try:
            value = loader()
        except Exception as error:
            stale = self._stale(raw, token, recipe, error)
            if stale is None:
                raise
            return Produced(stale.value, is_current=True)
        except BaseException:
            self._released(raw, token)
            raise
        return self._stored(key, raw, value, (token, begun), generation, recipe)

    def _begun(self, raw: bytes, token: bytes, recipe: Recipe) -> tuple[Begun | None, Found | None]:
        """Lock the entry, waiting while another process fills it. Without `Begun`, it took too long."""
        hold = self._environment.lock_timeout
        give_up, pause = self._monotonic() + 2.5 * hold / 1_000_000, _POLL_S[0]
        begin = partial(self._begin, raw, token, recipe)
        while True:
            begun = self._asked(begin)
            found = self._found(raw, begun.reading, recipe.codec)
            if found is not None and found.state == "fresh":
                if begun.held:
                    self._released(raw, token)
                return begun, found
            if begun.held:
                return begun, None
            if self._monotonic() >= give_up:
                return None, None
            self._environment.sleep(pause)
            pause = min(2 * pause, _POLL_S[1])

    def _begin(self, raw: bytes, token: bytes, recipe: Recipe, store: CacheStore, *, take_over: bool = False) -> Begun:
        keep = recipe.ttl + recipe.stale + self._environment.lock_timeout + _KEEP_US
        return store.begin(
            raw, token, recipe.tags, hold_us=self._environment.lock_timeout, keep_us=keep, take_over=take_over
        )

    def _stored(
        self, key: str, raw: bytes, value: Any, lock: tuple[bytes, Begun], generation: int, recipe: Recipe
    ) -> Produced:
        """Store a loaded value, unless it was invalidated meanwhile."""
        token, begun = lock
        try:
            payload, value = _exchanged(value, recipe.codec)
        except InvalidCacheEntry:
            self._released(raw, token)
            raise
        try:
            entry = self._entry(raw, checked_payload(payload), begun.reading.versions, recipe, negative=value is None)
        except InvalidCacheEntry as error:  # too large: the caller still gets it
            self._log.warning("the entry %s is not cached: %s", quoted(key), error.message)
            self._released(raw, token)
            return Produced(value, is_current=False)
        try:
            kept = self._asked(lambda store: self._committed(store, raw, token, begun, entry))
        except _StoreAway:
            kept = False
        if kept:
            self._remember(key, entry, value, generation, recipe.codec)
        return Produced(value, is_current=kept)

    @staticmethod
    def _committed(store: CacheStore, raw: bytes, token: bytes, begun: Begun, entry: Entry) -> bool:
        ttl = entry.hard_at - entry.created_at
        return store.commit(raw, token, begun.fence, entry.encoded(), ttl_us=ttl)

    def _stale(self, raw: bytes, token: bytes, recipe: Recipe, error: Exception) -> Found | None:
        """Return an entry that may replace a loader that failed: never one that was invalidated."""
        self._released(raw, token)
        try:
            found = self._found(raw, self._asked(lambda store: self._read(store, raw, recipe.tags)), recipe.codec)
        except _StoreAway:
            return None
        if found is None or found.state not in ("fresh", "stale"):
            return None
        self._count("stale_served")
        self._log.warning("loading failed with %s; using a stale entry", type(error).__name__)
        return found

    # Writing.

    def replace(self, key: str, value: Any, recipe: Recipe) -> bool:
        """Store a value. False if another process replaced or invalidated the entry at the same time.

        Raises InvalidCacheEntry and the errors of the store.
        """
        raw, token = checked_key(key), b"w" + os.urandom(16)
        payload = checked_payload(recipe.codec.encode(value))
        store = self._store()
        begun = self._begin(raw, token, recipe, store, take_over=True)
        entry = self._entry(raw, payload, begun.reading.versions, recipe, negative=value is None)
        return self._finished(store, raw, token, begun, entry)

    def refresh(self, key: str, loader: Callable[[], Any], recipe: Recipe) -> bool:
        """Load a value and store it, even if it is cached. False if another process loads or invalidates it.

        Raises the errors of the loader and of the store.
        """
        raw, token, store = checked_key(key), b"f" + os.urandom(16), self._store()
        begun = self._begin(raw, token, recipe, store)
        if not begun.held:
            return False
        try:
            value = loader()
            entry = self._entry(raw, recipe.codec.encode(value), begun.reading.versions, recipe, negative=value is None)
        except BaseException:
            self._released(raw, token)
            raise
        return self._committed(store, raw, token, begun, entry)

    def write_through(self, key: str, value: Any, write: Callable[[Any], R], recipe: Recipe) -> R:
        """Call `write(value)`, then store the value, and return the result of `write`. Raises its errors.

        Afterwards the entry has this value, or none if another process changed it at the same time. While the store
        is away, an older entry can stay until it ends.
        """
        raw, token = checked_key(key), b"w" + os.urandom(16)
        payload = checked_payload(recipe.codec.encode(value))
        kept = False
        begun = self._tried(lambda store: self._begin(raw, token, recipe, store, take_over=True))
        try:
            result = write(value)
            if begun is not None:
                entry = self._entry(raw, payload, begun.reading.versions, recipe, negative=value is None)
                kept = bool(self._tried(lambda store: self._finished(store, raw, token, begun, entry)))
        finally:
            if not kept:  # the write may have had an effect, even if it failed
                self._memory.drop(Change("keys", (raw,)))
                self._tried(lambda store: self._removed(store, (raw,)))
        return result

    def remove(self, keys: Sequence[bytes]) -> int:
        """Invalidate entries by their keys; return how many there were. Raises the errors of the store."""
        return self._removed(self._store(), keys)

    def invalidate(self, keys: Sequence[str], tags: Sequence[str]) -> None:
        """Invalidate entries by their keys and by their tags. Raises the errors of the store."""
        if keys:
            self.remove([key.encode() for key in keys])
        if tags:
            self.renew_tags([tag.encode() for tag in tags])

    def renew_tags(self, tags: Sequence[bytes]) -> None:
        """Invalidate all entries with any of these tags. Raises the errors of the store."""
        self._heard(self._store().renew_tags(tags), Change("tags", tuple(tags)))

    def renew_epoch(self) -> None:
        """Invalidate all entries. Raises the errors of the store."""
        self._heard(self._store().renew_epoch(), Change("all"))

    def swept(self, pattern: bytes) -> None:
        """Drop from memory what a finished sweep of the store has removed."""
        self._memory.drop(Change("glob", (pattern,)))

    def _finished(self, store: CacheStore, raw: bytes, token: bytes, begun: Begun, entry: Entry) -> bool:
        """Store the entry that replaces another, unless a second process was writing too; then store nothing."""
        if begun.contended or not self._committed(store, raw, token, begun, entry):
            self._removed(store, (raw,))
            return False
        self._heard(store.announce((raw,)), Change("keys", (raw,)))
        return True

    def _removed(self, store: CacheStore, keys: Sequence[bytes]) -> int:
        removed, announced = store.remove(keys)
        self._heard(announced, Change("keys", tuple(keys)))
        return removed

    def _tried(self, ask: Callable[[CacheStore], R]) -> R | None:
        """Ask the store even if it was away a moment ago; None if it still is."""
        try:
            return ask(self._store())
        except (Unavailable, Unusable) as error:
            self._note(error)
            return None

    # Entries.

    def _read(self, store: CacheStore, raw: bytes, tags: Sequence[bytes]) -> Reading:
        """Return what the store has. Entries can have other tags than expected, whose versions are then read too."""
        (reading,) = store.read([raw], [tags])
        entry = decoded(reading.entry)
        if entry is not None and any(tag not in reading.versions.tags for tag, _ in entry.tags):
            (reading,) = store.read([raw], [[tag for tag, _ in entry.tags]])
        return reading

    def _found(self, raw: bytes, reading: Reading, codec: Codec) -> Found | None:
        """Return the entry if this process can use it: if it is signed where it must be, and has the right form."""
        entry = decoded(reading.entry)
        if entry is None:
            return None
        if codec.signed and not self.trusts(raw, entry):
            self._count("refused")
            shown = quoted(raw.decode(errors="backslashreplace"))
            self._log.warning("the entry %s has no valid signature; it is not used", shown)
            return None
        try:
            value = codec.decode(entry.payload, entry.binary)
        except ValueError:
            return None
        return Found(entry, value, entry.state(reading.versions, self._environment.clock()))

    def _entry(
        self, raw: bytes, payload: tuple[bytes, bool], versions: Versions, recipe: Recipe, *, negative: bool
    ) -> Entry:
        now = self._environment.clock()
        soft = now + (min(recipe.negative_ttl, recipe.ttl) if negative else recipe.ttl)
        entry = Entry(
            now,
            soft,
            soft + recipe.stale,
            versions.epoch or b"",
            tuple((tag, versions.tags[tag] or b"") for tag in recipe.tags),
            negative,
            payload[1],
            self._writer,
            payload[0],
        )
        if recipe.codec.signed:
            seal = self._environment.seal()
            entry = entry.signed(seal.secret, seal.context(raw))
        return entry

    def _remember(self, key: str, entry: Entry, value: Any, generation: int, codec: Codec) -> None:
        left = (entry.soft_at - self._environment.clock()) / 1_000_000
        tags = tuple(tag for tag, _ in entry.tags)
        self._memory.put(key, Held(value, self._monotonic() + left, tags, codec.share(value)), generation=generation)

    # The store, and what it says about the memory.

    def _asked(self, ask: Callable[[CacheStore], R]) -> R:
        """Ask the store. Raises _StoreAway if it fails, or has failed a moment ago."""
        if self._failing:
            with self._lock:
                now = self._monotonic()
                if now < self._retry_at:
                    raise _StoreAway
                self._retry_at = now + _RETRY_S  # the others do without it until this one has succeeded
        try:
            answer = ask(self._store())
        except (Unavailable, Unusable) as error:
            self._note(error)
            raise _StoreAway from error
        if self._failing:
            self._failing = False
            self._log.warning("the cache is available again")
        return answer

    def _note(self, error: Unavailable | Unusable) -> None:
        """Do without the store for a while."""
        self._count("failures")
        with self._lock:
            self._retry_at = self._monotonic() + _RETRY_S
            first, self._failing = not self._failing, True
        if first:
            self._log.warning("the cache is not available, values are loaded instead: %s", error.message)

    def _released(self, raw: bytes, token: bytes) -> None:
        self._tried(lambda store: store.release(raw, token))

    def _confirm(self) -> None:
        """Make sure that the entries in memory may be used. Raises _StoreAway."""
        if self._monotonic() < self._watch.confirmed_until:
            return
        if not self._listens:
            self._listens = True
            self._asked(lambda store: store.listen(self._heard))
        asked_at = self._monotonic()
        sequence = self._asked(lambda store: store.sequence())
        with self._lock:
            if self._watch.read(sequence, asked_at=asked_at) == "everything":
                self._memory.clear()
        if asked_at >= self._counted_at:
            self._counted_at = asked_at + _COUNT_S
            self._tried(self._flush)

    def _heard(self, announced: Announced | None, change: Change | None) -> None:
        """Drop from memory what was invalidated, here or by another process; everything if that is unknown."""
        with self._lock:
            if announced is None or change is None:
                self._watch.forget()
                self._memory.clear()
                return
            effect = self._watch.heard(*announced)
            if effect == "change":
                self._memory.drop(change)
            elif effect == "everything":
                self._memory.clear()

    # Counters.

    def close(self, store: Callable[[], CacheStore]) -> None:
        """Add the counters to those in the store, before it is closed."""
        if not self._failing and (self._counts or self.memory_hits):
            with suppress(Unavailable, Unusable):
                self._flush(store())

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + 1

    def _flush(self, store: CacheStore) -> None:
        with self._lock:
            counts, self._counts = self._counts, {}
            hits, self.memory_hits = self.memory_hits, 0
        if hits:
            counts["memory_hits"] = hits
        if counts:
            store.count(counts)


def _exchanged(value: Any, codec: Codec) -> tuple[tuple[bytes, bool], Any]:
    """Return the payload of a value, and the value as everybody gets it from the cache. Raises InvalidCacheEntry."""
    payload = codec.encode(value)
    return payload, codec.decode(*payload)
