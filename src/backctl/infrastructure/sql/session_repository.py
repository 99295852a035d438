"""Stores sessions and their refresh tokens, on the connection of one transaction."""

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from backctl.domain.errors import SessionNotFound
from backctl.domain.events import AccessTokenRevoked, DomainEvent, IssuerTokensRevoked, SessionsRevoked
from backctl.domain.quoting import quoted
from backctl.domain.refresh_token import RefreshToken
from backctl.domain.repositories import Swept
from backctl.domain.sessions import Cause, Session
from backctl.domain.values import EARLIEST, LATEST, Instant, SessionId, UserId, is_uuid
from backctl.infrastructure.sql import event_log, tables
from backctl.infrastructure.sql.misread import Misread

_sessions = tables.sessions.c
_tokens = tables.refresh_tokens.c
_revoked = tables.revoked_tokens.c
_issuers = tables.token_issuers.c

# Both databases accept this SQL; SQLAlchemy would need a different form for each. An earlier end never replaces a
# later one.
_DENY: Final = text(
    "INSERT INTO revoked_tokens (jti, revoked_at, expires_at) VALUES (:jti, :now, :expires_at) "
    "ON CONFLICT (jti) DO NOTHING"
)
_BAR: Final = text(
    "INSERT INTO token_issuers (issuer, not_before) VALUES (:issuer, :moment) "
    "ON CONFLICT (issuer) DO UPDATE SET not_before = excluded.not_before "
    "WHERE token_issuers.not_before < excluded.not_before OR token_issuers.not_before > :far_ahead"
)

# Built once, because building it takes SQLAlchemy five times as long as running it, and batches run it per account.
# Uses the later of the two times, so that a clock that was set back does not leave a token valid.
_NOW: Final = bindparam("now", type_=BigInteger)
_END_ALL: Final = (
    update(tables.sessions)
    .where(_sessions.revoked_at.is_(None))
    .values(
        revoked_at=case((_sessions.created_at > _NOW, _sessions.created_at), else_=_NOW),
        revoked_because=bindparam("cause"),
    )
)
_REVOKE_ALL: Final = _END_ALL.where(_sessions.user_id == bindparam("of_user"))


