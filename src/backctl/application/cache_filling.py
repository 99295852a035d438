"""Locks entries, loads their values, and stores the values in the shared store and in memory."""

import logging
import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from backctl.application.cache_access import StoreAccess, StoreAway
from backctl.application.cache_envelope import Envelope, Filling
from backctl.application.cache_values import Payload, Recipe, checked_payload
from backctl.application.ports.cache import CacheStore, Held, Memory
from backctl.domain.cache_entry import Entry
from backctl.domain.errors import InvalidCacheEntry
from backctl.domain.quoting import quoted

_KEEP_US: Final = 60_000_000
"""How much longer the versions of its tags last than an entry."""


class Filler:
    """Fills entries. Works in any thread; call `start_over` in a forked child.

    `monotonic` returns seconds, `clock` microseconds since 1970. `lock_timeout` is in microseconds.
    """

    def __init__(
        self,
        access: StoreAccess,
        envelope: Envelope,
        memory: Memory,
        monotonic: Callable[[], float],
        clock: Callable[[], int],
        lock_timeout: int,
    ) -> None:
        self._access = access
        self._envelope = envelope
        self._memory = memory
        self._monotonic = monotonic
        self._clock = clock
        self._lock_timeout = lock_timeout
        self._log = logging.getLogger("backctl.cache")
        self.start_over()

    def start_over(self) -> None:
        self._own = threading.local()

    def begun(
        self, raw: bytes, recipe: Recipe, store: CacheStore, *, token: bytes | None = None, take_over: bool = False
    ) -> Filling:
        """Lock an entry with a new token, unless one is given, and read it. Raises the errors of the store."""
        token = token or new_token()
        hold, began_at = self._lock_timeout, self._clock()
        keep = recipe.ttl + recipe.stale + hold + _KEEP_US
        begun = store.begin(raw, token, recipe.tags, hold_us=hold, keep_us=keep, take_over=take_over)
        return Filling(raw, token, began_at, begun)

    def made(self, filling: Filling, payload: Payload, value: Any, recipe: Recipe, *, renewed: bool) -> Entry | None:
        """Return the entry of a loaded value; None if it cannot be cached: it is too large, or it is None.

        None is cached only with a negative TTL.
        """
        if value is None and not recipe.negative_ttl:
            return None
        try:
            payload = checked_payload(payload)
        except InvalidCacheEntry as error:
            shown = quoted(filling.key.decode(errors="backslashreplace"))
            self._log.warning("the entry %s is not cached: %s", shown, error.message)
            return None
        return self._envelope.made(filling, payload, recipe, negative=value is None, renewed=renewed)

    def store_loaded(
        self, key: str, filling: Filling, payload: Payload, value: Any, generation: int, recipe: Recipe
    ) -> None:
        """Store a loaded value unless it was invalidated meanwhile, cannot be cached, or the store is not available."""
        entry = self.made(filling, payload, value, recipe, renewed=False)
        if entry is None:
            self.released(filling)
            return
        with suppress(StoreAway):
            if self._access.ask(lambda store: self.completed(store, filling, entry)):
                self.remember(key, entry, value, generation, recipe, renew_at=entry.renew_at)

    def completed(self, store: CacheStore, filling: Filling, entry: Entry) -> bool:
        """Store an entry and unlock it. False if it was invalidated meanwhile, or has expired."""
        ttl_us = entry.hard_at - self._clock()
        if ttl_us <= 0:  # loading took longer than the value may be used
            store.release(filling.key, filling.token)
            return False
        return store.complete(filling.key, filling.token, filling.begun.fence, entry.encoded(), ttl_us=ttl_us)

    def released(self, filling: Filling) -> None:
        self._access.attempt(lambda store: store.release(filling.key, filling.token))

    def remember(self, key: str, entry: Entry, value: Any, generation: int, recipe: Recipe, *, renew_at: int) -> None:
        """Keep a value in memory. `renew_at` is in microseconds since 1970; 0: never."""
        if not self._memory.is_used:
            return
        # At most its TTL, even if the clock of the process that stored it is ahead.
        ttl = entry.soft_at - entry.created_at
        if recipe.codec.signed:
            ttl = min(ttl, recipe.ttl)
        now, age = self._monotonic(), max(0, self._clock() - entry.created_at)
        until = now + (ttl - age) / 1_000_000
        due_at = now + (renew_at - entry.created_at - age) / 1_000_000 if renew_at else math.inf
        tags = tuple(tag for tag, _ in entry.tags)
        share = recipe.codec.share(value)
        self._memory.put(key, Held(share(value), until, tags, share, due_at), generation=generation)

    def own_keys(self) -> set[str]:
        """Return the keys that this thread is loading or writing. What needs them meanwhile must not wait for them."""
        if not hasattr(self._own, "keys"):
            self._own.keys = set()
        found: set[str] = self._own.keys
        return found

    @contextmanager
    def owning(self, key: str) -> Iterator[None]:
        keys = self.own_keys()
        keys.add(key)
        try:
            yield
        finally:
            keys.discard(key)


def new_token(kind: bytes = b"f") -> bytes:
    """Return a token for a lock. Tokens of the kind `w` belong to processes that replace the value."""
    return kind + os.urandom(16)
