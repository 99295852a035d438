"""Rules for the names, types and numbers by which events are found, on every database."""

from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.contracts.conftest import START, Store, a_user, new_id
from tests.contracts.test_event_search import record

from backctl.application.audit import AuditService
from backctl.application.ports.storage import Reader
from backctl.domain.errors import EventNotFound, InvalidInput, UserNotFound
from backctl.domain.events import LoginFailed, event_types, types_with
from backctl.domain.repositories import EVERY_EVENT, EventCriteria
from backctl.domain.user import User
from backctl.domain.values import EmailAddress, Identity, Username
from backctl.infrastructure.sql.migrator import VERSIONS, migrate
from backctl.infrastructure.sql.queries import Statement
from backctl.infrastructure.sql.schema import REVISION

# By the names of accounts.


@pytest.fixture
def audit(store: Store) -> AuditService:
    return AuditService(store.open_reader, store.audit_keys)


def rename(store: Store, ident: str, *, username: str | None = None, email: str | None = None) -> None:
    def change(user: User) -> None:
        if username is not None:
            user.rename(Username.parse(username), now=START)
        if email is not None:
            user.change_email(EmailAddress.of(email), now=START)

    store.change(ident, change)


def delete(store: Store, ident: str, *, erase: bool = False) -> None:
    with store.work() as work:
        user = work.users.get(Identity.parse(ident))
        work.users.remove(user)
        user.delete(erased=erase, now=START)
        if erase:
            work.erase_events(user.id)
        work.write()
        work.commit()


def names(reader: Reader) -> dict[str, str]:
    """Return the names that the events show, by subject."""
    found: dict[str, set[str]] = {}
    for event in reader.stream_events(EVERY_EVENT):
        found.setdefault(event.subject, set()).add(event.subject_name)
    assert all(len(each) == 1 for each in found.values())
    return {subject: each.pop() for subject, each in found.items()}


def test_an_id_that_was_deleted_twice_has_the_name_of_the_last_account(store: Store, audit: AuditService) -> None:
    """An import can create an account again under its old id."""
    first = a_user("ada")
    second = a_user("bob", id=first.id)
    store.add(first)
    delete(store, "ada")
    store.add(second)
    assert names(store.open_reader())[first.id] == "bob"
    delete(store, "bob")
    assert names(store.open_reader())[first.id] == "bob"
    assert audit.subjects("ada") == audit.subjects("bob@example.org") == (first.id,)


def test_a_name_finds_every_account_that_has_or_had_it(store: Store, audit: AuditService) -> None:
    first, second, third = a_user("ada"), a_user("Bob"), a_user("eve")
    store.add(first, second, third)
    assert audit.subjects("ADA") == audit.subjects("Ada@Example.org") == (first.id,)
    rename(store, "ada", username="ida", email="ida@example.org")
    assert audit.subjects("ada") == audit.subjects("ada@example.org") == audit.subjects("ida") == (first.id,)
    rename(store, "bob", username="ada")
    assert audit.subjects("ada") == (second.id, first.id)
    delete(store, "ada")
    assert audit.subjects("ada") == (second.id, first.id)
    assert audit.subjects("bob") == audit.subjects("BOB@example.org") == (second.id,)
    fourth = a_user("ada")
    store.add(fourth)
    assert audit.subjects("ada") == (fourth.id, second.id, first.id)
    assert audit.subjects(second.id.upper()) == (second.id,)
    found = audit.page(EventCriteria(subjects=("ada",)), limit=2)
    assert [event.subject for event in found.items] == [first.id, second.id]
    rest = audit.page(EventCriteria(subjects=("ada",)), limit=100, cursor=found.next_cursor)
    everything = [
        event for event in store.open_reader().stream_events(EVERY_EVENT) if event.subject in audit.subjects("ada")
    ]
    assert [*found.items, *rest.items] == everything
    assert audit.page(EventCriteria(subjects=("eve", "ida")), limit=100).items == tuple(
        event for event in store.open_reader().stream_events(EVERY_EVENT) if event.subject in (third.id, first.id)
    )


def test_an_erased_account_has_no_name(store: Store, audit: AuditService) -> None:
    user = a_user("ada")
    store.add(user)
    rename(store, "ada", username="ida")
    delete(store, "ida", erase=True)
    for name in ("ada", "ida", "ada@example.org"):
        with pytest.raises(UserNotFound):
            audit.subjects(name)
    assert audit.subjects(user.id) == (user.id,)
    assert names(store.open_reader())[user.id] == user.id
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM former_names")).scalar_one() == 0


