"""The hash chain of recorded events: nobody can change, add or remove one unnoticed without the audit key.

    data_digest = SHA-256(salt ‖ data)
    mac         = HMAC-SHA256(audit key, previous mac ‖ RFC 8785 of every column but data, salt and mac)
    the first previous mac = SHA-256("backctl-chain-1" ‖ installation_id)

The chain contains a salted digest of the data, so personal data can be erased without breaking the chain. Removing the
newest rows and changing the stored head to match is not detected.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import NamedTuple

from backctl.domain.canonical_json import canonical_text
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
    """The result of `verify`: the number of valid rows, how many of them are erased, and the first invalid row."""

    events: int
    erased: int
    broken_seq: int | None = None
    reason: str | None = None

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


def verify(rows: Iterable[RecordedEvent], keys: Mapping[str, bytes], installation_id: str, head: Head) -> ChainReport:
    """Verify the whole chain; stop at the first invalid row."""
    erased = 0
    last = genesis(installation_id)
    for row in rows:
        if (why := _flaw(row, last, keys)) is not None:
            return ChainReport(last.seq, erased, last.seq + 1, why)
        erased += row.data is None
        last = Head(row.seq, row.mac)
    if last == head and last.seq:
        return ChainReport(last.seq, erased)
    if last == head:
        return ChainReport(0, 0, 1, "the log is empty, but every database starts with an event")
    if isinstance(head.seq, int) and last.seq < head.seq:  # SQLite stores any type in any column
        return ChainReport(last.seq, erased, last.seq + 1, "the newest events are missing")
    return ChainReport(last.seq, erased, last.seq, "the stored head of the chain does not match the last event")


def _flaw(row: RecordedEvent, last: Head, keys: Mapping[str, bytes]) -> str | None:
    if row.seq != last.seq + 1:
        return f"event {last.seq + 1} is missing"
    try:
        key = keys.get(row.audit_kid)
        if key is None:
            return f"it was written with the audit key {quoted(row.audit_kid)}, which is not in the keyring"
        if not hmac.compare_digest(link(key, last.mac, row), row.mac):
            return "a column or the MAC was changed"
        if row.data is None and row.salt is None:
            return None
        if row.data is None or row.salt is None or len(row.salt) != SALT_BYTES:
            return "its data were changed"
        if row.data_digest == data_digest(row.salt, row.data):
            return None
    except (ValueError, TypeError, AttributeError):  # a column has an unexpected type
        return "a column contains a value that backctl never writes"
    return "its data were changed"
