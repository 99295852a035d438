"""Rules for the failed logins of every database: none is lost, and expired ones are removed automatically."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from tests.contracts.conftest import START, Store, a_user

from backctl.domain.account_status import LOCK_US
from backctl.domain.errors import DatabaseUnusable
from backctl.domain.events import LoginFailed
from backctl.domain.lockout import WINDOW_US, RecentFailures
from backctl.domain.repositories import EVERY_EVENT
from backctl.domain.values import Identity, Instant, PasswordHash

KEY = "0192f3a0-0000-7000-8000-000000000001"


def fail(store: Store, key: str, now: Instant) -> RecentFailures:
    """Record one failed login in a separate transaction."""
    with store.work() as work:
        failures = work.login_failures.of(key).after_one_more(now)
        work.login_failures.keep(key, failures, now=now)
        work.commit()
    return failures


def kept(store: Store, key: str) -> RecentFailures:
    with store.work() as work:
        return work.login_failures.of(key)


def keys(store: Store) -> set[str]:
    with store.work() as work:
        return set(work.session.execute(text("SELECT key FROM login_failures")).scalars())


def test_nothing_is_known_of_a_key_that_never_failed(store: Store) -> None:
    assert kept(store, KEY) == RecentFailures()
    assert keys(store) == set()


def test_what_is_kept_is_found_again(store: Store) -> None:
    for number in range(10):
        assert fail(store, KEY, START.plus(number)) == kept(store, KEY)
    assert kept(store, KEY).locked_until == START + 9 + LOCK_US
    assert kept(store, KEY).at == tuple(START + number for number in range(10))


def test_leaving_without_a_commit_counts_nothing(store: Store) -> None:
    fail(store, KEY, START)
    with store.work() as work:
        failures = work.login_failures.of(KEY).after_one_more(START)
        work.login_failures.keep(KEY, failures, now=START)
    assert kept(store, KEY).at == (START,)


def test_forgetting_ends_a_lock_and_leaves_others_alone(store: Store) -> None:
    for _ in range(10):
        fail(store, KEY, START)
        fail(store, "other", START)
    with store.work() as work:
        work.login_failures.forget(KEY)
        work.login_failures.forget("never heard of")
        work.commit()
    assert kept(store, KEY) == RecentFailures()
    assert kept(store, "other").locked_until is not None


def test_what_expired_is_swept_by_those_who_come_later(store: Store) -> None:
    fail(store, "early", START)
    fail(store, "late", START.plus(10))
    fail(store, "sweeper", START.plus(WINDOW_US))
    assert keys(store) == {"late", "sweeper"}
    fail(store, "sweeper", START.plus(WINDOW_US + 10))
    assert keys(store) == {"sweeper"}


def test_a_success_leaves_nothing_that_lasts(store: Store) -> None:
    fail(store, KEY, START)
    with store.work() as work:
        work.login_failures.of(KEY)
        work.login_failures.keep(KEY, RecentFailures(), now=START)
        work.commit()
    assert kept(store, KEY) == RecentFailures()
    fail(store, "other", START)
    assert keys(store) == {"other"}


@pytest.mark.parametrize("known", [False, True])
def test_failures_at_the_same_moment_all_count(store: Store, known: bool) -> None:
    if known:
        fail(store, KEY, START)
    start = threading.Barrier(8)

    def guess(_: int) -> None:
        start.wait()
        fail(store, KEY, START)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(guess, range(8)))
    assert len(kept(store, KEY).at) == 8 + known


@pytest.mark.parametrize("recent", ["", "null", "{}", "[1.5]", "[true]", '["1"]', f"[{10**30}]", "[" * 100_000])
def test_a_count_that_was_never_written_is_refused(store: Store, recent: str) -> None:
    fail(store, KEY, START)
    with store.work() as work:
        work.session.execute(text("UPDATE login_failures SET recent = :recent"), {"recent": recent})
        work.commit()
    with pytest.raises(DatabaseUnusable, match="impossible value"):
        kept(store, KEY)


def test_the_times_are_stored_as_whole_numbers_in_json(store: Store) -> None:
    fail(store, KEY, START)
    with store.work() as work:
        row = work.session.execute(text("SELECT recent, locked_until, expires_at FROM login_failures")).one()
    assert (json.loads(row.recent), row.locked_until, row.expires_at) == ([START], None, START + WINDOW_US)


def test_an_event_that_no_account_recorded_is_appended_after_those_of_accounts(store: Store) -> None:
    with store.work() as work:
        work.record(LoginFailed("unknown", cause="unknown"))
        work.users.add(a_user())
        work.commit()
    events = list(store.open_reader().stream_events(EVERY_EVENT))
    assert [(event.type, event.seq) for event in events[1:]] == [("UserCreated", 2), ("LoginFailed", 3)]
    assert store.open_reader().verify_chain(store.audit_keys).intact


def test_the_hash_of_an_account_is_found_by_every_name_it_has(store: Store) -> None:
    user = a_user("ada", password_hash=PasswordHash("$2b$04$a"))
    store.add(user, a_user("bob", password_hash=None))
    reader = store.open_reader()
    for ident in (user.id, "ADA", "Ada@example.ORG"):
        assert reader.password_of(Identity.parse(ident)) == PasswordHash("$2b$04$a")
    for ident in ("bob", "nobody", "nobody@example.org", KEY):
        assert reader.password_of(Identity.parse(ident)) is None
