"""Sessions on every database: what ends them permanently and at once, and what a sweep removes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.concurrency import at_once
from tests.contracts.conftest import BY, START, a_user
from tests.contracts.token_services import DAY, MINUTE, SECOND, Services, access_of, once, refresh_of

from backctl.application.token_views import IssuedTokens
from backctl.application.tokens import ACCESS_TTL_MAX, NOTHING_REVOKED
from backctl.domain import errors
from backctl.domain.refresh_token import refresh_token
from backctl.domain.repositories import Swept
from backctl.domain.values import Expiry, Instant, Secret

# What ends all sessions.


def set_password(services: Services) -> None:
    services.accounts.set_password("ada", Secret("correct horse battery"), by=BY)


def deactivate_and_activate(services: Services) -> None:
    services.accounts.deactivate("ada", by=BY)
    services.accounts.activate("ada", by=BY)


def expire_and_extend(services: Services) -> None:
    services.accounts.update("ada", expiry=Expiry(at=services.store.now), by=BY)
    services.accounts.update("ada", expiry=Expiry(), by=BY)


def lapse_and_extend(services: Services) -> None:
    services.accounts.update("ada", expiry=Expiry(after=SECOND), by=BY)
    services.later(SECOND)
    services.accounts.update("ada", expiry=Expiry(), by=BY)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (set_password, "password_changed"),
        (deactivate_and_activate, "deactivated"),
        (expire_and_extend, "expired"),
        (lapse_and_extend, "expired"),
    ],
)
def test_what_ends_the_trust_in_an_account_ends_its_sessions_for_good(
    services: Services, change: Callable[[Services], None], cause: str
) -> None:
    pair, roots = services.pair(), services.issue("root")
    change(services)
    with pytest.raises(errors.TokenRevoked):
        services.verify(pair)
    with pytest.raises(errors.TokenRevoked):
        services.refresh(pair)
    assert services.states() == [("revoked", cause)]
    assert services.events().count("SessionsRevoked") == 1
    assert services.verify(roots).role == "admin"


@once
def test_a_rejected_change_of_an_account_ends_nothing(services: Services) -> None:
    pair = services.issue("root", pair=True)
    with pytest.raises(errors.LastAdministrator):
        services.accounts.deactivate("root", by=BY)
    with pytest.raises(errors.LastAdministrator):
        services.accounts.assign_role("root", "user", by=BY)
    services.accounts.deactivate("ada", by=BY, dry_run=True)
    assert services.verify(pair).sub == pair.user_id


def test_a_deleted_account_leaves_no_good_token(services: Services) -> None:
    pair = services.pair()
    services.accounts.delete("ada", by=BY)
    with pytest.raises(errors.TokenRevoked):
        services.verify(pair)
    with pytest.raises(errors.TokenUnknown):
        services.refresh(pair)
    with pytest.raises(errors.UserNotFound):
        services.sessions.page("ada")


def test_another_role_voids_access_tokens_and_the_next_refresh_carries_it(services: Services) -> None:
    first = services.pair()
    services.accounts.assign_role("ada", "moderator", by=BY)
    with pytest.raises(errors.TokenRevoked, match="role"):
        services.verify(first)
    second = services.refresh(first)
    assert (services.verify(second).role, second.role) == ("moderator", "moderator")
    services.accounts.assign_role("ada", "moderator", by=BY)  # the role does not change
    assert services.verify(second).role == "moderator"


def test_within_one_microsecond_a_token_from_before_is_void_and_one_from_after_is_good(services: Services) -> None:
    first = services.pair()
    second = services.refresh(first)
    services.accounts.assign_role("ada", "moderator", by=BY)
    third = services.refresh(second)
    fourth = services.issue()
    for void in (first, second):
        with pytest.raises(errors.TokenRevoked):
            services.verify(void)
    assert (services.verify(third).role, services.verify(fourth).role) == ("moderator", "moderator")
    assert services.verify(third).iat == START // SECOND == services.store.now // SECOND  # the clock did not move


def test_a_clock_set_back_makes_no_void_token_good(services: Services) -> None:
    first = services.pair()
    services.later(-5 * SECOND)
    services.allow(10 * SECOND)
    services.accounts.assign_role("ada", "moderator", by=BY)
    with pytest.raises(errors.TokenRevoked):
        services.verify(first)
    assert services.verify(services.refresh(first)).role == "moderator"


def test_revoking_everything_ends_what_was_open_and_not_what_comes(services: Services) -> None:
    before, roots = services.pair(), services.issue("root")
    change = services.sessions.revoke_all(by=BY)
    after = services.pair()  # in the same microsecond
    assert (change.changed, change.value.revoked_sessions, change.value.id) == (True, 2, "here")
    for void in (before, roots):
        with pytest.raises(errors.TokenRevoked, match="all sessions"):
            services.verify(void)
    with pytest.raises(errors.TokenRevoked):
        services.refresh(before)
    assert services.verify(services.refresh(after)).sub == after.user_id
    assert services.states() == [("revoked", "requested"), ("open", None)]
    services.sessions.revoke_all(by=BY, dry_run=True)
    assert services.states()[-1] == ("open", None)


YEARS = 80 * 365 * DAY


def test_revoking_everything_under_a_clock_that_is_ahead_is_mended_by_doing_it_again(services: Services) -> None:
    before = services.pair()
    services.later(YEARS)
    services.sessions.revoke_all(by=BY)
    ahead = services.pair()
    services.later(-YEARS)
    for refused in (services.issue, services.pair):
        with pytest.raises(errors.TokenNotYetValid, match="all tokens were revoked while a clock was ahead"):
            refused()
    assert services.states() == [("revoked", "requested"), ("open", None)]  # the refused calls leave nothing behind
    services.sessions.revoke_all(by=BY)
    after = services.pair()
    assert services.verify(after).sid == after.session_id
    assert services.verify(services.refresh(after)).sid == after.session_id
    for moment in (0, YEARS, DAY):  # they stay invalid now, at the time of the fast clock, and later
        services.later(moment)
        for void in (before, ahead):
            with pytest.raises((errors.TokenRevoked, errors.TokenExpired, errors.TokenNotYetValid)):
                services.verify(void)
            with pytest.raises(errors.TokenRevoked):
                services.refresh(void)


def test_a_session_opened_under_a_clock_that_is_ahead_gets_no_token_that_is_not_valid_yet(services: Services) -> None:
    services.later(YEARS)
    ahead = services.pair()
    services.later(-YEARS)
    with pytest.raises(errors.TokenNotYetValid, match="a clock was ahead when the session was opened"):
        services.refresh(ahead)
    services.later(YEARS)
    assert services.verify(services.refresh(ahead)).sid == ahead.session_id  # its refresh token was not used up


def test_a_role_changed_under_a_clock_that_is_ahead_asks_for_another_login(services: Services) -> None:
    pair = services.pair()
    services.later(DAY)
    services.accounts.assign_role("ada", "moderator", by=BY)
    services.later(-DAY)
    with pytest.raises(errors.TokenNotYetValid, match="the role of its account changed"):
        services.refresh(pair)
    assert services.verify(services.issue()).role == "moderator"
    services.accounts.assign_role("ada", "user", by=BY)  # works with the correct clock
    assert services.verify(services.refresh(pair)).role == "user"
    with pytest.raises(errors.TokenRevoked):
        services.verify(pair)


# Revoking by hand.


def test_revoking_an_account_is_idempotent(services: Services) -> None:
    pair = services.pair()
    services.issue()
    first = services.sessions.revoke_user("ada", by=BY)
    again = services.sessions.revoke_user("ADA@example.org", by=BY)
    assert (first.changed, first.value.revoked_sessions, again.changed, again.value.revoked_sessions) == (
        True,
        2,
        False,
        0,
    )
    with pytest.raises(errors.TokenRevoked):
        services.verify(pair)
    with pytest.raises(errors.UserNotFound):
        services.sessions.revoke_user("nobody", by=BY)


def test_revoking_a_session_is_idempotent(services: Services) -> None:
    one, other = services.pair(), services.pair()
    changes = [services.sessions.revoke(one.session_id, by=BY).changed for _ in range(2)]
    assert changes == [True, False]
    with pytest.raises(errors.TokenRevoked):
        services.verify(one)
    assert services.verify(other).sid == other.session_id
    with pytest.raises(errors.SessionNotFound):
        services.sessions.revoke("nothing", by=BY)


def test_revoking_an_access_token_leaves_its_session(services: Services) -> None:
    pair = services.pair()
    changes = [services.tokens.revoke(access_of(pair), by=BY).changed for _ in range(2)]
    assert changes == [True, False]
    with pytest.raises(errors.TokenRevoked, match="it was revoked"):
        services.verify(pair)
    assert services.verify(services.refresh(pair)).sid == pair.session_id


def test_revoking_a_refresh_token_ends_its_session(services: Services) -> None:
    first = services.pair()
    second = services.refresh(first)
    changes = [services.tokens.revoke(refresh_of(tokens), by=BY).changed for tokens in (second, first)]
    assert changes == [True, False]
    assert services.states() == [("revoked", "requested")]
    with pytest.raises(errors.TokenRevoked):
        services.verify(second)


@once
def test_a_token_for_another_audience_can_be_revoked(services: Services) -> None:
    issued = services.issue(audience="billing")
    assert services.tokens.revoke(access_of(issued), by=BY).changed
    with pytest.raises(errors.TokenRevoked):
        services.tokens.verify(access_of(issued), audience="billing")


@once
def test_a_token_from_a_clock_that_is_ahead_can_be_revoked(services: Services) -> None:
    issued = services.issue()
    services.later(-60 * SECOND)
    with pytest.raises(errors.TokenNotYetValid):
        services.verify(issued)
    assert services.tokens.revoke(access_of(issued), by=BY).changed
    services.later(60 * SECOND)
    with pytest.raises(errors.TokenRevoked):
        services.verify(issued)


@once
def test_an_expired_token_needs_no_revocation_and_a_forged_one_gets_none(services: Services) -> None:
    issued = services.issue()
    forged = Secret(access_of(issued).reveal()[:-4] + "AAAA")
    assert services.tokens.revoke(forged, by=BY) == NOTHING_REVOKED
    services.later(DAY)
    assert not services.tokens.revoke(access_of(issued), by=BY).changed
    assert services.events() == ["SessionOpened"]


@pytest.mark.parametrize(
    "text",
    ["", "garbage", "a.b.c", "x" * 10_000, "bkr_", "bkr_garbage", "unknown"],
)
def test_revoking_what_is_no_token_of_ours_changes_nothing_and_is_no_error(services: Services, text: str) -> None:
    """RFC 7009 §2.2: the client cannot handle such an error, and its token is already invalid."""
    pair = services.pair()
    token = refresh_token(bytes(32)) if text == "unknown" else Secret(text)
    assert services.tokens.revoke(token, by=BY) == NOTHING_REVOKED
    assert services.verify(pair).sid == pair.session_id
    assert services.events() == ["SessionOpened"]


def test_a_token_is_revoked_by_its_identifier(services: Services) -> None:
    issued = services.issue(ttl=ACCESS_TTL_MAX)
    assert services.tokens.revoke_jti(issued.jti, by=BY).changed
    assert not services.tokens.revoke_jti(issued.jti, by=BY).changed
    for _ in range(2):  # remembered until the longest token has expired
        with pytest.raises(errors.TokenRevoked):
            services.verify(issued)
        services.later(DAY - SECOND)
        services.sessions.sweep(by=BY)
    for wrong in ("", "x" * 256, "a\0b"):
        with pytest.raises(errors.InvalidInput):
            services.tokens.revoke_jti(wrong, by=BY)


def test_an_identifier_that_no_token_has_is_not_found(services: Services) -> None:
    first = services.pair()
    second = services.refresh(first)
    for unknown in ("x", "%", first.jti[:-1], first.jti[:-1] + "_", first.jti.upper(), first.session_id):
        with pytest.raises(errors.TokenNotFound):
            services.tokens.revoke_jti(unknown, by=BY)
    assert services.events() == ["SessionOpened", "SessionRefreshed"]
    for issued in (first, second):
        assert services.tokens.revoke_jti(issued.jti, by=BY).value.user_id == first.user_id


# Sweeping.


def test_what_is_past_is_swept_and_what_a_leeway_needs_is_kept(services: Services) -> None:
    services.allow(10 * SECOND)
    issued = services.issue()
    told: list[int] = []
    services.tokens.revoke(access_of(issued), by=BY)
    pair = services.pair()
    services.later(15 * MINUTE + 10 * SECOND - 1)
    services.store.now = Instant(issued.expires_at + 10 * SECOND - 1)
    assert services.sessions.sweep(by=BY).value == Swept()
    with pytest.raises(errors.TokenRevoked):
        services.verify(issued)  # within the leeway
    services.later(1)
    tried = services.sessions.sweep(by=BY, dry_run=True)
    done = services.sessions.sweep(by=BY, batch_size=1, progress=told.append)
    assert (tried.value, done.value) == (Swept(sessions=1, revocations=1),) * 2
    assert (done.changed, sum(told)) == (True, 2)
    assert not services.sessions.sweep(by=BY).changed
    assert services.refresh(pair).session_id == pair.session_id


@once
def test_a_sweep_can_leave_what_ended_lately(services: Services) -> None:
    services.issue()
    services.later(DAY)
    assert not services.sessions.sweep(older_than=DAY, by=BY).changed
    services.later(DAY)
    assert services.sessions.sweep(older_than=DAY, by=BY).value.sessions == 1


@once
@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 100_001}, {"older_than": -1}])
def test_a_sweep_has_bounds(services: Services, options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidInput):
        services.sessions.sweep(by=BY, **options)


# Concurrency.


def test_of_eight_that_refresh_with_one_token_one_wins_and_no_live_token_survives(services: Services) -> None:
    first = services.pair()
    answers = at_once(*[lambda: services.refresh(first)] * 8, refusal=errors.AnswerIsNo)
    (winner,) = [answer for answer in answers if isinstance(answer, IssuedTokens)]
    assert [type(answer) for answer in answers].count(errors.TokenReused) == 7
    for tokens in (first, winner):
        with pytest.raises(errors.TokenRevoked):
            services.verify(tokens)
    with pytest.raises(errors.TokenRevoked):
        services.refresh(winner)
    assert services.events().count("RefreshTokenReused") == 1


def test_of_eight_that_revoke_one_token_one_does_and_the_log_tells_it_once(services: Services) -> None:
    for jti in [services.issue().jti for _ in range(3)]:
        answers = at_once(
            *[lambda jti=jti: services.tokens.revoke_jti(jti, by=BY).changed] * 8, refusal=errors.AnswerIsNo
        )
        assert sorted(answers, key=bool) == [False] * 7 + [True]
    assert services.events().count("AccessTokenRevoked") == 3


@pytest.mark.parametrize(
    "end",
    [
        lambda services, pair: services.sessions.revoke(pair.session_id, by=BY),
        lambda services, pair: services.sessions.revoke_user("ada", by=BY),
        lambda services, pair: services.sessions.revoke_all(by=BY),
        lambda services, pair: services.accounts.deactivate("ada", by=BY),
        lambda services, pair: services.accounts.delete("ada", by=BY),
    ],
    ids=["session", "user", "all", "deactivated", "deleted"],
)
def test_what_is_refreshed_at_the_moment_of_its_end_does_not_outlive_it(
    services: Services, end: Callable[[Services, IssuedTokens], object]
) -> None:
    for _ in range(3):
        pair = services.pair()
        refreshed, _ = at_once(partial(services.refresh, pair), partial(end, services, pair), refusal=errors.AnswerIsNo)
        assert isinstance(refreshed, (IssuedTokens, errors.TokenRevoked, errors.TokenUnknown))
        if isinstance(refreshed, IssuedTokens):
            with pytest.raises(errors.TokenRevoked):
                services.verify(refreshed)
            with pytest.raises((errors.TokenRevoked, errors.TokenUnknown)):
                services.refresh(refreshed)
        if services.accounts.exists("ada").ok:
            services.accounts.activate("ada", by=BY)
        else:
            services.store.add(a_user("ada"))
