"""Stores recent failed logins, on the connection of one transaction."""

from collections.abc import Callable
from json import dumps, loads
from typing import Final

from sqlalchemy import Connection, delete, select, text, update

from backctl.domain.errors import DatabaseUnusable
from backctl.domain.lockout import RecentFailures
from backctl.domain.values import EARLIEST, LATEST, Instant
from backctl.infrastructure.sql.tables import login_failures as table

_SWEPT: Final = 100  # expired rows that one login deletes: more than it adds, but few enough to be fast

# Creates a missing row and locks an existing one, even while another transaction deletes it. Both databases accept
# this SQL; SQLAlchemy would need a different form for each.
_LOCK: Final = text(
    "INSERT INTO login_failures (key, recent, expires_at) VALUES (:key, '[]', 0) "
    "ON CONFLICT (key) DO UPDATE SET expires_at = login_failures.expires_at"
)


class SqlLoginFailures:
    """Locks a row when it reads it, so that no concurrent failure is lost."""

    def __init__(self, connection: Callable[[], Connection]) -> None:
        self._connection = connection

    def of(self, key: str) -> RecentFailures:
        connection = self._connection()
        connection.execute(_LOCK, {"key": key})
        row = connection.execute(select(table.c.recent, table.c.locked_until).where(table.c.key == key)).one()
        return _read(row.recent, row.locked_until)

    def keep(self, key: str, failures: RecentFailures, *, now: Instant) -> None:
        expires_at = failures.expires_at()
        connection = self._connection()
        connection.execute(
            update(table)
            .where(table.c.key == key)
            .values(
                recent=dumps(list(map(int, failures.at))),
                locked_until=None if failures.locked_until is None else int(failures.locked_until),
                expires_at=int(now if expires_at is None else expires_at),
            )
        )
        expired = select(table.c.key).where(table.c.expires_at <= int(now), table.c.key != key)
        # Skip locked rows: waiting for one while holding another can deadlock.
        expired = expired.order_by(table.c.expires_at).limit(_SWEPT).with_for_update(skip_locked=True)
        connection.execute(delete(table).where(table.c.key.in_(expired)))

    def forget(self, key: str) -> None:
        self._connection().execute(delete(table).where(table.c.key == key))


def _read(recent: object, locked_until: object) -> RecentFailures:
    # Anyone who can write an SQLite file can change these values.
    try:
        match loads(recent) if isinstance(recent, str) else None, locked_until:
            case [*times], int() | None if all(_is_moment(time) for time in times):
                return RecentFailures(
                    tuple(map(Instant, times)), None if locked_until is None else Instant(locked_until)
                )
    except (ValueError, RecursionError):
        pass
    raise DatabaseUnusable(
        "the count of failed logins contains invalid data",
        hint="restore the database from a backup, or give the account a new password",
    )


def _is_moment(time: object) -> bool:
    return type(time) is int and EARLIEST <= time <= LATEST
