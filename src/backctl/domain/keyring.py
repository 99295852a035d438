"""The keys of an installation: which key is in use for each purpose, and how keys are replaced.

A keyring is immutable; every change returns a new one. It is stored as a private JWK Set (RFC 7517) with a checksum
over the RFC 8785 form of the rest. This module defines that document; the key file defines how it is stored.

An unknown member of the document, a key or a tombstone makes the keyring unreadable: a newer version wrote it, and the
next change would drop it. New members, purposes and kinds therefore need no new format number; it changes only when an
existing member changes its meaning.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self

from backctl.domain.canonical_json import canonical
from backctl.domain.errors import InvalidKey, KeyInUse, KeyNotFound, KeyringDamaged, KeyTaken, KeyUnfit
from backctl.domain.key import PURPOSES, STATES, Key, KeyState, Purpose, is_kid, is_moment, read_key
from backctl.domain.quoting import quoted
from backctl.domain.values import SKEW, Instant

__all__ = ["PURPOSES", "STATES", "Key", "KeyState", "Keyring", "Purpose", "Tombstone"]

NextStep = Literal["promote", "prepare"]
NewKey = Callable[[Purpose, str], Key]
"""Creates a key with a purpose and an algorithm."""

_FORMAT = 1
_MEMBERS = {"format", "keys", "tombstones"}


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The record of a destroyed key, so that its kid is never reused."""

    kid: str
    purpose: Purpose
    destroyed: str

    def document(self) -> dict[str, object]:
        return {"kid": self.kid, "purpose": self.purpose, "destroyed": self.destroyed}


