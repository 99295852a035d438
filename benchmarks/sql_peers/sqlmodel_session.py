"""SQLModel as its tutorial shows it: a table model, an engine, a session."""

import json
import sys
from datetime import UTC, datetime, timedelta

from sqlmodel import Field, Session, SQLModel, create_engine, select

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class User(SQLModel, table=True):
    __tablename__ = "users"

    id: str = Field(primary_key=True)
    email: str
    username: str
    username_key: str
    role: str
    is_active: bool
    password_hash: str | None
    must_change_password: bool
    mfa_state: str
    expires_at: int | None
    created_at: int
    updated_at: int
    version: int

    def view(self) -> dict[str, object]:
        return {
            "id": self.id,
            "email": self.email,
            "username": self.username,
            "role": self.role,
            "is_active": self.is_active,
            "has_password": self.password_hash is not None,
            "must_change_password": self.must_change_password,
            "mfa": self.mfa_state,
            "expires_at": _rfc3339(self.expires_at),
            "created_at": _rfc3339(self.created_at),
            "updated_at": _rfc3339(self.updated_at),
            "version": self.version,
        }


def main(database: str, verb: str, ident: str = "") -> None:
    with Session(create_engine(f"sqlite:///{database}")) as session:
        if verb == "show":
            print(json.dumps(session.exec(select(User).where(User.username_key == ident)).one().view()))
            return
        users = session.exec(select(User).order_by(User.created_at, User.id).limit(50))  # type: ignore[arg-type]  # SQLModel types columns as their values
        print(json.dumps({"items": [user.view() for user in users], "next_cursor": None}))


def _rfc3339(microseconds: int | None) -> str | None:
    if microseconds is None:
        return None
    return (_EPOCH + timedelta(microseconds=microseconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


main(*sys.argv[1:])
