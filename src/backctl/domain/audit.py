"""The hash chain of recorded events: nobody can change, add or remove one unnoticed without the audit key.

    data_digest = SHA-256(salt ‖ data)
    mac         = HMAC-SHA256(audit key, previous mac ‖ RFC 8785 of every column but data, salt and mac)
    the first previous mac = SHA-256("backctl-chain-1" ‖ installation_id)

The chain contains a salted digest of the data, so personal data can be erased without breaking the chain. Removing the
newest rows and changing the stored head to match is not detected.

After the keyring was lost, a new segment of the chain begins with KeyringReplaced, under a new key. Nobody can verify
the events before it any more, except the last one: the new segment depends on its MAC.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import NamedTuple

from backctl.domain.canonical_json import canonical_text
from backctl.domain.events import KeyringReplaced
from backctl.domain.quoting import quoted

SALT_BYTES = 16
MAC_BYTES = 32


class RecordedEvent(NamedTuple):
    """One row of the log. Digests and MACs are raw bytes, times are in µs, `data` and `salt` are None once erased."""

    seq: int
    id: str
    occurred_at: int
    type: str
    subject: str
    actor: str
    reason: str | None
    trace_id: str | None
    audit_kid: str
    data: str | None
    salt: bytes | None
    data_digest: bytes
    mac: bytes


class Head(NamedTuple):
    """The end of the chain: the last sequence number and the last MAC."""

    seq: int
    mac: bytes


@dataclass(frozen=True, slots=True)
class ChainReport:
    """The result of `verify`: the number of valid rows, how many of them are erased, and the first invalid row.

    `unverified` is the number of other rows before a KeyringReplaced, whose keys were lost.
    """

    events: int
    erased: int
    broken_seq: int | None = None
    reason: str | None = None
    unverified: int = 0

    @property
    def intact(self) -> bool:
        return self.reason is None


def genesis(installation_id: str) -> Head:
    return Head(0, hashlib.sha256(b"backctl-chain-1" + installation_id.encode()).digest())


def data_digest(salt: bytes, data: str) -> bytes:
    return hashlib.sha256(salt + data.encode()).digest()


def link(key: bytes, previous: bytes, row: RecordedEvent) -> bytes:
    """Return the MAC that links `row` to the previous one.

    Raises ValueError or TypeError if a column has no canonical form.
    """
    # The object with these members in canonical form. Their order is fixed, so only the values are encoded. Most of
    # them are strings; anything else in their place is an error.
    text = encode_basestring
    columns = (
        f'{{"actor":{text(row.actor)},"audit_kid":{text(row.audit_kid)},'
        f'"data_digest":"{row.data_digest.hex()}","id":{text(row.id)},'
        f'"occurred_at":{canonical_text(row.occurred_at)},"reason":{canonical_text(row.reason)},'
        f'"seq":{canonical_text(row.seq)},"subject":{text(row.subject)},'
        f'"trace_id":{canonical_text(row.trace_id)},"type":{text(row.type)}}}'
    )
    return hmac.digest(key, previous + columns.encode(), "sha256")


def mac_digest(mac: bytes) -> str:
    """Return the digest by which KeyringReplaced names the last MAC of the old segment."""
    return hashlib.sha256(mac).hexdigest()


def verify(rows: Iterable[RecordedEvent], keys: Mapping[str, bytes], installation_id: str, head: Head) -> ChainReport:
    """Verify the whole chain; stop at the first invalid row.

    Events under missing keys are valid only if a valid KeyringReplaced follows them; see `ChainReport.unverified`.
    """
    valid = erased = unverified = 0
    last = genesis(installation_id)
    lost: _LostEvents | None = None
    for row in rows:
        key = keys.get(row.audit_kid)
        if key is None:
            lost = lost or _LostEvents(last, row.audit_kid)
            lost.add(row)
            last = lost.last
            continue
        broken = _flaw(row, last, key)
        if lost is not None:
            broken = lost.flaw(row, broken)
            unverified += lost.count if broken is None else 0
            lost = None
        if broken is not None:
            return ChainReport(valid, erased, *broken, unverified=unverified)
        valid += 1
        erased += row.data is None
        last = Head(row.seq, row.mac)
    if lost is not None:
        return ChainReport(valid, erased, *lost.unexplained, unverified=unverified)
    if last == head and last.seq:
        return ChainReport(valid, erased, unverified=unverified)
    if last == head:
        return ChainReport(0, 0, 1, "the log is empty, but every database starts with an event")
    if isinstance(head.seq, int) and last.seq < head.seq:  # SQLite stores any type in any column
        return ChainReport(valid, erased, last.seq + 1, "the newest events are missing", unverified)
    return ChainReport(
        valid, erased, last.seq, "the stored head of the chain does not match the last event", unverified
    )


class _Broken(NamedTuple):
    seq: int
    reason: str


class _LostEvents:
    """Consecutive events whose keys are missing. Nothing but their order and their data can be checked."""

    def __init__(self, before: Head, kid: str) -> None:
        """`before` is the end of the chain before them, and `kid` the key of the first one."""
        self.last = before
        self.count = 0
        self._broken: _Broken | None = None
        self.unexplained = _Broken(
            before.seq + 1, f"it was written with the audit key {quoted(str(kid))}, which is not in the keyring"
        )
        """The flaw of these events unless a KeyringReplaced follows them."""

    def add(self, row: RecordedEvent) -> None:
        gap = _gap(row, self.last)
        if gap is not None and self.count == 0:
            self.unexplained = gap
        if self._broken is None:
            self._broken = gap or _changed_data(row)
        self.last = Head(row.seq, row.mac)
        self.count += 1

    def flaw(self, row: RecordedEvent, broken: _Broken | None) -> _Broken | None:
        """Return the first flaw of these events and of the next one, whose own flaw is `broken`."""
        if row.type != KeyringReplaced.__name__:
            return self.unexplained
        if broken is None and not _continues(row, self.last):
            broken = _Broken(row.seq, "it does not continue the events before it")
        if broken is None:
            return self._broken
        return broken if self._broken is None else min(self._broken, broken)


def _continues(row: RecordedEvent, old: Head) -> bool:
    """Whether a valid KeyringReplaced names the end of the old segment. False if its data were erased."""
    data = {} if row.data is None else json.loads(row.data)
    return (data.get("old_seq"), data.get("old_mac_digest")) == (old.seq, mac_digest(old.mac))


def _flaw(row: RecordedEvent, last: Head, key: bytes) -> _Broken | None:
    broken = _gap(row, last)
    if broken is not None:
        return broken
    try:
        if not hmac.compare_digest(link(key, last.mac, row), row.mac):
            return _Broken(row.seq, "a column or the MAC was changed")
    except (ValueError, TypeError, AttributeError):
        return _Broken(row.seq, _IMPOSSIBLE)
    return _changed_data(row)


def _gap(row: RecordedEvent, last: Head) -> _Broken | None:
    return None if row.seq == last.seq + 1 else _Broken(last.seq + 1, f"event {last.seq + 1} is missing")


def _changed_data(row: RecordedEvent) -> _Broken | None:
    try:
        if row.data is None or row.salt is None:
            is_whole = row.data is None and row.salt is None
        else:
            is_whole = len(row.salt) == SALT_BYTES and row.data_digest == data_digest(row.salt, row.data)
    except (ValueError, TypeError, AttributeError):
        return _Broken(row.seq, _IMPOSSIBLE)
    return None if is_whole else _Broken(row.seq, "its data were changed")


_IMPOSSIBLE = "a column contains a value that backctl never writes"
"""A column has an unexpected type, which SQLite allows."""
