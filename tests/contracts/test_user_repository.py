"""Rules for the account repository of every database."""

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.event import listen, remove
from tests.contracts.conftest import START, Store, a_user, new_id

from backctl.domain.errors import (
    Conflict,
    EmailTaken,
    InvalidEmail,
    InvalidUsername,
    UserChangedMeanwhile,
    UsernameTaken,
    UserNotFound,
)
from backctl.domain.user import User
from backctl.domain.values import EmailAddress, Identity, PasswordHash, UserId, Username

ADA = Identity.parse("ada")
NOBODY = "01890000-0000-7000-8000-000000000000"


def stored(store: Store, ident: str) -> User:
    with store.work() as work:
        return work.users.get(Identity.parse(ident))


def state(user: User) -> dict[str, object]:
    return {name: getattr(user, name) for name in User.__dataclass_fields__ if name != "_recorded"}


def close(user: User) -> None:
    assert user.deactivate(now=START)


def changed_spellings(word: str) -> st.SearchStrategy[str]:
    return st.sampled_from([str.lower, str.upper, str.title, str.swapcase, str.casefold]).flatmap(
        lambda case: st.sampled_from(["NFC", "NFD"]).map(lambda form: unicodedata.normalize(form, case(word)))  # type: ignore[arg-type]  # both are forms
    )


def test_an_account_comes_back_as_it_was_stored(store: Store) -> None:
    bare = a_user("bare", password_hash=None)
    full = a_user("ﬁlip", email=EmailAddress.of("Jürgen@bücher.example"), role="auditor-in-chief")
    full.expires_at = START.plus(1)
    full.must_change_password = True
    full.mfa_state = "pending"
    full.updated_at = START.plus(7)
    store.add(bare, full)
    for user in (bare, full):
        again = stored(store, user.id)
        assert again is not user
        assert state(again) == state(user)
        assert again.take_events() == []


def test_what_is_stored_is_not_judged_again(store: Store) -> None:
    user = a_user(email=EmailAddress("no address", "no address", ""), username=Username("a b", "a b"))
    store.add(user)
    assert state(stored(store, user.id)) == state(user)


def test_an_account_is_found_by_id_address_and_name_in_any_case(store: Store) -> None:
    user = a_user("Ärger", email=EmailAddress.of("Ärger@example.org"))
    store.add(user)
    for ident in (user.id, user.id.upper(), "äRGER@EXAMPLE.org", "A\u0308RGER@example.org", "ärger", "A\u0308RGER"):
        assert stored(store, ident).id == user.id


def test_an_account_asked_for_twice_is_one_aggregate(store: Store) -> None:
    user = a_user(role="admin")
    store.add(user)
    with store.work() as work:
        first = work.users.get(Identity.parse("ada"))
        assert work.users.get(Identity.parse("ada@example.org")) is first
        assert work.users.lock_administrators() == [first]


def test_an_account_added_is_found_in_the_same_transaction(store: Store) -> None:
    user = a_user()
    with store.work() as work:
        work.users.add(user)
        assert work.users.get(Identity.parse("ada")) is user


@pytest.mark.parametrize("ident", [NOBODY, "bob", "bob@example.org", "%", "ad_", "ada@example.or_"])
def test_who_is_not_there_is_not_found(store: Store, ident: str) -> None:
    store.add(a_user())
    with pytest.raises(UserNotFound, match="there is no account"):
        stored(store, ident)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spelling=st.sampled_from(["strasse", "Straße", "ÉCOLE", "İstanbul", "ΣΊΣΥΦΟΣ", "ﬃ.ﬁ"]).flatmap(
        lambda word: st.tuples(st.just(word), changed_spellings(word))
    )
)
def test_an_address_belongs_to_one_account_whatever_its_case_or_form(store: Store, spelling: tuple[str, str]) -> None:
    try:
        first, second = (store.addresses.parse(f"{word}@example.org") for word in spelling)
    except InvalidEmail:
        assume(False)
    assume(first.key == second.key)
    with pytest.raises(EmailTaken, match="belongs to another account") as refusal:
        store.add(a_user("first", email=first), a_user("second", email=second))
    assert second.address in refusal.value.message


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spelling=st.sampled_from(
        ["ada", "Straße", "ÉCOLE", "İstanbul", "ΣΊΣΥΦΟΣ", "ﬃ.ﬁ", "Ⅷth", "ｆｕｌｌ", "ǅabc"]
    ).flatmap(lambda word: st.tuples(st.just(word), changed_spellings(word)))
)
def test_a_username_belongs_to_one_account_whatever_its_case_or_form(store: Store, spelling: tuple[str, str]) -> None:
    try:
        first, second = map(Username.parse, spelling)
    except InvalidUsername:
        assume(False)
    with pytest.raises(UsernameTaken, match="belongs to another account") as refusal:
        store.add(a_user("first", username=first), a_user("second", username=second))
    assert second.name in refusal.value.message