@dataclass(frozen=True, slots=True)
class Keyring:
    """All keys of an installation; each purpose has exactly one primary key."""

    keys: tuple[Key, ...]
    tombstones: tuple[Tombstone, ...] = ()

    # Queries.

    def primary(self, purpose: Purpose) -> Key:
        """Return the primary key of a purpose. Raises KeyNotFound if the keyring is empty."""
        for key in self.keys:
            if key.purpose == purpose and key.state == "primary":
                return key
        raise KeyNotFound(
            f"there is no key of purpose {purpose} yet", hint="run '{backctl} init' to create one for each purpose"
        )

    def find(self, kid: str) -> Key | None:
        return next((key for key in self.keys if key.kid == kid), None)

    def get(self, kid: str) -> Key:
        """Return the key with this kid. Raises KeyNotFound, with the time if the key was destroyed."""
        if key := self.find(kid):
            return key
        for stone in self.tombstones:
            if stone.kid == kid:
                raise KeyNotFound(
                    f"the key {quoted(kid)} was destroyed at {stone.destroyed}", hint="restore it from a backup"
                )
        raise KeyNotFound(f"there is no key {quoted(kid)}", hint="run '{backctl} key list' to see all keys")

    def verifying(self, purpose: Purpose, now: Instant) -> tuple[Key, ...]:
        """Return the keys that verify or decrypt: the primary key first, then standby, then retired keys.

        Standby keys are included, because another machine may already use one. Keys that have ended are not.
        """
        serving = [key for key in self.keys if key.purpose == purpose and not key.has_ended(now)]
        return tuple(sorted(serving, key=lambda key: ("primary", "standby", "retired").index(key.state)))

    def secrets(self, purpose: Purpose) -> dict[str, bytes]:
        """Return kid → raw bytes of every symmetric key of a purpose, in any state."""
        return {key.kid: key.secret_bytes() for key in self.keys if key.purpose == purpose and key.is_symmetric}

    def has_standby(self, purpose: Purpose) -> bool:
        """Whether the purpose has a standby key."""
        return self._successor(purpose) is not None

    def is_taken(self, kid: str) -> bool:
        """Whether a key has this kid, or a destroyed key had it."""
        return self.find(kid) is not None or any(stone.kid == kid for stone in self.tombstones)

    def kids(self) -> tuple[str, ...]:
        return tuple(key.kid for key in self.keys)

    # Changes. `now` is the time of the change, durations are microseconds.

    def add(self, key: Key) -> Self:
        """Add a key as standby. Raises KeyTaken for a kid that is or was in use."""
        if self.find(key.kid) is not None:
            raise KeyTaken(f"the key {quoted(key.kid)} already exists", hint="choose another kid")
        if self.is_taken(key.kid):
            raise KeyTaken(f"the kid {quoted(key.kid)} belonged to a key that was destroyed", hint="choose another kid")
        return replace(self, keys=(*self.keys, key.as_standby()))

    def promote(self, kid: str, *, now: Instant, overlap: int | None = None) -> Self:
        """Make a standby key primary and retire the current primary key of its purpose, with this `overlap`.

        Returns the same keyring if the key is already primary. Raises KeyNotFound, and KeyUnfit for a retired key.
        """
        key = self.get(kid)
        if key.state == "primary":
            return self
        if key.state == "retired":
            raise KeyUnfit(
                f"the key {quoted(kid)} is retired and cannot be promoted", hint="add a new key and promote it"
            )
        old = self.primary(key.purpose).as_retired(now, overlap)
        return self._with(old)._with(key.as_primary(now))

    def retire(self, kid: str, *, now: Instant, overlap: int | None = None) -> Self:
        """Let a key only verify or decrypt; a signing key does so for `overlap` (None: no end).

        The end of a retired signing key can only move nearer. Returns the same keyring if nothing changes. Raises
        KeyNotFound, and KeyInUse for a primary key.
        """
        key = self.get(kid)
        if key.state == "primary":
            raise KeyInUse(
                f"the key {quoted(kid)} is the primary key of purpose {key.purpose}",
                hint=f"promote another key: '{{backctl}} key rotate --purpose {key.purpose} --if-older-than 0d'",
            )
        retired = key.as_retired(now, overlap)
        return self if retired == key else self._with(retired)

    def destroy(self, kid: str, *, now: Instant) -> Self:
        """Remove a key permanently; its kid stays taken. Does not check whether data still needs the key.

        Raises KeyNotFound, and KeyInUse for a primary key and for a retired audit key, whose events could no longer be
        verified.
        """
        key = self.get(kid)
        if key.state == "primary":
            raise KeyInUse(
                f"the key {quoted(kid)} is the primary key of purpose {key.purpose}",
                hint="promote another key first, and destroy this one when nothing needs it",
            )
        if key.purpose == "audit" and key.state == "retired":
            raise KeyInUse(
                f"the key {quoted(kid)} authenticates events in the log", hint="keep audit keys as long as the log"
            )
        left = tuple(other for other in self.keys if other.kid != kid)
        return replace(self, keys=left, tombstones=(*self.tombstones, Tombstone(kid, key.purpose, now.isoformat())))

    def due(self, purpose: Purpose, older_than: int, now: Instant) -> bool:
        """Whether the primary key has been primary for `older_than` or longer.

        A key from the future is due, because its age is unknown: a clock was ahead when it was made. A key that is at
        most `SKEW` ahead was just made on a machine whose clock differs, so it is new.
        """
        age = now - self.primary(purpose).primary_since
        return age >= older_than or age < -SKEW

    def next_step(self, purpose: Purpose, *, older_than: int, overlap: int, now: Instant) -> NextStep | None:
        """Return what `rotate` would do now; None for nothing."""
        if self.due(purpose, older_than, now):
            return "promote"
        if self._successor(purpose) is None and self.due(purpose, older_than - overlap, now):
            return "prepare"
        return None

    def rotate(self, purpose: Purpose, *, older_than: int, overlap: int, new_key: NewKey, now: Instant) -> Self:
        """Do the next step of a rotation, if one is due. Call it regularly, for example from cron.

        - `overlap` before the primary key is `older_than` old, a successor of the same kind is created as standby, so
          that verifiers and other machines can learn of it in time.
        - Once the primary key is `older_than` old, the oldest standby key becomes primary. If there is none, because
          `rotate` was not called in time or `older_than` is too short, a new key becomes primary at once.
        - The old key retires. A signing key verifies for `overlap` more and then ends without another step; other keys
          have no end, because data made with them lasts.

        Returns the same keyring if nothing is due. Right after a step nothing is due, unless `older_than` is 0.
        """
        step = self.next_step(purpose, older_than=older_than, overlap=overlap, now=now)
        if step is None:
            return self
        ring, successor = self, self._successor(purpose)
        if successor is None:
            successor = new_key(purpose, self.primary(purpose).alg)
            ring = ring.add(successor)
        return ring if step == "prepare" else ring.promote(successor.kid, now=now, overlap=overlap)

    def _successor(self, purpose: Purpose) -> Key | None:
        standby = [key for key in self.keys if key.purpose == purpose and key.state == "standby"]
        return min(standby, key=lambda key: Instant.parse(key.created), default=None)

    def _with(self, changed: Key) -> Self:
        return replace(self, keys=tuple(changed if key.kid == changed.kid else key for key in self.keys))

    # The document.

    def document(self) -> dict[str, object]:
        """Return the whole keyring as stored, including the checksum. Never log it."""
        body: dict[str, object] = {
            "format": _FORMAT,
            "keys": [key.document() for key in self.keys],
            "tombstones": [stone.document() for stone in self.tombstones],
        }
        return {**body, "checksum": _checksum(body)}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Read a keyring written by `document`. Raises KeyringDamaged with the cause but never a key."""
        if not isinstance(document, dict) or not isinstance(document.get("checksum"), str):
            raise _damaged("it is not a keyring")
        body = {name: value for name, value in document.items() if name != "checksum"}
        try:
            checksum = _checksum(body)
        except (ValueError, RecursionError):
            raise _damaged("it contains an invalid value") from None
        if not hmac.compare_digest(checksum.encode(), document["checksum"].encode("utf-8", "replace")):
            raise _damaged("its checksum does not match")
        if type(version := body.get("format")) is not int or version != _FORMAT:  # True == 1
            raise _damaged(f"its format is not {_FORMAT}", hint=_NEWER)
        if unknown := sorted(body.keys() - _MEMBERS):
            raise _damaged(f"it has an unknown member {quoted(unknown[0])}", hint=_NEWER)
        entries, stones = body.get("keys"), body.get("tombstones")
        if not isinstance(entries, list) or not isinstance(stones, list):
            raise _damaged("its list of keys or of tombstones is missing")
        try:
            ring = cls(tuple(map(read_key, entries)), tuple(map(_read_tombstone, stones)))
        except InvalidKey as error:
            raise _damaged(error.message, hint=error.hint or _RESTORE) from None
        kids = [*ring.kids(), *(stone.kid for stone in ring.tombstones)]
        if len(set(kids)) != len(kids):
            raise _damaged("two keys share a kid")
        for purpose in PURPOSES:
            primaries = sum(key.purpose == purpose and key.state == "primary" for key in ring.keys)
            if primaries != 1:
                raise _damaged(f"it has {primaries} primary keys of purpose {quoted(purpose)}, not one")
        return ring


_RESTORE = "restore keyring.json from a backup"
_NEWER = "upgrade backctl: the keyring may come from a newer version"


def _damaged(why: str, *, hint: str = _RESTORE) -> KeyringDamaged:
    return KeyringDamaged(f"the keyring is damaged: {why}", hint=hint)


def _checksum(body: Mapping[str, object]) -> str:
    return hashlib.sha256(canonical(dict(body))).hexdigest()


def _read_tombstone(entry: object) -> Tombstone:
    if not isinstance(entry, dict) or entry.keys() != {"kid", "purpose", "destroyed"}:
        raise InvalidKey("a tombstone does not have exactly the members kid, purpose and destroyed", hint=_NEWER)
    kid, purpose, destroyed = entry["kid"], entry["purpose"], entry["destroyed"]
    if not is_kid(kid) or purpose not in PURPOSES or not is_moment(destroyed):
        raise InvalidKey("a tombstone has an invalid kid, purpose or date", hint=_NEWER)
    return Tombstone(kid, purpose, destroyed)
