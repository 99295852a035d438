"""Many rows are inserted without SQLAlchemy's work on each value, and are stored like single rows."""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Connection, Table, insert
from sqlalchemy.exc import IntegrityError
from tests.contracts.conftest import Store, a_user, new_id

from backctl.domain.audit import RecordedEvent
from backctl.domain.errors import TransactionAborted, UserChangedMeanwhile
from backctl.domain.repositories import AccountKeys
from backctl.domain.user import User
from backctl.domain.values import EmailAddress, Identity, Instant, UserId, Username
from backctl.infrastructure.sql import tables
from backctl.infrastructure.sql.engine import insert_many
from backctl.infrastructure.sql.tables import UserRow
from backctl.infrastructure.sql.user_repository import _columns

ROWS = 25
"""More than 20 rows are inserted together."""

USERS: Table = UserRow.__table__  # type: ignore[attr-defined]  # SQLModel's classes do not declare it
TEXTS = [
    "",
    "\\",
    "\\N",
    "\\.",
    "a\tb",
    "a\nb\r\n",
    "'\"",
    "%s ? :x {}",
    "é\u2028\U0001f600",
    "\x01\x7f",
    "null",
    " a ",
]
Rows = list[tuple[Any, ...]]


def a_text(chance: random.Random, least: int = 0) -> str:
    text = "".join(chance.choice(TEXTS) for _ in range(chance.randrange(4)))
    return text + "x" * (least - len(text))


def maybe(chance: random.Random, value: object) -> object:
    return value if chance.random() < 0.7 else None


def user_rows(chance: random.Random, _: Sequence[str]) -> tuple[tuple[str, ...], Rows]:
    rows = []
    for number in range(ROWS):
        created = chance.randrange(-(10**16), 10**16)
        email, name = f"{number}{a_text(chance, 3)}"[:254], f"{number}{a_text(chance, 3)}"[:50]
        rows.append(
            {
                "id": new_id(),
                "email": email,
                "email_key": email,
                "email_domain": a_text(chance),
                "username": name,
                "username_key": name,
                "password_hash": maybe(chance, a_text(chance)),
                "role": a_text(chance)[:50],
                "is_active": chance.random() < 0.5,
                "expires_at": maybe(chance, created),
                "must_change_password": chance.random() < 0.5,
                "mfa_state": chance.choice(["off", "pending", "on"]),
                "created_at": created,
                "updated_at": created + chance.randrange(10**16),
                "version": chance.choice([1, 2**52, 2**63 - 1]),
                "password_imported": chance.random() < 0.5,
                "last_login_at": maybe(chance, -created),
            }
        )
    return tuple(rows[0]), [tuple(row.values()) for row in rows]


def event_rows(chance: random.Random, _: Sequence[str]) -> tuple[tuple[str, ...], Rows]:
    rows: Rows = []
    for number in range(ROWS):
        data = maybe(chance, a_text(chance))
        rows.append(
            RecordedEvent(
                seq=1_000 + number,
                id=new_id(),
                occurred_at=chance.randrange(-(2**53), 2**53),
                type=a_text(chance)[:64],
                subject=a_text(chance),
                actor=chance.choice(['{"label": "a\\tb", "os_user": "root", "host": "h"}', a_text(chance)]),
                reason=maybe(chance, a_text(chance)),  # type: ignore[arg-type]  # a text
                trace_id=maybe(chance, a_text(chance)),  # type: ignore[arg-type]  # a text
                audit_kid=a_text(chance)[:64],
                data=data,  # type: ignore[arg-type]  # a text
                salt=None if data is None else chance.randbytes(16),
                data_digest=chance.randbytes(32),
                mac=bytes(range(number, number + 32)),
            )
        )
    return RecordedEvent._fields, rows


def factor_rows(chance: random.Random, ids: Sequence[str]) -> tuple[tuple[str, ...], Rows]:
    columns = tuple(column.name for column in tables.mfa_secrets.columns)
    rows = [
        {
            "user_id": user_id,
            "secret": a_text(chance),
            "kid": a_text(chance)[:64],
            "algorithm": chance.choice(["sha1", "sha256", "sha512"]),
            "digits": chance.randrange(6, 9),
            "period": chance.randrange(15, 60),
            "enrolled_at": chance.randrange(-(10**16), 10**16),
            "confirmed_at": maybe(chance, 5),
            "last_used_step": chance.choice([-1, 0, 2**40]),
        }
        for user_id in ids
    ]
    return columns, [tuple(row[name] for name in columns) for row in rows]


def stored(connection: Connection, table: Table, key: str) -> list[tuple[Any, ...]]:
    """Return the values of the driver, including the columns that the database computes."""
    rows = connection.exec_driver_sql(f"SELECT * FROM {table.name} ORDER BY {key}").all()
    return [tuple((type(value), value) for value in row) for row in rows]