def test_compatibility_forms_of_a_name_are_the_same_name(store: Store) -> None:
    store.add(a_user("one", username=Username.parse("ﬁlip")))
    with pytest.raises(UsernameTaken):
        store.add(a_user("two", username=Username.parse("FILIP")))


def test_a_changed_account_may_not_take_anothers_address(store: Store) -> None:
    store.add(a_user("ada"), a_user("bob"))
    with pytest.raises(EmailTaken, match=r"'ADA@example\.org'"):
        store.change("bob", lambda bob: setattr(bob, "email", EmailAddress.of("ADA@example.org")))
    assert stored(store, "bob").email.address == "bob@example.org"


def test_administrators_come_in_the_order_of_their_ids(store: Store) -> None:
    users = [a_user(f"admin{number}", role="admin", id=new_id()) for number in range(5)]
    store.add(*reversed(users))
    with store.work() as work:
        assert [user.id for user in work.users.lock_administrators()] == sorted(user.id for user in users)


def test_only_who_can_administer_now_is_an_administrator(store: Store) -> None:
    names = ("active", "closed", "expired", "expiring", "moderator")
    users = {name: a_user(name, role="admin" if name != "moderator" else name) for name in names}
    users["closed"].deactivate(now=START)
    users["expired"].expires_at = START
    users["expiring"].expires_at = START.plus(1)
    store.add(*users.values())
    with store.work() as work:
        assert {user.username.name for user in work.users.lock_administrators()} == {"active", "expiring"}
    store.now = START.plus(1)
    with store.work() as work:
        assert {user.username.name for user in work.users.lock_administrators()} == {"active"}


def test_who_was_closed_a_moment_ago_does_not_count_as_an_administrator(store: Store) -> None:
    store.add(a_user("ada", role="admin"), a_user("bob", role="admin"))
    with store.work() as work:
        work.users.get(Identity.parse("ada")).deactivate(now=START)
        assert [user.username.name for user in work.users.lock_administrators()] == ["bob"]


def test_every_stored_change_advances_the_version_by_one(store: Store) -> None:
    user = a_user()
    store.add(user)
    assert user.version == 1
    with store.work() as work:
        again = work.users.get(Identity.parse("ada"))
        again.deactivate(now=START)
        again.must_change_password = True
        work.commit()
        assert again.version == 2
    assert stored(store, "ada").version == 2


def test_what_did_not_change_keeps_its_version(store: Store) -> None:
    store.add(a_user("ada"), a_user("bob"))
    with store.work() as work:
        work.users.get(Identity.parse("ada"))
        bob = work.users.get(Identity.parse("bob"))
        assert not bob.activate(now=START)
        work.commit()
    assert stored(store, "ada").version == 1
    assert stored(store, "bob").version == 1


def test_what_was_changed_back_has_the_version_that_its_events_say(store: Store) -> None:
    store.add(a_user("bob"))
    with store.work() as work:
        bob = work.users.get(Identity.parse("bob"))
        bob.deactivate(now=START)
        bob.activate(now=START)
        work.commit()
    assert stored(store, "bob").version == 2


def test_an_account_that_somebody_else_stored_meanwhile_is_not_overwritten(store: Store) -> None:
    store.add(a_user())
    with pytest.raises(UserChangedMeanwhile, match="'ada' was changed by someone else"):
        store.change("ada", close, meanwhile="UPDATE users SET version = version + 1")
    assert stored(store, "ada").is_active


def test_an_account_that_somebody_else_deleted_meanwhile_is_not_brought_back(store: Store) -> None:
    store.add(a_user())
    with pytest.raises(UserChangedMeanwhile):
        store.change("ada", close, meanwhile="DELETE FROM users")


