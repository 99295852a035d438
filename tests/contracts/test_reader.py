"""Rules for the read side of every database: the same results as a plain filter, on any page, in one snapshot."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from tests.contracts.conftest import ACTOR, START, Store, a_user

from backctl.application.attribution import Attribution
from backctl.application.event_views import EventView
from backctl.application.ports.storage import Reader
from backctl.application.views import UserView
from backctl.domain.account_status import STATUSES
from backctl.domain.errors import InvalidCursor
from backctl.domain.lockout import RecentFailures
from backctl.domain.repositories import (
    BY_CREATION,
    EVERY_EVENT,
    EVERY_USER,
    SORT_FIELDS,
    EventCriteria,
    Sort,
    UserCriteria,
)
from backctl.domain.user import MfaState, User
from backctl.domain.values import EmailAddress, Identity, Instant, Username, folded
from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork

on_one_database = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SORTS = st.builds(Sort, st.sampled_from(SORT_FIELDS), st.booleans())
# Few letters, so that searches match, and all characters with a meaning in LIKE or its escapes.
LETTERS = "aAbÄä%_!\\'\"ß"
NAMES = st.text(LETTERS, min_size=1, max_size=6)
MFA_STATES: tuple[MfaState, ...] = ("off", "pending", "on")
MOMENTS = st.none() | st.integers(-1, 6).map(START.plus)


@st.composite
def accounts(draw: st.DrawFn) -> User:
    name, local = draw(NAMES), draw(NAMES)
    user = a_user(
        email=EmailAddress.of(f"{local}@{draw(st.sampled_from(['a.example', 'B.example', 'ä.example']))}"),
        username=Username(f"x{name}x", folded(f"x{name}x", "NFKC")),
        role=draw(st.sampled_from(["user", "admin", "moderator"])),
        now=START.plus(draw(st.integers(0, 5))),
    )
    if draw(st.booleans()):
        user.deactivate(now=START)
    user.expires_at = draw(MOMENTS)
    user.last_login_at = draw(MOMENTS)
    user.mfa_state = draw(st.sampled_from(MFA_STATES))
    user.must_change_password = draw(st.booleans())
    if draw(st.booleans()):
        user.password_hash = None
    return user


def lock_of(user: User) -> Instant | None:
    """The end of a lock of an account, which depends on its name: none, one that is over, one that is in force."""
    return (None, START, START.plus(2))[len(user.username.name) % 3]


def populations(max_size: int = 25) -> st.SearchStrategy[list[User]]:
    return st.lists(
        accounts(), max_size=max_size, unique_by=(lambda user: user.email.key, lambda user: user.username.key)
    )


CRITERIA = st.builds(
    UserCriteria,
    roles=st.lists(st.sampled_from(["user", "admin", "nobody"]), max_size=2).map(tuple),
    statuses=st.lists(st.sampled_from(STATUSES), max_size=3).map(tuple),
    locked=st.booleans(),
    expires_before=MOMENTS,
    last_login_before=MOMENTS,
    mfa=st.lists(st.sampled_from(MFA_STATES), max_size=2).map(tuple),
    must_change_password=st.booleans(),
    no_password=st.booleans(),
    created_after=MOMENTS,
    created_before=MOMENTS,
    email_domain=st.none() | st.sampled_from(["a.example", "b.EXAMPLE", "Ä.example", "%"]),
    search=st.none() | st.text(LETTERS + "@.x", max_size=3),
)


def view_of(user: User) -> UserView:
    return UserView.of(user, locked_until=lock_of(user), now=START)


def fits(user: User, criteria: UserCriteria) -> bool:
    """Apply the criteria to one account in plain Python."""
    search, login = criteria.search, user.last_login_at
    return (
        (not criteria.roles or user.role in criteria.roles)
        and (not criteria.statuses or view_of(user).status in criteria.statuses)
        and (not criteria.locked or view_of(user).locked_until is not None)
        and (
            criteria.expires_before is None
            or (user.expires_at is not None and user.expires_at < criteria.expires_before)
        )
        and (criteria.last_login_before is None or login is None or login < criteria.last_login_before)
        and (not criteria.mfa or user.mfa_state in criteria.mfa)
        and (not criteria.must_change_password or user.must_change_password)
        and (not criteria.no_password or user.password_hash is None)
        and (criteria.created_after is None or user.created_at >= criteria.created_after)
        and (criteria.created_before is None or user.created_at < criteria.created_before)
        and (criteria.email_domain is None or user.email.domain == folded(criteria.email_domain, "NFC"))
        and (search is None or folded(search, "NFC") in user.email.key or folded(search, "NFKC") in user.username.key)
    )


def place(user: User, sort: Sort) -> tuple[str | int, ...]:
    keys: dict[str, tuple[str | int, ...]] = {
        "created_at": (user.created_at, user.id),
        "email": (user.email.key,),
        "username": (user.username.key,),
        "id": (user.id,),
    }
    return keys[sort.field]


def expected(users: Sequence[User], criteria: UserCriteria, sort: Sort) -> list[UserView]:
    found = (user for user in users if fits(user, criteria))
    return [view_of(user) for user in sorted(found, key=lambda user: place(user, sort), reverse=sort.descending)]


def lock(work: SqlUnitOfWork, users: Sequence[User]) -> None:
    for key, until in [(user.id, lock_of(user)) for user in users] + [("digest of an unknown name", START.plus(2))]:
        if until is not None:
            work.login_failures.of(key)
            work.login_failures.keep(key, RecentFailures(locked_until=until), now=Instant(START - 1))


def refill(store: Store, users: Sequence[User]) -> None:
    with store.work() as work:
        work.session.execute(text("DELETE FROM users"))
        work.session.execute(text("DELETE FROM login_failures"))
        for user in users:
            work.users.add(user)
        lock(work, users)
        work.commit()


def all_pages(
    reader: Reader, criteria: UserCriteria, sort: Sort, size: int, between: Callable[[UserView], None]
) -> list[UserView]:
    found: list[UserView] = []
    cursor = None
    while True:
        page = reader.users(criteria, sort, limit=size, cursor=cursor)
        assert len(page.items) == size or page.next_cursor is None
        assert page.items or cursor is None, "an empty page after a cursor"
        found += page.items
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor
        between(page.items[-1])


@on_one_database
@given(users=populations(), criteria=CRITERIA, sort=SORTS)
def test_criteria_find_what_a_plain_filter_finds(
    store: Store, users: list[User], criteria: UserCriteria, sort: Sort
) -> None:
    refill(store, users)
    reader = store.open_reader()
    wanted = expected(users, criteria, sort)
    assert list(reader.stream_users(criteria, sort)) == wanted
    assert reader.count_users(criteria) == len(wanted)


@on_one_database
@given(users=populations(), criteria=CRITERIA, sort=SORTS, size=st.integers(1, 7))
def test_pages_by_number_cut_the_same_answer(
    store: Store, users: list[User], criteria: UserCriteria, sort: Sort, size: int
) -> None:
    refill(store, users)
    reader = store.open_reader()
    wanted = expected(users, criteria, sort)
    for start in range(0, len(wanted) + size, size):
        page = reader.users(criteria, sort, limit=size, offset=start)
        assert list(page.items) == wanted[start : start + size]
        assert (page.next_cursor is None) == (start + size >= len(wanted))


@on_one_database
@given(users=populations(), late=populations(12), criteria=CRITERIA, sort=SORTS, size=st.integers(1, 7))
def test_pages_by_cursor_visit_every_account_once_whatever_is_inserted_before_it(
    store: Store, users: list[User], late: list[User], criteria: UserCriteria, sort: Sort, size: int
) -> None:
    refill(store, users)
    taken = {key for user in users for key in (user.email.key, user.username.key)}
    waiting = [user for user in late if not {user.email.key, user.username.key} & taken]
    by_id = {user.id: user for user in users}

    def insert_before(last: UserView) -> None:
        here = place(by_id[last.id], sort)
        before = [user for user in waiting if (place(user, sort) < here) != sort.descending]
        for user in before:
            waiting.remove(user)
        store.add(*before)
        with store.work() as work:
            lock(work, before)
            work.commit()

    found = all_pages(store.open_reader(), criteria, sort, size, insert_before)
    assert found == expected(users, criteria, sort)


@pytest.mark.parametrize("criteria", [UserCriteria(statuses=("locked",)), UserCriteria(locked=True)])
def test_a_lock_that_ends_is_seen_at_once(store: Store, criteria: UserCriteria) -> None:
    refill(store, [a_user("abcde")])  # locked for two microseconds
    reader = store.open_reader()
    for passed, status, until in ((0, "locked", START.plus(2)), (1, "locked", START.plus(2)), (2, "active", None)):
        store.now = START.plus(passed)
        (found,) = reader.stream_users(EVERY_USER, BY_CREATION)
        assert (found.status, found.locked_until) == (status, until)
        assert reader.count_users(criteria) == (status == "locked")


def test_a_damaged_lock_is_shown_as_no_lock(store: Store) -> None:
    refill(store, [a_user("abcde")])
    with store.work() as work:
        work.session.execute(text("UPDATE login_failures SET locked_until = 9223372036854775807"))
        work.commit()
    reader = store.open_reader()
    (found,) = reader.stream_users(EVERY_USER, BY_CREATION)
    assert (found.status, found.locked_until) == ("active", None)
    assert reader.count_users(UserCriteria(statuses=("active",))) == 1
    assert reader.count_users(UserCriteria(statuses=("locked",))) == reader.count_users(UserCriteria(locked=True)) == 0


def test_a_cursor_continues_after_its_account_was_changed(store: Store) -> None:
    store.add(*(a_user(f"user{number}") for number in range(6)))
    reader = store.open_reader()
    page = reader.users(EVERY_USER, BY_CREATION, limit=3)
    with store.work() as work:
        work.users.get(Identity.parse(page.items[-1].id)).deactivate(now=START)
        work.commit()
    rest = reader.users(EVERY_USER, BY_CREATION, limit=3, cursor=page.next_cursor)
    assert [user.username for user in (*page.items, *rest.items)] == [f"user{number}" for number in range(6)]


def test_a_cursor_of_another_question_is_refused(store: Store) -> None:
    store.add(*(a_user(f"user{number}") for number in range(3)))
    reader = store.open_reader()
    cursor = reader.users(EVERY_USER, BY_CREATION, limit=1).next_cursor
    for criteria, sort in ((UserCriteria(roles=("user",)), BY_CREATION), (EVERY_USER, Sort("email"))):
        with pytest.raises(InvalidCursor, match="belongs to another query"):
            reader.users(criteria, sort, limit=1, cursor=cursor)
    with pytest.raises(InvalidCursor):
        reader.events(EVERY_EVENT, limit=1, cursor=cursor)
    cursor = reader.events(EVERY_EVENT, limit=1).next_cursor
    with pytest.raises(InvalidCursor, match="belongs to another query"):
        reader.events(EVERY_EVENT, limit=1, cursor=cursor, newest_first=True)


@pytest.mark.parametrize("cursor", ["", "x", "' OR 1=1 --", "W10", "\udc80", "é" * 5000])
def test_what_is_no_cursor_is_refused(reader: Reader, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        reader.users(EVERY_USER, BY_CREATION, limit=1, cursor=cursor)
    with pytest.raises(InvalidCursor):
        reader.events(EVERY_EVENT, limit=1, cursor=cursor)


def test_one_account_is_found_by_id_address_and_name(store: Store) -> None:
    user = a_user("Ärger", email=EmailAddress.of("Ärger@example.org"))
    user.expires_at = Instant(1)
    store.add(user, a_user("bob", password_hash=None))
    reader = store.open_reader()
    for ident in (user.id.upper(), "äRGER@EXAMPLE.org", "A\u0308RGER"):
        assert reader.find_user(Identity.parse(ident)) == UserView.of(user, locked_until=None, now=START)
    assert reader.find_user(Identity.parse("nobody")) is None
    bob = reader.find_user(Identity.parse("bob"))
    assert bob is not None
    assert not bob.has_password


def test_values_of_a_view_have_their_own_types(store: Store) -> None:
    user = a_user()
    user.expires_at = START.plus(9)
    store.add(user)
    view = store.open_reader().find_user(Identity.parse("ada"))
    assert view is not None
    assert [type(value) for value in (view.is_active, view.has_password, view.must_change_password)] == [bool] * 3
    assert [type(value) for value in (view.created_at, view.updated_at, view.expires_at)] == [Instant] * 3
    assert type(view.id) is str


@pytest.mark.parametrize("term", ["\udc80", "a\0", "\0", "a" * 1_000_000, "a\u0301" * 500_000])
def test_text_that_no_database_holds_finds_nothing(store: Store, term: str) -> None:
    store.add(a_user("aaa"))
    reader = store.open_reader()
    assert reader.count_users(UserCriteria(search=term)) == 0
    assert reader.count_users(UserCriteria(roles=(term,))) == 0
    assert reader.events(EventCriteria(subjects=(term,)), limit=5).items == ()
    assert reader.events(EventCriteria(types=(term,)), limit=5).items == ()


def test_a_search_looks_at_names_and_addresses_in_any_case_and_form(store: Store) -> None:
    store.add(a_user("Straße", email=EmailAddress.of("École@example.org")), a_user("other"))
    reader = store.open_reader()
    for term in ("STRASSE", "strasse", "traß", "école", "E\u0301COLE", "ole@EXAM"):
        assert reader.count_users(UserCriteria(search=term)) == 1, term
    assert reader.count_users(UserCriteria(search="")) == 2


def test_a_stream_shows_the_moment_it_began(store: Store) -> None:
    store.add(*(a_user(f"user{number}") for number in range(50)))
    stream = store.open_reader().stream_users(EVERY_USER, BY_CREATION)
    first = next(stream)
    store.add(a_user("late"))
    with store.work() as work:
        work.users.get(Identity.parse("user49")).deactivate(now=START)
        work.commit()
    rest = list(stream)
    assert len([first, *rest]) == 50
    assert all(user.is_active for user in rest)


def test_a_stream_left_in_the_middle_holds_nobody_up(store: Store) -> None:
    store.add(*(a_user(f"user{number}") for number in range(50)))
    reader = store.open_reader()
    stream = reader.stream_users(EVERY_USER, BY_CREATION)
    next(stream)
    assert hasattr(stream, "close")
    stream.close()
    store.add(a_user("late"))
    assert reader.count_users(EVERY_USER) == 51


def test_two_questions_may_be_asked_while_a_stream_runs(store: Store) -> None:
    store.add(*(a_user(f"user{number}") for number in range(20)))
    reader = store.open_reader()
    for user in reader.stream_users(EVERY_USER, BY_CREATION):
        assert reader.find_user(Identity.parse(user.id)) == user


@pytest.mark.parametrize("newest_first", [False, True])
def test_events_come_in_the_order_of_their_numbers(store: Store, newest_first: bool) -> None:
    for number in range(7):
        store.now = START.plus(-number)
        store.add(a_user(f"user{number}"))
    reader = store.open_reader()
    events = list(reader.stream_events(EVERY_EVENT, newest_first=newest_first))
    assert [event.seq for event in events] == sorted(range(1, 9), reverse=newest_first)
    found: list[EventView] = []
    cursor = None
    while True:
        page = reader.events(EVERY_EVENT, limit=3, cursor=cursor, newest_first=newest_first)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == events


@on_one_database
@given(
    type_=st.none() | st.sampled_from(["UserCreated", "UserDeactivated", "Other"]),
    subject=st.none() | st.integers(0, 2),
    since=MOMENTS,
    until=MOMENTS,
)
def test_events_are_found_by_type_subject_and_time(
    store: Store, type_: str | None, subject: int | None, since: Instant | None, until: Instant | None
) -> None:
    reader = store.open_reader()
    if reader.count_users(EVERY_USER) == 0:
        for number in range(3):
            store.now = START.plus(2 * number)
            store.add(a_user(f"user{number}"))
            with store.work() as work:
                work.users.get(Identity.parse(f"user{number}")).deactivate(now=START)
                work.commit()
    ids = [user.id for user in reader.stream_users(EVERY_USER, BY_CREATION)]
    types, subjects = () if type_ is None else (type_,), () if subject is None else (ids[subject],)
    criteria = EventCriteria(types, subjects, since, until)
    wanted = [
        event
        for event in reader.stream_events(EVERY_EVENT)
        if type_ in (None, event.type)
        and (not subjects or event.subject in subjects)
        and (since is None or event.occurred_at >= since)
        and (until is None or event.occurred_at < until)
    ]
    assert list(reader.stream_events(criteria)) == wanted
    assert list(reader.events(criteria, limit=100).items) == wanted


def test_events_are_found_by_the_trace_they_belong_to(store: Store) -> None:
    for number, trace in enumerate(("a" * 32, None, "b" * 32, "a" * 32)):
        store.add(a_user(f"user{number}"), work=store.work(by=Attribution(ACTOR, trace_id=trace)))
    reader = store.open_reader()
    assert [event.seq for event in reader.stream_events(EventCriteria(trace_id="a" * 32))] == [2, 5]
    assert reader.events(EventCriteria(trace_id="c" * 32), limit=5).items == ()


def test_ids_given_in_sequence_order_events_and_accounts_alike(store: Store) -> None:
    store.add(*(a_user(f"user{number}") for number in range(5)))
    ids = [user.id for user in store.open_reader().stream_users(EVERY_USER, Sort("id"))]
    assert all(left < right for left, right in pairwise(ids))
    assert [user.id for user in store.open_reader().stream_users(EVERY_USER, BY_CREATION)] == ids


def test_the_keys_of_a_chain_are_asked_for_when_there_is_one(store: Store) -> None:
    asked = []

    def keys(kids: Sequence[str]) -> dict[str, bytes]:
        asked.append(kids)
        return store.audit_keys(kids)

    assert store.open_reader().verify_chain(keys).intact
    assert asked == [(store.keyring.primary("audit").kid,)]


def test_a_chain_read_with_another_key_is_broken_at_its_first_event(store: Store) -> None:
    report = store.open_reader().verify_chain(lambda kids: {kid: bytes(32) for kid in kids})
    assert (report.intact, report.broken_seq, report.events) == (False, 1, 0)


def test_a_database_without_accounts_answers_with_nothing(store: Store) -> None:
    reader = store.open_reader()
    criteria = replace(EVERY_EVENT, types=("UserCreated",))
    assert reader.find_user(Identity.parse("ada")) is None
    assert reader.users(EVERY_USER, BY_CREATION, limit=5).items == ()
    assert reader.users(EVERY_USER, BY_CREATION, limit=5).next_cursor is None
    assert list(reader.stream_users(EVERY_USER, BY_CREATION)) == []
    assert reader.count_users(EVERY_USER) == 0
    assert reader.events(criteria, limit=5).items == ()
    assert list(reader.stream_events(criteria)) == []
    with pytest.raises(InvalidCursor):
        reader.users(EVERY_USER, BY_CREATION, limit=5, cursor="x")
    with pytest.raises(InvalidCursor):
        reader.events(criteria, limit=5, cursor="x")
