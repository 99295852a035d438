"""Rules for the snapshots that plans are made from, on every database."""

import pytest
from sqlalchemy import text
from tests.contracts.conftest import START, Store, a_user

from backctl.domain.errors import DatabaseDamaged, EmailTaken
from backctl.domain.repositories import EVERY_EVENT, AccountKeys
from backctl.domain.seed import AccountState
from backctl.domain.user import User
from backctl.domain.values import Identity, UserId
from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork

on_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


def add(store: Store, *users: User, seed: str | None = None) -> None:
    with store.work() as work:
        work.users.add_all(users)
        if seed is not None:
            work.label_seeded([user.id for user in users], seed)
        work.commit()


def state_of(user: User, seed: str | None = None) -> AccountState:
    return AccountState(
        user.id,
        user.email.address,
        user.email.key,
        user.username.name,
        user.username.key,
        user.role,
        user.is_active,
        user.expires_at,
        user.password_hash is not None,
        user.mfa_state == "on",
        user.version,
        seed,
    )


def keys_of(user: User) -> AccountKeys:
    return AccountKeys(user.id, user.email.key, user.username.key)


def test_a_snapshot_shows_an_account_as_it_is_stored(store: Store) -> None:
    ada, bob = a_user("Ada"), a_user("bob", password_hash=None, role="admin")
    bob.set_expiry(START.plus(5), now=START)
    bob.enroll_mfa(algorithm="sha1", digits=6, period=30, now=START)
    add(store, ada)
    add(store, bob, seed="ci")
    with store.open_reader().account_snapshot() as snapshot:
        assert sorted(snapshot.holders([keys_of(ada), keys_of(bob)])) == sorted([state_of(ada), state_of(bob, "ci")])
    with store.work() as work:
        found = work.users.get(Identity("id", bob.id))
        found.confirm_mfa(now=START)
        work.commit()
    with store.open_reader().account_snapshot() as snapshot:
        (state,) = snapshot.holders([keys_of(bob)])
    assert state.has_mfa
    assert state.version == bob.version + 1


def test_accounts_are_found_by_each_of_their_keys_once(store: Store) -> None:
    ada, bob, eve = (a_user(name) for name in ("ada", "bob", "eve"))
    add(store, ada, bob, eve)
    asked = [
        AccountKeys(ada.id, None, ada.username.key),
        AccountKeys(None, bob.email.key, None),
        AccountKeys(None, "nobody@example.org", bob.username.key),
        AccountKeys(None, None, None),
    ]
    with store.open_reader().account_snapshot() as snapshot:
        assert sorted(state.id for state in snapshot.holders(asked)) == sorted([ada.id, bob.id])
        assert not list(snapshot.holders([AccountKeys(None, None, None)]))
        assert not list(snapshot.holders([]))


def test_thousands_of_accounts_can_be_asked_for_at_once(store: Store) -> None:
    users = [a_user(f"user{number}") for number in range(2500)]
    add(store, *users)
    with store.open_reader().account_snapshot() as snapshot:
        assert {state.id for state in snapshot.holders(list(map(keys_of, users)))} == {user.id for user in users}


def test_labelled_accounts_are_found_by_the_name_of_their_seed_in_order(store: Store) -> None:
    first, second, third, free = (a_user(name) for name in ("aaa", "bbb", "ccc", "ddd"))
    add(store, third, first, seed="one")
    add(store, second, seed="two")
    add(store, free)
    with store.open_reader().account_snapshot() as snapshot:
        assert [state.id for state in snapshot.seeded_by(["one"])] == sorted([first.id, third.id])
        assert [state.id for state in snapshot.seeded_by(["one", "two"])] == sorted([first.id, second.id, third.id])
        assert not list(snapshot.seeded_by(["On"]))
        assert not list(snapshot.seeded_by([]))


def test_administrators_are_the_active_ones_also_if_expired(store: Store) -> None:
    root, old, closed, user = (a_user(name, role="admin") for name in ("root", "old", "closed", "user"))
    old.set_expiry(START.plus(1), now=START)
    closed.deactivate(now=START)
    user.assign_role("user", now=START)
    store.now = START.plus(1000)
    add(store, root, old, closed, user)
    with store.open_reader().account_snapshot() as snapshot:
        assert [state.id for state in snapshot.administrators()] == sorted([root.id, old.id])


