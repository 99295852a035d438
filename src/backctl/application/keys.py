"""The use cases of the keyring."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from backctl.application.attribution import Attribution
from backctl.application.key_views import (
    DestroyedKey,
    DueView,
    Form,
    ImportedKey,
    KeyExport,
    KeyView,
    RotationView,
    Wrapping,
)
from backctl.application.views import Change
from backctl.domain.errors import InvalidInput, InvalidKey, KeyInUse, KeyTaken
from backctl.domain.events import (
    DomainEvent,
    KeyAdded,
    KeyDestroyed,
    KeyExported,
    KeyImported,
    KeyPromoted,
    KeyRetired,
    KeyringRewrapped,
)
from backctl.domain.key import is_kid
from backctl.domain.keyring import Key, Keyring, Purpose
from backctl.domain.quoting import quoted
from backctl.domain.values import Instant, Secret

if TYPE_CHECKING:
    from backctl.application.ports.environment import Clock
    from backctl.application.ports.security import ForeignKey, KeyExchange, KeyMaker, KeyringChange
    from backctl.application.transactions import Transactions

HandOver = Callable[[KeyExport, bool], AbstractContextManager[object]]
"""Hands an exported key over; the second argument is whether this is a dry run, which hands nothing over."""

ROTATING: tuple[Purpose, ...] = ("sign", "encrypt")
"""The default purposes of a rotation, without audit and index keys, which are looked up by more than their kid."""

_WAY_OUT: dict[Purpose, str] = {
    "encrypt": "run '{backctl} user mfa reencrypt' to move them to the primary key",
    "index": "replace the recovery codes of each account with '{backctl} user mfa recovery-codes'",
}


def _keep(export: KeyExport, is_dry_run: bool) -> AbstractContextManager[object]:
    """Hand nothing over: the caller gets the key as the result."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class KeyService:
    """Show and change keys. Durations are microseconds.

    Every change of the keyring is saved together with its events. Queries do not open the database.
    """

    keyring: Callable[[], Keyring]
    has_unfinished_change: Callable[[], bool]
    transactions: "Callable[[], Transactions]"
    new_key: "KeyMaker"
    exchange: "KeyExchange"
    clock: "Clock"

    # Queries.

    def all(self, purpose: Purpose | None = None) -> tuple[KeyView, ...]:
        """Return all keys, or those of a purpose, in the order in which they were added."""
        return tuple(KeyView.of(key) for key in self.keyring().keys if purpose in (None, key.purpose))

    def show(self, kid: str) -> KeyView:
        """Raises KeyNotFound."""
        return KeyView.of(self.keyring().get(kid))

    def jwks(self) -> dict[str, object]:
        """Return the JWK Set (RFC 7517) for verifiers: the public half of every signing key that still verifies.

        It contains no symmetric keys, because they have no public half.
        """
        serving = self.keyring().verifying("sign", self.clock())
        return {"keys": [key.public_document() for key in serving if not key.is_symmetric]}

    def due(self, purposes: Sequence[Purpose], *, older_than: int, overlap: int) -> tuple[DueView, ...]:
        """Return what `rotate` would do now; nothing if there is no installation yet."""
        ring, now = self.keyring(), self.clock()
        views = []
        for purpose in purposes if ring.keys else ():
            primary = ring.primary(purpose)
            step = ring.next_step(purpose, older_than=older_than, overlap=overlap, now=now)
            views.append(DueView(step is not None, purpose, primary.kid, primary.primary_since, step))
        return tuple(views)

    # Changes.

    def add(
        self,
        purpose: Purpose,
        *,
        alg: str | None = None,
        kid: str | None = None,
        by: Attribution,
        dry_run: bool = False,
    ) -> Change[KeyView]:
        """Create a key and publish it as standby. Raises InvalidKey, KeyTaken."""
        key = self.new_key(purpose, self.clock(), alg=alg, kid=_checked(kid))
        return self.transactions().change_keyring(partial(self.adding, key), by=by, dry_run=dry_run)

    def adding(self, key: Key, change: "KeyringChange") -> Change[KeyView]:
        """The step that `add` runs, with the new key."""
        after = change.ring.add(key)
        change.replace(after, *_events(change.ring, after))
        return Change(KeyView.of(after.get(key.kid)), changed=True)

    def promote(self, kid: str, *, overlap: int | None, by: Attribution, dry_run: bool = False) -> Change[KeyView]:
        """Make a standby key primary. The previous primary key retires; a signing key for `overlap` (None: no end).

        Raises KeyNotFound, KeyUnfit.
        """
        return self._one(kid, lambda ring, now: ring.promote(kid, now=now, overlap=overlap), by, dry_run)

    def retire(self, kid: str, *, overlap: int | None, by: Attribution, dry_run: bool = False) -> Change[KeyView]:
        """Let a key only verify or decrypt; a signing key for `overlap` (None: no end).

        Raises KeyNotFound, KeyInUse.
        """
        return self._one(kid, lambda ring, now: ring.retire(kid, now=now, overlap=overlap), by, dry_run)

    def destroy(self, kid: str, *, by: Attribution, dry_run: bool = False) -> Change[DestroyedKey]:
        """Destroy a key permanently. Does not check for data encrypted with it outside of backctl's tables.

        Raises KeyNotFound, and KeyInUse for a primary key or while one of backctl's tables refers to the key.
        """
        return self.transactions().change_keyring(partial(self.destroying, kid), by=by, dry_run=dry_run)

    def destroying(self, kid: str, change: "KeyringChange") -> Change[DestroyedKey]:
        """The step that `destroy` runs."""
        after = change.ring.destroy(kid, now=self.clock())
        if change.needs(kid):
            raise KeyInUse(
                f"rows in the database still use the key {quoted(kid)}",
                hint=_WAY_OUT.get(change.ring.get(kid).purpose, "keep the key as long as these rows exist"),
            )
        change.replace(after, *_events(change.ring, after))
        stone = after.tombstones[-1]
        return Change(DestroyedKey(stone.kid, stone.purpose, Instant.parse(stone.destroyed)), changed=True)

    def rotate(
        self,
        purposes: Sequence[Purpose],
        *,
        older_than: int,
        overlap: int,
        by: Attribution,
        dry_run: bool = False,
    ) -> Change[RotationView]:
        """Do the due step, if any, for each purpose; see `Keyring.rotate`.

        Does not open the database if nothing is due. If two rotations run at once, the second finds a new primary key
        and skips that purpose.
        """
        seen = self.keyring()
        now = self.clock()
        made: dict[Purpose, Key] = {}
        steps = 0
        for purpose in purposes if seen.keys else ():
            step = seen.next_step(purpose, older_than=older_than, overlap=overlap, now=now)
            steps += step is not None
            if step is not None and not seen.has_standby(purpose):  # before any lock: RSA takes a second
                made[purpose] = self.new_key(purpose, now, alg=seen.primary(purpose).alg)
        if seen.keys and not steps and not self.has_unfinished_change():
            return Change(_rotation(seen, seen), changed=False)

        def new_key(purpose: Purpose, alg: str) -> Key:
            ready = made.get(purpose)
            return ready if ready is not None and ready.alg == alg else self.new_key(purpose, self.clock(), alg=alg)

        rotation = partial(self.rotating, purposes, seen, older_than=older_than, overlap=overlap, new_key=new_key)
        return self.transactions().change_keyring(rotation, by=by, dry_run=dry_run)

    def rotating(
        self,
        purposes: Sequence[Purpose],
        seen: Keyring,
        change: "KeyringChange",
        *,
        older_than: int,
        overlap: int,
        new_key: Callable[[Purpose, str], Key],
    ) -> Change[RotationView]:
        """The step that `rotate` runs. `seen` is the keyring at the call; a purpose rotated since then is skipped."""
        before = after = change.ring
        for purpose in purposes:
            if seen.keys and before.primary(purpose).kid != seen.primary(purpose).kid:
                continue
            after = after.rotate(purpose, older_than=older_than, overlap=overlap, new_key=new_key, now=self.clock())
        if after != before:
            change.replace(after, *_events(before, after))
        return Change(_rotation(before, after), changed=after != before)

    def take_in(
        self,
        text: Secret,
        purpose: Purpose,
        *,
        alg: str | None = None,
        kid: str | None = None,
        by: Attribution,
        dry_run: bool = False,
    ) -> Change[ImportedKey]:
        """Import a key made elsewhere, a private JWK or PEM, and publish it as standby.

        It keeps its kid if that is valid and free; otherwise it gets a new one. Raises InvalidKey, KeyTaken.
        """
        foreign, named = self.exchange.read(text, purpose=purpose, alg=alg, now=self.clock()), _checked(kid)
        return self.transactions().change_keyring(
            partial(self.taking_in, foreign, purpose, named), by=by, dry_run=dry_run
        )

    def taking_in(
        self, foreign: "ForeignKey", purpose: Purpose, named: str | None, change: "KeyringChange"
    ) -> Change[ImportedKey]:
        """The step that `take_in` runs, with the imported key."""
        ring = change.ring
        for other in ring.keys:
            if other.material == foreign.key.material:
                raise KeyTaken(
                    f"the keyring already has this key, as {quoted(other.kid)}",
                    hint=f"see it with '{{backctl}} key show {other.kid}'",
                )
        if named is None and is_kid(foreign.kid) and not ring.is_taken(foreign.kid):
            named = foreign.kid
        after = ring.add(foreign.key if named is None else replace(foreign.key, kid=named))
        added = after.keys[-1]
        change.replace(after, KeyImported(added.kid, purpose, added.alg))
        renamed_from = foreign.kid if foreign.kid != added.kid else None
        return Change(ImportedKey(added.kid, purpose, added.state, added.alg, renamed_from), changed=True)

    def export_public(self, kid: str, form: Form) -> KeyExport:
        """Export the public half of a signing key. Raises KeyNotFound, and InvalidKey for a symmetric key."""
        key = self.keyring().get(kid)
        if key.is_symmetric:
            raise InvalidKey(
                f"the key {quoted(kid)} is symmetric and has no public half",
                hint="to export the secret key itself, use --private",
            )
        return self._exported(key, form, private=False)

    def export_private(
        self,
        kid: str,
        form: Form,
        *,
        by: Attribution,
        dry_run: bool = False,
        hand_over: HandOver = _keep,
    ) -> KeyExport:
        """Record the export of a private key and return the key. Raises KeyNotFound, InvalidKey.

        The event is committed inside the context that `hand_over` returns; the context must undo its work on an error.
        """
        from backctl.application.transactions import always

        step = partial(self.exporting, kid, form, hand_over)
        return self.transactions().change_keyring_any(step, by=by, dry_run=dry_run, commits=always)

    def exporting(
        self,
        kid: str,
        form: Form,
        hand_over: HandOver,
        change: "KeyringChange",
    ) -> KeyExport:
        """The step that `export_private` runs. Always commit it."""
        key = change.ring.get(kid)
        export = self._exported(key, form, private=True)
        change.enter(hand_over(export, change.is_dry_run))
        change.replace(change.ring, KeyExported(kid, key.purpose, form))
        return export

    def wrap(
        self,
        passphrase: Secret | None,
        *,
        rewrap: bool,
        by: Attribution,
        dry_run: bool = False,
    ) -> Change[Wrapping]:
        """Encrypt the stored keyring with a passphrase, or store it unencrypted for None.

        `rewrap` replaces the passphrase of a keyring that already has one. Raises InvalidInput for an empty passphrase.
        """
        if passphrase is not None and not passphrase.reveal():
            raise InvalidInput("the passphrase is empty")
        step = partial(self.wrapping, passphrase, rewrap=rewrap)
        return self.transactions().change_keyring(step, by=by, dry_run=dry_run)

    def wrapping(self, passphrase: Secret | None, change: "KeyringChange", *, rewrap: bool) -> Change[Wrapping]:
        """The step that `wrap` runs."""
        wanted = passphrase is not None
        changed = rewrap or change.is_wrapped != wanted
        if changed:
            change.rewrap(passphrase, KeyringRewrapped("keyring", wanted))
        return Change(Wrapping(wanted, len(change.ring.keys)), changed)

    # Helpers.

    def _one(
        self, kid: str, step: Callable[[Keyring, Instant], Keyring], by: Attribution, dry_run: bool
    ) -> Change[KeyView]:
        def turning(change: "KeyringChange") -> Change[KeyView]:
            before = change.ring
            after = step(before, self.clock())
            if after != before:
                change.replace(after, *_events(before, after))
            return Change(KeyView.of(after.get(kid)), changed=after != before)

        return self.transactions().change_keyring(turning, by=by, dry_run=dry_run)

    def _exported(self, key: Key, form: Form, *, private: bool) -> KeyExport:
        if form == "pem":
            return KeyExport(key.kid, form, private, self.exchange.pem(key, private=private))
        document = {**key.public_document(), **(dict(key.material) if private else {})}
        return KeyExport(key.kid, form, private, json.dumps(document))


