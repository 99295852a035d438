"""Keeps what a process has in its memory in step with the shared store of the cache."""

import threading
from collections.abc import Callable

from backctl.application.cache_access import StoreAccess, StoreAway
from backctl.application.ports.cache import Announced, CacheStore, Change, Memory
from backctl.domain.cache_sequence import SequenceWatch


class Coherence:
    """Drops from memory what any process invalidates. Works in any thread.

    `monotonic` returns seconds. Entries in memory may be used for at most `max_staleness` seconds without checking.
    """

    def __init__(
        self, access: StoreAccess, memory: Memory, monotonic: Callable[[], float], max_staleness: float
    ) -> None:
        self._access = access
        self._memory = memory
        self._monotonic = monotonic
        self._watch = SequenceWatch(max_staleness)
        self.start_over()

    def start_over(self) -> None:
        """Check again in a forked child: a thread of the parent may have been about to drop an entry."""
        self._lock = threading.Lock()
        self._confirming = threading.Lock()
        self._listening: CacheStore | None = None
        self._watch.forget()

    @property
    def confirmed_until(self) -> float:
        """Until when the entries in memory may be used."""
        return self._watch.confirmed_until

    def confirm(self) -> None:
        """Check for invalidations, so that the entries in memory may be used. Raises StoreAway."""
        if self._monotonic() < self._watch.confirmed_until:
            return
        # One thread asks on behalf of all. While the store is failing, the others do not wait for it.
        if not self._confirming.acquire(blocking=not self._access.is_failing):
            raise StoreAway
        try:
            asked_at = self._monotonic()
            if asked_at < self._watch.confirmed_until:
                return
            sequence = self._access.ask(self._listened_sequence)
            with self._lock:
                if self._watch.read(sequence, asked_at=asked_at) == "everything":
                    self._memory.clear()
        finally:
            self._confirming.release()

    def invalidated(self, invalidate: Callable[[], tuple[int, Announced]], change: Change) -> int:
        """Invalidate in the store and in memory; return how many there were. Raises the errors of the store.

        The memory drops the entries even if the store fails.
        """
        try:
            removed, announced = invalidate()
        except BaseException:
            self._memory.drop(change)
            raise
        self.heard(announced, change)
        return removed

    def heard(self, announced: Announced | None, change: Change | None) -> None:
        """Drop from memory what this or another process invalidated; everything if a message may have been missed."""
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

    def _listened_sequence(self, store: CacheStore) -> bytes:
        if self._listening is not store:  # the first use, or another store since the backend was closed
            store.listen(self.heard)
            self._listening = store
        return store.sequence()
