"""Encodes values as entries and decodes them, including signatures."""

import logging
import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from backctl.application.cache_access import StoreAccess, StoreAway
from backctl.application.cache_values import Payload, Recipe, RefreshAfter
from backctl.application.ports.cache import Begun, CacheStore, Reading
from backctl.domain.cache_entry import Entry, State, Versions, decoded
from backctl.domain.errors import Unavailable, Unusable
from backctl.domain.quoting import quoted

_RETRY_US: Final = 2_000_000
"""How long to do without a key before looking for it again."""


class Seal(NamedTuple):
    """The key that signs the entries of reserved namespaces, and the id of the installation."""

    secret: bytes
    installation: str

    def context(self, key: bytes) -> bytes:
        return self.installation.encode() + b"\0" + key


class Filling(NamedTuple):
    """An entry that this process is filling. `began_at` is the time before loading began, in microseconds."""

    key: bytes
    token: bytes
    began_at: int
    begun: Begun


class Found(NamedTuple):
    """An entry that this process can read, its value, and its state."""

    entry: Entry
    value: Any
    state: State
    renew_at: int
    """When a read renews it, in microseconds; 0: never."""

    @property
    def tags(self) -> tuple[bytes, ...]:
        return tuple(tag for tag, _ in self.entry.tags)


class Envelope:
    """Makes and reads entries. `clock` returns microseconds since 1970."""

    def __init__(
        self, seal: Callable[[], Seal], clock: Callable[[], int], access: StoreAccess, refresh_after: RefreshAfter
    ) -> None:
        self._refresh_after = refresh_after
        self._seal = seal
        self._current: Seal | None = None
        self._has_seal = True
        self._look_again_at = 0
        self._clock = clock
        self._access = access
        self._log = logging.getLogger("backctl.cache")
        self.start_over()

    def start_over(self) -> None:
        """Set the writer name to this process; called again in a forked child."""
        self._writer = f"{os.uname().nodename}:{os.getpid()}"[:200]

    def require_seal(self) -> None:
        """Raise StoreAway without a key to sign with: entries that need a signature are then not used."""
        now = self._clock()
        if not self._has_seal and now < self._look_again_at <= now + _RETRY_US:  # later: the clock was set back
            raise StoreAway
        try:
            self.read_seal()
        except (Unavailable, Unusable) as error:
            if self._has_seal:
                self._log.warning("accounts and revocations are not cached: %s", error.message)
            self._has_seal, self._look_again_at = False, now + _RETRY_US
            raise StoreAway from error
        self._has_seal = True

    def read_seal(self) -> None:
        """Read the key that entries are signed with from now on. Raises the errors of reading it."""
        self._current = self._seal()

    def is_trusted(self, key: bytes, entry: Entry) -> bool:
        """Whether an entry of a reserved namespace was stored by a process with the same keyring."""
        seal = self._current or self._seal()
        return entry.is_signed(seal.secret, seal.context(key))

    def read(self, store: CacheStore, key: bytes, recipe: Recipe, *, again: bool = False) -> Found | None:
        """Read an entry from the store; see `opened`."""
        (reading,) = store.read([key], [recipe.tags])
        entry = decoded(reading.entry)
        if entry is not None and any(tag not in reading.versions.tags for tag, _ in entry.tags):
            (reading,) = store.read([key], [[tag for tag, _ in entry.tags]])
            entry = decoded(reading.entry)
        return self._opened(key, entry, reading.versions, recipe, again=again)

    def opened(self, key: bytes, reading: Reading, recipe: Recipe) -> Found | None:
        """Return the entry if it is well-formed, has the tags of the recipe, and has a valid signature if it needs one.

        The reading must include the versions of all its tags. Does not report wrong signatures again.
        """
        return self._opened(key, decoded(reading.entry), reading.versions, recipe, again=True)

    def _opened(
        self, key: bytes, entry: Entry | None, versions: Versions, recipe: Recipe, *, again: bool
    ) -> Found | None:
        if entry is None:
            return None
        if recipe.codec.signed and not self.is_trusted(key, entry):
            if not again:
                self._access.count("refused")
                shown = quoted(key.decode(errors="backslashreplace"))
                self._log.warning("the entry %s is not used: it has no valid signature", shown)
            return None
        if not {tag for tag, _ in entry.tags}.issuperset(recipe.tags):
            return None
        try:
            value = recipe.codec.decode(entry.payload, entry.binary)
        except ValueError:
            return None
        now = self._clock()
        state = entry.state(versions, now)
        if recipe.codec.signed and state in ("fresh", "stale"):
            state = _bounded(state, now - entry.created_at, recipe)
        return Found(entry, value, state, self._renew_at(key, entry, recipe))

    def renews(self, key: bytes, recipe: Recipe) -> bool:
        """Whether reads with this recipe renew the entry."""
        return self._refresh_after.of(key, recipe) > 0

    def _renew_at(self, key: bytes, entry: Entry, recipe: Recipe) -> int:
        """Return when a read with this recipe renews an entry; 0: never."""
        part = self._refresh_after.of(key, recipe)
        if not part or not entry.renew_at:
            return 0
        if recipe.codec.signed:  # the TTL of this reader may be shorter
            return min(entry.renew_at, entry.created_at + round(part * recipe.ttl))
        return entry.renew_at

    def made(
        self, filling: Filling, payload: Payload, recipe: Recipe, *, negative: bool, renewed: bool = False
    ) -> Entry:
        """Return the entry for a payload. Its TTL starts before the value was loaded."""
        ttl = min(recipe.negative_ttl, recipe.ttl) if negative else recipe.ttl
        part = self._refresh_after.of(filling.key, recipe)
        soft_at = filling.began_at + ttl
        versions = filling.begun.reading.versions
        entry = Entry(
            filling.began_at,
            soft_at,
            soft_at + recipe.stale,
            versions.epoch or b"",
            tuple((tag, versions.tags[tag] or b"") for tag in recipe.tags),
            negative,
            payload[1],
            self._writer,
            payload[0],
            renew_at=filling.began_at + round(part * ttl) if part else 0,
            renewed=renewed,
        )
        if recipe.codec.signed:
            seal = self._current or self._seal()
            entry = entry.signed(seal.secret, seal.context(filling.key))
        return entry


def _bounded(state: State, age: int, recipe: Recipe) -> State:
    """Return the state of an entry for a reader whose own lifetimes may be shorter than those of the writer."""
    if age >= recipe.ttl + recipe.stale:
        return "expired"
    return "stale" if age >= recipe.ttl else state