def test_a_snapshot_does_not_see_later_changes(store: Store) -> None:
    ada, bob = a_user("ada"), a_user("bob")
    add(store, ada, seed="ci")
    with store.open_reader().account_snapshot() as snapshot:
        assert [state.id for state in snapshot.seeded_by(["ci"])] == [ada.id]
        add(store, bob, seed="ci")
        with store.work() as work:
            work.users.get(Identity("id", ada.id)).deactivate(now=START)
            work.commit()
        assert list(snapshot.holders([keys_of(ada), keys_of(bob)])) == [state_of(ada, "ci")]
    with store.open_reader().account_snapshot() as snapshot:
        assert len(list(snapshot.seeded_by(["ci"]))) == 2


def test_streams_of_one_snapshot_can_be_read_alternately(store: Store) -> None:
    add(store, a_user("ada"), a_user("bob"), seed="ci")
    with store.open_reader().account_snapshot() as snapshot:
        first, second = iter(snapshot.seeded_by(["ci"])), iter(snapshot.seeded_by(["ci"]))
        assert [next(first).id, next(first).id] == [next(second).id, next(second).id]


def test_an_error_in_its_block_is_not_taken_for_damage_and_releases_the_snapshot(store: Store) -> None:
    reader = store.open_reader()

    def make_a_mistake() -> None:
        with reader.account_snapshot() as snapshot:
            list(snapshot.administrators())
            raise KeyError("a mistake of the caller")

    with pytest.raises(KeyError, match="a mistake"):
        make_a_mistake()
    with reader.account_snapshot() as snapshot:
        assert not list(snapshot.administrators())


def test_an_account_loses_its_label_only_when_it_is_deleted(store: Store) -> None:
    ada = a_user("ada")
    add(store, ada, seed="ci")
    with store.work() as work:
        work.users.get(Identity("id", ada.id)).assign_role("moderator", now=START)
        work.commit()
    with store.open_reader().account_snapshot() as snapshot:
        assert [state.seeded_by for state in snapshot.seeded_by(["ci"])] == ["ci"]
    with store.work() as work:
        found = work.users.get(Identity("id", ada.id))
        work.users.remove(found)
        found.delete(erased=False, now=START)
        work.commit()
    with store.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM seeded_accounts")).scalar_one() == 0


def test_the_label_is_recorded_after_the_creation_in_one_transaction(store: Store) -> None:
    add(store, a_user("ada"), a_user("bob"), seed="ci")
    events = [event for event in store.open_reader().stream_events(EVERY_EVENT) if event.type.startswith("User")]
    assert [event.type for event in events] == ["UserCreated", "UserCreated", "UserSeeded", "UserSeeded"]
    assert [event.data for event in events[2:]] == [{"name": "ci"}] * 2
    assert [event.subject for event in events[:2]] == [event.subject for event in events[2:]]


def test_a_label_is_undone_with_the_attempt_that_gave_it(store: Store) -> None:
    ada, bob = a_user("ada"), a_user("bob")

    def fail(work: SqlUnitOfWork) -> None:
        with work.attempt():
            work.users.add(ada)
            work.label_seeded([ada.id], "ci")
            work.users.add(a_user("other", email=ada.email))

    with store.work() as work:
        with pytest.raises(EmailTaken):
            fail(work)
        work.users.add(bob)
        work.label_seeded([bob.id], "ci")
        work.commit()
    reader = store.open_reader()
    with reader.account_snapshot() as snapshot:
        assert [state.id for state in snapshot.seeded_by(["ci"])] == [bob.id]
    assert [event.subject for event in reader.stream_events(EVERY_EVENT) if event.type == "UserSeeded"] == [bob.id]


def test_no_accounts_can_be_labelled(store: Store) -> None:
    with store.work() as work:
        work.label_seeded([], "ci")
        work.commit()
    assert "UserSeeded" not in {event.type for event in store.open_reader().stream_events(EVERY_EVENT)}


@on_sqlite
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE users SET version = 'x'",
        "UPDATE users SET email_key = x'00'",
        "UPDATE users SET expires_at = 1.5",
        "UPDATE seeded_accounts SET name = x'00'",
    ],
)
def test_a_damaged_row_is_named(store: Store, damage: str) -> None:
    ada = a_user("ada")
    add(store, ada, seed="ci")
    with store.engine.begin() as connection:
        connection.execute(text("PRAGMA ignore_check_constraints = ON"))
        connection.execute(text(damage))
    with store.open_reader().account_snapshot() as snapshot, pytest.raises(DatabaseDamaged, match=ada.id):
        list(snapshot.holders([AccountKeys(UserId(ada.id), None, None)]))