class SqlSessionRepository:
    """The sessions of one transaction. Writes returned sessions back at the commit, everything else immediately."""

    def __init__(self, connection: Callable[[], Connection]) -> None:
        self._connection = connection
        self._known: list[tuple[Session, dict[str, Any]]] = []
        self._recorded: list[DomainEvent] = []
        self._known_before = 0  # at the beginning of the attempt

    def write_back(self, *, everything: bool) -> list[DomainEvent]:
        events = []
        for session, stored in self._known:
            changed = {name: value for name, value in _columns(session).items() if stored[name] != value}
            if changed:
                self._connection().execute(update(tables.sessions).where(_sessions.id == session.id).values(**changed))
                stored.update(changed)
            events += session.take_events()
        recorded, self._recorded = self._recorded, []
        return events + recorded

    def begin_attempt(self) -> None:
        self._known_before = len(self._known)

    def undo_attempt(self) -> None:
        del self._known[self._known_before :]
        self._recorded.clear()

    # One session.

    def add(self, session: Session) -> None:
        columns = _columns(session)
        self._connection().execute(insert(tables.sessions).values(**columns, id=session.id, user_id=session.user_id))
        self._known.append((session, columns))

    def owner(self, digest: bytes) -> tuple[UserId, SessionId] | None:
        found = self._connection().execute(
            select(_sessions.user_id, _sessions.id)
            .join(tables.refresh_tokens, _tokens.session_id == _sessions.id)
            .where(_tokens.digest == digest)
        )
        row = found.first()
        return None if row is None else (UserId(row.user_id), SessionId(row.id))

    def get(self, session_id: str) -> Session:
        row = None
        if is_uuid(session_id):
            found = select(tables.sessions).where(_sessions.id == session_id.lower()).with_for_update()
            row = self._connection().execute(found).first()
        if row is None:
            raise SessionNotFound(
                f"there is no session {quoted(session_id)}",
                hint="run '{backctl} token list IDENT' to list the sessions of an account",
            )
        session = _session(row)
        self._known.append((session, _columns(session)))
        return session

    # Refresh tokens.

    def token(self, digest: bytes) -> RefreshToken | None:
        row = self._connection().execute(select(tables.refresh_tokens).where(_tokens.digest == digest)).first()
        return None if row is None else _token(row)

    def use(self, digest: bytes, *, successor: bytes, now: Instant) -> bool:
        used = self._connection().execute(
            update(tables.refresh_tokens)
            .where(_tokens.digest == digest, _tokens.used_at.is_(None))
            .values(used_at=int(now), successor=successor)
        )
        return used.rowcount == 1

    def retry(self, token: RefreshToken, *, successor: bytes, now: Instant) -> None:
        connection = self._connection()
        connection.execute(
            update(tables.refresh_tokens).where(_tokens.digest == token.successor).values(used_at=int(now))
        )
        connection.execute(
            update(tables.refresh_tokens).where(_tokens.digest == token.digest).values(successor=successor)
        )

    def issue(self, token: RefreshToken) -> None:
        self._connection().execute(
            insert(tables.refresh_tokens).values(
                digest=token.digest,
                session_id=token.session_id,
                issued_at=int(token.issued_at),
                expires_at=int(token.expires_at),
            )
        )

    # Many at once.

    def revoke_all(self, user_id: UserId, cause: Cause, *, now: Instant) -> int:
        revoked = self._connection().execute(_REVOKE_ALL, {"of_user": user_id, "now": int(now), "cause": cause})
        if count := revoked.rowcount:
            self._recorded.append(SessionsRevoked(user_id, count=count, cause=cause, at=now))
        return count

    def void_access_tokens(self, user_id: UserId, *, now: Instant) -> None:
        self._connection().execute(
            update(tables.sessions)
            .where(_sessions.user_id == user_id, _sessions.revoked_at.is_(None))
            .values(not_before=_later(_sessions.issued_at, now))
        )

    def issued_to(self, jti: str) -> UserId | None:
        return event_log.subject_of_token(self._connection(), jti)

    def deny(self, jti: str, *, subject: str, expires_at: Instant, now: Instant) -> bool:
        connection = self._connection()
        # The INSERT waits for a concurrent INSERT of the same row; its row count shows which one succeeded.
        denied = connection.execute(_DENY, {"jti": jti, "now": int(now), "expires_at": int(expires_at)})
        if denied.rowcount == 1:
            self._recorded.append(AccessTokenRevoked(subject, jti=jti, at=now))
            return True
        connection.execute(
            update(tables.revoked_tokens)
            .where(_revoked.jti == jti, _revoked.expires_at < int(expires_at))
            .values(expires_at=int(expires_at))
        )
        return False

    def barred_until(self, issuer: str) -> Instant | None:
        moment = self._connection().scalar(select(_issuers.not_before).where(_issuers.issuer == issuer))
        return None if moment is None else _instant(moment)

    def issuers(self) -> Sequence[str]:
        unrevoked = select(_sessions.issuer).where(_sessions.revoked_at.is_(None)).distinct()
        return self._connection().scalars(unrevoked.order_by(_sessions.issuer)).all()

    def bar(self, issuer: str, *, leeway: int, now: Instant) -> int:
        connection, before = self._connection(), self.barred_until(issuer) or EARLIEST
        # Lock the issuer's row first, so that concurrent calls for the issuer wait here.
        connection.execute(_BAR, {"issuer": issuer, "moment": int(now), "far_ahead": now + leeway})
        unrevoked = and_(_sessions.issuer == issuer, _sessions.revoked_at.is_(None))
        open_ = select(func.count()).where(unrevoked, _sessions.created_at > before, _sessions.expires_at > int(now))
        count = int(connection.scalar(open_) or 0)
        connection.execute(
            update(tables.sessions)
            .where(unrevoked, _sessions.created_at > (self.barred_until(issuer) or EARLIEST))
            .values(revoked_at=_sessions.created_at, revoked_because="requested")
        )
        self._recorded.append(IssuerTokensRevoked(issuer, count=count, at=now))
        return count

    def end_all(self, issuer: str, *, leeway: int, now: Instant) -> int:
        connection = self._connection()
        known = connection.scalars(select(_sessions.issuer).union(select(_issuers.issuer)))
        count = sum(self.bar(each, leeway=leeway, now=now) for each in sorted({issuer, *known}))
        connection.execute(_END_ALL, {"now": int(now), "cause": "restored"})
        return count

    def sweep(self, before: Instant, *, limit: int) -> Swept:
        # Skip locked rows until the next time: waiting for one while holding others can deadlock.
        return Swept(
            sessions=self._sweep(tables.sessions, _sessions.id, before, limit),
            refresh_tokens=self._sweep(tables.refresh_tokens, _tokens.digest, before, limit),
            revocations=self._sweep(tables.revoked_tokens, _revoked.jti, before, limit),
        )

    def _sweep(self, table: Table, key: Any, before: Instant, limit: int) -> int:
        expired = select(key).where(table.c.expires_at <= int(before)).order_by(table.c.expires_at, key).limit(limit)
        swept = delete(table).where(key.in_(expired.with_for_update(skip_locked=True)))
        return self._connection().execute(swept).rowcount


