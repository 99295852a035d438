"""Tokens on every database: what is issued verifies, and no refresh token works twice."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from tests.contracts.conftest import BY, START
from tests.contracts.token_house import DAY, MINUTE, SECOND, House, access_of, once, refresh_of

from backctl.application.tokens import ACCESS_TTL_MAX
from backctl.domain.access_token import AccessClaims
from backctl.domain.errors import (
    AccountUnusable,
    BackctlError,
    InvalidInput,
    TokenExpired,
    TokenInvalid,
    TokenReused,
    TokenRevoked,
    TokenUnknown,
    UserNotFound,
)
from backctl.domain.refresh_token import refresh_token
from backctl.domain.values import Expiry, Secret

# Issuing and verifying.


def test_what_is_issued_verifies_and_says_who_and_for_how_long(house: House) -> None:
    issued = house.issue(scope="read write", audience="billing")
    said = house.tokens.verify(access_of(issued), audience="billing")
    assert (said.iss, said.aud, said.scope, said.role, said.client_id) == (
        "here",
        "billing",
        "read write",
        "user",
        "backctl",
    )
    assert (said.jti, said.sid, said.sub) == (issued.jti, issued.session_id, issued.user_id)
    assert (said.exp - said.iat, issued.expires_in, said.iat) == (900, 900, START // SECOND)
    assert (said.expires_at, said.revocation) == (issued.expires_at, "checked")
    assert issued.refresh_token is None
    assert "Secret('…')" in repr(issued)
    assert house.events() == ["SessionOpened"]
    assert house.tokens.verify(access_of(issued).reveal(), audience="billing") == said
    with pytest.raises(TokenInvalid):
        house.verify(issued)  # for another audience


@once
def test_a_refresh_token_is_no_access_token(house: House) -> None:
    with pytest.raises(TokenInvalid, match="refresh token"):
        house.tokens.verify(refresh_of(house.pair()))


@once
def test_an_expired_token_is_expired(house: House) -> None:
    issued = house.issue(ttl=30 * SECOND)
    house.later(30 * SECOND - 1)
    assert house.verify(issued).exp - house.verify(issued).iat == 30
    house.later(1)
    with pytest.raises(TokenExpired):
        house.verify(issued)


@once
def test_offline_asks_no_database_and_says_so(house: House) -> None:
    issued = house.issue()
    house.sessions.revoke_user("ada", by=BY)

    def unreachable() -> Any:
        raise AssertionError("the database was asked")

    service = replace(house.tokens, reader=unreachable)
    assert service.verify(access_of(issued), offline=True).revocation == "skipped"
    (verdict,) = service.verify_batch([access_of(issued)], offline=True)
    assert verdict.token is not None
    assert verdict.token.revocation == "skipped"


@once
@pytest.mark.parametrize("ttl", [0, -1, SECOND - 1, SECOND + 1, ACCESS_TTL_MAX + SECOND])
def test_a_lifetime_is_whole_seconds_up_to_a_day(house: House, ttl: int) -> None:
    with pytest.raises(InvalidInput, match="whole seconds"):
        house.issue(ttl=ttl)
    assert house.states() == []


@once
@pytest.mark.parametrize("options", [{"scope": "a  b"}, {"scope": 'a"b'}, {"audience": ""}, {"audience": "a\nb"}])
def test_what_cannot_stand_in_a_token_opens_no_session(house: House, options: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        house.issue(**options)
    assert (house.states(), house.events()) == ([], [])


@once
def test_only_an_account_that_can_log_in_gets_tokens(house: House) -> None:
    with pytest.raises(UserNotFound):
        house.issue("nobody")
    house.accounts.set_password("ada", Secret("correct horse battery"), must_change_password=True, by=BY)
    with pytest.raises(AccountUnusable, match="change the password first"):
        house.issue()
    house.accounts.deactivate("ada", by=BY)
    with pytest.raises(AccountUnusable, match="inactive"):
        house.issue()
    assert house.states() == []


def test_no_token_outlasts_an_account(house: House) -> None:
    end = house.store.now.plus(5 * MINUTE + 7)
    house.accounts.update("ada", expiry=Expiry(at=end), by=BY)
    pair = house.pair()
    assert pair.expires_at == end // SECOND * SECOND
    assert pair.refresh_expires_at == end
    house.accounts.update("ada", expiry=Expiry(at=house.store.now.plus(MINUTE)), by=BY)
    assert house.verify(pair).sub == pair.user_id
    house.later(MINUTE)
    with pytest.raises(TokenRevoked, match="expired"):
        house.verify(pair)
    with pytest.raises(TokenRevoked, match="expired"):
        house.refresh(pair)


@once
def test_a_dry_run_signs_nothing_and_opens_nothing(house: House) -> None:
    issued = house.issue(pair=True, dry_run=True)
    assert (issued.access_token, issued.refresh_token, issued.expires_in) == (None, None, 900)
    assert (house.states(), house.events()) == ([], [])


def test_a_token_whose_session_is_gone_is_revoked(house: House) -> None:
    """As after a database was restored from before it was issued."""
    issued = house.issue()
    with house.store.work() as work:
        work.session.execute(text("DELETE FROM sessions"))
        work.commit()
    with pytest.raises(TokenRevoked, match="session no longer exists"):
        house.verify(issued)


@once
def test_a_token_with_another_accounts_session_is_revoked(house: House) -> None:
    ada, root = house.issue("ada"), house.issue("root")
    claims = AccessClaims.read(house.codec.inspect(access_of(ada).reveal()).payload)
    forged = house.codec.sign(replace(claims, sid=root.session_id))
    with pytest.raises(TokenRevoked, match="another account or issuer"):
        house.tokens.verify(forged)


def test_many_are_judged_each_by_itself_in_their_order(house: House) -> None:
    good, revoked = house.issue(), house.issue()
    house.sessions.revoke(revoked.session_id, by=BY)
    tokens: list[str | Secret] = [
        "",
        "x.y.z",
        access_of(good),
        access_of(revoked),
        refresh_of(house.pair()),
        *[access_of(good)] * 300,
    ]
    verdicts = list(house.tokens.verify_batch(tokens))
    codes = [verdict.error.code if verdict.error else "good" for verdict in verdicts]
    assert codes == ["token.invalid"] * 2 + ["good", "token.revoked", "token.invalid"] + ["good"] * 300
    assert verdicts[2].token == house.verify(good)
    assert list(house.tokens.verify_batch([])) == []


# Refreshing.


def test_a_refresh_gives_new_tokens_of_the_same_session(house: House) -> None:
    first = house.issue(pair=True, scope="read", audience="api", ttl=5 * MINUTE)
    house.later(10 * MINUTE)
    second = house.refresh(first)
    assert (second.session_id, second.scope, second.expires_in) == (first.session_id, "read", 300)
    assert refresh_of(second).reveal() != refresh_of(first).reveal()
    assert second.refresh_expires_at == house.store.now + 7 * DAY
    assert house.verify(second).jti == second.jti != first.jti
    assert house.events() == ["SessionOpened", "SessionRefreshed"]
    (session,) = house.sessions.page("ada").items
    assert (session.refreshable, session.issued_at, session.expires_at) == (
        True,
        house.store.now,
        second.refresh_expires_at,
    )


@once
def test_a_session_ends_after_thirty_days_however_often_it_is_refreshed(house: House) -> None:
    tokens = house.pair()
    for _ in range(4):
        house.later(7 * DAY - 1)
        tokens = house.refresh(tokens)
    assert tokens.refresh_expires_at == START + 30 * DAY
    house.later(2 * DAY + 4)
    with pytest.raises(TokenExpired):
        house.refresh(tokens)
    assert house.states() == [("expired", None)]


def test_a_token_used_twice_revokes_the_session_and_the_winners_tokens(house: House) -> None:
    first = house.pair()
    second = house.refresh(first)
    with pytest.raises(TokenReused):
        house.refresh(first)
    assert house.states() == [("revoked", "reused")]
    for tokens in (first, second):
        with pytest.raises(TokenRevoked):
            house.verify(tokens)
    with pytest.raises(TokenRevoked):
        house.refresh(second)
    with pytest.raises(TokenReused):
        house.refresh(first)
    assert house.events() == ["SessionOpened", "SessionRefreshed", "RefreshTokenReused", "SessionRevoked"]


@once
def test_a_replay_ends_its_own_session_only(house: House) -> None:
    other, first = house.pair(), house.pair()
    house.refresh(first)
    with pytest.raises(TokenReused):
        house.refresh(first)
    assert house.refresh(other).session_id == other.session_id


def test_a_dry_run_uses_no_token_up_and_revokes_nothing(house: House) -> None:
    first = house.pair()
    tried = house.tokens.refresh(refresh_of(first), by=BY, dry_run=True).value
    assert (tried.access_token, tried.refresh_token, tried.session_id) == (None, None, first.session_id)
    second = house.refresh(first)
    with pytest.raises(TokenReused):
        house.tokens.refresh(refresh_of(first), by=BY, dry_run=True)
    assert house.verify(second).jti == second.jti


@once
@pytest.mark.parametrize(
    ("token", "error"),
    [
        (refresh_token(bytes(32)), TokenUnknown),
        (Secret(refresh_token(bytes(32)).reveal()[:-1] + "x"), TokenInvalid),
        (Secret(""), TokenInvalid),
    ],
)
def test_what_was_never_issued_is_refused(house: House, token: Secret, error: type[BackctlError]) -> None:
    with pytest.raises(error) as refused:
        house.tokens.refresh(token, by=BY)
    assert "bkr_0" not in f"{refused.value.message} {refused.value.hint}"


@once
def test_a_refresh_token_of_another_issuer_is_refused_and_not_used_up(house: House) -> None:
    first = house.pair()
    with pytest.raises(TokenInvalid, match="another issuer"):
        replace(house.tokens, issuer="elsewhere").refresh(refresh_of(first), by=BY)
    assert house.refresh(first).session_id == first.session_id


def test_what_is_stored_of_tokens_opens_nothing(house: House) -> None:
    secret = refresh_of(house.pair()).reveal()
    with house.store.work() as work:
        for table in ("sessions", "refresh_tokens", "events"):
            for row in work.session.execute(text(f"SELECT * FROM {table}")):
                shown = " ".join(value.hex() if isinstance(value, bytes) else str(value) for value in row)
                assert secret not in shown
                assert secret.encode().hex() not in shown
                assert "eyJ" not in shown


# Grace.


def test_within_the_grace_a_retry_replaces_the_successor_that_got_lost(house: House) -> None:
    house.grace = 30 * SECOND
    first = house.pair()
    lost = house.refresh(first)
    house.later(10 * SECOND)
    second = house.refresh(first)
    assert house.states() == [("open", None)]
    assert house.events()[-1] == "SessionRefreshed"
    third = house.refresh(second)
    assert house.verify(third).jti == third.jti
    with pytest.raises(TokenReused):
        house.refresh(lost)
    assert house.states() == [("revoked", "reused")]


@once
def test_the_grace_ends_with_the_first_use_of_the_successor(house: House) -> None:
    house.grace = 30 * SECOND
    first = house.pair()
    house.refresh(house.refresh(first))
    with pytest.raises(TokenReused):
        house.refresh(first)


@once
def test_the_grace_counts_from_the_first_use(house: House) -> None:
    house.grace = 30 * SECOND
    first = house.pair()
    house.refresh(first)
    house.later(20 * SECOND)
    house.refresh(first)
    house.later(10 * SECOND)
    with pytest.raises(TokenReused):
        house.refresh(first)