def _checked(kid: str | None) -> str | None:
    """Return `kid` if it is valid or None. Raises InvalidKey."""
    if kid is None or is_kid(kid):
        return kid
    raise InvalidKey(f"{quoted(kid)} is not a valid kid", hint="use 1 to 64 ASCII letters, digits, '_' and '-'")


def _events(before: Keyring, after: Keyring) -> tuple[DomainEvent, ...]:
    """Return the events for the differences between two keyrings, so that every change has its event."""
    events: list[DomainEvent] = [
        KeyAdded(key.kid, key.purpose, key.alg) for key in after.keys if before.find(key.kid) is None
    ]
    events += (
        KeyPromoted(key.kid, key.purpose, before.primary(key.purpose).kid)
        for key in after.keys
        if key.state == "primary" and before.primary(key.purpose).kid != key.kid
    )
    events += (
        KeyRetired(key.kid, key.purpose, key.not_after)
        for key in after.keys
        if key.state == "retired" and key != before.find(key.kid)
    )
    gone = set(after.tombstones) - set(before.tombstones)
    return (*events, *(KeyDestroyed(stone.kid, stone.purpose) for stone in gone))


def _rotation(before: Keyring, after: Keyring) -> RotationView:
    events = _events(before, after)
    return RotationView(
        added_key_ids=tuple(event.subject for event in events if isinstance(event, KeyAdded)),
        promoted_key_ids=tuple(event.subject for event in events if isinstance(event, KeyPromoted)),
        retired_key_ids=tuple(event.subject for event in events if isinstance(event, KeyRetired)),
    )
