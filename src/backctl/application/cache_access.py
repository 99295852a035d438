"""Calls the shared store of the cache, and bypasses it for a while after it fails."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from backctl.application.ports.cache import CacheStore
from backctl.domain.errors import Unavailable, Unusable

R = TypeVar("R")

_RETRY_S: Final = 2.0
"""How long to bypass the store after it failed; then one thread tries again."""
_FLUSH_S: Final = 10.0
"""How often the counters are added to those in the store."""


class StoreAway(Exception):
    """The store is not available."""


class StoreAccess:
    """Calls the store and counts for `CacheStats`. Works in any thread. `monotonic` returns seconds."""

    def __init__(self, store: Callable[[], CacheStore], monotonic: Callable[[], float]) -> None:
        self.store = store
        self._monotonic = monotonic
        self._log = logging.getLogger("backctl.cache")
        self.is_failing = False
        self._retry_at = 0.0
        self._flushed_at = 0.0
        self.start_over()

    def start_over(self) -> None:
        """Reset the counters in a forked child; its parent adds them to the store."""
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self.memory_hits = 0

    def ask(self, ask: Callable[[CacheStore], R], store: CacheStore | None = None) -> R:
        """Call the store, or the given one. Raises StoreAway if it fails or has just failed."""
        if self.is_failing:
            with self._lock:
                now = self._monotonic()
                if now < self._retry_at:
                    raise StoreAway
                self._retry_at = now + _RETRY_S  # other threads bypass it until this one has succeeded
        try:
            answer = ask(self.store() if store is None else store)
        except (Unavailable, Unusable) as error:
            self._note(error)
            raise StoreAway from error
        if self.is_failing:
            self.is_failing = False
            self._log.warning("the cache is available again")
        return answer

    def attempt(self, ask: Callable[[CacheStore], R]) -> R | None:
        """Call the store even if it has just failed; None if it fails again."""
        try:
            return ask(self.store())
        except (Unavailable, Unusable) as error:
            self._note(error)
            return None

    def count(self, name: str) -> None:
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + 1

    def flush(self) -> None:
        """Add the counters to those in the store, every ten seconds, unless it is failing."""
        with self._lock:
            now = self._monotonic()
            if self.is_failing or now < self._flushed_at + _FLUSH_S:
                return
            self._flushed_at = now
        self._flush(self.store)

    def close(self, store: Callable[[], CacheStore]) -> None:
        """Add the counters to those in the store before it is closed, unless it is failing."""
        if not self.is_failing:
            self._flush(store)

    def _flush(self, store: Callable[[], CacheStore]) -> None:
        with self._lock:
            counts, self._counts = self._counts, {}
            hits, self.memory_hits = self.memory_hits, 0
        if hits:
            counts["memory_hits"] = hits
        if counts:
            with suppress(Unavailable, Unusable):  # values can be cached without counting them
                store().count(counts)

    def _note(self, error: Unavailable | Unusable) -> None:
        """Count the failure and bypass the store for a while."""
        self.count("failures")
        with self._lock:
            self._retry_at = self._monotonic() + _RETRY_S
            first, self.is_failing = not self.is_failing, True
        if first:
            self._log.warning("the cache is not available; values are loaded instead: %s", error.message)
