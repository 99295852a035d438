"""Several steps in one transaction: one commit with all their events; a failed step undoes only itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy.event import listen, remove
from tests.contracts.conftest import START, Store, a_user
from tests.contracts.test_session_repository import a_session
from tests.contracts.test_unit_of_work import ADA, assert_untouched, data_of, history

from backctl.domain.errors import BackctlError, EmailTaken, LastAdministrator, UsernameTaken, UserNotFound
from backctl.domain.repositories import EVERY_EVENT, EVERY_USER
from backctl.domain.user import User
from backctl.domain.values import EmailAddress, Identity, Username
from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork


def commits_of(store: Store, work: Callable[[], object]) -> int:
    seen = []

    def see(connection: object) -> None:
        seen.append(connection)

    listen(store.engine, "commit", see)
    work()
    remove(store.engine, "commit", see)
    return len(seen)


@contextmanager
def failing_attempt(work: SqlUnitOfWork, error: type[BackctlError]) -> Iterator[None]:
    with pytest.raises(error), work.attempt():
        yield


def give_up(error: BackctlError) -> None:
    raise error


def three_steps(store: Store, user: User, *, dry_run: bool = False) -> None:
    with store.work(dry_run=dry_run) as work:
        work.users.add(user)
        work.write()
        work.users.get(ADA).rename(Username.parse("eve"), now=START)
        work.write()
        work.users.get(Identity.parse("eve")).deactivate(now=START)
        work.sessions.revoke_all(user.id, "deactivated", now=START)
        work.commit()


def test_three_steps_on_one_account_are_one_commit_with_their_events_in_order(store: Store) -> None:
    user = a_user()
    assert commits_of(store, lambda: three_steps(store, user)) == 1
    assert history(store)[1:] == [
        (2, "UserCreated", user.id),
        (3, "UserUsernameChanged", user.id),
        (4, "UserDeactivated", user.id),
    ]
    assert user.version == 3
    with store.work() as work:
        stored = work.users.get(Identity.parse("eve"))
        assert (stored.version, stored.is_active, stored.email.address) == (3, False, "ada@example.org")
    assert store.open_reader().verify_chain(store.audit_keys).intact


def test_of_steps_that_are_rolled_back_nothing_is_left(store: Store) -> None:
    assert commits_of(store, lambda: three_steps(store, a_user(), dry_run=True)) == 0

    def fail() -> None:
        with store.work() as work:
            work.users.add(a_user())
            work.write()
            work.users.get(ADA).deactivate(now=START)
            work.write()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert_untouched(store)


def test_events_of_several_stores_keep_the_order_of_the_steps(store: Store) -> None:
    ada, bob = a_user("ada"), a_user("bob")
    store.add(ada, bob)
    for user in (ada, bob):
        with store.work() as work:
            work.users.get(Identity.parse(user.id))
            work.sessions.add(a_session(user))
            work.commit()
    with store.work() as work:
        for name in ("bob", "ada"):
            with work.attempt():
                user = work.users.get(Identity.parse(name))
                user.deactivate(now=START)
                work.sessions.revoke_all(user.id, "deactivated", now=START)
        work.commit()
    assert [event[1:] for event in history(store)][-4:] == [
        ("UserDeactivated", bob.id),
        ("SessionsRevoked", bob.id),
        ("UserDeactivated", ada.id),
        ("SessionsRevoked", ada.id),
    ]


def test_an_attempt_that_fails_undoes_itself_and_nothing_else(store: Store) -> None:
    ada, bob = a_user("ada", role="admin"), a_user("bob")
    store.add(ada, bob)
    with store.work() as work:
        with work.attempt():
            work.users.get(ADA).deactivate(now=START)
        with failing_attempt(work, EmailTaken):
            work.users.get(Identity.parse("bob")).deactivate(now=START)
            work.users.add(a_user("cleo"))
            work.record(*a_user("ghost").take_events())
            work.users.add(a_user("dan", email=EmailAddress.of("BOB@example.org")))
        with failing_attempt(work, LastAdministrator):  # fails in memory, before anything is written
            work.users.get(Identity.parse("bob")).rename(Username.parse("rob"), now=START)
            give_up(LastAdministrator("it is the last one"))
        with failing_attempt(work, UsernameTaken):  # detected when the attempt is written
            work.users.get(Identity.parse("bob")).rename(Username.parse("ADA"), now=START)
        with work.attempt():
            again = work.users.get(Identity.parse("bob"))
            assert (again.is_active, again.username.name, again.version) == (True, "bob", 1)
            with pytest.raises(UserNotFound):
                work.users.get(Identity.parse("cleo"))
            again.assign_role("moderator", now=START)
        work.commit()
    assert [event[1:] for event in history(store)][3:] == [("UserDeactivated", ada.id), ("UserRoleChanged", bob.id)]
    assert store.open_reader().count_users(EVERY_USER) == 2
    assert store.open_reader().verify_chain(store.audit_keys).intact


def test_what_an_attempt_that_failed_did_to_administrators_is_forgotten(store: Store) -> None:
    store.add(a_user("ada", role="admin"), a_user("bob", role="admin"))
    with store.work() as work:
        with failing_attempt(work, LastAdministrator):
            for user in work.users.lock_administrators():
                user.deactivate(now=START)
            work.write()
            give_up(LastAdministrator("nobody would be left"))
        with work.attempt():
            assert [user.username.name for user in work.users.lock_administrators()] == ["ada", "bob"]


def test_what_an_attempt_removed_is_there_again_when_it_fails(store: Store) -> None:
    store.add(a_user())
    with store.work() as work:
        with failing_attempt(work, UserNotFound):
            user = work.users.get(ADA)
            work.users.remove(user)
            user.delete(erased=True, now=START)
            assert work.erase_events(user.id) == 1
            give_up(UserNotFound("somebody else"))
        with work.attempt():
            work.users.get(ADA).deactivate(now=START)
        work.commit()
    assert [event.data is None for event in store.open_reader().stream_events(EVERY_EVENT)] == [False] * 3
    assert [type_ for _, type_, _ in history(store)] == ["InstallationCreated", "UserCreated", "UserDeactivated"]


def test_a_change_made_after_its_attempt_is_not_lost(store: Store) -> None:
    store.add(a_user("ada"), a_user("bob"))
    with store.work() as work:
        with work.attempt():
            ada = work.users.get(ADA)
        with work.attempt():
            work.users.get(Identity.parse("bob"))
        ada.deactivate(now=START)
        work.commit()
    assert history(store)[-1][1:] == ("UserDeactivated", ada.id)


def test_events_of_the_same_transaction_are_erased_too(store: Store) -> None:
    with store.work() as work:
        user = a_user()
        work.users.add(user)
        work.write()
        work.users.remove(user)
        user.delete(erased=True, now=START)
        assert work.erase_events(user.id) == 1
        work.commit()
    assert data_of(store) == [("UserCreated", None), ("UserDeleted", {"erased": True})]
    report = store.open_reader().verify_chain(store.audit_keys)
    assert (report.intact, report.erased) == (True, 1)