@pytest.mark.parametrize(
    ("table", "key", "make"),
    [(USERS, "id", user_rows), (tables.events, "seq", event_rows), (tables.mfa_secrets, "user_id", factor_rows)],
    ids=["users", "events", "mfa_secrets"],
)
def test_many_rows_are_stored_like_single_ones(
    store: Store,
    table: Table,
    key: str,
    make: Callable[[random.Random, Sequence[str]], tuple[tuple[str, ...], Rows]],
) -> None:
    users = [a_user(f"user{number}") for number in range(ROWS)]
    store.add(*users)
    for seed in range(8):
        columns, rows = make(random.Random(seed), [user.id for user in users])
        assert set(columns) == {column.name for column in table.columns if column.computed is None}
        found = []
        for many in (False, True):
            with store.work() as work:
                connection = work.session.connection()
                if many:
                    insert_many(connection, table, columns, rows)
                else:
                    for row in rows:
                        connection.execute(insert(table), dict(zip(columns, row, strict=True)))
                found.append(stored(connection, table, key))
        assert found[0] == found[1]
        assert len(found[0]) >= ROWS


@pytest.mark.parametrize("count", [2, ROWS])
@pytest.mark.parametrize("fault", ["repeated", "impossible"])
def test_a_violated_constraint_is_an_integrity_error(store: Store, count: int, fault: str) -> None:
    columns, rows = user_rows(random.Random(1), ())
    bad = list(rows[0])
    if fault == "impossible":
        bad[columns.index("version")] = 0
    with store.work() as work, pytest.raises(IntegrityError):
        insert_many(work.session.connection(), USERS, columns, [*rows[1:count], rows[0], tuple(bad)])


# The repository.


def imported(name: str, **changes: Any) -> User:
    values: dict[str, Any] = {
        "id": UserId(new_id()),
        "email": EmailAddress.of(f"{name}@example.org"),
        "username": Username.parse(name),
        "password_hash": None,
        "role": "user",
        "is_active": True,
        "expires_at": None,
        "must_change_password": False,
        "mfa_state": "off",
        "last_login_at": None,
        "created_at": Instant(-1),
        "updated_at": Instant(0),
        "version": 3,
    }
    return User.import_(**(values | changes))


def keys_of(user: User) -> AccountKeys:
    return AccountKeys(user.id, user.email.key, user.username.key)


@pytest.mark.parametrize("count", [1, 20, 21, 60])
def test_accounts_added_together_are_those_added_one_by_one(store: Store, count: int) -> None:
    users = [imported(f"user{number}", role="admin" if number % 2 else "user") for number in range(count)]
    with store.work() as work:
        work.users.add_all(users)
        work.users.add_all([])
        assert work.users.lock_administrators() == sorted(users[1::2], key=lambda user: user.id)
        work.commit()
    assert [event.event.subject for event in work.committed] == [user.id for user in users]
    with store.work() as work:
        for user in users:
            again = work.users.get(Identity("id", user.id))
            assert _columns(again) == _columns(user)
            assert (again.version, user.is_stored, user.take_events()) == (3, True, [])
            again.assign_role("moderator", now=Instant(0))
        work.commit()
    assert {event.event.version for event in work.committed} == {4}


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("same", ["id", "email", "username"])
def test_adding_what_exists_aborts_the_transaction(store: Store, count: int, same: str) -> None:
    users = [imported(f"user{number}") for number in range(count)]
    store.add(a_user("other", **{same: getattr(users[-1], same)}))
    with store.work() as work, pytest.raises(TransactionAborted, match="at the same time"):
        work.users.add_all(users)


def test_the_holders_of_keys(store: Store) -> None:
    ada, bob = a_user("ada"), a_user("bob")
    store.add(ada, bob, a_user("eve"))
    nobody = imported("nobody")
    mixed = AccountKeys(ada.id, bob.email.key, "eve")
    with store.work() as work:
        work.users.lock_holders([])
        assert work.users.holders(keys_of(ada)) == (None, None, None)  # nobody has asked for them yet
        work.users.lock_holders(
            [keys_of(nobody), mixed, AccountKeys(None, None, None), AccountKeys(ada.id, None, None)]
        )
        by_id, by_email, by_username = work.users.holders(mixed)
        assert [user and user.username.name for user in (by_id, by_email, by_username)] == ["ada", "bob", "eve"]
        assert work.users.holders(keys_of(nobody)) == (None, None, None)
        assert work.users.holders(AccountKeys(None, None, None)) == (None, None, None)
        assert by_id is work.users.get(Identity.parse("ada"))
        assert by_id is not None
        by_id.rename(Username.parse("lovelace"), now=store.now)
        work.write()
        assert work.users.holders(AccountKeys(None, None, "lovelace")).by_username is by_id
        assert work.users.holders(keys_of(ada)) == (by_id, by_id, None)
        assert by_email is not None
        work.users.remove(by_email)
        assert work.users.holders(keys_of(bob)) == (None, None, None)


def test_the_holders_after_a_failed_attempt(store: Store) -> None:
    """Its changes are undone, and its locks released, so the account is read again."""
    ada = a_user("ada")
    store.add(ada)
    with store.work() as work:
        work.users.lock_holders([keys_of(ada), AccountKeys(None, None, "lovelace")])
        first = work.users.holders(keys_of(ada)).by_id
        assert first is not None
        with suppress(UserChangedMeanwhile), work.attempt():
            work.users.get(Identity("id", ada.id)).rename(Username.parse("lovelace"), now=store.now)
            work.write()
            raise UserChangedMeanwhile("no")
        work.write()
        by_id, by_email, by_username = work.users.holders(keys_of(ada))
        assert by_id is by_email is by_username
        assert by_id is not None
        assert by_id is not first
        assert by_id.username.name == "ada"
        assert work.users.holders(AccountKeys(None, None, "lovelace")).by_username is None
