"""Rules for exports from every database: the matching accounts by id, with their secrets only if asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from tests.contracts.conftest import START, Store, a_user
from tests.contracts.test_reader import CRITERIA, fits, on_one_database, populations, refill

from backctl.application.ports.storage import Reader
from backctl.application.transfer import record
from backctl.domain.errors import DatabaseDamaged
from backctl.domain.mfa import NEVER_USED, Enrolment
from backctl.domain.one_time_codes import TotpSettings
from backctl.domain.repositories import EVERY_USER, UserCriteria
from backctl.domain.user import User
from backctl.domain.values import Identity, Instant, PasswordHash

ENROLMENT = Enrolment("bk1.encrypt-1.c2VhbGVk", "encrypt-1", TotpSettings("sha256", 8, 60), enrolled_at=START)

on_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


def exported(
    reader: Reader, criteria: UserCriteria = EVERY_USER, *, hashes: bool = False, factors: bool = False
) -> list[dict[str, Any]]:
    """Return the exported accounts as objects; the member `factor` is the second factor."""
    names, found = record.members(hashes=hashes), list[dict[str, Any]]()
    for block in reader.export_accounts(criteria, hashes=hashes, factors=factors):
        rows = [dict(zip(names, row, strict=True)) for row in zip(*block.columns, strict=True)]
        if factors:
            rows = [row | {"factor": factor} for row, factor in zip(rows, block.factors, strict=True)]
        else:
            assert not block.factors
        found += rows
    return found


def members_of(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "email": user.email.address,
        "username": user.username.name,
        "role": user.role,
        "is_active": user.is_active,
        "expires_at": user.expires_at,
        "must_change_password": user.must_change_password,
        "last_login_at": user.last_login_at,
        "created_at": user.created_at,
        "updated_at": user.updated_at,
        "version": user.version,
    }


def hashes_of(user: User) -> dict[str, object]:
    stored = user.password_hash
    return {
        "password_hash": None if stored is None else stored.encoded,
        "password_imported": stored is not None and stored.imported,
    }


def give_factor(store: Store, user: User, enrolment: Enrolment, *, confirm: bool) -> None:
    with store.work() as work:
        found = work.users.get(Identity("id", user.id))
        found.enroll_mfa(algorithm="sha256", digits=8, period=60, now=START)
        if confirm:
            found.confirm_mfa(now=START)
        work.second_factors.enroll(user.id, enrolment)
        work.commit()


def of(users: Sequence[User], criteria: UserCriteria) -> Iterator[User]:
    return iter(sorted((user for user in users if fits(user, criteria)), key=lambda user: user.id))


@on_one_database
@given(users=populations(), criteria=CRITERIA, imported=st.booleans())
def test_an_export_has_what_a_plain_filter_finds(
    store: Store, users: list[User], criteria: UserCriteria, imported: bool
) -> None:
    for user in users:
        if user.password_hash is not None:
            user.password_hash = PasswordHash(user.password_hash.encoded, imported)
    refill(store, users)
    reader = store.open_reader()
    assert exported(reader, criteria) == [members_of(user) for user in of(users, criteria)]
    wanted = [members_of(user) | hashes_of(user) for user in of(users, criteria)]
    assert exported(reader, criteria, hashes=True) == wanted
    with_factors = exported(reader, criteria, hashes=True, factors=True)
    assert [{**row, "factor": row["factor"][0]} for row in with_factors] == [
        row | {"factor": user.mfa_state} for row, user in zip(wanted, of(users, criteria), strict=True)
    ]


def test_values_have_the_types_of_the_record(store: Store) -> None:
    user = a_user()
    user.expires_at = user.last_login_at = START
    store.add(user)
    (found,) = exported(store.open_reader(), hashes=True)
    wanted = {"text": str, "flag": bool, "time": int, "number": int}
    assert {name: type(value) for name, value in found.items()} == {
        name: wanted[record.KINDS[name]] for name in record.members(hashes=True)
    }


def test_second_factors_come_with_their_encrypted_secrets(store: Store) -> None:
    names = ("none", "new", "used")
    users = [a_user(name) for name in names]
    store.add(*users)
    used = replace(ENROLMENT, confirmed_at=START.plus(5), last_used_step=55)
    give_factor(store, users[1], ENROLMENT, confirm=False)
    give_factor(store, users[2], used, confirm=True)
    found = exported(store.open_reader(), factors=True)
    assert [(row["username"], row["factor"]) for row in found] == [
        ("none", ("off", None)),
        ("new", ("pending", ENROLMENT)),
        ("used", ("on", used)),
    ]
    assert ENROLMENT.last_used_step == NEVER_USED
    assert [type(time) for time in (found[2]["factor"][1].enrolled_at, found[2]["factor"][1].confirmed_at)] == [
        Instant,
        Instant,
    ]


def test_blocks_are_in_order_and_complete(store: Store) -> None:
    store.add(*(a_user(f"user{number}") for number in range(2500)))
    sizes, ids = list[int](), list[str]()
    for block in store.open_reader().export_accounts(EVERY_USER, hashes=True, factors=True):
        sizes.append(len(block.columns[0]))
        ids += map(str, block.columns[0])
        assert {len(column) for column in (*block.columns, block.factors)} == {sizes[-1]}
    assert sum(sizes) == 2500
    assert max(sizes) <= 1000
    assert all(before < after for before, after in pairwise(ids))


def test_an_export_shows_the_moment_it_began(store: Store) -> None:
    store.add(*(a_user(f"user{number}") for number in range(1500)))
    blocks = store.open_reader().export_accounts(EVERY_USER, hashes=False, factors=False)
    first = next(blocks)
    store.add(a_user("late"))
    store.change("user1499", lambda user: user.deactivate(now=START))
    rest = list(blocks)
    assert sum(len(block.columns[0]) for block in (first, *rest)) == 1500
    assert all(all(block.columns[record.ACCOUNT.index("is_active")]) for block in rest)


def test_an_export_left_in_the_middle_holds_nobody_up(store: Store) -> None:
    store.add(*(a_user(f"user{number}") for number in range(1500)))
    reader = store.open_reader()
    blocks = reader.export_accounts(EVERY_USER, hashes=False, factors=False)
    next(blocks)
    assert hasattr(blocks, "close")
    blocks.close()
    store.add(a_user("late"))
    assert reader.count_users(EVERY_USER) == 1501


@on_sqlite
@pytest.mark.parametrize("name", record.members(hashes=True))
@pytest.mark.parametrize("value", ["x'ff00'", "'zzz'", "9223372036854775807", "1.5"])
def test_an_impossible_value_names_its_row(store: Store, name: str, value: str) -> None:
    users = [a_user(f"user{number}") for number in range(5)]
    store.add(*users)
    with store.engine.connect() as connection:
        connection.execute(text("PRAGMA ignore_check_constraints = ON"))
        connection.execute(text(f"UPDATE users SET {name} = {value} WHERE username = 'user3'"))
        (stored,) = connection.execute(text(f"SELECT {name} FROM users WHERE username_key = 'user3'")).one()
        connection.commit()
    impossible = {
        "text": not isinstance(stored, str) or name == "id",
        "flag": True,
        "time": True,
        "number": not isinstance(stored, int),
    }[record.KINDS[name]]
    if not impossible:
        assert exported(store.open_reader(), hashes=True)[3][name] == stored
        return
    with pytest.raises(DatabaseDamaged, match="table users, row") as damage:
        exported(store.open_reader(), hashes=True)
    if name != "id":
        assert f"row '{users[3].id}': the column {name} contains" in damage.value.message


@on_sqlite
@pytest.mark.parametrize("name", ["secret", "kid", "algorithm", "digits", "period", "enrolled_at", "last_used_step"])
@pytest.mark.parametrize("value", ["x'ff00'", "9223372036854775807", "1.5"])
def test_an_impossible_second_factor_names_its_row(store: Store, name: str, value: str) -> None:
    user = a_user()
    store.add(user)
    give_factor(store, user, ENROLMENT, confirm=True)
    with store.engine.connect() as connection:
        connection.execute(text("PRAGMA ignore_check_constraints = ON"))
        connection.execute(text(f"UPDATE mfa_secrets SET {name} = {value}"))
        (stored,) = connection.execute(text(f"SELECT {name} FROM mfa_secrets")).one()
        connection.commit()
    reader = store.open_reader()
    if isinstance(stored, str) and name in ("secret", "kid"):
        assert exported(reader, factors=True)[0]["factor"][0] == "on"
        return
    if name == "last_used_step" and isinstance(stored, int):
        stored_step = exported(reader, factors=True)[0]["factor"][1].last_used_step
        assert stored_step == stored
        return
    with pytest.raises(DatabaseDamaged, match="table mfa_secrets, row"):
        exported(reader, factors=True)
    assert len(exported(reader, hashes=True)) == 1  # the factor is not read
