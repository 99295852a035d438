"""Stores recent failed logins, on the connection of one transaction."""

from collections.abc import Callable
from json import dumps, loads
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, func, select, text, update

from backctl.domain.errors import DatabaseDamaged
from backctl.domain.lockout import RecentFailures
from backctl.domain.quoting import quoted
from backctl.domain.values import EARLIEST, LATEST, Instant
from backctl.infrastructure.sql.rows import lock_end
from backctl.infrastructure.sql.tables import login_failures as table

_SWEPT: Final = 100  # expired rows that one login deletes: more than it adds, but few enough to be fast
_DIGEST_LENGTH: Final = 64  # the key of an unknown name; the id of an account has 36 characters

# Creates a missing row and locks an existing one, even while another transaction deletes it. Both databases accept
# this SQL; SQLAlchemy would need a different form for each.
_LOCK: Final = text(
    "INSERT INTO login_failures (key, recent, expires_at) VALUES (:key, '[]', 0) "
    "ON CONFLICT (key) DO UPDATE SET expires_at = login_failures.expires_at"
)

_STORED: Final = select(table.c.key, table.c.recent, table.c.locked_until, table.c.refused)
_LOCKED_UNTIL: Final = select(table.c.locked_until).where(table.c.key == bindparam("of_key"))


class SqlLoginFailures:
    """Locks a row when it reads it, so that no concurrent failure is lost."""

    def __init__(self, connection: Callable[[], Connection]) -> None:
        self._connection = connection

    def of(self, key: str) -> RecentFailures:
        failures = _read(self._locked(key))
        if failures is None:
            raise DatabaseDamaged(
                f"table login_failures, row {quoted(key)}: the failed logins contain an impossible value",
                hint="give the account a new password, which deletes the row",
            )
        return failures

    def keep(self, key: str, failures: RecentFailures, *, now: Instant) -> dict[str, RecentFailures]:
        expires_at = failures.expires_at()
        connection = self._connection()
        connection.execute(
            update(table)
            .where(table.c.key == key)
            .values(
                recent=dumps(list(map(int, failures.at))),
                locked_until=None if failures.locked_until is None else int(failures.locked_until),
                refused=failures.refused,
                expires_at=int(now if expires_at is None else expires_at),
            )
        )
        expired = _STORED.where(table.c.expires_at <= int(now), table.c.key != key)
        # Skip locked rows: waiting for one while holding another can deadlock.
        expired = expired.order_by(table.c.expires_at).limit(_SWEPT).with_for_update(skip_locked=True)
        swept = {row.key: _read(row) or RecentFailures() for row in connection.execute(expired)}
        # Also without expired rows, so that every login runs the same statements. No key is empty.
        connection.execute(delete(table).where(table.c.key.in_(list(swept) or [""])))
        return swept

    def locked_until(self, key: str) -> Instant | None:
        return lock_end(self._connection().execute(_LOCKED_UNTIL, {"of_key": key}).scalar())

    def forget(self, key: str) -> RecentFailures:
        failures = _read(self._locked(key)) or RecentFailures()
        self._connection().execute(delete(table).where(table.c.key == key))
        return failures

    def forget_unknown(self) -> None:
        self._connection().execute(delete(table).where(func.length(table.c.key) == _DIGEST_LENGTH))

    def _locked(self, key: str) -> "Row[Any, Any, Any, Any]":
        connection = self._connection()
        connection.execute(_LOCK, {"key": key})
        return connection.execute(_STORED.where(table.c.key == key)).one()


def _read(row: "Row[Any, Any, Any, Any]") -> RecentFailures | None:
    """Return what a row contains; None for invalid data, which anyone can write to an SQLite file."""
    try:
        times = loads(row.recent) if isinstance(row.recent, str) else None
    except (ValueError, RecursionError):
        return None
    lock = () if row.locked_until is None else (row.locked_until,)
    if not isinstance(times, list) or not all(map(_is_moment, (*times, *lock))):
        return None
    if type(row.refused) is not int or row.refused < 0:
        return None
    return RecentFailures(tuple(map(Instant, times)), Instant(lock[0]) if lock else None, row.refused)


def _is_moment(time: object) -> bool:
    return type(time) is int and EARLIEST <= time <= LATEST
