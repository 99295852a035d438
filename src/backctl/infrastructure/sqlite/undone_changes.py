"""Compares a copy of a database with the database that it will replace: which changes of accounts would be undone."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backctl.application.database_views import Lost, RestoredAccount
from backctl.domain.values import EARLIEST, LATEST, Instant, UserId
from backctl.infrastructure.sqlite.connection import connect

_NAMED: Final = 20
"""How many of the lost accounts to name."""

_INCOMPARABLE: Final = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR}
"""What SQLite answers for a damaged database, and for one without the tables and columns of this revision."""

# A code that was used or replaced in the other database must not become valid again.
_FIND_CODES: Final = """
CREATE TEMP TABLE spent AS SELECT user_id, digest FROM main.recovery_codes AS ours
WHERE used_at IS NULL AND user_id IN (SELECT user_id FROM replaced.recovery_codes) AND NOT EXISTS (
    SELECT 1 FROM replaced.recovery_codes AS other
    WHERE other.user_id = ours.user_id AND other.digest = ours.digest AND other.used_at IS NULL)
"""
_SPEND_CODES: Final = """
UPDATE main.recovery_codes SET used_at = ? WHERE (user_id, digest) IN (SELECT user_id, digest FROM temp.spent)
"""
_DIFFERENCES: Final = """
SELECT ours.id, ours.username, ours.email, ours.role, ours.is_active, ours.expires_at,
       other.id IS NULL AS deleted, other.role, other.is_active, other.expires_at,
       ours.is_active > other.is_active AS deactivated,
       other.expires_at IS NOT NULL AND coalesce(ours.expires_at > other.expires_at, 1) AS expiry,
       ours.role <> other.role AS another_role,
       other.id IS NOT NULL AND ours.password_hash IS NOT other.password_hash AS another_hash,
       other.mfa_state = 'on'
           AND (ours.mfa_state <> 'on' OR our_factor.enrolled_at IS NOT other_factor.enrolled_at) AS factor,
       ours.id IN (SELECT user_id FROM temp.spent) AS codes
FROM main.users AS ours
LEFT JOIN replaced.users AS other ON other.id = ours.id
LEFT JOIN main.mfa_secrets AS our_factor ON our_factor.user_id = ours.id
LEFT JOIN replaced.mfa_secrets AS other_factor ON other_factor.user_id = ours.id
WHERE deleted OR deactivated OR expiry OR another_role OR another_hash OR factor OR codes
ORDER BY ours.username_key
"""
_LAST: Final = "SELECT max(seq), id FROM {}.events WHERE subject = ? AND type = ?"
_LOST: Final = "FROM replaced.users AS other WHERE NOT EXISTS (SELECT 1 FROM main.users WHERE users.id = other.id)"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The accounts that have access again, and those that are lost: how many, and the first names."""

    accounts: tuple[RestoredAccount, ...]
    lost: int
    lost_names: tuple[str, ...]


def compare(copy: Path, replaced: str, *, now: Instant) -> Comparison | None:
    """Compare the private copy with the database at the URI `replaced`, whose used recovery codes become used in it.

    None, with nothing changed, if that database is damaged or has another schema.
    """
    with closing(connect(copy, timeout_us=0, read_only=False)) as connection:
        connection.execute("PRAGMA temp_store = MEMORY")
        try:
            connection.execute("ATTACH DATABASE ? AS replaced", (replaced,))
            connection.execute("BEGIN")
            connection.execute(_FIND_CODES)
            connection.execute(_SPEND_CODES, (int(now),))
            found = [_account(connection, row) for row in connection.execute(_DIFFERENCES).fetchall()]
            ((lost,),) = connection.execute(f"SELECT count(*) {_LOST}").fetchall()
            names = connection.execute(
                f"SELECT other.username {_LOST} ORDER BY other.username_key LIMIT {_NAMED}"
            ).fetchall()
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in _INCOMPARABLE:
                raise
            return None
    accounts = tuple(account for account in found if account.undone)
    return Comparison(accounts, int(lost), tuple(str(name) for (name,) in names))


def _account(connection: sqlite3.Connection, row: Sequence[Any]) -> RestoredAccount:
    id_, username, email, role, active, expires, deleted, their_role, their_active, their_expires, *changes = row
    deactivated, expiry, another_role, another_hash, factor, codes = changes
    undone: dict[Lost, object] = {
        "deleted": deleted,
        "deactivated": deactivated,
        "expiry": expiry,
        "role": another_role,
        "password": another_hash and not _is_same_password(connection, id_),
        "second_factor": factor,
        "recovery_codes": codes,
    }
    return RestoredAccount(
        id=UserId(id_),
        username=str(username),
        email=str(email),
        undone=tuple(name for name, is_undone in undone.items() if is_undone),
        role=str(role),
        is_active=active == 1,
        expires_at=_moment(expires),
        previous_role=None if deleted else str(their_role),
        previously_active=None if deleted else their_active == 1,
        previous_expires_at=_moment(their_expires),
    )


def _is_same_password(connection: sqlite3.Connection, user_id: str) -> bool:
    """Whether the hashes differ because a login has stored the same password with a higher cost."""

    def last(database: str, kind: str) -> object:
        return connection.execute(_LAST.format(database), (user_id, kind)).fetchone()[1]

    return last("main", "UserPasswordChanged") == last("replaced", "UserPasswordChanged") and last(
        "main", "UserPasswordRehashed"
    ) != last("replaced", "UserPasswordRehashed")


def _moment(stored: object) -> Instant | None:
    return Instant(stored) if type(stored) is int and EARLIEST <= stored <= LATEST else None