def test_what_was_removed_is_gone_at_once_and_its_names_are_free(store: Store) -> None:
    user = a_user("ada")
    store.add(user, a_user("bob", role="admin"))
    with store.work() as work:
        bob = work.users.get(Identity.parse("bob"))
        work.users.remove(bob)
        assert work.users.lock_administrators() == []
        with pytest.raises(UserNotFound):
            work.users.get(Identity.parse(bob.id))
        work.users.remove(work.users.get(Identity.parse("ada")))
        work.users.add(a_user("ada"))
        work.commit()
    with pytest.raises(UserNotFound):
        stored(store, user.id)
    assert stored(store, "ada").id != user.id


def test_a_dry_run_removes_nothing(store: Store) -> None:
    store.add(a_user())
    with store.work(dry_run=True) as work:
        work.users.remove(work.users.get(Identity.parse("ada")))
        work.commit()
    assert stored(store, "ada").version == 1


@pytest.mark.parametrize("meanwhile", ["UPDATE users SET version = version + 1", "DELETE FROM users"])
def test_an_account_that_somebody_else_changed_meanwhile_is_not_removed(store: Store, meanwhile: str) -> None:
    store.add(a_user())

    def take_away() -> None:
        with store.work() as work:
            user = work.users.get(Identity.parse("ada"))
            work.session.execute(text(meanwhile))
            work.users.remove(user)

    with pytest.raises(UserChangedMeanwhile):
        take_away()
    assert stored(store, "ada").version == 1


def test_a_refusal_never_shows_a_password_hash(store: Store) -> None:
    store.add(a_user())
    with pytest.raises(Conflict) as refusal:
        store.add(a_user(password_hash=PasswordHash("$2b$12$SECRET")))
    chain: BaseException | None = refusal.value
    while chain is not None:
        assert "SECRET" not in str(chain)
        chain = chain.__cause__ or chain.__context__


def test_ids_are_canonical_text(store: Store) -> None:
    user = a_user(id=UserId("0192f3a0-0000-7000-8000-00000000000a"))
    store.add(user)
    assert stored(store, "0192F3A0-0000-7000-8000-00000000000A").id == "0192f3a0-0000-7000-8000-00000000000a"


# Several accounts at once.


def statements_of(store: Store, work: Callable[[], object]) -> list[str]:
    """Return the statements on accounts that `work` runs."""
    seen: list[str] = []

    def see(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "users" in statement:
            seen.append(statement)

    listen(store.engine, "before_cursor_execute", see)
    work()
    remove(store.engine, "before_cursor_execute", see)
    return seen


def test_accounts_that_were_locked_together_are_found_without_another_statement(store: Store) -> None:
    users = [a_user("ada"), a_user("bob"), a_user("Cleo")]
    store.add(*users)
    idents = [Identity.parse(text) for text in ("cleo", "BOB@example.org", users[0].id, "nobody", "cleo@EXAMPLE.org")]
    with store.work() as work:
        assert len(statements_of(store, lambda: work.users.lock(idents))) == 1

        def find() -> None:
            found = [work.users.get(ident).id for ident in idents if ident.text != "nobody"]
            assert found == [users[2].id, users[1].id, users[0].id, users[2].id]
            with pytest.raises(UserNotFound):
                work.users.get(Identity.parse("nobody"))

        assert statements_of(store, find) == []


def test_who_was_not_there_to_be_locked_is_found_once_added_or_renamed(store: Store) -> None:
    store.add(a_user("ada"))
    with store.work() as work:
        work.users.lock([Identity.parse("bob"), Identity.parse("eve")])
        bob = a_user("bob")
        work.users.add(bob)
        assert work.users.get(Identity.parse("bob")) is bob
        ada = work.users.get(ADA)
        ada.rename(Username.parse("eve"), now=START)
        work.write()
        assert work.users.get(Identity.parse("eve")) is ada
        with pytest.raises(UserNotFound):
            work.users.get(ADA)


def test_administrators_are_asked_for_once_and_follow_what_is_done_to_them(store: Store) -> None:
    users = [a_user(name, role="admin" if name != "cleo" else "user") for name in ("ada", "bob", "cleo")]
    store.add(*users)
    ada, bob, cleo = (user.id for user in users)
    with store.work() as work:

        def administrators() -> list[str]:
            return [user.id for user in work.users.lock_administrators()]

        assert administrators() == [ada, bob]
        work.users.get(Identity.parse("cleo")).assign_role("admin", now=START)
        assert statements_of(store, administrators) == []
        assert administrators() == [ada, bob, cleo]
        work.users.get(ADA).deactivate(now=START)
        work.users.remove(work.users.get(Identity.parse("bob")))
        assert administrators() == [cleo]
