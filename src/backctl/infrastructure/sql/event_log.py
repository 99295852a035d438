"""Appends to the event log. The only module that adds rows to the chain."""

import itertools
import os
from collections.abc import Container, Sequence
from contextlib import suppress

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from backctl.application.attribution import Attribution
from backctl.application.ports.environment import IdSource
from backctl.application.reactions import LoggedEvent
from backctl.domain.audit import MAC_BYTES, SALT_BYTES, Head, RecordedEvent, data_digest, link
from backctl.domain.canonical_json import canonical
from backctl.domain.errors import DatabaseUnusable, TransactionAborted
from backctl.domain.events import DomainEvent, KeyringReplaced, MfaDisabled, SessionOpened, SessionRefreshed
from backctl.domain.json_document import parsed
from backctl.domain.keyring import Key
from backctl.domain.values import EventId, Instant, UserId
from backctl.infrastructure.sql import tables
from backctl.infrastructure.sql.engine import KNOWN_KIDS, dialect_of, insert_many

_SEQ_BOUND = 2**52  # far beyond any log, and within the range of the canonical form
# Built once, because building a statement takes SQLAlchemy five times as long as running it.
_HEAD = select(tables.event_head.c.seq, tables.event_head.c.mac).where(tables.event_head.c.id == 1)
_LOCK_HEAD = _HEAD.with_for_update()
_MOVE_HEAD = update(tables.event_head).values(seq=bindparam("head_seq"), mac=bindparam("head_mac"))
# One round trip instead of two. The parameters have names, because both tables have a `seq` and an `id`.
_ADD_AND_MOVE_HEAD = insert(tables.events).values({name: bindparam(f"event_{name}") for name in RecordedEvent._fields})
_ADD_AND_MOVE_HEAD = _ADD_AND_MOVE_HEAD.add_cte(_MOVE_HEAD.cte("moved"))
# Whether the key is still in use: this transaction may have begun before another one replaced the keyring.
_ADD_AND_MOVE_HEAD = _ADD_AND_MOVE_HEAD.returning(
    select(func.count()).where(tables.audit_keys.c.kid == bindparam("event_audit_kid")).scalar_subquery()
)

_TAKEN_SEQ = ("events.seq", "pk_events")  # how SQLite and PostgreSQL name the violated constraint


def append(
    connection: Connection,
    events: Sequence[DomainEvent],
    *,
    key: Key,
    by: Attribution,
    now: Instant,
    new_id: IdSource,
    erased: Container[int] = (),
) -> list[LoggedEvent]:
    """Append `events` to the log, in order, within the connection's transaction; return them as stored.

    Events whose index is in `erased` are stored without their data, as after `erase`. Locks the head of the chain until
    the transaction ends: call it after every other lock and statement. Raises TransactionAborted if the keyring was
    replaced after `key` was read.
    """
    seq, mac = locked_head(connection)
    secret = key.secret_bytes()
    recorded_actor = canonical({"label": by.actor.label, "os_user": by.actor.os_user, "host": by.actor.host}).decode()
    rows = []
    for place, event in enumerate(events):
        seq += 1
        salt = os.urandom(SALT_BYTES)
        data = canonical(event.data()).decode()
        event_row = RecordedEvent(
            seq=seq,
            id=new_id(),
            occurred_at=int(now if event.at is None else event.at),
            type=event.type,
            subject=event.subject,
            actor=recorded_actor,
            reason=by.reason,
            trace_id=by.trace_id,
            audit_kid=key.kid,
            data=data,
            salt=salt,
            data_digest=data_digest(salt, data),
            mac=b"",
        )
        mac = link(secret, mac, event_row)
        row = event_row._replace(mac=mac)
        rows.append(row._replace(data=None, salt=None) if place in erased else row)
    _remember_key(connection, key.kid, first_seq=rows[0].seq)
    try:
        _write(connection, rows)
    except IntegrityError as error:
        if not any(name in str(error.orig) for name in _TAKEN_SEQ):
            raise
        raise _headless() from error
    return [
        LoggedEvent(row.seq, EventId(row.id), Instant(row.occurred_at), event, place in erased)
        for place, (row, event) in enumerate(zip(rows, events, strict=True))
    ]


def erase(connection: Connection, subject: str) -> int:
    """Erase data and salt of the events about `subject`, and return how many had any. The chain stays valid."""
    log = tables.events.c
    blanked = connection.execute(
        update(tables.events).where(log.subject == subject, log.data.is_not(None)).values(data=None, salt=None)
    )
    return blanked.rowcount


def holds(connection: Connection, event_id: EventId) -> bool:
    """Whether the log has an event. The answer is final: no transaction that appends the event can still be running.

    Locks the head of the chain until the transaction ends, like `append`.
    """
    locked_head(connection)
    log = tables.events.c
    return connection.execute(select(log.seq).where(log.id == event_id)).first() is not None


