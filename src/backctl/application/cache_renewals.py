"""Refresh-ahead: renews entries in the background before their TTL ends, while reads still use the cached value.

In each process, at most one renewal per entry and `AT_ONCE` in total run at the same time. The lock of an entry decides
which process renews it.
"""

import contextvars
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

from backctl.application.cache_access import StoreAccess, StoreAway
from backctl.application.cache_coherence import Coherence
from backctl.application.cache_envelope import Envelope, Filling
from backctl.application.cache_filling import Filler
from backctl.application.cache_values import Recipe, exchanged
from backctl.application.ports.cache import CacheStore, Change, Memory
from backctl.domain.errors import InvalidCacheEntry, Unavailable, Unusable
from backctl.domain.quoting import quoted

AT_ONCE: Final = 8
_PAUSES_S: Final = (1.0, 60.0)
"""The first and the longest pause before an entry is renewed again, for example after its loader failed."""
_PAUSED: Final = 10_000
"""How many entries with a pause are remembered."""
_FORK_S: Final = 1.0
"""How long a fork waits for renewals that are running."""

Start = Callable[[Callable[[], None]], None]
"""Runs a function in the background. Raises RuntimeError if that is impossible."""


class _Pause(NamedTuple):
    """`until` is in seconds; `failed` is the length of the last pause after a failure, 0 if there was none."""

    until: float
    failed: float


class _Abandoned(Exception):
    """The cache was closed during the renewal."""


class _Renewal:
    """A renewal that is running. `lock` is held during calls of the store. `late_at` is in seconds."""

    __slots__ = ("filling", "is_abandoned", "late_at", "lock", "store", "thread")

    def __init__(self, store: CacheStore, late_at: float) -> None:
        self.store = store
        self.late_at = late_at
        self.lock = threading.Lock()
        self.is_abandoned = False
        self.filling: Filling | None = None
        self.thread = 0


