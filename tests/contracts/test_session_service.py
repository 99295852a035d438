"""Sessions on every database: what ends them, for good and at the same moment, and what is cleared away."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.contracts.conftest import BY, START, a_user
from tests.contracts.token_house import DAY, MINUTE, SECOND, House, access_of, once, refresh_of

from backctl.application.token_views import IssuedTokens
from backctl.application.tokens import ACCESS_TTL_MAX, NOTHING_REVOKED
from backctl.domain.errors import (
    AnswerIsNo,
    InvalidInput,
    LastAdministrator,
    SessionNotFound,
    TokenExpired,
    TokenNotFound,
    TokenNotYetValid,
    TokenReused,
    TokenRevoked,
    TokenUnknown,
    UserNotFound,
)
from backctl.domain.refresh_token import refresh_token
from backctl.domain.repositories import Swept
from backctl.domain.values import Expiry, Instant, Secret

# What ends them all.


def set_password(house: House) -> None:
    house.accounts.set_password("ada", Secret("correct horse battery"), by=BY)


def deactivate_and_activate(house: House) -> None:
    house.accounts.deactivate("ada", by=BY)
    house.accounts.activate("ada", by=BY)


def expire_and_extend(house: House) -> None:
    house.accounts.update("ada", expiry=Expiry(at=house.store.now), by=BY)
    house.accounts.update("ada", expiry=Expiry(), by=BY)


def lapse_and_extend(house: House) -> None:
    house.accounts.update("ada", expiry=Expiry(after=SECOND), by=BY)
    house.later(SECOND)
    house.accounts.update("ada", expiry=Expiry(), by=BY)


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
    house: House, change: Callable[[House], None], cause: str
) -> None:
    pair, roots = house.pair(), house.issue("root")
    change(house)
    with pytest.raises(TokenRevoked):
        house.verify(pair)
    with pytest.raises(TokenRevoked):
        house.refresh(pair)
    assert house.states() == [("revoked", cause)]
    assert house.events().count("SessionsRevoked") == 1
    assert house.verify(roots).role == "admin"


@once
def test_a_rejected_change_of_an_account_ends_nothing(house: House) -> None:
    pair = house.issue("root", pair=True)
    with pytest.raises(LastAdministrator):
        house.accounts.deactivate("root", by=BY)
    with pytest.raises(LastAdministrator):
        house.accounts.assign_role("root", "user", by=BY)
    house.accounts.deactivate("ada", by=BY, dry_run=True)
    assert house.verify(pair).sub == pair.user_id


def test_a_deleted_account_leaves_no_good_token(house: House) -> None:
    pair = house.pair()
    house.accounts.delete("ada", by=BY)
    with pytest.raises(TokenRevoked):
        house.verify(pair)
    with pytest.raises(TokenUnknown):
        house.refresh(pair)
    with pytest.raises(UserNotFound):
        house.sessions.page("ada")


def test_another_role_voids_access_tokens_and_the_next_refresh_carries_it(house: House) -> None:
    first = house.pair()
    house.accounts.assign_role("ada", "moderator", by=BY)
    with pytest.raises(TokenRevoked, match="role"):
        house.verify(first)
    second = house.refresh(first)
    assert (house.verify(second).role, second.role) == ("moderator", "moderator")
    house.accounts.assign_role("ada", "moderator", by=BY)  # as it is already
    assert house.verify(second).role == "moderator"


def test_within_one_microsecond_a_token_from_before_is_void_and_one_from_after_is_good(house: House) -> None:
    first = house.pair()
    second = house.refresh(first)
    house.accounts.assign_role("ada", "moderator", by=BY)
    third = house.refresh(second)
    fourth = house.issue()
    for void in (first, second):
        with pytest.raises(TokenRevoked):
            house.verify(void)
    assert (house.verify(third).role, house.verify(fourth).role) == ("moderator", "moderator")
    assert house.verify(third).iat == START // SECOND == house.store.now // SECOND  # the clock stood still


def test_a_clock_set_back_makes_no_void_token_good(house: House) -> None:
    first = house.pair()
    house.later(-5 * SECOND)
    house.allow(10 * SECOND)
    house.accounts.assign_role("ada", "moderator", by=BY)
    with pytest.raises(TokenRevoked):
        house.verify(first)
    assert house.verify(house.refresh(first)).role == "moderator"


def test_revoking_everything_ends_what_was_open_and_not_what_comes(house: House) -> None:
    before, roots = house.pair(), house.issue("root")
    change = house.sessions.revoke_all(by=BY)
    after = house.pair()  # in the same microsecond
    assert (change.changed, change.value.sessions, change.value.id) == (True, 2, "here")
    for void in (before, roots):
        with pytest.raises(TokenRevoked, match="all sessions"):
            house.verify(void)
    with pytest.raises(TokenRevoked):
        house.refresh(before)
    assert house.verify(house.refresh(after)).sub == after.user_id
    assert house.states() == [("revoked", "requested"), ("open", None)]
    house.sessions.revoke_all(by=BY, dry_run=True)
    assert house.states()[-1] == ("open", None)


YEARS = 80 * 365 * DAY


def test_revoking_everything_under_a_clock_that_is_ahead_is_mended_by_doing_it_again(house: House) -> None:
    before = house.pair()
    house.later(YEARS)
    house.sessions.revoke_all(by=BY)
    ahead = house.pair()
    house.later(-YEARS)
    for refused in (house.issue, house.pair):
        with pytest.raises(TokenNotYetValid, match="all tokens were revoked while a clock was ahead"):
            refused()
    assert house.states() == [("revoked", "requested"), ("open", None)]  # of what was refused nothing is left
    house.sessions.revoke_all(by=BY)
    after = house.pair()
    assert house.verify(after).sid == after.session_id
    assert house.verify(house.refresh(after)).sid == after.session_id
    for moment in (0, YEARS, DAY):  # neither now nor under that clock nor after it does anything come back
        house.later(moment)
        for void in (before, ahead):
            with pytest.raises((TokenRevoked, TokenExpired, TokenNotYetValid)):
                house.verify(void)
            with pytest.raises(TokenRevoked):
                house.refresh(void)


def test_a_session_opened_under_a_clock_that_is_ahead_gets_no_token_that_is_not_valid_yet(house: House) -> None:
    house.later(YEARS)
    ahead = house.pair()
    house.later(-YEARS)
    with pytest.raises(TokenNotYetValid, match="a clock was ahead when the session was opened"):
        house.refresh(ahead)
    house.later(YEARS)
    assert house.verify(house.refresh(ahead)).sid == ahead.session_id  # its refresh token was not used up


def test_a_role_changed_under_a_clock_that_is_ahead_asks_for_another_login(house: House) -> None:
    pair = house.pair()
    house.later(DAY)
    house.accounts.assign_role("ada", "moderator", by=BY)
    house.later(-DAY)
    with pytest.raises(TokenNotYetValid, match="the role of its account changed"):
        house.refresh(pair)
    assert house.verify(house.issue()).role == "moderator"
    house.accounts.assign_role("ada", "user", by=BY)  # the right clock mends it
    assert house.verify(house.refresh(pair)).role == "user"
    with pytest.raises(TokenRevoked):
        house.verify(pair)


# Revoking by hand.


def test_revoking_an_account_is_idempotent(house: House) -> None:
    pair = house.pair()
    house.issue()
    first = house.sessions.revoke_user("ada", by=BY)
    again = house.sessions.revoke_user("ADA@example.org", by=BY)
    assert (first.changed, first.value.sessions, again.changed, again.value.sessions) == (True, 2, False, 0)
    with pytest.raises(TokenRevoked):
        house.verify(pair)
    with pytest.raises(UserNotFound):
        house.sessions.revoke_user("nobody", by=BY)


def test_revoking_a_session_is_idempotent(house: House) -> None:
    one, other = house.pair(), house.pair()
    changes = [house.sessions.revoke(one.session_id, by=BY).changed for _ in range(2)]
    assert changes == [True, False]
    with pytest.raises(TokenRevoked):
        house.verify(one)
    assert house.verify(other).sid == other.session_id
    with pytest.raises(SessionNotFound):
        house.sessions.revoke("nothing", by=BY)


def test_revoking_an_access_token_leaves_its_session(house: House) -> None:
    pair = house.pair()
    changes = [house.tokens.revoke(access_of(pair), by=BY).changed for _ in range(2)]
    assert changes == [True, False]
    with pytest.raises(TokenRevoked, match="it was revoked"):
        house.verify(pair)
    assert house.verify(house.refresh(pair)).sid == pair.session_id


def test_revoking_a_refresh_token_ends_its_session(house: House) -> None:
    first = house.pair()
    second = house.refresh(first)
    changes = [house.tokens.revoke(refresh_of(tokens), by=BY).changed for tokens in (second, first)]
    assert changes == [True, False]
    assert house.states() == [("revoked", "requested")]
    with pytest.raises(TokenRevoked):
        house.verify(second)


@once
def test_a_token_for_another_audience_can_be_revoked(house: House) -> None:
    issued = house.issue(audience="billing")
    assert house.tokens.revoke(access_of(issued), by=BY).changed
    with pytest.raises(TokenRevoked):
        house.tokens.verify(access_of(issued), audience="billing")


@once
def test_a_token_from_a_clock_that_is_ahead_can_be_revoked(house: House) -> None:
    issued = house.issue()
    house.later(-60 * SECOND)
    with pytest.raises(TokenNotYetValid):
        house.verify(issued)
    assert house.tokens.revoke(access_of(issued), by=BY).changed
    house.later(60 * SECOND)
    with pytest.raises(TokenRevoked):
        house.verify(issued)


@once
def test_an_expired_token_needs_no_revocation_and_a_forged_one_gets_none(house: House) -> None:
    issued = house.issue()
    forged = Secret(access_of(issued).reveal()[:-4] + "AAAA")
    assert house.tokens.revoke(forged, by=BY) == NOTHING_REVOKED
    house.later(DAY)
    assert not house.tokens.revoke(access_of(issued), by=BY).changed
    assert house.events() == ["SessionOpened"]


@pytest.mark.parametrize(
    "text",
    ["", "garbage", "a.b.c", "x" * 10_000, "bkr_", "bkr_garbage", "unknown"],
)
def test_revoking_what_is_no_token_of_ours_changes_nothing_and_is_no_error(house: House, text: str) -> None:
    """RFC 7009 §2.2: the client cannot handle such an error, and what it wants is so already."""
    pair = house.pair()
    token = refresh_token(bytes(32)) if text == "unknown" else Secret(text)
    assert house.tokens.revoke(token, by=BY) == NOTHING_REVOKED
    assert house.verify(pair).sid == pair.session_id
    assert house.events() == ["SessionOpened"]


def test_a_token_is_revoked_by_its_identifier(house: House) -> None:
    issued = house.issue(ttl=ACCESS_TTL_MAX)
    assert house.tokens.revoke_jti(issued.jti, by=BY).changed
    assert not house.tokens.revoke_jti(issued.jti, by=BY).changed
    for _ in range(2):  # remembered until the longest token would be over
        with pytest.raises(TokenRevoked):
            house.verify(issued)
        house.later(DAY - SECOND)
        house.sessions.sweep(by=BY)
    for wrong in ("", "x" * 256, "a\0b"):
        with pytest.raises(InvalidInput):
            house.tokens.revoke_jti(wrong, by=BY)


def test_an_identifier_that_no_token_has_is_not_found(house: House) -> None:
    first = house.pair()
    second = house.refresh(first)
    for unknown in ("x", "%", first.jti[:-1], first.jti[:-1] + "_", first.jti.upper(), first.session_id):
        with pytest.raises(TokenNotFound):
            house.tokens.revoke_jti(unknown, by=BY)
    assert house.events() == ["SessionOpened", "SessionRefreshed"]
    for issued in (first, second):
        assert house.tokens.revoke_jti(issued.jti, by=BY).value.user_id == first.user_id


# Tidying up.


def test_what_is_past_is_swept_and_what_a_leeway_needs_is_kept(house: House) -> None:
    house.allow(10 * SECOND)
    issued = house.issue()
    told: list[int] = []
    house.tokens.revoke(access_of(issued), by=BY)
    pair = house.pair()
    house.later(15 * MINUTE + 10 * SECOND - 1)
    house.store.now = Instant(issued.expires_at + 10 * SECOND - 1)
    assert house.sessions.sweep(by=BY).value == Swept()
    with pytest.raises(TokenRevoked):
        house.verify(issued)  # within the leeway
    house.later(1)
    tried = house.sessions.sweep(by=BY, dry_run=True)
    done = house.sessions.sweep(by=BY, batch_size=1, progress=told.append)
    assert (tried.value, done.value) == (Swept(sessions=1, revocations=1),) * 2
    assert (done.changed, sum(told)) == (True, 2)
    assert not house.sessions.sweep(by=BY).changed
    assert house.refresh(pair).session_id == pair.session_id


@once
def test_a_sweep_can_leave_what_ended_lately(house: House) -> None:
    house.issue()
    house.later(DAY)
    assert not house.sessions.sweep(older_than=DAY, by=BY).changed
    house.later(DAY)
    assert house.sessions.sweep(older_than=DAY, by=BY).value.sessions == 1


@once
@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 100_001}, {"older_than": -1}])
def test_a_sweep_has_bounds(house: House, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        house.sessions.sweep(by=BY, **options)


# At once.


def together(*doings: Callable[[], object]) -> list[object]:
    """What each answers when all begin at the same moment, or the refusal it ends with."""
    start = threading.Barrier(len(doings))

    def do(doing: Callable[[], object]) -> object:
        start.wait()
        try:
            return doing()
        except AnswerIsNo as refusal:
            return refusal

    with ThreadPoolExecutor(len(doings)) as pool:
        return list(pool.map(do, doings))


def test_of_eight_that_refresh_with_one_token_one_wins_and_no_live_token_survives(house: House) -> None:
    first = house.pair()
    answers = together(*[lambda: house.refresh(first)] * 8)
    (winner,) = [answer for answer in answers if isinstance(answer, IssuedTokens)]
    assert [type(answer) for answer in answers].count(TokenReused) == 7
    for tokens in (first, winner):
        with pytest.raises(TokenRevoked):
            house.verify(tokens)
    with pytest.raises(TokenRevoked):
        house.refresh(winner)
    assert house.events().count("RefreshTokenReused") == 1


def test_of_eight_that_revoke_one_token_one_does_and_the_log_tells_it_once(house: House) -> None:
    for jti in [house.issue().jti for _ in range(3)]:
        answers = together(*[lambda jti=jti: house.tokens.revoke_jti(jti, by=BY).changed] * 8)
        assert sorted(answers, key=bool) == [False] * 7 + [True]
    assert house.events().count("AccessTokenRevoked") == 3


@pytest.mark.parametrize(
    "end",
    [
        lambda house, pair: house.sessions.revoke(pair.session_id, by=BY),
        lambda house, pair: house.sessions.revoke_user("ada", by=BY),
        lambda house, pair: house.sessions.revoke_all(by=BY),
        lambda house, pair: house.accounts.deactivate("ada", by=BY),
        lambda house, pair: house.accounts.delete("ada", by=BY),
    ],
    ids=["session", "user", "all", "deactivated", "deleted"],
)
def test_what_is_refreshed_at_the_moment_of_its_end_does_not_outlive_it(
    house: House, end: Callable[[House, IssuedTokens], object]
) -> None:
    for _ in range(3):
        pair = house.pair()
        refreshed, _ = together(lambda pair=pair: house.refresh(pair), lambda pair=pair: end(house, pair))  # type: ignore[misc]  # mypy cannot tell a lambda with a default
        assert isinstance(refreshed, (IssuedTokens, TokenRevoked, TokenUnknown))
        if isinstance(refreshed, IssuedTokens):
            with pytest.raises(TokenRevoked):
                house.verify(refreshed)
            with pytest.raises((TokenRevoked, TokenUnknown)):
                house.refresh(refreshed)
        if house.accounts.exists("ada").exists:
            house.accounts.activate("ada", by=BY)
        else:
            house.store.add(a_user("ada"))
