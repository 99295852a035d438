"""Ten failed logins within fifteen minutes lock an account for fifteen minutes: the rule and the verdict."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.domain.accounts import ID, new_account

from backctl.domain.account_status import LOCK_US
from backctl.domain.events import LoginChallenged, LoginFailed, LoginSucceeded, UserLocked, UserLockEnded
from backctl.domain.lockout import FAILURES_MAX, WINDOW_US, Proof, RecentFailures, asks_for_code, judge
from backctl.domain.user import User
from backctl.domain.values import Instant

BEGIN = Instant.parse("2026-11-22T09:24:02Z")
MINUTE = 60_000_000


def account() -> User:
    user = new_account(BEGIN)
    user.take_events()
    return user


def failed(*moments: int) -> RecentFailures:
    failures = RecentFailures()
    for moment in moments:
        failures = failures.after_one_more(BEGIN.plus(moment))
    return failures


def test_the_numbers_are_those_of_the_documentation() -> None:
    assert (FAILURES_MAX, WINDOW_US, LOCK_US) == (10, 15 * MINUTE, 15 * MINUTE)


def test_the_tenth_failure_locks_and_the_ninth_does_not() -> None:
    assert failed(*range(9)).locked_until is None
    assert failed(*range(10)).locked_until == BEGIN + 9 + LOCK_US


def test_a_failure_counts_for_a_quarter_of_an_hour_and_not_a_microsecond_longer() -> None:
    assert failed(0, *[WINDOW_US - 1] * 9).locked_until is not None
    assert failed(0, *[WINDOW_US] * 9).locked_until is None


def test_a_lock_ends_to_the_microsecond_and_counting_begins_anew() -> None:
    locked = failed(*[0] * 10)
    assert locked.seen(BEGIN.plus(LOCK_US - 1)).locked_until is not None
    assert locked.seen(BEGIN.plus(LOCK_US)) == RecentFailures()
    assert locked.after_one_more(BEGIN.plus(LOCK_US)).at == (BEGIN + LOCK_US,)


def test_failures_while_locked_do_not_prolong_the_lock() -> None:
    locked = failed(*[0] * 10)
    assert locked.after_one_more(BEGIN.plus(LOCK_US - 1)) == replace(locked, refused=1)


def test_a_clock_set_back_does_not_lock_for_ever() -> None:
    year = 365 * 24 * 60 * MINUTE
    locked = failed(*[year] * 10).after_one_more(BEGIN)
    assert locked.locked_until == BEGIN + LOCK_US
    counted = failed(*[year] * 9).after_one_more(BEGIN)
    assert counted.locked_until == BEGIN + LOCK_US


@pytest.mark.parametrize(
    ("failures", "end"),
    [
        (RecentFailures(), None),
        (failed(0, 5), BEGIN + 5 + WINDOW_US),
        (failed(*range(10)), BEGIN + 9 + LOCK_US),
    ],
)
def test_it_is_known_when_everything_is_forgotten(failures: RecentFailures, end: int | None) -> None:
    assert failures.expires_at() == end
    if end is not None:
        assert failures.seen(Instant(end - 1)) != RecentFailures()
        assert failures.seen(Instant(end)) == RecentFailures()


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(0, 4 * MINUTE), max_size=60))
def test_the_rule_agrees_with_a_plain_reading_of_it(pauses: list[int]) -> None:
    now, counted, locked_until = int(BEGIN), list[int](), 0
    failures = RecentFailures()
    for pause in pauses:
        now += pause
        failures = failures.after_one_more(Instant(now))
        if now >= locked_until:
            if locked_until:
                counted, locked_until = [], 0
            counted.append(now)
            if sum(now - 15 * MINUTE < moment <= now for moment in counted) >= 10:
                locked_until = now + 15 * MINUTE
        assert (failures.locked_until or 0) == locked_until
        assert len(failures.at) <= FAILURES_MAX


@settings(deadline=None)
@given(st.lists(st.integers(-(10**13), 10**13), max_size=40))
def test_whatever_the_clock_does_no_lock_is_longer_than_it_was_meant_to_be(moments: list[int]) -> None:
    failures = RecentFailures()
    for moment in moments:
        now = BEGIN.plus(moment)
        failures = failures.after_one_more(now)
        assert failures.locked_until is None or now < failures.locked_until <= now + LOCK_US
        assert list(failures.at) == sorted(failures.at)


# The verdict.


def test_the_right_password_opens_and_the_failures_before_are_forgotten() -> None:
    verdict = judge(account(), failed(*range(9)), fits=True, now=BEGIN.plus(10))
    assert (verdict.ok, verdict.outcome, verdict.failures) == (True, "ok", RecentFailures())
    assert verdict.events == (LoginSucceeded(ID, must_change=False),)


def test_the_right_password_that_must_be_changed_says_so() -> None:
    user = account()
    user.must_change_password = True
    verdict = judge(user, RecentFailures(), fits=True, now=BEGIN)
    assert (verdict.ok, verdict.outcome) == (True, "must_change")
    assert verdict.events == (LoginSucceeded(ID, must_change=True),)


def guarded() -> User:
    user = account()
    user.mfa_state = "on"
    return user


@pytest.mark.parametrize("proof", ["totp", "recovery_code"])
def test_a_code_beside_the_password_opens_and_is_told(proof: Proof) -> None:
    verdict = judge(guarded(), failed(*range(9)), fits=True, now=BEGIN.plus(10), proof=proof)
    assert (verdict.ok, verdict.outcome, verdict.failures) == (True, "ok", RecentFailures())
    assert verdict.events == (LoginSucceeded(ID, must_change=False, second_factor=proof),)


def test_a_missing_code_is_asked_for_and_neither_counts_nor_forgets() -> None:
    verdict = judge(guarded(), failed(*range(9)), fits=True, now=BEGIN.plus(10))
    assert (verdict.ok, verdict.outcome, verdict.failures) == (False, "mfa_required", failed(*range(9)))
    assert verdict.events == (LoginChallenged(ID),)


@pytest.mark.parametrize("proof", ["totp", "recovery_code", "missing", "wrong"])
def test_a_code_means_nothing_where_there_is_no_second_factor(proof: Proof) -> None:
    verdict = judge(account(), RecentFailures(), fits=True, now=BEGIN, proof=proof)
    assert (verdict.outcome, verdict.events) == ("ok", (LoginSucceeded(ID, must_change=False),))


def test_a_wrong_code_is_refused_and_counts_as_a_failure() -> None:
    verdict = judge(guarded(), failed(*[0] * 9), fits=True, now=BEGIN, proof="wrong")
    assert (verdict.ok, verdict.outcome, verdict.failures) == (False, "refused", failed(*[0] * 10))
    assert verdict.events == (LoginFailed(ID, cause="code"), UserLocked(ID, until="2026-11-22T09:39:02.000000Z"))


def test_a_code_is_asked_for_only_where_all_else_is_in_order() -> None:
    none, locked = RecentFailures(), failed(*[0] * 10)
    shut, over, pending = guarded(), guarded(), account()
    shut.deactivate(now=BEGIN)
    over.expires_at = BEGIN
    pending.mfa_state = "pending"
    assert asks_for_code(guarded(), none, fits=True, now=BEGIN)
    assert not asks_for_code(guarded(), none, fits=False, now=BEGIN)
    assert not asks_for_code(guarded(), locked, fits=True, now=BEGIN)
    assert asks_for_code(guarded(), locked, fits=True, now=BEGIN.plus(LOCK_US))
    for user in (None, account(), pending, shut, over):
        assert not asks_for_code(user, none, fits=True, now=BEGIN)


def closed() -> User:
    user = account()
    user.deactivate(now=BEGIN)
    return user


def expired() -> User:
    user = account()
    user.expires_at = BEGIN
    return user


@pytest.mark.parametrize(
    ("user", "fits", "subject", "cause"),
    [
        (None, False, "unknown", "unknown"),
        (account(), False, ID, "wrong"),
        (closed(), False, ID, "wrong"),
        (closed(), True, ID, "inactive"),
        (expired(), True, ID, "expired"),
    ],
)
def test_every_refusal_answers_and_counts_alike(user: User | None, fits: bool, subject: str, cause: str) -> None:
    verdict = judge(user, RecentFailures(), fits=fits, now=BEGIN)
    assert (verdict.ok, verdict.outcome, verdict.failures) == (False, "refused", RecentFailures((BEGIN,)))
    assert verdict.events == (LoginFailed(subject, cause=cause),)


def test_nobody_learns_from_a_lock_that_he_found_the_password() -> None:
    locked = failed(*[0] * 10)
    for user in (account(), closed(), None):
        for fits in (True, False):
            verdict = judge(user, locked, fits=fits, now=BEGIN.plus(1))
            assert (verdict.ok, verdict.outcome) == (False, "locked")
            assert (verdict.failures, verdict.events) == (replace(locked, refused=1), ())


@pytest.mark.parametrize("attempts", [0, 3])
@pytest.mark.parametrize(("fits", "then"), [(True, "LoginSucceeded"), (False, "LoginFailed")])
def test_the_end_of_a_lock_is_recorded_with_the_number_of_attempts(attempts: int, fits: bool, then: str) -> None:
    failures = failed(*[0] * 10)
    for _ in range(attempts):
        failures = judge(account(), failures, fits=fits, now=BEGIN.plus(1)).failures
    verdict = judge(account(), failures, fits=fits, now=BEGIN.plus(LOCK_US))
    assert verdict.events[0] == UserLockEnded(ID, attempts=attempts, cause="expired")
    assert [event.type for event in verdict.events[1:]] == [then]
    assert judge(account(), verdict.failures, fits=fits, now=BEGIN.plus(LOCK_US + 1)).events[0].type == then


def test_the_end_of_a_lock_of_an_unknown_name_is_recorded_if_logins_were_refused() -> None:
    locked = failed(*[0] * 10)
    assert locked.end_of_lock("unknown", now=BEGIN.plus(LOCK_US)) == ()
    refused = judge(None, locked, fits=False, now=BEGIN.plus(1)).failures
    ended = refused.end_of_lock("unknown", now=BEGIN.plus(LOCK_US))
    assert ended == (UserLockEnded("unknown", attempts=1, cause="expired"),)


def test_a_new_password_ends_a_lock_early() -> None:
    locked = replace(failed(*[0] * 10), refused=7)
    assert locked.end_of_lock(ID, now=BEGIN.plus(1)) == ()
    cleared = locked.end_of_lock(ID, now=BEGIN.plus(1), cleared_by="password_changed")
    assert cleared == (UserLockEnded(ID, attempts=7, cause="password_changed"),)
    late = locked.end_of_lock(ID, now=BEGIN.plus(LOCK_US), cleared_by="password_changed")
    assert late == (UserLockEnded(ID, attempts=7, cause="expired"),)
    assert failed(0).end_of_lock(ID, now=BEGIN.plus(1), cleared_by="password_changed") == ()


def test_the_lock_of_an_account_is_an_event_of_its_own() -> None:
    verdict = judge(account(), failed(*[0] * 9), fits=False, now=BEGIN)
    assert verdict.outcome == "refused"
    assert verdict.events == (LoginFailed(ID, cause="wrong"), UserLocked(ID, until="2026-11-22T09:39:02.000000Z"))
    nobody = judge(None, failed(*[0] * 9), fits=False, now=BEGIN)
    assert nobody.failures == verdict.failures
    assert nobody.events == (LoginFailed("unknown", cause="unknown"),)
