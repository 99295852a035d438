"""The accounts in every measured installation, and how they are inserted.

`python -m benchmarks.seeding backctl|django FILE|URL COUNT` bypasses the domain and the event log, which only a
benchmark may do. A million rows take seconds, because nothing is hashed, logged or synced for each of them.
"""

import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backctl.domain.values import Instant

_BEGINNING = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z in µs; account n was created n seconds later
_SECOND = 1_000_000
_DOMAIN = "example.org"
HASH = "$2b$12$" + "." * 22 + "a" * 31  # has the form of a bcrypt hash; no password is ever checked here


@dataclass(frozen=True, slots=True)
class Account:
    """A seeded account. The first is an administrator, every tenth of the others a moderator."""

    number: int

    @property
    def id(self) -> str:
        """A UUIDv7 (RFC 9562 §5.7) with the time of the account and its number in place of random bits."""
        milliseconds = self.created_at // 1000
        digits = f"{milliseconds:012x}7000{0x8000_0000_0000_0000 + self.number:016x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    @property
    def email(self) -> str:
        return f"person{self.number}@{_DOMAIN}"

    @property
    def username(self) -> str:
        return f"person{self.number}"

    @property
    def role(self) -> str:
        if self.number == 0:
            return "admin"
        return "moderator" if self.number % 10 == 0 else "user"

    @property
    def created_at(self) -> int:
        return _BEGINNING + self.number * _SECOND

    @property
    def created(self) -> str:
        return Instant(self.created_at).isoformat()


def accounts(count: int) -> Iterator[Account]:
    return map(Account, range(count))


def seed_backctl(database: Path, users: int) -> None:
    rows = (
        (a.id, a.email, a.email, _DOMAIN, a.username, a.username, HASH, a.role, a.created_at, a.created_at)
        for a in accounts(users)
    )
    with sqlite3.connect(database, isolation_level=None) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")  # in KiB; the five indexes grow at random places
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO users (id, email, email_key, email_domain, username, username_key, password_hash, role,"
            " is_active, expires_at, must_change_password, mfa_state, created_at, updated_at, version)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, NULL, 0, 'off', ?, ?, 1)",
            rows,
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def seed_django(database: Path, users: int) -> None:
    rows = (
        (
            "bcrypt$" + HASH,
            a.role == "admin",
            a.username,
            a.email,
            a.role != "user",
            datetime.fromtimestamp(a.created_at / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        )
        for a in accounts(users)
    )
    with sqlite3.connect(database) as connection:
        connection.executemany(
            "INSERT INTO auth_user (password, last_login, is_superuser, username, last_name, email, is_staff,"
            " is_active, date_joined, first_name) VALUES (?, NULL, ?, ?, '', ?, ?, 1, ?, '')",
            rows,
        )
    connection.close()


def seed_server(url: str, users: int) -> None:
    """Insert the accounts into backctl's tables on PostgreSQL."""
    import psycopg

    columns = (
        "id, email, email_key, email_domain, username, username_key, password_hash, role, is_active, "
        "must_change_password, mfa_state, created_at, updated_at, version"
    )
    with psycopg.connect(url) as connection:
        with connection.cursor().copy(f"COPY users ({columns}) FROM STDIN") as copy:
            for a in accounts(users):
                keys = (a.id, a.email, a.email, _DOMAIN, a.username, a.username, HASH, a.role)
                copy.write_row((*keys, True, False, "off", a.created_at, a.created_at, 1))
        connection.execute("ANALYZE users")


def seed_django_server(url: str, users: int) -> None:
    import psycopg

    columns = "password, is_superuser, username, last_name, email, is_staff, is_active, date_joined, first_name"
    with psycopg.connect(url) as connection:
        with connection.cursor().copy(f"COPY auth_user ({columns}) FROM STDIN") as copy:
            for a in accounts(users):
                joined = datetime.fromtimestamp(a.created_at / 1e6, UTC)
                rank = a.role == "admin", a.username, "", a.email, a.role != "user"
                copy.write_row(("bcrypt$" + HASH, *rank, True, joined, ""))
        connection.execute("ANALYZE auth_user")


if __name__ == "__main__":
    if sys.argv[2].startswith("postgresql:"):
        {"backctl": seed_server, "django": seed_django_server}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
    else:
        {"backctl": seed_backctl, "django": seed_django}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
