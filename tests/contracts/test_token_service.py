"""Tokens on every database: issued tokens verify, and no refresh token works twice."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from tests.contracts.conftest import BY, START
from tests.contracts.token_services import DAY, MINUTE, SECOND, Services, access_of, once, refresh_of

from backctl.application.token_views import VerifiedToken
from backctl.application.tokens import ACCESS_TTL_MAX
from backctl.domain.access_token import AccessClaims
from backctl.domain.errors import (
    AccountUnusable,
    AnswerIsNo,
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


def test_what_is_issued_verifies_and_says_who_and_for_how_long(services: Services) -> None:
    issued = services.issue(scope="read write", audience="billing")
    said = services.tokens.verify(access_of(issued), audience="billing")
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
    assert services.events() == ["SessionOpened"]
    assert services.tokens.verify(access_of(issued).reveal(), audience="billing") == said
    with pytest.raises(TokenInvalid):
        services.verify(issued)  # for another audience


@once
def test_a_refresh_token_is_no_access_token(services: Services) -> None:
    with pytest.raises(TokenInvalid, match="refresh token"):
        services.tokens.verify(refresh_of(services.pair()))


@once
def test_an_expired_token_is_expired(services: Services) -> None:
    issued = services.issue(ttl=30 * SECOND)
    services.later(30 * SECOND - 1)
    assert services.verify(issued).exp - services.verify(issued).iat == 30
    services.later(1)
    with pytest.raises(TokenExpired):
        services.verify(issued)


@once
def test_offline_asks_no_database_and_says_so(services: Services) -> None:
    issued = services.issue()
    services.sessions.revoke_user("ada", by=BY)

    def unreachable() -> Any:
        raise AssertionError("the database was asked")

    service = replace(services.tokens, reader=unreachable)
    assert service.verify(access_of(issued), offline=True).revocation == "skipped"
    (answer,) = service.verify_batch([access_of(issued)], offline=True)
    assert isinstance(answer, VerifiedToken)
    assert answer.revocation == "skipped"


@once
@pytest.mark.parametrize("ttl", [0, -1, SECOND - 1, SECOND + 1, ACCESS_TTL_MAX + SECOND])
def test_a_lifetime_is_whole_seconds_up_to_a_day(services: Services, ttl: int) -> None:
    with pytest.raises(InvalidInput, match="whole seconds"):
        services.issue(ttl=ttl)
    assert services.states() == []


@once
@pytest.mark.parametrize("options", [{"scope": "a  b"}, {"scope": 'a"b'}, {"audience": ""}, {"audience": "a\nb"}])
def test_what_cannot_stand_in_a_token_opens_no_session(services: Services, options: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        services.issue(**options)
    assert (services.states(), services.events()) == ([], [])


@once
def test_only_an_account_that_can_log_in_gets_tokens(services: Services) -> None:
    with pytest.raises(UserNotFound):
        services.issue("nobody")
    services.accounts.set_password("ada", Secret("correct horse battery"), must_change_password=True, by=BY)
    with pytest.raises(AccountUnusable, match="change the password first"):
        services.issue()
    services.accounts.deactivate("ada", by=BY)
    with pytest.raises(AccountUnusable, match="inactive"):
        services.issue()
    assert services.states() == []


def test_no_token_outlasts_an_account(services: Services) -> None:
    end = services.store.now.plus(5 * MINUTE + 7)
    services.accounts.update("ada", expiry=Expiry(at=end), by=BY)
    pair = services.pair()
    assert pair.expires_at == end // SECOND * SECOND
    assert pair.refresh_expires_at == end
    services.accounts.update("ada", expiry=Expiry(at=services.store.now.plus(MINUTE)), by=BY)
    assert services.verify(pair).sub == pair.user_id
    services.later(MINUTE)
    with pytest.raises(TokenRevoked, match="expired"):
        services.verify(pair)
    with pytest.raises(TokenRevoked, match="expired"):
        services.refresh(pair)


@once
def test_a_dry_run_signs_nothing_and_opens_nothing(services: Services) -> None:
    issued = services.issue(pair=True, dry_run=True)
    assert (issued.access_token, issued.refresh_token, issued.expires_in) == (None, None, 900)
    assert (services.states(), services.events()) == ([], [])


def test_a_token_whose_session_is_gone_is_revoked(services: Services) -> None:
    """For example after the database was restored from an older backup."""
    issued = services.issue()
    with services.store.work() as work:
        work.session.execute(text("DELETE FROM sessions"))
        work.commit()
    with pytest.raises(TokenRevoked, match="session no longer exists"):
        services.verify(issued)


@once
def test_a_token_with_another_accounts_session_is_revoked(services: Services) -> None:
    ada, root = services.issue("ada"), services.issue("root")
    claims = AccessClaims.read(services.codec.inspect(access_of(ada).reveal()).payload)
    forged = services.codec.sign(replace(claims, sid=root.session_id))
    with pytest.raises(TokenRevoked, match="another account or issuer"):
        services.tokens.verify(forged)


def test_many_are_judged_each_by_itself_in_their_order(services: Services) -> None:
    good, revoked = services.issue(), services.issue()
    services.sessions.revoke(revoked.session_id, by=BY)
    tokens: list[str | Secret] = [
        "",
        "x.y.z",
        access_of(good),
        access_of(revoked),
        refresh_of(services.pair()),
        *[access_of(good)] * 300,
    ]
    answers = list(services.tokens.verify_batch(tokens))
    codes = [answer.code if isinstance(answer, AnswerIsNo) else "good" for answer in answers]
    assert codes == ["token.invalid"] * 2 + ["good", "token.revoked", "token.invalid"] + ["good"] * 300
    assert answers[2] == services.verify(good)
    assert list(services.tokens.verify_batch([])) == []


# Refreshing.


def test_a_refresh_gives_new_tokens_of_the_same_session(services: Services) -> None:
    first = services.issue(pair=True, scope="read", audience="api", ttl=5 * MINUTE)
    services.later(10 * MINUTE)
    second = services.refresh(first)
    assert (second.session_id, second.scope, second.expires_in) == (first.session_id, "read", 300)
    assert refresh_of(second).reveal() != refresh_of(first).reveal()
    assert second.refresh_expires_at == services.store.now + 7 * DAY
    assert services.verify(second).jti == second.jti != first.jti
    assert services.events() == ["SessionOpened", "SessionRefreshed"]
    (session,) = services.sessions.page("ada").items
    assert (session.refreshable, session.issued_at, session.expires_at) == (
        True,
        services.store.now,
        second.refresh_expires_at,
    )


@once
def test_a_session_ends_after_thirty_days_however_often_it_is_refreshed(services: Services) -> None:
    tokens = services.pair()
    for _ in range(4):
        services.later(7 * DAY - 1)
        tokens = services.refresh(tokens)
    assert tokens.refresh_expires_at == START + 30 * DAY
    services.later(2 * DAY + 4)
    with pytest.raises(TokenExpired):
        services.refresh(tokens)
    assert services.states() == [("expired", None)]


def test_a_token_used_twice_revokes_the_session_and_the_winners_tokens(services: Services) -> None:
    first = services.pair()
    second = services.refresh(first)
    with pytest.raises(TokenReused):
        services.refresh(first)
    assert services.states() == [("revoked", "reused")]
    for tokens in (first, second):
        with pytest.raises(TokenRevoked):
            services.verify(tokens)
    with pytest.raises(TokenRevoked):
        services.refresh(second)
    with pytest.raises(TokenReused):
        services.refresh(first)
    assert services.events() == ["SessionOpened", "SessionRefreshed", "RefreshTokenReused", "SessionRevoked"]


@once
def test_a_replay_ends_its_own_session_only(services: Services) -> None:
    other, first = services.pair(), services.pair()
    services.refresh(first)
    with pytest.raises(TokenReused):
        services.refresh(first)
    assert services.refresh(other).session_id == other.session_id


def test_a_dry_run_uses_no_token_up_and_revokes_nothing(services: Services) -> None:
    first = services.pair()
    tried = services.tokens.refresh(refresh_of(first), by=BY, dry_run=True).value
    assert (tried.access_token, tried.refresh_token, tried.session_id) == (None, None, first.session_id)
    second = services.refresh(first)
    with pytest.raises(TokenReused):
        services.tokens.refresh(refresh_of(first), by=BY, dry_run=True)
    assert services.verify(second).jti == second.jti


@once
@pytest.mark.parametrize(
    ("token", "error"),
    [
        (refresh_token(bytes(32)), TokenUnknown),
        (Secret(refresh_token(bytes(32)).reveal()[:-1] + "x"), TokenInvalid),
        (Secret(""), TokenInvalid),
    ],
)
def test_what_was_never_issued_is_refused(services: Services, token: Secret, error: type[BackctlError]) -> None:
    with pytest.raises(error) as refused:
        services.tokens.refresh(token, by=BY)
    assert "bkr_0" not in f"{refused.value.message} {refused.value.hint}"


@once
def test_a_refresh_token_of_another_issuer_is_refused_and_not_used_up(services: Services) -> None:
    first = services.pair()
    with pytest.raises(TokenInvalid, match="another issuer"):
        replace(services.tokens, issuer="elsewhere").refresh(refresh_of(first), by=BY)
    assert services.refresh(first).session_id == first.session_id


def test_what_is_stored_of_tokens_opens_nothing(services: Services) -> None:
    secret = refresh_of(services.pair()).reveal()
    with services.store.work() as work:
        for table in ("sessions", "refresh_tokens", "events"):
            for row in work.session.execute(text(f"SELECT * FROM {table}")):
                shown = " ".join(value.hex() if isinstance(value, bytes) else str(value) for value in row)
                assert secret not in shown
                assert secret.encode().hex() not in shown
                assert "eyJ" not in shown


# Grace.


def test_within_the_grace_a_retry_replaces_the_successor_that_got_lost(services: Services) -> None:
    services.grace = 30 * SECOND
    first = services.pair()
    lost = services.refresh(first)
    services.later(10 * SECOND)
    second = services.refresh(first)
    assert services.states() == [("open", None)]
    assert services.events()[-1] == "SessionRefreshed"
    third = services.refresh(second)
    assert services.verify(third).jti == third.jti
    with pytest.raises(TokenReused):
        services.refresh(lost)
    assert services.states() == [("revoked", "reused")]


@once
def test_the_grace_ends_with_the_first_use_of_the_successor(services: Services) -> None:
    services.grace = 30 * SECOND
    first = services.pair()
    services.refresh(services.refresh(first))
    with pytest.raises(TokenReused):
        services.refresh(first)


@once
def test_the_grace_counts_from_the_first_use(services: Services) -> None:
    services.grace = 30 * SECOND
    first = services.pair()
    services.refresh(first)
    services.later(20 * SECOND)
    services.refresh(first)
    services.later(10 * SECOND)
    with pytest.raises(TokenReused):
        services.refresh(first)
