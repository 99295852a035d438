"""Sessions: how long tokens are valid, what a refresh token allows, and what invalidates tokens."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.domain.accounts import ID, new_account

from backctl.domain.errors import AccountUnusable, TokenExpired, TokenNotYetValid, TokenRevoked
from backctl.domain.refresh_token import RefreshToken
from backctl.domain.sessions import Grant, Session, Standing
from backctl.domain.token_id import token_id
from backctl.domain.user import User
from backctl.domain.values import Instant, SessionId, UserId

SESSION = SessionId("01935b1e-7c3a-7def-8abc-00000000000a")
SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
NOW = Instant.parse("2026-11-22T09:24:02.345678Z")


def account(*, expires_at: Instant | None = None, must_change: bool = False) -> User:
    user = new_account(Instant(0), must_change=must_change)
    user.expires_at = expires_at
    return user


def opened(
    user: User | None = None, *, now: Instant = NOW, ttl: int = 15 * MINUTE, barred_until: Instant | None = None
) -> Session:
    session = Session.open(
        id=SESSION,
        user=user or account(),
        issuer="here",
        client_id="backctl",
        audience="api",
        scope="",
        access_ttl=ttl,
        lifetime=30 * DAY,
        barred_until=barred_until,
        leeway=10 * SECOND,
        now=now,
    )
    session.take_events()
    return session


def a_token(session: Session, *, now: Instant = NOW, number: int = 1, user: User | None = None) -> RefreshToken:
    return session.refresh_token(bytes([number]) * 32, user or account(), lifetime=7 * DAY, now=now)


def redeem(session: Session, token: RefreshToken, successor: RefreshToken | None = None, **changes: Any) -> str:
    """Redeem the token of an ordinary account now, for the first time and without a grace period, but for changes."""
    usual = {"first_use": True, "user": account(), "barred_until": None, "grace": 0, "now": NOW}
    return session.redeem(token, successor, **{**usual, **changes})


def events(session: Session) -> list[str]:
    return [event.type for event in session.take_events()]


# Opening and granting.


def test_an_access_token_lasts_as_long_as_it_was_told_in_whole_seconds() -> None:
    session = opened()
    assert session.grant(account(), leeway=10 * SECOND, now=NOW) == Grant(NOW, Instant.parse("2026-11-22T09:39:02Z"))
    assert (session.issued_at, session.expires_at) == (NOW, Instant.parse("2026-11-22T09:39:02Z"))


def test_no_token_outlasts_its_account() -> None:
    user = account(expires_at=Instant.parse("2026-11-22T09:25:00.999999Z"))
    session = opened(user)
    assert session.grant(user, leeway=10 * SECOND, now=NOW).expires_at == Instant.parse("2026-11-22T09:25:00Z")
    assert a_token(session, user=user).expires_at == user.expires_at


def test_no_token_outlasts_its_session() -> None:
    session = opened()
    late = session.ends_at.plus(-2 * SECOND)
    assert session.grant(account(), leeway=10 * SECOND, now=late).expires_at <= session.ends_at
    assert a_token(session, now=late).expires_at == session.ends_at == NOW + 30 * DAY


def test_when_no_whole_second_is_left_there_is_no_token() -> None:
    user = account(expires_at=Instant.parse("2026-11-22T09:24:02.9Z"))
    with pytest.raises(TokenExpired):
        opened(user).grant(user, leeway=10 * SECOND, now=NOW)


@given(st.integers(0, 10**16), st.integers(1, 86_400), st.integers(0, 10**12) | st.none())
def test_a_grant_is_at_least_a_second_and_never_too_long(moment: int, ttl: int, left: int | None) -> None:
    now = Instant(moment)
    user = account(expires_at=None if left is None else now.plus(left + 1))
    session = opened(user, now=now, ttl=ttl * SECOND)
    try:
        grant = session.grant(user, leeway=10 * SECOND, now=now)
    except TokenExpired:
        assert left is not None
        assert left < SECOND
        return
    assert grant.expires_at % SECOND == 0
    assert grant.expires_at // SECOND - grant.issued_at // SECOND in range(1, ttl + 1)
    assert user.expires_at is None or grant.expires_at <= user.expires_at


def test_without_a_refresh_token_a_session_ends_with_its_access_token() -> None:
    session = opened()
    grant = session.grant(account(), leeway=10 * SECOND, now=NOW)
    session.opened("jti", refreshable=False)
    assert session.ends_at == session.expires_at == grant.expires_at
    assert events(session) == ["SessionOpened"]


@pytest.mark.parametrize(
    ("user", "why"),
    [
        (account(expires_at=NOW), "expired"),
        (account(must_change=True), "change the password first"),
    ],
)
def test_an_account_that_cannot_log_in_gets_no_session(user: User, why: str) -> None:
    with pytest.raises(AccountUnusable, match=why):
        opened(user)


def test_a_closed_account_gets_no_session() -> None:
    user = account()
    user.deactivate(now=NOW)
    with pytest.raises(AccountUnusable, match="inactive"):
        opened(user)


def test_a_session_begins_after_everything_was_revoked_though_the_clock_was_set_back() -> None:
    session = opened(barred_until=NOW.plus(5 * SECOND))
    assert session.created_at == NOW + 5 * SECOND + 1
    assert session.grant(account(), leeway=10 * SECOND, now=NOW).issued_at == session.created_at


def test_no_session_is_opened_whose_tokens_are_not_valid_yet() -> None:
    opened(barred_until=NOW.plus(10 * SECOND))
    with pytest.raises(TokenNotYetValid, match="all tokens were revoked while a clock was ahead") as caught:
        opened(barred_until=NOW.plus(10 * SECOND + 1))
    assert "token revoke --all" in str(caught.value.hint)


def test_no_token_is_granted_that_is_not_valid_yet() -> None:
    session = opened(now=NOW.plus(DAY))
    with pytest.raises(TokenNotYetValid, match="when the session was opened"):
        session.grant(account(), leeway=10 * SECOND, now=NOW)
    assert session.grant(account(), leeway=DAY, now=NOW).issued_at == NOW + DAY
    session = opened()
    session.not_before = NOW.plus(DAY)
    with pytest.raises(TokenNotYetValid, match="the role of its account changed"):
        session.grant(account(), leeway=10 * SECOND, now=NOW)
    assert (session.issued_at, session.expires_at) == (NOW, NOW)


def test_a_token_may_be_dated_ahead_within_a_second_that_has_begun() -> None:
    start = Instant(NOW // SECOND * SECOND)
    assert opened(now=start.plus(SECOND - 1)).grant(account(), leeway=0, now=start).issued_at == start + SECOND - 1
    with pytest.raises(TokenNotYetValid):
        opened(now=start.plus(SECOND)).grant(account(), leeway=0, now=start)


# Redeeming.


def test_the_first_use_rotates() -> None:
    session = opened()
    assert redeem(session, a_token(session)) == "rotated"
    assert session.revoked_at is None


@pytest.mark.parametrize("later", [0, 1, 10 * DAY])
def test_any_other_use_revokes_the_session_and_says_so(later: int) -> None:
    session = opened()
    used = replace(a_token(session), used_at=NOW, successor=b"2" * 32)
    assert redeem(session, used, a_token(session, number=2), first_use=False, now=NOW.plus(later)) == "replayed"
    assert (session.revoked_at, session.revoked_because) == (NOW + later, "reused")
    assert events(session) == ["RefreshTokenReused", "SessionRevoked"]


def test_a_replay_on_a_revoked_session_is_a_replay_and_nothing_more() -> None:
    session = opened()
    used = replace(a_token(session), used_at=NOW, successor=b"2" * 32)
    session.revoke("requested", now=NOW)
    session.take_events()
    assert redeem(session, used, first_use=False) == "replayed"
    assert (session.revoked_because, events(session)) == ("requested", [])


def test_an_expired_token_that_was_used_before_is_a_replay_too() -> None:
    session = opened()
    used = replace(a_token(session), used_at=NOW, successor=None)
    assert redeem(session, used, first_use=False, now=session.ends_at.plus(1)) == "replayed"


@pytest.mark.parametrize(("later", "use"), [(0, "retried"), (30 * SECOND - 1, "retried"), (30 * SECOND, "replayed")])
def test_within_the_grace_a_used_token_may_be_redeemed_again(later: int, use: str) -> None:
    session = opened()
    used = replace(a_token(session), used_at=NOW, successor=b"2" * 32)
    unused = a_token(session, number=2)
    assert redeem(session, used, unused, first_use=False, now=NOW.plus(later), grace=30 * SECOND) == use


@pytest.mark.parametrize(("grace", "back"), [(0, 1), (0, 3600 * SECOND), (30 * SECOND, 30 * SECOND), (1, 1)])
def test_a_clock_that_is_behind_lends_no_grace(grace: int, back: int) -> None:
    session = opened()
    used = replace(a_token(session), used_at=NOW, successor=b"\2" * 32)
    unused = a_token(session, number=2)
    assert redeem(session, used, unused, first_use=False, now=NOW.plus(-back), grace=grace) == "replayed"
    assert session.revoked_because == "reused"


def test_a_clock_a_little_behind_does_not_turn_a_retry_into_a_replay() -> None:
    session = opened()
    used = replace(a_token(session), used_at=NOW, successor=b"\2" * 32)
    unused = a_token(session, number=2)
    assert redeem(session, used, unused, first_use=False, now=NOW.plus(-SECOND), grace=30 * SECOND) == "retried"


def test_no_grace_for_a_token_whose_successor_was_used() -> None:
    session = opened()
    used = replace(a_token(session), used_at=NOW, successor=b"2" * 32)
    also_used = replace(a_token(session, number=2), used_at=NOW.plus(1))
    assert redeem(session, used, also_used, first_use=False, now=NOW.plus(2), grace=30 * SECOND) == "replayed"


def test_no_grace_for_a_token_that_a_retry_replaced() -> None:
    session = opened()
    replaced = replace(a_token(session), used_at=NOW, successor=None)
    assert redeem(session, replaced, None, first_use=False, now=NOW.plus(1), grace=30 * SECOND) == "replayed"


def closed_account() -> User:
    user = account()
    user.deactivate(now=NOW)
    return user


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"user": closed_account()}, "inactive"),
        ({"user": account(expires_at=NOW)}, "expired"),
        ({"barred_until": NOW}, "all sessions"),
    ],
)
@pytest.mark.parametrize("first_use", [True, False])
def test_what_ended_the_session_ends_its_refresh_tokens(changes: dict[str, object], why: str, first_use: bool) -> None:
    session = opened()
    token = a_token(session) if first_use else replace(a_token(session), used_at=NOW, successor=b"2" * 32)
    with pytest.raises(TokenRevoked, match=why):
        redeem(session, token, a_token(session, number=2), first_use=first_use, grace=1, **changes)
    assert session.revoked_at is None


def test_an_unused_token_of_a_revoked_session_is_revoked() -> None:
    session = opened()
    session.revoke("requested", now=NOW)
    with pytest.raises(TokenRevoked, match="session was revoked"):
        redeem(session, a_token(session))


@pytest.mark.parametrize("age", [7 * DAY, 7 * DAY + 1, 30 * DAY])
def test_an_expired_token_is_expired(age: int) -> None:
    session = opened()
    with pytest.raises(TokenExpired):
        redeem(session, a_token(session), now=NOW.plus(age))


def test_a_refresh_token_counts_until_its_last_microsecond() -> None:
    session = opened()
    assert redeem(session, a_token(session), now=NOW.plus(7 * DAY - 1)) == "rotated"


# Revoking.


def test_revoking_twice_is_once() -> None:
    session = opened()
    assert session.revoke("requested", now=NOW)
    assert not session.revoke("reused", now=NOW.plus(1))
    assert (session.revoked_at, session.revoked_because) == (NOW, "requested")
    assert events(session) == ["SessionRevoked"]


def test_a_clock_set_back_revokes_no_session_before_it_began() -> None:
    session = opened()
    session.revoke("requested", now=NOW.plus(-DAY))
    assert session.revoked_at == session.created_at


# Standing.

GOOD = Standing(ID, "here", NOW, None, None, None, True, None, False)
JTI = token_id(NOW, 1)


def why_void(standing: Standing, *, issued: Instant = NOW, now: Instant = NOW, **claims: str) -> str | None:
    said = {"sub": str(ID), "iss": "here", "jti": token_id(issued, 1), **claims}
    return standing.why_void(**said, iat=issued // SECOND, now=now)


def test_a_token_of_an_open_session_is_good() -> None:
    assert why_void(GOOD) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda it: replace(it, denied=True), "it was revoked"),
        (lambda it: replace(it, revoked_at=NOW), "its session was revoked"),
        (lambda it: replace(it, barred_until=NOW), "all sessions"),
        (lambda it: replace(it, is_active=False), "its account is inactive"),
        (lambda it: replace(it, account_expires_at=NOW), "its account is expired"),
        (lambda it: replace(it, not_before=NOW), "the role"),
        (lambda it: replace(it, user_id=UserId("somebody")), "another account or issuer"),
        (lambda it: replace(it, issuer="elsewhere"), "another account or issuer"),
    ],
)
def test_what_voids_a_token(change: Callable[[Standing], Standing], why: str) -> None:
    said = why_void(change(GOOD))
    assert said is not None
    assert why in said


def test_what_is_past_or_to_come_voids_nothing() -> None:
    standing = replace(GOOD, barred_until=NOW.plus(-1), account_expires_at=NOW.plus(1), not_before=NOW.plus(-1))
    assert why_void(standing) is None


@given(st.integers(-SECOND, SECOND))
def test_within_one_second_the_microsecond_decides_which_token_is_void(difference: int) -> None:
    void = why_void(replace(GOOD, not_before=NOW), issued=NOW.plus(difference)) is not None
    assert void == (difference <= 0)


@given(st.integers(0, 10 * SECOND), st.integers(-10 * SECOND, 10 * SECOND))
def test_what_is_granted_after_a_change_is_good_however_the_clock_runs(moment: int, drift: int) -> None:
    """The rule of the repositories: `not_before` becomes now, or the latest issue time if that is later."""
    session = opened()
    old = session.grant(account(), leeway=10 * SECOND, now=NOW.plus(moment))
    changed_at = NOW.plus(moment + drift)
    session.not_before = Instant(max(changed_at, session.issued_at))
    new = session.grant(account(), leeway=10 * SECOND, now=changed_at)
    standing = replace(GOOD, not_before=session.not_before)
    assert why_void(standing, issued=old.issued_at) is not None
    assert why_void(standing, issued=new.issued_at) is None


def test_an_identifier_from_elsewhere_is_as_old_as_its_second() -> None:
    standing = replace(GOOD, not_before=Instant(NOW // SECOND * SECOND))
    assert why_void(standing, jti="f47ac10b-58cc-4372-a567-0e02b2c3d479") is not None
    assert why_void(standing) is None