def _later(column: Any, now: Instant) -> Any:
    """The later of column and now, so that a clock that was set back does not leave a token valid."""
    return case((column > int(now), column), else_=int(now))


def _columns(session: Session) -> dict[str, Any]:
    """Return the stored columns except the ids. Converts Instants, because drivers format only plain ints correctly."""
    return {
        "issuer": session.issuer,
        "client_id": session.client_id,
        "audience": session.audience,
        "scope": session.scope,
        "access_ttl": session.access_ttl,
        "created_at": int(session.created_at),
        "issued_at": int(session.issued_at),
        "expires_at": int(session.expires_at),
        "ends_at": int(session.ends_at),
        "not_before": _number(session.not_before),
        "revoked_at": _number(session.revoked_at),
        "revoked_because": session.revoked_because,
    }


def _session(row: Row[Any]) -> Session:
    """Raises Misread: anyone who can write an SQLite file can change these values."""
    try:
        created, issued, expires, ends = map(_instant, (row.created_at, row.issued_at, row.expires_at, row.ends_at))
        not_before, revoked = map(_instant_or_none, (row.not_before, row.revoked_at))
    except ValueError as error:
        raise Misread("sessions", row.id) from error
    return Session(
        id=SessionId(row.id),
        user_id=UserId(row.user_id),
        issuer=row.issuer,
        client_id=row.client_id,
        audience=row.audience,
        scope=row.scope,
        access_ttl=row.access_ttl,
        created_at=created,
        issued_at=issued,
        expires_at=expires,
        ends_at=ends,
        not_before=not_before,
        revoked_at=revoked,
        revoked_because=cast("Cause | None", row.revoked_because),
    )


def _token(row: Row[Any]) -> RefreshToken:
    """Raises Misread."""
    try:
        issued, expires, used = _instant(row.issued_at), _instant(row.expires_at), _instant_or_none(row.used_at)
    except ValueError as error:
        raise Misread("refresh_tokens", row.digest) from error
    return RefreshToken(row.digest, SessionId(row.session_id), issued, expires, used, row.successor)


def _number(moment: Instant | None) -> int | None:
    return None if moment is None else int(moment)


def _instant_or_none(stored: object) -> Instant | None:
    return None if stored is None else _instant(stored)


def _instant(stored: object) -> Instant:
    """Raises ValueError."""
    if type(stored) is int and EARLIEST <= stored <= LATEST:
        return Instant(stored)
    raise ValueError(stored)