class Renewals:
    """Renews entries in the background. Works in any thread; call `start_over` in a forked child.

    `start` runs a renewal; None to renew nothing. `monotonic` returns seconds, `clock` microseconds since 1970. Reads
    rely on a renewal for `patience` seconds.
    """

    def __init__(
        self,
        start: Start | None,
        access: StoreAccess,
        envelope: Envelope,
        filler: Filler,
        memory: Memory,
        coherence: Coherence,
        monotonic: Callable[[], float],
        clock: Callable[[], int],
        patience: float,
    ) -> None:
        self._start = start
        self._access = access
        self._envelope = envelope
        self._filler = filler
        self._memory = memory
        self._coherence = coherence
        self._monotonic = monotonic
        self._clock = clock
        self._patience = patience
        self._log = logging.getLogger("backctl.cache")
        self.start_over()

    def start_over(self) -> None:
        """Forget the renewals of the parent process; called again in a forked child."""
        self._changed = threading.Condition()
        self._running: dict[str, _Renewal] = {}
        self._pauses: OrderedDict[str, _Pause] = OrderedDict()
        self._forks = 0

    def are_for(self, raw: bytes, recipe: Recipe) -> bool:
        """Whether reads with this recipe renew an entry."""
        return self._start is not None and self._envelope.renews(raw, recipe)

    def must_wait(self, key: str, now: float) -> bool:
        """Whether no renewal of an entry can begin at the moment. `now` is in seconds."""
        if key in self._running or len(self._running) >= AT_ONCE:
            return True
        pause = self._pauses.get(key)
        return pause is not None and now < pause.until

    def cover(self, key: str) -> bool:
        """Whether an entry is being renewed, or will be after a pause. Reads then use it although it is stale."""
        renewal = self._running.get(key)
        if renewal is not None:
            return self._monotonic() < renewal.late_at  # later, its loader hangs, or it has lost its lock
        return key in self._pauses

    def settled(self, key: str) -> None:
        """End the pauses of an entry, because it was loaded."""
        if key in self._pauses:
            with self._changed:
                self._pauses.pop(key, None)

    def failed(self, key: str) -> bool:
        """Pause the renewals of an entry, because its loader failed, longer each time. True for the first failure."""
        with self._changed:
            last = self._pauses.get(key, _Pause(0, 0)).failed
            self._pause(key, min(2 * last, _PAUSES_S[1]) or _PAUSES_S[0], failed=True)
        return not last

    def wait(self, key: str) -> None:
        """Pause the renewals of an entry for a moment, because another process is loading it."""
        with self._changed:
            self._pause(key, _PAUSES_S[0], failed=False)

    def begin(self, key: str, raw: bytes, loader: Callable[[], Any], recipe: Recipe) -> None:
        """Renew an entry in the background, in the context variables of the caller, unless that has to wait.

        `recipe` must name all tags of the entry.
        """
        if self._start is None or self.must_wait(key, self._monotonic()):
            return
        try:
            renewal = _Renewal(self._access.store(), self._monotonic() + self._patience)
        except (Unavailable, Unusable):
            self.wait(key)
            return
        with self._changed:
            if self._forks or self.must_wait(key, self._monotonic()):
                return
            self._running[key] = renewal
        run = partial(self._run, key, renewal, partial(self._renewed, key, raw, loader, recipe, renewal))
        try:
            self._start(partial(contextvars.copy_context().run, run))
        except RuntimeError:  # the process has too many threads, or is ending
            self.wait(key)
            self._end(key, renewal)

    def close(self) -> None:
        """Store nothing from the renewals that are running. Does not wait for their loaders."""
        with self._changed:
            running, self._running = self._running, {}
        for renewal in running.values():
            with renewal.lock:
                renewal.is_abandoned = True
                filling = renewal.filling
                if filling is not None and not self._access.is_failing:
                    with suppress(Unavailable, Unusable):  # otherwise, the lock ends by itself
                        renewal.store.release(filling.key, filling.token)

    def before_fork(self) -> None:
        """Begin no renewals until `after_fork`, and wait a moment for those that are running.

        A child cannot use a database if a connection to it was in use during the fork.
        """
        with self._changed:
            self._forks += 1
            me = threading.get_ident()
            self._changed.wait_for(lambda: all(one.thread == me for one in self._running.values()), _FORK_S)

    def after_fork(self) -> None:
        with self._changed:
            self._forks = max(0, self._forks - 1)

    def _pause(self, key: str, seconds: float, *, failed: bool) -> None:
        last = self._pauses.pop(key, _Pause(0, 0)).failed
        self._pauses[key] = _Pause(self._monotonic() + seconds, seconds if failed else last)
        if len(self._pauses) > _PAUSED:
            self._pauses.popitem(last=False)

    def _end(self, key: str, renewal: _Renewal) -> None:
        with self._changed:
            if self._running.get(key) is renewal:
                del self._running[key]
                self._changed.notify_all()

    def _run(self, key: str, renewal: _Renewal, renew: Callable[[], bool]) -> None:
        renewal.thread = threading.get_ident()
        try:
            if renew():
                self.settled(key)
            else:
                self.wait(key)
        except StoreAway:
            self.wait(key)
        except _Abandoned:
            pass
        except Exception as error:
            if not renewal.is_abandoned:
                self._access.count("renewal_failures")
                if self.failed(key):
                    failure = "the entry %s is not renewed, because loading its value failed with %s"
                    self._log.warning(failure, quoted(key), type(error).__name__)
        finally:
            self._end(key, renewal)

    def _renewed(self, key: str, raw: bytes, loader: Callable[[], Any], recipe: Recipe, renewal: _Renewal) -> bool:
        """Renew an entry. False if another process is loading it, or it was invalidated meanwhile.

        Raises the errors of the loader, StoreAway and _Abandoned.
        """
        generation = self._memory.generation
        if recipe.codec.signed:
            self._envelope.require_seal()
        filling = self._ask(renewal, partial(self._locked, renewal, raw, recipe))
        if not filling.begun.held:
            return False
        found = self._envelope.opened(raw, filling.begun.reading, recipe)
        if found is None or found.state not in ("fresh", "stale"):  # invalidated meanwhile
            self._release(renewal, filling)
            return True
        if found.state == "fresh" and not 0 < found.renew_at <= self._clock():  # renewed meanwhile
            self._release(renewal, filling)
            self._filler.remember(key, found.entry, found.value, generation, recipe, renew_at=found.renew_at)
            return True
        self._access.count("renewals")
        try:
            with self._filler.owning(key):
                loaded = loader()
        except BaseException:
            self._release(renewal, filling)
            raise
        entry = value = None
        with suppress(InvalidCacheEntry):
            payload, value = exchanged(loaded, recipe.codec)
            entry = self._filler.made(filling, payload, value, recipe, renewed=True)
        if entry is None:  # the cached value is outdated, and this one cannot be cached
            self._ask(renewal, lambda store: self._removed(store, raw))
            return True
        if not self._ask(renewal, lambda store: self._filler.completed(store, filling, entry)):
            return False
        self._filler.remember(key, entry, value, generation, recipe, renew_at=entry.renew_at)
        return True

    def _locked(self, renewal: _Renewal, raw: bytes, recipe: Recipe, store: CacheStore) -> Filling:
        filling = self._filler.begun(raw, recipe, store)
        if filling.begun.held:
            renewal.filling = filling
        return filling

    def _release(self, renewal: _Renewal, filling: Filling) -> None:
        with suppress(StoreAway, _Abandoned):
            self._ask(renewal, lambda store: store.release(filling.key, filling.token))

    def _removed(self, store: CacheStore, raw: bytes) -> None:
        self._coherence.invalidated(lambda: store.remove((raw,)), Change("keys", (raw,)))

    def _ask(self, renewal: _Renewal, ask: Callable[[CacheStore], Any]) -> Any:
        """Call the store. Raises StoreAway, and _Abandoned without calling it once the cache is closed."""

        def unless_abandoned(store: CacheStore) -> Any:
            with renewal.lock:
                if renewal.is_abandoned:
                    raise _Abandoned
                return ask(store)

        return self._access.ask(unless_abandoned, renewal.store)
