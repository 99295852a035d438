"""SQLAlchemy without its ORM: a table, a select, plain rows."""

import json
import sys
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, Row, String, Table, create_engine, select

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_users = Table(
    "users",
    MetaData(),
    Column("id", String, primary_key=True),
    Column("email", String),
    Column("username", String),
    Column("username_key", String),
    Column("role", String),
    Column("is_active", Boolean),
    Column("password_hash", String),
    Column("must_change_password", Boolean),
    Column("mfa_state", String),
    Column("expires_at", BigInteger),
    Column("created_at", BigInteger),
    Column("updated_at", BigInteger),
    Column("version", Integer),
)
_account = select(
    *(_users.c[name] for name in ("id", "email", "username", "role", "is_active")),
    _users.c.password_hash.is_not(None).label("has_password"),
    _users.c.must_change_password,
    _users.c.mfa_state.label("mfa"),
    *(_users.c[name] for name in ("expires_at", "created_at", "updated_at", "version")),
)


def main(database: str, verb: str, ident: str = "") -> None:
    with create_engine(f"sqlite:///{database}").connect() as connection:
        if verb == "show":
            row = connection.execute(_account.where(_users.c.username_key == ident)).one()
            print(json.dumps(_view(row)))
            return
        rows = connection.execute(_account.order_by(_users.c.created_at, _users.c.id).limit(50))
        print(json.dumps({"items": [_view(row) for row in rows], "next_cursor": None}))


def _view(row: Row[*tuple[object, ...]]) -> dict[str, object]:
    times = {name: _rfc3339(getattr(row, name)) for name in ("expires_at", "created_at", "updated_at")}
    return row._asdict() | times


def _rfc3339(microseconds: int | None) -> str | None:
    if microseconds is None:
        return None
    return (_EPOCH + timedelta(microseconds=microseconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


main(*sys.argv[1:])