def subject_of_token(connection: Connection, jti: str) -> UserId | None:
    """Return the account that an access token with this jti was issued to; None if the log has no such event.

    Reads the events of issued tokens from the newest on, so it reads all of them for an unknown jti.
    """
    log, member = tables.events.c, canonical({"jti": jti}).decode()[1:-1]
    telling = select(log.subject, log.data).where(
        log.type.in_((SessionOpened.__name__, SessionRefreshed.__name__)), log.data.contains(member, autoescape=True)
    )
    for subject, data in connection.execute(telling.order_by(log.seq.desc())):
        if member in data:  # SQLite compares case-insensitively
            return UserId(subject)
    return None


def installation_id(connection: Connection) -> str:
    """Return the id of the installation to which the log belongs."""
    return str(connection.execute(select(tables.installation.c.installation_id)).scalar_one())


def is_audit_key(connection: Connection, kid: str) -> bool:
    """Whether the key with this kid authenticates events of the log."""
    return connection.execute(select(tables.audit_keys.c.kid).where(tables.audit_keys.c.kid == kid)).first() is not None


def forget_keys(connection: Connection) -> tuple[str, ...]:
    """Delete the audit keys of the log, because they were lost, and return their kids.

    The caller begins a new segment of the chain in the same transaction and holds the lock of its head.
    """
    kids = audit_kids(connection)
    connection.execute(delete(tables.audit_keys))
    connection.info.pop(KNOWN_KIDS, None)
    return kids


def replacement(connection: Connection, event_id: str) -> tuple[KeyringReplaced, Sequence[str]] | None:
    """Return the KeyringReplaced with this id, and the accounts whose second factors were disabled after it.

    None if the event is of another type or does not exist. Raises DatabaseUnusable if its data were changed.
    """
    log = tables.events.c
    found = select(log.seq, log.subject, log.data).where(log.id == event_id, log.type == KeyringReplaced.__name__)
    row = connection.execute(found).first()
    if row is None:
        return None
    event = _replaced(row.subject, row.data)
    if event is None:
        raise DatabaseUnusable(
            "the event that records the new keyring was changed",
            hint="restore the database from a backup",
        )
    disabled = select(log.subject).where(log.type == MfaDisabled.__name__, log.seq > row.seq).order_by(log.seq)
    return event, connection.scalars(disabled).all()


def head(connection: Connection) -> Head:
    """Return the end of the chain, without locking it. Raises DatabaseUnusable."""
    return _checked_head(connection.execute(_HEAD).first())


def locked_head(connection: Connection) -> Head:
    """Return the end of the chain, locked until the transaction ends."""
    return _checked_head(connection.execute(_LOCK_HEAD).first())


def _checked_head(row: object) -> Head:
    # Anyone who can write an SQLite file can change the head.
    match row:
        case (int(seq), bytes(mac)) if 0 <= seq < _SEQ_BOUND and len(mac) == MAC_BYTES:
            return Head(seq, mac)
    raise _headless()


def audit_kids(connection: Connection) -> tuple[str, ...]:
    """Return the kids of the audit keys of the log, the oldest first."""
    keys = tables.audit_keys.c
    return tuple(connection.scalars(select(keys.kid).order_by(keys.first_seq, keys.kid)))


def _remember_key(connection: Connection, kid: str, *, first_seq: int) -> None:
    if kid in connection.info.get(KNOWN_KIDS, ()):
        return
    if connection.execute(select(tables.audit_keys.c.kid).where(tables.audit_keys.c.kid == kid)).first() is None:
        log = tables.events.c
        replaced = connection.execute(select(log.subject, log.data).where(log.type == KeyringReplaced.__name__))
        if any(kid in event.lost_keys for event in itertools.starmap(_replaced, replaced) if event is not None):
            raise _replaced_meanwhile()
        connection.execute(insert(tables.audit_keys).values(kid=kid, first_seq=first_seq))


def _replaced(subject: str, data: object) -> KeyringReplaced | None:
    """Return the event with these stored columns; None if they were changed."""
    with suppress(ValueError, RecursionError):
        match parsed(data) if isinstance(data, str) else None:
            case {"keys": [*keys], "lost_keys": [*lost], "old_seq": int(seq), "old_mac_digest": str(digest)}:
                return KeyringReplaced(subject, tuple(map(str, keys)), tuple(map(str, lost)), seq, digest)
    return None


def _replaced_meanwhile() -> TransactionAborted:
    return TransactionAborted("the keyring was replaced meanwhile", hint="try again")


def _write(connection: Connection, rows: list[RecordedEvent]) -> None:
    """Insert the events and move the head to the last one."""
    *earlier, last = rows
    head = {"head_seq": last.seq, "head_mac": last.mac}
    if dialect_of(connection).writes_in_queries:
        if earlier:
            insert_many(connection, tables.events, last._fields, earlier)
        added = connection.execute(
            _ADD_AND_MOVE_HEAD, {f"event_{name}": value for name, value in last._asdict().items()} | head
        )
        if not added.scalar_one():
            raise _replaced_meanwhile()
    else:
        insert_many(connection, tables.events, last._fields, rows)
        connection.execute(_MOVE_HEAD, head)


def _headless() -> DatabaseUnusable:
    return DatabaseUnusable(
        "the head of the event log does not match its last event",
        hint="run '{backctl} audit verify', then restore the database from a backup",
    )