def test_a_dry_run_and_a_failed_attempt_keep_no_names(store: Store) -> None:
    store.add(a_user("ada"), a_user("bob"))
    with store.work(dry_run=True) as work:
        user = work.users.get(Identity.parse("ada"))
        work.users.remove(user)
        work.commit()
    with store.work() as work:
        with suppress(UserNotFound), work.attempt():
            work.users.get(Identity.parse("bob")).rename(Username.parse("rob"), now=START)
            work.write()
            raise UserNotFound("x")
        work.commit()
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM former_names")).scalar_one() == 0


def test_a_subject_that_is_not_an_account_is_found_by_its_own_text(store: Store, audit: AuditService) -> None:
    with store.work() as work:
        work.record(LoginFailed("unknown", "unknown"), LoginFailed("Ada", "unknown"))
        work.commit()
    assert audit.subjects("unknown") == ("unknown",)
    assert audit.subjects("Ada") == ("Ada",)
    user = a_user("ada")
    store.add(user)
    assert audit.subjects("ada") == (user.id,)
    assert audit.subjects("Ada") == (user.id, "Ada")
    with pytest.raises(UserNotFound):
        audit.subjects("keyring")


def test_an_event_shows_the_current_or_the_last_username(store: Store) -> None:
    users = [a_user(name) for name in ("ada", "bob", "eve")]
    store.add(*users)
    rename(store, "ada", username="ida")
    rename(store, "bob", username="rob")
    rename(store, "rob", username="Bob")
    delete(store, "bob")
    delete(store, "eve", erase=True)
    with store.work() as work:
        work.record(LoginFailed("unknown", "unknown"))
        work.commit()
    ada, bob, eve = (user.id for user in users)
    expected = {ada: "ida", bob: "Bob", eve: eve, "unknown": "unknown", store.installation_id: store.installation_id}
    reader = store.open_reader()
    assert names(reader) == expected
    assert {event.subject: event.subject_name for event in reader.events(EVERY_EVENT, limit=100).items} == expected
    types = EventCriteria(types=("UserCreated", "UserDeleted", "LoginFailed"))
    for found in (reader.events(types, limit=100).items, tuple(reader.stream_events(types))):
        assert {event.subject: event.subject_name for event in found}.items() <= expected.items()


def test_a_page_and_a_stream_ask_the_database_once(store: Store) -> None:
    store.add(*(a_user(f"user{number}") for number in range(20)))
    reader = store.open_reader()
    asked: list[Statement] = []

    def counted(ask: Callable[[Statement], Any]) -> Callable[[Statement], Any]:
        def asking(statement: Statement) -> Any:
            asked.append(statement)
            return ask(statement)

        return asking

    reader._fetch, reader._stream = counted(reader._fetch), counted(reader._stream)  # type: ignore[attr-defined]
    assert len(reader.events(EVERY_EVENT, limit=20).items) == 20
    assert len(asked) == 1
    assert len({event.subject_name for event in reader.stream_events(EVERY_EVENT)}) == 21
    assert len(asked) == 2


# The chain does not depend on the data for searches.


def test_the_columns_for_searches_cannot_be_changed(store: Store) -> None:
    record(store, 1)
    for column in ("actor_label", "actor_os_user"):
        with pytest.raises(DBAPIError), store.engine.begin() as connection:
            connection.execute(text(f"UPDATE events SET {column} = 'x'"))
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE events SET actor = replace(actor, 'billing', 'x')"))
    assert [event.seq for event in store.open_reader().stream_events(EventCriteria(by="x"))] == [2, 3]
    report = store.open_reader().verify_chain(store.audit_keys)
    assert (report.intact, report.broken_seq) == (False, 2)


def test_the_chain_does_not_depend_on_former_names(store: Store) -> None:
    store.add(a_user("ada"))
    delete(store, "ada")
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE former_names SET name = 'eve', key = 'eve', user_id = 'x'"))
    assert store.open_reader().verify_chain(store.audit_keys).intact


# The service.


def test_globs_select_types(store: Store, audit: AuditService) -> None:
    record(store)
    for patterns in (("Login*",), ("*S*",), ("LoginFailed", "User*"), ("[RU]*d",), ("*",)):
        wanted = [
            event
            for event in store.open_reader().stream_events(EVERY_EVENT)
            if any(fnmatchcase(event.type, pattern) for pattern in patterns)
        ]
        assert list(audit.stream(EventCriteria(types=patterns))) == wanted


