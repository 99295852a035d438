"""The minimum: the driver of the standard library, one statement, and one dictionary per row."""

import json
import sqlite3
import sys
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = (
    "id, email, username, role, is_active, password_hash, must_change_password, mfa_state, expires_at, created_at,"
    " updated_at, version"
)


def main(database: str, verb: str, ident: str = "") -> None:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    if verb == "show":
        row = connection.execute(f"SELECT {_COLUMNS} FROM users WHERE username_key = ?", (ident,)).fetchone()
        print(json.dumps(_view(row)))
    elif verb == "list":
        rows = connection.execute(f"SELECT {_COLUMNS} FROM users ORDER BY created_at, id LIMIT 50")
        print(json.dumps({"items": [_view(row) for row in rows], "next_cursor": None}))
    else:
        for row in connection.execute(f"SELECT {_COLUMNS} FROM users ORDER BY created_at, id"):
            print(json.dumps(_view(row)))


def _view(row: tuple[object, ...]) -> dict[str, object]:
    uuid, email, username, role, is_active, digest, must_change, mfa, expires_at, created_at, updated_at, version = row
    return {
        "id": uuid,
        "email": email,
        "username": username,
        "role": role,
        "is_active": bool(is_active),
        "has_password": digest is not None,
        "must_change_password": bool(must_change),
        "mfa": mfa,
        "expires_at": _rfc3339(expires_at),
        "created_at": _rfc3339(created_at),
        "updated_at": _rfc3339(updated_at),
        "version": version,
    }


def _rfc3339(microseconds: object) -> str | None:
    if not isinstance(microseconds, int):
        return None
    return (_EPOCH + timedelta(microseconds=microseconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


main(*sys.argv[1:])
