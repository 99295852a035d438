"""The read side on SQLite: rows straight from the driver into views."""

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backctl.application.ports import AddressParser, AuditKeys
from backctl.application.views import EventView, UserView
from backctl.domain.errors import DatabaseUnusable, quoted
from backctl.domain.repositories import EventCriteria, Page, Sort, UserCriteria
from backctl.domain.values import EARLIEST, LATEST, Identity, Instant, PasswordHash
from backctl.infrastructure.database import queries
from backctl.infrastructure.database.faults import mapped_faults
from backctl.infrastructure.database.schema import StoredInstallation, connect, read_installation, require_current

if TYPE_CHECKING:
    from backctl.domain.audit import ChainReport

_CHAIN = (
    "SELECT seq, id, occurred_at, type, subject, actor, reason, trace_id, audit_kid, data, salt, data_digest, mac "
    "FROM events ORDER BY seq"
)


class SqliteReader:
    """One connection, opened when it is first needed and then kept; for one thread.

    Every method raises DatabaseMissing, DatabaseUnusable, SchemaOutdated, SchemaTooNew or DatabaseLocked where it
    applies.
    """

    def __init__(self, path: Path, *, timeout_us: int, addresses: AddressParser) -> None:
        self._path = path
        self._timeout_us = timeout_us
        self._addresses = addresses
        self._opened: tuple[sqlite3.Connection, StoredInstallation] | None = None

    @property
    def installation(self) -> StoredInstallation:
        """What the database says about itself, its revision being the one expected."""
        return self._open()[1]

    def close(self) -> None:
        """Give the file up; the next question opens it again."""
        if self._opened is not None:
            self._opened[0].close()
            self._opened = None

    def find_user(self, ident: Identity) -> UserView | None:
        email_key = self._addresses.key_of(ident.text) if ident.kind == "email" else ""
        return next(self._users(queries.one_user(ident, email_key, "?")), None)

    def password_of(self, ident: Identity) -> PasswordHash | None:
        email_key = self._addresses.key_of(ident.text) if ident.kind == "email" else ""
        statement = queries.password_of(ident, email_key, "?")
        with mapped_faults(self._path):
            row = self._open()[0].execute(statement.text, statement.values).fetchone()
        if row is None or row[0] is None:
            return None
        if not isinstance(row[0], str):
            raise self._damaged("an account")
        return PasswordHash(row[0])

    def users(
        self, criteria: UserCriteria, sort: Sort, *, limit: int, cursor: str | None = None, offset: int = 0
    ) -> Page[UserView]:
        after = queries.user_cursor(cursor, criteria, sort)
        # One row more than asked for tells whether anything follows.
        statement = queries.users_page(criteria, sort, "?", limit=limit + 1, after=after, offset=offset)
        with mapped_faults(self._path):
            rows = self._open()[0].execute(statement.text, statement.values).fetchall()
        width = queries.VIEW_WIDTH
        items = tuple(self._views(row[:width] for row in rows[:limit]))
        if len(rows) <= limit:
            return Page(items)
        return Page(items, queries.next_user_cursor(rows[limit - 1], criteria, sort))

    def stream_users(self, criteria: UserCriteria, sort: Sort) -> Iterator[UserView]:
        return self._users(queries.users(criteria, sort, "?"))

    def count_users(self, criteria: UserCriteria) -> int:
        statement = queries.user_count(criteria, "?")
        with mapped_faults(self._path):
            (count,) = self._open()[0].execute(statement.text, statement.values).fetchone()
        return int(count)

    def events(self, criteria: EventCriteria, *, limit: int, cursor: str | None = None) -> Page[EventView]:
        after = queries.event_cursor(cursor, criteria)
        found = tuple(self._events(queries.events_page(criteria, "?", limit=limit + 1, after=after)))
        if len(found) <= limit:
            return Page(found)
        return Page(found[:limit], queries.next_event_cursor(found[limit - 1].seq, criteria))

    def stream_events(self, criteria: EventCriteria) -> Iterator[EventView]:
        return self._events(queries.events(criteria, "?"))

    def verify_chain(self, keys: AuditKeys) -> "ChainReport":
        """Walk the log from one snapshot; whatever was written over it ends in the report.

        Raises DatabaseUnusable only when SQLite itself cannot read on.
        """
        from backctl.domain.audit import Head, RecordedEvent, verify

        # On a connection of its own: its text may be no UTF-8, and its snapshot spans several statements.
        with (
            mapped_faults(self._path),
            closing(connect(self._path, timeout_us=self._timeout_us, read_only=True)) as connection,
        ):
            connection.execute("BEGIN")
            stored = read_installation(connection, self._path)
            require_current(stored, self._path)
            head = connection.execute("SELECT seq, mac FROM event_head WHERE id = 1").fetchone()
            connection.text_factory = _any_text
            rows = itertools.starmap(RecordedEvent, connection.execute(_CHAIN))
            # Where the row of the head is lost, one that ends no chain.
            return verify(rows, keys(), stored.installation_id, Head(0, b"") if head is None else Head(*head))

    def _open(self) -> tuple[sqlite3.Connection, StoredInstallation]:
        if self._opened is None:
            connection = connect(self._path, timeout_us=self._timeout_us, read_only=True)
            try:
                stored = read_installation(connection, self._path)
                require_current(stored, self._path)
            except BaseException:
                connection.close()
                raise
            self._opened = (connection, stored)
        return self._opened

    def _users(self, statement: queries.Statement) -> Iterator[UserView]:
        with mapped_faults(self._path), closing(self._open()[0].execute(statement.text, statement.values)) as cursor:
            yield from self._views(cursor)

    def _events(self, statement: queries.Statement) -> Iterator[EventView]:
        with mapped_faults(self._path), closing(self._open()[0].execute(statement.text, statement.values)) as cursor:
            for row in cursor:
                yield self._event(*row)

    def _views(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[UserView]:
        # A million rows pass here: unpacked by position, nothing looked up twice.
        view, instant = UserView, Instant
        try:
            for id_, email, name, role, active, secret, must, mfa, expires, created, updated, version in rows:
                yield view(
                    id_,
                    email,
                    name,
                    role,
                    active == 1,
                    secret == 1,
                    must == 1,
                    mfa,
                    None if expires is None else instant(expires),
                    instant(created),
                    instant(updated),
                    version,
                )
        except (TypeError, ValueError) as error:
            raise self._damaged("an account") from error

    def _event(
        self,
        seq: int,
        id_: str,
        occurred_at: int,
        type_: str,
        subject: str,
        actor: str,
        reason: str | None,
        trace_id: str | None,
        data: str | None,
    ) -> EventView:
        import json  # queries of accounts never see any

        try:
            who = json.loads(actor)
            members = None if data is None else dict(json.loads(data))
            if not EARLIEST <= occurred_at <= LATEST:
                raise ValueError
            return EventView(
                seq,
                id_,
                Instant(occurred_at),
                type_,
                subject,
                who["label"],
                who["os_user"],
                who["host"],
                reason,
                trace_id,
                members,
            )
        except (TypeError, ValueError, KeyError, RecursionError) as error:
            raise self._damaged(f"event {seq}") from error

    def _damaged(self, what: str) -> DatabaseUnusable:
        return DatabaseUnusable(
            f"{what} in {quoted(str(self._path), limit=400)} holds what was never written",
            hint="look with 'backctl audit verify', then restore the database from a backup",
        )


def _any_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
