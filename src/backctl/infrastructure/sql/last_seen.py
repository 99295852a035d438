"""Writes when accounts and sessions were last seen: the built-in writer of write-behind."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from backctl.domain.errors import InvalidCacheEntry
from backctl.domain.quoting import quoted
from backctl.domain.values import EARLIEST, LATEST, is_uuid
from backctl.infrastructure.sql.engine import dialect_of

NAME: Final = "last_seen"
VERSION: Final = 1

_STEP: Final = 5_000
"""How many rows one statement writes."""

# Locks the rows in the order of their ids. Skips ids that do not exist. The earlier of two times never replaces the
# later one. Does not lock the parents, so that it does not wait for changes of accounts that were seen before. A parent
# that is deleted at the same time violates the foreign key, and is skipped at the next attempt.
_SAVE: Final = """
INSERT INTO {table} ({column}, at) SELECT p.id, given.at FROM {given} JOIN {parent} p ON p.id = given.id
WHERE 1 = 1 ORDER BY p.id
ON CONFLICT ({column}) DO UPDATE SET at = excluded.at WHERE {table}.at < excluded.at
"""
_TABLES: Final = {"user": ("seen_accounts", "user_id", "users"), "session": ("seen_sessions", "session_id", "sessions")}


def write_last_seen(connection: Connection, updates: Mapping[str, Any]) -> None:
    """Write the times of `user:ID` and `session:ID`, in microseconds since 1970. Ignores unknown ids.

    Raises InvalidCacheEntry for another key, or a value that is not such a time.
    """
    times: dict[str, dict[str, int]] = {kind: {} for kind in _TABLES}
    for key, value in updates.items():
        kind, ident = parsed_key(key)
        at = checked_time(value)
        times[kind][ident] = max(at, times[kind].get(ident, at))
    for kind, found in times.items():
        rows = sorted(found.items())
        for start in range(0, len(rows), _STEP):
            _save(connection, kind, rows[start : start + _STEP])


def parsed_key(key: str) -> tuple[str, str]:
    """Return what a key names, `user` or `session`, and its id. Raises InvalidCacheEntry."""
    kind, _, ident = key.partition(":")
    if kind not in _TABLES or not is_uuid(ident):
        raise InvalidCacheEntry(f"{quoted(key)} cannot be a key of {NAME}", hint="use 'user:ID' or 'session:ID'")
    return kind, ident.lower()


def checked_time(value: object) -> int:
    """Return a time in microseconds since 1970. Raises InvalidCacheEntry."""
    if not isinstance(value, int) or isinstance(value, bool) or not EARLIEST <= value <= LATEST:
        raise InvalidCacheEntry(f"{quoted(str(value))} is not a time", hint="use microseconds since 1970")
    return int(value)


def _save(connection: Connection, kind: str, rows: Sequence[tuple[str, int]]) -> None:
    dialect = dialect_of(connection)
    table, column, parent = _TABLES[kind]
    given, values = dialect.given({"id": "uuid", "at": "bigint"}, rows)
    statement = _SAVE.format(table=table, column=column, parent=parent, given=given)
    connection.exec_driver_sql(statement, values)
