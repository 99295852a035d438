"""Converts the rows of `queries` to pages and views, for the drivers of both databases."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from backctl.application.ports.environment import AddressParser, Clock
from backctl.application.views import UserView
from backctl.domain.account_status import lock_in_force, status_of
from backctl.domain.errors import DatabaseDamaged, DatabaseUnusable
from backctl.domain.quoting import quoted
from backctl.domain.repositories import EventCriteria, Page, SessionCriteria, Sort, UserCriteria
from backctl.domain.values import EARLIEST, LATEST, EventId, Identity, Instant, PasswordHash, SessionId, UserId, is_uuid
from backctl.infrastructure.sql import queries
from backctl.infrastructure.sql.dialect import Dialect
from backctl.infrastructure.sql.misread import ABOUT_VALUES, Misread

if TYPE_CHECKING:
    from backctl.application.event_views import EventView
    from backctl.application.login_views import MfaStatus
    from backctl.application.token_views import SessionView
    from backctl.application.transfer.record import AccountBlock
    from backctl.domain.seed import AccountSnapshot
    from backctl.domain.sessions import Standing
    from backctl.infrastructure.sql.account_snapshot import Run

Row = tuple[Any, ...]

CHAIN = (
    "SELECT seq, id, occurred_at, type, subject, actor, reason, trace_id, audit_kid, data, salt, data_digest, mac "
    "FROM events ORDER BY seq"
)
HEAD = "SELECT seq, mac FROM event_head WHERE id = 1"


class RowReader(ABC):
    """Runs queries and returns views. `label` names the database in errors, `clock` decides the status of accounts."""

    def __init__(self, dialect: Dialect, *, label: str, addresses: AddressParser, clock: Clock) -> None:
        self._dialect = dialect
        self._clock = clock
        self._label = label
        self._addresses = addresses

    @abstractmethod
    def _fetch(self, statement: queries.Statement) -> list[Row]:
        """Return all rows of a small result."""

    @abstractmethod
    def _stream(self, statement: queries.Statement) -> Generator[Row, None, None]:
        """Yield the rows of a result of any size, in constant memory. Keeps one snapshot until it is closed."""

    @abstractmethod
    def _one_snapshot(self) -> "AbstractContextManager[Run]":
        """Return a function that runs several statements in one snapshot."""

    def find_user(self, ident: Identity) -> UserView | None:
        with self._naming_damage():
            email_key = self._addresses.key_of(ident.text) if ident.kind == "email" else ""
            rows = self._fetch(queries.one_user(ident, email_key, self._dialect))
            return next(self._views(rows, self._clock()), None)

    def password_of(self, ident: Identity) -> PasswordHash | None:
        with self._naming_damage():
            email_key = self._addresses.key_of(ident.text) if ident.kind == "email" else ""
            rows = self._fetch(queries.password_of(ident, email_key, self._dialect))
            if not rows or rows[0][0] is None:
                return None
            if not isinstance(rows[0][0], str):
                raise TypeError(rows[0][0])
            return PasswordHash(rows[0][0], rows[0][1] == 1)

    def last_seen(self, user_id: UserId) -> Instant | None:
        with self._naming_damage():
            rows = self._fetch(queries.last_seen(user_id, self._dialect))
            try:
                return _instant(rows[0][0]) if rows else None
            except ValueError as error:
                raise Misread("seen_accounts", user_id) from error

    def mfa_of(self, ident: Identity) -> "MfaStatus | None":
        with self._naming_damage():
            from backctl.application.login_views import MfaStatus

            email_key = self._addresses.key_of(ident.text) if ident.kind == "email" else ""
            rows = self._fetch(queries.mfa_of(ident, email_key, self._dialect))
            if not rows:
                return None
            id_, username, state, algorithm, digits, period, enrolled, confirmed, left = rows[0]
            texts, numbers = (id_, username, state, algorithm or ""), (digits or 0, period or 0)
            if {type(text) for text in texts} != {str} or {type(number) for number in numbers} != {int}:
                raise TypeError(id_)
            enrolled_at, confirmed_at = _moment(enrolled), _moment(confirmed)
            return MfaStatus(UserId(id_), username, state, algorithm, digits, period, enrolled_at, confirmed_at, left)

    def users(
        self, criteria: UserCriteria, sort: Sort, *, limit: int, cursor: str | None = None, offset: int = 0
    ) -> Page[UserView]:
        with self._naming_damage():
            after, now = queries.user_cursor(cursor, criteria, sort), self._clock()
            # Fetch one extra row, to know whether there is another page.
            rows = self._fetch(
                queries.users_page(criteria, sort, self._dialect, now=now, limit=limit + 1, after=after, offset=offset)
            )
            width = queries.VIEW_WIDTH
            items = tuple(self._views((row[:width] for row in rows[:limit]), now))
            if len(rows) <= limit:
                return Page(items)
            return Page(items, queries.next_user_cursor(rows[limit - 1], criteria, sort))

    def stream_users(self, criteria: UserCriteria, sort: Sort) -> Iterator[UserView]:
        now = self._clock()
        statement = queries.users(criteria, sort, self._dialect, now=now)
        with self._naming_damage(), closing(self._stream(statement)) as rows:
            yield from self._views(rows, now)

    def export_accounts(self, criteria: UserCriteria, *, hashes: bool, factors: bool) -> "Iterator[AccountBlock]":
        statement = queries.exported_accounts(
            criteria, self._dialect, now=self._clock(), hashes=hashes, factors=factors
        )
        with self._naming_damage(), closing(self._stream(statement)) as rows:
            from backctl.infrastructure.sql.exported_rows import blocks

            yield from blocks(rows, factors=factors)

    @contextmanager
    def account_snapshot(self) -> "Iterator[AccountSnapshot]":
        from backctl.infrastructure.sql.account_snapshot import SqlAccountSnapshot

        with self._one_snapshot() as run:
            yield SqlAccountSnapshot(run, self._dialect, self._naming_damage)

    def count_users(self, criteria: UserCriteria) -> int:
        ((count,),) = self._fetch(queries.user_count(criteria, self._dialect, now=self._clock()))
        return int(count)

    def sessions(self, user_id: UserId, *, now: Instant, limit: int, cursor: str | None = None) -> "Page[SessionView]":
        with self._naming_damage():
            criteria = SessionCriteria(user_id)
            after = queries.session_cursor(cursor, criteria)
            rows = self._fetch(queries.sessions_page(user_id, self._dialect, limit=limit + 1, after=after))
            found = tuple(self._session(now, *row) for row in rows[:limit])
            if len(rows) <= limit:
                return Page(found)
            return Page(found, queries.next_session_cursor(found[-1].id, criteria))

    def stream_sessions(self, user_id: UserId, *, now: Instant) -> "Iterator[SessionView]":
        with self._naming_damage(), closing(self._stream(queries.sessions(user_id, self._dialect))) as rows:
            for row in rows:
                yield self._session(now, *row)

    def standings(self, asked: Sequence[tuple[str, str]]) -> "dict[tuple[str, str], Standing]":
        with self._naming_damage():
            from backctl.domain.sessions import Standing

            possible = [(sid, jti) for sid, jti in asked if is_uuid(sid)]
            found = {}
            for row in self._fetch(queries.standings(possible, self._dialect)) if possible else ():
                sid, jti, user_id, issuer, created, not_before, revoked, barred, active, expires, denied = row
                found[sid, jti] = Standing(
                    user_id,
                    issuer,
                    _instant(created),
                    _moment(not_before),
                    _moment(revoked),
                    _moment(barred),
                    active == 1,
                    _moment(expires),
                    denied == 1,
                )
            return found

    def events(
        self, criteria: EventCriteria, *, limit: int, cursor: str | None = None, newest_first: bool = False
    ) -> "Page[EventView]":
        with self._naming_damage():
            from backctl.infrastructure.sql import event_queries

            after = event_queries.event_cursor(cursor, criteria, newest_first=newest_first)
            matches = event_queries.reason_filter(criteria)
            size = limit + 1 if matches is None else max(limit + 1, event_queries.REASONS_COMPARED)
            found: list[Row] = []
            while True:
                page = event_queries.events_page(
                    criteria, self._dialect, limit=size, after=after, newest_first=newest_first
                )
                rows = self._fetch(page)
                found += rows if matches is None else filter(matches, rows)
                if len(found) > limit or len(rows) < size:
                    break
                after = rows[-1][0]
            events = tuple(self._event(*row) for row in found[:limit])
            if len(found) <= limit:
                return Page(events)
            return Page(events, event_queries.next_event_cursor(events[-1].seq, criteria, newest_first=newest_first))

    def stream_events(self, criteria: EventCriteria, *, newest_first: bool = False) -> "Iterator[EventView]":
        with self._naming_damage():
            from backctl.infrastructure.sql import event_queries

            statement = event_queries.events(criteria, self._dialect, newest_first=newest_first)
            matches = event_queries.reason_filter(criteria)
            with closing(self._stream(statement)) as rows:
                for row in rows if matches is None else filter(matches, rows):
                    yield self._event(*row)

    def find_event(self, ident: int | EventId) -> "EventView | None":
        with self._naming_damage():
            from backctl.infrastructure.sql import event_queries

            return next((self._event(*row) for row in self._fetch(event_queries.one_event(ident, self._dialect))), None)

    def accounts_named(self, ident: Identity) -> tuple[UserId, ...]:
        with self._naming_damage():
            from backctl.infrastructure.sql import event_queries

            email_key = self._addresses.key_of(ident.text) if ident.kind == "email" else ""
            rows = self._fetch(event_queries.accounts_named(ident, email_key, self._dialect))
            return tuple(sorted({UserId(user_id) for (user_id,) in rows}, reverse=True))  # ids are ordered by time

    def _views(self, rows: Iterable[Row], now: Instant) -> Iterator[UserView]:
        # Optimised for a million rows: unpacks by position and looks nothing up twice.
        view, instant, earliest, latest = UserView, Instant, EARLIEST, LATEST
        for row in rows:
            id_, email, name, role, active, lock, secret, must, mfa, expires, login, *rest = row
            created, updated, version, imported = rest
            if (
                not type(id_) is type(email) is type(name) is type(role) is type(mfa) is str
                or len(id_) != 36
                or type(created) is not int
                or type(updated) is not int
                or type(version) is not int
                or not earliest <= created <= latest
                or not earliest <= updated <= latest
                or not (expires is None or (type(expires) is int and earliest <= expires <= latest))
                or not (login is None or (type(login) is int and earliest <= login <= latest))
            ):
                raise Misread("users", id_)
            expires_at = None if expires is None else instant(expires)
            locked_until = None if lock is None else lock_in_force(lock_end(lock), now)
            yield view(
                UserId(id_),
                email,
                name,
                role,
                status_of(is_active=active == 1, expires_at=expires_at, locked_until=locked_until, now=now),
                active == 1,
                locked_until,
                secret == 1,
                must == 1,
                mfa,
                expires_at,
                None if login is None else instant(login),
                instant(created),
                instant(updated),
                version,
                imported == 1,
            )

    def _session(
        self,
        now: Instant,
        id_: str,
        user_id: str,
        refreshable: int,
        client_id: str,
        issuer: str,
        audience: str,
        scope: str,
        created: int,
        issued: int,
        expires: int,
        ends: int,
        revoked: int | None,
        because: str | None,
        barred: int | None,
        seen: int | None,
    ) -> "SessionView":
        from backctl.application.token_views import SessionView

        if revoked is None and barred is not None and created <= barred:
            revoked, because = barred, "requested"
        state: Literal["open", "expired", "revoked"] = "open"
        if revoked is not None:
            state = "revoked"
        elif expires <= now:
            state = "expired"
        if not all(type(text) is str for text in (id_, user_id, client_id, issuer, audience, scope, because or "")):
            raise Misread("sessions", id_)
        try:
            times = _instant(created), _instant(issued), _instant(expires), _instant(ends), _moment(revoked)
        except ValueError as error:
            raise Misread("sessions", id_) from error
        try:
            seen_at = _moment(seen)
        except ValueError as error:
            raise Misread("seen_sessions", id_) from error
        can_refresh = state == "open" and refreshable == 1
        return SessionView(
            SessionId(id_),
            UserId(user_id),
            state,
            can_refresh,
            client_id,
            issuer,
            audience,
            scope or None,
            *times,
            because,
            seen_at,
        )

    def _event(
        self,
        seq: int,
        id_: str,
        occurred_at: int,
        type_: str,
        subject: str,
        subject_name: str,
        actor: str,
        reason: str | None,
        trace_id: str | None,
        data: str | None,
    ) -> "EventView":
        import json  # queries of accounts need no json

        from backctl.application.event_views import EventView

        try:
            at = _instant(occurred_at)
            who = json.loads(actor)
            members = None if data is None else json.loads(data)
        except (TypeError, ValueError, RecursionError) as error:
            raise Misread("events", seq) from error
        if (
            not type(id_)
            is type(type_)
            is type(subject)
            is type(subject_name)
            is type(reason or "")
            is type(trace_id or "")
            is str
            or type(who) is not dict
            or (data is not None and type(members) is not dict)
        ):
            raise Misread("events", seq)
        label, os_user, host = (who.get(member) for member in ("label", "os_user", "host"))
        if not type(label) is type(os_user) is type(host) is str:
            raise Misread("events", seq, "actor")
        name = subject_name if type(subject_name) is str else subject  # another row is damaged
        return EventView(seq, id_, at, type_, subject, name, label, os_user, host, reason, trace_id, members)

    @contextmanager
    def _naming_damage(self) -> Iterator[None]:
        """Turn an error about a value of a row into DatabaseDamaged, which names the row."""
        try:
            yield
        except (*ABOUT_VALUES, DatabaseDamaged) as error:
            from backctl.infrastructure.sql.damage import explanation

            found = error if isinstance(error, DatabaseDamaged) else None
            with suppress(DatabaseDamaged):  # the driver may be unable to decode the key, too
                run = lambda text: self._fetch(queries.Statement(text, ()))  # noqa: E731
                found = explanation(error, run, self._dialect) or found
            if found is not None:
                raise found from error
            raise DatabaseUnusable(
                f"{quoted(self._label, limit=400)} contains invalid data",
                hint="run '{backctl} audit verify', then restore the database from a backup",
            ) from error


def _instant(stored: int) -> Instant:
    """Raises TypeError, ValueError."""
    if type(stored) is not int or not EARLIEST <= stored <= LATEST:
        raise ValueError(stored)
    return Instant(stored)


def lock_end(stored: object) -> Instant | None:
    """Return the end of a lock; None if it is damaged, so that the account can still be shown and changed."""
    return Instant(stored) if type(stored) is int and EARLIEST <= stored <= LATEST else None


def _moment(stored: int | None) -> Instant | None:
    return None if stored is None else _instant(stored)
