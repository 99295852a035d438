"""Rules for the unit of work of every database: accounts and their events are saved together or not at all."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.event import listen
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from tests.contracts.conftest import ACTOR, START, Store, a_user, new_id

from backctl.application.attribution import Attribution
from backctl.domain.access import AccessPolicy
from backctl.domain.errors import DatabaseUnusable, EmailTaken, LastAdministrator, UserNotFound
from backctl.domain.events import UserEmailChanged
from backctl.domain.keyring import Key, Keyring
from backctl.domain.repositories import EVERY_EVENT, EVERY_USER, EventCriteria
from backctl.domain.values import Actor, EmailAddress, Identity, UserId

ADA = Identity.parse("ada")


def history(store: Store) -> list[tuple[int, str, str]]:
    return [(event.seq, event.type, event.subject) for event in store.open_reader().stream_events(EVERY_EVENT)]


def assert_untouched(store: Store) -> None:
    """Check that nothing was added since the database was created, and that another transaction can begin."""
    reader = store.open_reader()
    assert reader.count_users(EVERY_USER) == 0
    assert [event.type for event in reader.stream_events(EVERY_EVENT)] == ["InstallationCreated"]
    assert reader.verify_chain(store.audit_keys).intact
    store.add(a_user())


def alter(store: Store, statement: str, **values: object) -> None:
    with store.work() as work:
        work.session.execute(text(statement), values)
        work.commit()


def test_a_commit_stores_the_account_and_its_event(store: Store) -> None:
    user = a_user()
    store.add(user)
    assert store.open_reader().count_users(EVERY_USER) == 1
    assert history(store)[1:] == [(2, "UserCreated", user.id)]


def test_leaving_without_a_commit_leaves_nothing(store: Store) -> None:
    with store.work() as work:
        work.users.add(a_user())
    assert_untouched(store)


def test_an_error_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.work() as work:
            work.users.add(a_user())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert_untouched(store)


def test_a_dry_run_does_everything_and_leaves_nothing(store: Store) -> None:
    user = a_user()
    with store.work(dry_run=True) as work:
        work.users.add(user)
        work.commit()
    assert user.take_events() == []
    assert_untouched(store)


def test_a_dry_run_shows_the_version_that_would_be(store: Store) -> None:
    store.add(a_user())
    with store.work(dry_run=True) as work:
        user = work.users.get(ADA)
        user.deactivate(now=START)
        work.commit()
    assert (user.version, user.is_active) == (2, False)
    with store.work() as work:
        assert (work.users.get(ADA).version, work.users.get(ADA).is_active) == (1, True)


def test_a_dry_run_meets_the_same_conflicts(store: Store) -> None:
    store.add(a_user("ada"))
    with pytest.raises(EmailTaken):
        store.add(a_user("bob", email=EmailAddress.of("ada@example.org")), work=store.work(dry_run=True))


def test_a_conflict_in_the_middle_leaves_nothing(store: Store) -> None:
    with pytest.raises(EmailTaken):
        store.add(a_user("ada"), a_user("bob"), a_user("eve", email=EmailAddress.of("BOB@example.org")))
    assert_untouched(store)


def test_an_event_that_cannot_be_recorded_leaves_nothing(store: Store) -> None:
    work = store.work()
    work.record(UserEmailChanged("somebody", old="\udc80", new="x"))
    with pytest.raises(ValueError, match="surrogates not allowed"):
        store.add(a_user(), work=work)
    assert_untouched(store)


def test_an_event_with_an_id_that_was_given_before_leaves_nothing(store: Store) -> None:
    same = UserId("0192f3a0-0000-7000-8000-000000000000")
    work = store.work()
    work._new_id = lambda: same
    with pytest.raises(IntegrityError):
        store.add(a_user("ada"), a_user("bob"), work=work)
    assert_untouched(store)


@pytest.mark.parametrize("loss", ["DELETE FROM event_head", "UPDATE event_head SET seq = 0"])
def test_a_log_whose_head_is_lost_takes_no_event(store: Store, loss: str) -> None:
    alter(store, loss)
    with pytest.raises(DatabaseUnusable, match="does not match its last event"):
        store.add(a_user())
    assert store.open_reader().count_users(EVERY_USER) == 0


def test_nothing_changed_is_no_event(store: Store) -> None:
    store.add(a_user())
    before = history(store)
    with store.work(by=Attribution(ACTOR, "looked at it")) as work:
        work.users.get(ADA)
        work.commit()
    assert history(store) == before


def data_of(store: Store) -> list[tuple[str, dict[str, object] | None]]:
    return [(event.type, event.data) for event in store.open_reader().stream_events(EVERY_EVENT)][1:]


def test_erased_events_lose_their_data_and_the_chain_still_holds(store: Store) -> None:
    ada, bob = a_user("ada"), a_user("bob")
    store.add(ada, bob)
    store.change("ada", lambda user: user.deactivate(now=START))
    with store.work() as work:
        user = work.users.get(ADA)
        user.delete(erased=True, now=START)
        work.users.remove(user)
        assert work.erase_events(user.id) == 2
        assert work.erase_events(user.id) == 0
        work.commit()
    created = {"email": "bob@example.org", "username": "bob", "role": "user", "can_log_in": True}
    created |= {"must_change": False, "imported": False, "version": 1}
    assert data_of(store) == [
        ("UserCreated", None),
        ("UserCreated", created),
        ("UserDeactivated", None),
        ("UserDeleted", {"erased": True}),
    ]
    report = store.open_reader().verify_chain(store.audit_keys)
    assert (report.intact, report.events, report.erased) == (True, 5, 2)


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_erasure_that_was_not_committed_blanks_nothing(store: Store, dry_run: bool) -> None:
    store.add(a_user())
    before = data_of(store)
    with store.work(dry_run=dry_run) as work:
        user = work.users.get(ADA)
        work.users.remove(user)
        assert work.erase_events(user.id) == 1
        if dry_run:
            work.commit()
    assert data_of(store) == before


def test_events_keep_the_order_of_what_happened(store: Store) -> None:
    users = [a_user(name) for name in ("ada", "bob", "eve")]
    store.add(*users)
    with store.work() as work:
        for name in ("eve", "ada"):
            user = work.users.get(Identity.parse(name))
            user.deactivate(now=START)
            user.activate(now=START)
            user.deactivate(now=START)
        work.commit()
    ada, bob, eve = (user.id for user in users)
    closing = ["UserDeactivated", "UserActivated", "UserDeactivated"]
    expected = [("UserCreated", ada), ("UserCreated", bob), ("UserCreated", eve)]
    expected += [(type_, eve) for type_ in closing] + [(type_, ada) for type_ in closing]
    assert history(store)[1:] == [(seq, *event) for seq, event in enumerate(expected, start=2)]


def test_an_event_says_who_when_why_and_what(store: Store) -> None:
    store.now = START.plus(5)
    user = a_user("ada", password_hash=None)
    ops = Actor("Ops ☎", "deploy", "web-1")
    with store.work(by=Attribution(ops, "asked for in “#42”", "4bf92f3577b34da6a3ce929d0e0e4736")) as work:
        work.users.add(user)
        work.commit()
    *_, event = store.open_reader().stream_events(EVERY_EVENT)
    assert (event.type, event.subject, event.occurred_at) == ("UserCreated", user.id, user.created_at)
    assert (event.actor, event.os_user, event.host) == ("Ops ☎", "deploy", "web-1")
    assert (event.reason, event.trace_id) == ("asked for in “#42”", "4bf92f3577b34da6a3ce929d0e0e4736")
    assert event.data == {
        "email": "ada@example.org",
        "username": "ada",
        "role": "user",
        "can_log_in": False,
        "must_change": False,
        "imported": False,
        "version": 1,
    }


def test_data_are_stored_in_canonical_form(store: Store) -> None:
    store.add(a_user())
    with store.work() as work:
        rows = work.session.execute(text("SELECT actor, data FROM events ORDER BY seq")).all()
    actor, data = rows[-1]
    assert actor == '{"host":"box","label":"tester","os_user":"root"}'
    start = '{"can_log_in":true,"email":"ada@example.org","imported":false,"must_change":false,'
    assert data == start + '"role":"user","username":"ada","version":1}'


def test_equal_data_have_different_digests(store: Store) -> None:
    store.add(a_user())
    with store.work() as work:
        user = work.users.get(ADA)
        for _ in range(2):
            user.deactivate(now=START)
            user.activate(now=START)
        work.commit()
    with store.work() as work:
        changed = text("SELECT data_digest FROM events WHERE type IN ('UserActivated', 'UserDeactivated')")
        digests = work.session.execute(changed).scalars().all()
    assert len(digests) == len(set(map(bytes, digests))) == 4


def test_the_chain_holds_after_personal_data_were_blanked(store: Store) -> None:
    users = [a_user("ada"), a_user("bob")]
    store.add(*users)
    alter(store, "UPDATE events SET data = NULL, salt = NULL WHERE subject = :subject", subject=users[0].id)
    report = store.open_reader().verify_chain(store.audit_keys)
    assert (report.intact, report.events, report.erased) == (True, 3, 1)
    first, second = store.open_reader().events(EventCriteria(types=("UserCreated",)), limit=5).items
    assert first.data is None
    assert second.data is not None


@pytest.mark.parametrize(
    "change",
    [
        "occurred_at = occurred_at + 1",
        "type = 'UserDeactivated'",
        "subject = '0192f3a0-0000-7000-8000-000000000000'",
        "id = '0192f3a0-0000-7000-8000-000000000000'",
        "actor = '{}'",
        "reason = 'another'",
        "trace_id = 'another'",
        "audit_kid = 'another'",
        "data = '{}'",
        "data_digest = mac",
        "mac = data_digest",
        "seq = 1000",
    ],
)
def test_a_changed_column_breaks_the_chain_at_its_event(store: Store, change: str) -> None:
    store.add(a_user("ada"), a_user("bob"), a_user("eve"))
    alter(store, f"UPDATE events SET {change} WHERE seq = 3")
    report = store.open_reader().verify_chain(store.audit_keys)
    assert (report.intact, report.events, report.broken_seq) == (False, 2, 3)


@pytest.mark.parametrize(("seq", "broken"), [(1, 1), (3, 3), (4, 4)])
def test_a_removed_event_breaks_the_chain(store: Store, seq: int, broken: int) -> None:
    store.add(a_user("ada"), a_user("bob"), a_user("eve"))
    alter(store, f"DELETE FROM events WHERE seq = {seq}")
    report = store.open_reader().verify_chain(store.audit_keys)
    assert (report.intact, report.broken_seq) == (False, broken)


def test_a_chain_of_another_installation_does_not_hold_here(store: Store) -> None:
    store.add(a_user())
    alter(store, "UPDATE installation SET installation_id = 'another'")
    assert store.open_reader().verify_chain(store.audit_keys).broken_seq == 1


@pytest.mark.parametrize("made", [1, 3])
def test_to_record_what_happened_costs_few_statements(store: Store, made: int) -> None:
    """Every change pays for the chain: one read of its head and one round trip to a server, however long the log is."""
    store.add(a_user())
    statements: list[str] = []

    def see(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    listen(store.engine, "before_cursor_execute", see)
    store.add(*(a_user(f"bob{number}") for number in range(made)))
    of_the_log = [text for text in statements if "event" in text or "audit_keys" in text]
    assert len(of_the_log) == (3 if store.engine.dialect.name == "sqlite" or made > 1 else 2)


def test_a_new_audit_key_is_remembered_though_its_first_transaction_was_not_made(store: Store) -> None:
    second = Key.symmetric("audit-2", "audit", bytes([9]) * 32, created="2026-11-23T09:00:00Z")
    for name, dry_run in (("ada", True), ("bob", False), ("eve", False)):
        store.add(a_user(name), work=store.work(key=second, dry_run=dry_run))
    with store.work() as work:
        kids = work.session.execute(text("SELECT kid, first_seq FROM audit_keys ORDER BY first_seq")).all()
    assert list(map(tuple, kids)) == [("audit-1", 1), ("audit-2", 2)]


def test_a_new_audit_key_continues_the_chain(store: Store) -> None:
    store.add(a_user("ada"))
    second = Key.symmetric("audit-2", "audit", b"\x99" * 32, created="2026-11-23T00:00:00Z")
    for name in ("bob", "eve"):
        with store.work(key=second) as work:
            work.users.add(a_user(name))
            work.commit()
    with store.work() as work:
        kids = work.session.execute(text("SELECT kid, first_seq FROM audit_keys ORDER BY first_seq")).all()
    assert kids == [("audit-1", 1), ("audit-2", 3)]
    both = Keyring((*(replace(key, state="retired") for key in store.keyring.keys), second))
    assert store.open_reader().verify_chain(lambda kids: both.secrets("audit")).intact
    report = store.open_reader().verify_chain(store.audit_keys)
    assert (report.broken_seq, report.reason) == (
        3,
        "it was written with the audit key 'audit-2', which is not in the keyring",
    )


def test_a_unit_of_work_serves_one_transaction(store: Store) -> None:
    with store.work() as work:
        work.users.add(a_user())
        work.commit()
        with pytest.raises(InvalidRequestError):
            work.users.get(ADA)


def test_a_refused_look_up_does_not_keep_the_lock(store: Store) -> None:
    with pytest.raises(UserNotFound), store.work() as work:
        work.users.get(ADA)
    assert_untouched(store)


def in_threads(count: int, task: Callable[[int], object]) -> list[object]:
    """Run `task(0)` … `task(count - 1)` at the same time. Return the result or the exception of each."""
    start = threading.Barrier(count)

    def run(number: int) -> object:
        start.wait()
        try:
            return task(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_many_writers_at_once_keep_one_unbroken_chain(store: Store) -> None:
    writers, each = 8, 12

    def write(writer: int) -> None:
        for number in range(each):
            user = a_user(f"user-{writer}-{number}")
            store.add(user)
            with store.work() as work:
                work.users.get(Identity.parse(user.id)).deactivate(now=START)
                work.commit()

    assert in_threads(writers, write) == [None] * writers
    assert [seq for seq, *_ in history(store)] == list(range(1, 2 + 2 * writers * each))
    assert store.open_reader().verify_chain(store.audit_keys).intact
    assert store.open_reader().count_users(EVERY_USER) == writers * each


def test_of_many_who_want_one_address_exactly_one_gets_it(store: Store) -> None:
    outcomes = in_threads(
        12, lambda number: store.add(a_user(f"user{number}", email=EmailAddress.of("Ada@example.org")))
    )
    assert outcomes.count(None) == 1
    assert sum(isinstance(outcome, EmailTaken) for outcome in outcomes) == 11
    assert len(history(store)) == 2


def test_of_two_who_close_the_last_administrators_exactly_one_succeeds(store: Store) -> None:
    policy = AccessPolicy()
    for round_ in range(10):
        pair = [a_user(f"admin-{round_}-{number}", role="admin") for number in range(2)]
        store.add(*pair)

        def close(number: int, pair: list[UserId] = [user.id for user in pair]) -> None:  # noqa: B006 - bound here, not shared
            with store.work() as work:
                administrators = work.users.lock_administrators()
                user = work.users.get(Identity.parse(pair[number]))
                policy.require_another_administrator(user, administrators)
                user.deactivate(now=START)
                work.commit()

        outcomes = in_threads(2, close)
        assert outcomes.count(None) == 1
        assert sum(isinstance(outcome, LastAdministrator) for outcome in outcomes) == 1
        alter(store, "UPDATE users SET is_active = :closed", closed=False)


def test_what_a_reader_sees_is_always_a_whole_transaction(store: Store) -> None:
    done = threading.Event()

    def write() -> None:
        for number in range(30):
            store.add(a_user(f"left{number}", id=new_id()), a_user(f"right{number}"))
        done.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        reader = store.open_reader()
        while not done.is_set() and not writing.done():
            assert reader.count_users(EVERY_USER) % 2 == 0
        writing.result()
