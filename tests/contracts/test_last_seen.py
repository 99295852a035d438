"""Rules for the times when accounts and sessions were last seen, in every database."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.event import listen
from sqlalchemy.exc import IntegrityError
from tests.contracts.conftest import START, Store, a_user, new_id
from tests.contracts.test_session_repository import a_session, add

from backctl.domain.errors import DatabaseDamaged, InvalidCacheEntry
from backctl.domain.user import User
from backctl.domain.values import LATEST, Identity, Instant
from backctl.infrastructure.sql.last_seen import write_last_seen

ADA = Identity.parse("ada")


@pytest.fixture
def ada(store: Store) -> User:
    user = a_user()
    store.add(user)
    return user


def write(store: Store, updates: dict[str, Any]) -> None:
    with store.engine.begin() as connection:
        write_last_seen(connection, updates)


def seen(store: Store, user: User) -> Instant | None:
    return store.open_reader().last_seen(user.id)


def test_an_account_was_not_seen_before_somebody_says_so(store: Store, ada: User) -> None:
    assert seen(store, ada) is None


def test_the_latest_time_wins(store: Store, ada: User) -> None:
    for at in (START + 5, START + 9, START + 7):
        write(store, {f"user:{ada.id}": at})
    assert seen(store, ada) == START + 9
    write(store, {f"user:{ada.id}": START + 10, f"user:{ada.id.upper()}": START + 11})
    assert seen(store, ada) == START + 11


def test_a_session_was_seen(store: Store, ada: User) -> None:
    one, other = a_session(ada), a_session(ada)
    add(store, one, other)
    write(store, {f"session:{one.id}": START + 5, f"user:{ada.id}": START + 3})
    reader = store.open_reader()
    expected = [(one.id, START + 5), (other.id, None)]
    assert [(it.id, it.last_seen_at) for it in reader.sessions(ada.id, now=START, limit=10).items] == expected
    assert [(it.id, it.last_seen_at) for it in reader.stream_sessions(ada.id, now=START)] == expected
    assert seen(store, ada) == START + 3


def test_unknown_ids_are_skipped(store: Store, ada: User) -> None:
    write(store, {f"user:{new_id()}": START, f"session:{new_id()}": START, f"user:{ada.id}": START})
    assert seen(store, ada) == START


def test_a_deleted_account_takes_its_times_with_it(store: Store, ada: User) -> None:
    session = a_session(ada)
    add(store, session)
    write(store, {f"session:{session.id}": START, f"user:{ada.id}": START})
    with store.work() as work:
        user = work.users.get(ADA)
        user.delete(erased=False, now=START)
        work.users.remove(user)
        work.commit()
    with store.engine.connect() as connection:
        for table in ("seen_accounts", "seen_sessions"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0


def test_an_account_that_is_being_changed_can_be_seen(store: Store, ada: User) -> None:
    if store.engine.dialect.name == "sqlite":
        return  # one transaction at a time
    write(store, {f"user:{ada.id}": START})
    with store.work() as work:
        work.users.get(ADA)  # locks the row
        write(store, {f"user:{ada.id}": START + 5})
    assert seen(store, ada) == START + 5


def test_an_account_that_is_being_deleted_is_skipped_the_next_time(store: Store, ada: User) -> None:
    if store.engine.dialect.name == "sqlite":
        return  # one transaction at a time
    with store.engine.connect() as other, ThreadPoolExecutor(1) as pool:
        other.execute(text("DELETE FROM users"))
        writing = pool.submit(write, store, {f"user:{ada.id}": START})
        with store.engine.connect() as observer:
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            while observer.execute(waiting).scalar_one() == 0 and not writing.done():
                observer.rollback()
        other.commit()
        with pytest.raises(IntegrityError):
            writing.result()
    write(store, {f"user:{ada.id}": START})
    assert seen(store, ada) is None


def test_nothing_of_the_account_changes(store: Store, ada: User) -> None:
    before = store.open_reader().find_user(ADA)
    write(store, {f"user:{ada.id}": START + 5})
    assert store.open_reader().find_user(ADA) == before


@pytest.mark.parametrize(
    "key", ["", "user", "user:", "user:ada", "session:1", "role:{id}", "{id}", "user:{id}:x", "User:{id}", "user: {id}"]
)
def test_other_keys_are_refused(store: Store, ada: User, key: str) -> None:
    with pytest.raises(InvalidCacheEntry, match="cannot be a key of last_seen"):
        write(store, {f"user:{ada.id}": START, key.format(id=ada.id): START})
    assert seen(store, ada) is None


@pytest.mark.parametrize("value", [None, True, 1.5, "2026-11-22T09:00:00Z", [1], LATEST + 1, -(1 << 62)])
def test_other_values_are_refused(store: Store, ada: User, value: object) -> None:
    with pytest.raises(InvalidCacheEntry, match="is not a time"):
        write(store, {f"user:{ada.id}": value})
    assert seen(store, ada) is None


def test_a_batch_takes_one_statement_for_each_table(store: Store, ada: User) -> None:
    session = a_session(ada)
    add(store, session)
    found: list[str] = []
    listen(store.engine, "before_cursor_execute", lambda *details: found.append(details[2]))
    updates = {f"user:{new_id()}": START for _ in range(2_000)} | {f"session:{new_id()}": START for _ in range(2_000)}
    write(store, updates | {f"user:{ada.id}": START, f"session:{session.id}": START})
    assert len(found) == 2
    assert seen(store, ada) == START
    write(store, {})
    assert len(found) == 2


def test_a_damaged_time_names_its_row(store: Store, ada: User) -> None:
    session = a_session(ada)
    add(store, session)
    write(store, {f"session:{session.id}": START, f"user:{ada.id}": START})
    with store.engine.begin() as connection:
        for table in ("seen_accounts", "seen_sessions"):
            connection.execute(text(f"UPDATE {table} SET at = {LATEST + 1}"))
    reader = store.open_reader()
    with pytest.raises(DatabaseDamaged, match=f"table seen_accounts, row '{ada.id}': the column at"):
        reader.last_seen(ada.id)
    with pytest.raises(DatabaseDamaged, match=f"table seen_sessions, row '{session.id}': the column at"):
        reader.sessions(ada.id, now=START, limit=10)