@pytest.mark.parametrize(
    ("criteria", "hint"),
    [
        (EventCriteria(types=("UserCreatd",)), "did you mean 'UserCreated'?"),
        (EventCriteria(types=("usercreated",)), "did you mean 'UserCreated'?"),
        (EventCriteria(types=("userc*",)), "did you mean 'UserCreated'?"),
        (EventCriteria(types=("X*",)), "known types: "),
        (EventCriteria(types=("",)), "known types: "),
        (EventCriteria(types=("UserCreated", "X" * 300)), "known types: "),
        (EventCriteria(types=("\udc80*",)), "known types: "),
        (EventCriteria(types=("UserCreated",), outcome="failure"), "LoginFailed"),
        (EventCriteria(outcome="unknown"), "success, failure"),  # type: ignore[arg-type]
        (EventCriteria(since=START, until=START), "earlier"),
        (EventCriteria(by=""), "USER@HOST"),
        (EventCriteria(trace_id=""), "32 hexadecimal digits"),
        (EventCriteria(trace_id="4bf92f35"), "32 hexadecimal digits"),
        (EventCriteria(trace_id="0" * 32), "32 hexadecimal digits"),
    ],
)
def test_criteria_that_match_nothing_are_refused(audit: AuditService, criteria: EventCriteria, hint: str) -> None:
    for ask in (audit.page, lambda criteria: list(audit.stream(criteria))):
        with pytest.raises(InvalidInput) as refusal:
            ask(criteria)
        assert hint in str(refusal.value.hint)


def test_one_event_is_found_by_its_number_and_by_its_id(store: Store, audit: AuditService) -> None:
    record(store, 2)
    for event in store.open_reader().stream_events(EVERY_EVENT):
        assert audit.show(str(event.seq)) == audit.show(event.id.upper()) == event
    for ident in ("0", "99", "9" * 18, "9" * 5000, new_id()):
        with pytest.raises(EventNotFound):
            audit.show(ident)
    for ident in ("", "x", "-1", "1.0", "\u0661", " 1"):
        with pytest.raises(InvalidInput):
            audit.show(ident)


def test_every_event_has_an_outcome() -> None:
    assert types_with("failure") == ("LoginFailed", "UserLocked", "RefreshTokenReused")
    assert {*types_with("failure"), *types_with("success")} == set(event_types())
    assert not {*types_with("failure")} & {*types_with("success")}


# The migration.


def test_the_migration_reads_former_names_from_the_log(store: Store) -> None:
    for name in ("ada", "bob", "eve", "kim", "Zoë", "amy"):
        store.add(a_user(name))
    rename(store, "ada", username="ida")
    rename(store, "ida", email="IDA@example.org")
    rename(store, "bob", username="rob")
    delete(store, "rob")
    rename(store, "kim", username="tim")
    delete(store, "tim", erase=True)
    delete(store, "Zoë")
    rename(store, "amy", username="AMY")
    before, searches = stored_names(store), list(store.open_reader().stream_events(EventCriteria(by="tester")))
    assert len(before) == 7
    with store.engine.begin() as connection:
        for statement in BACK:
            connection.exec_driver_sql(statement)
        migrate(connection, "0006", (VERSIONS,))
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": REVISION})
    assert stored_names(store) == before
    assert list(store.open_reader().stream_events(EventCriteria(by="tester"))) == searches
    assert store.open_reader().verify_chain(store.audit_keys).intact


BACK = (
    "DROP INDEX ix_events_actor_label_seq",
    "DROP INDEX ix_events_actor_os_user_seq",
    "DROP INDEX ix_events_occurred_at_seq",
    "DROP INDEX ix_events_trace_id_seq",
    "DROP INDEX ix_events_with_reason",
    "ALTER TABLE events DROP COLUMN actor_label",
    "ALTER TABLE events DROP COLUMN actor_os_user",
    "DROP TABLE former_names",
    "UPDATE alembic_version SET version_num = '0005'",
)


def stored_names(store: Store) -> list[tuple[Any, ...]]:
    with store.engine.connect() as connection:
        rows = connection.execute(text("SELECT user_id, kind, key, name, at_deletion FROM former_names"))
        return sorted(tuple(row) for row in rows)
