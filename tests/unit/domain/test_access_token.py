"""Token claims: the conversion of times to whole seconds and back, and when a token is valid."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.access_token import AccessClaims
from backctl.domain.errors import InvalidInput, TokenExpired, TokenInvalid, TokenNotYetValid
from backctl.domain.values import LATEST, Instant

SECOND = 1_000_000
NOW = Instant.parse("2026-11-22T09:24:02.999999Z")


def issued(**changed: object) -> AccessClaims:
    given: dict[str, object] = {
        "iss": "advanced-backend", "aud": "api-users", "sub": "account", "jti": "token", "sid": "session",
        "role": "user", "scope": "user:list", "now": NOW, "expires": NOW.plus(900 * SECOND),
    }  # fmt: skip
    return AccessClaims.issued(**{**given, **changed})  # type: ignore[arg-type]  # tests pass wrong values on purpose


def test_times_are_whole_seconds_and_never_later_than_meant() -> None:
    claims = issued()
    assert (claims.iat, claims.nbf, claims.exp) == (1795339442, 1795339442, 1795340342)
    assert claims.issued_at == NOW.plus(-999_999)
    assert claims.expires_at <= NOW.plus(900 * SECOND)
    assert issued(expires=NOW.plus(1)).exp == claims.iat + 1


@given(st.integers(0, LATEST - 1), st.integers(0, 10**9))
def test_a_token_counts_at_the_moment_of_its_issue_and_not_after_its_end(now: int, life: int) -> None:
    moment = Instant(now)
    expires = moment.plus(min(life, LATEST - now))
    claims = issued(now=moment, expires=expires)
    with pytest.raises(TokenExpired):
        claims.require_current(expires, leeway=0)
    if expires - moment >= SECOND:
        claims.require_current(moment, leeway=0)


def test_claims_survive_their_members() -> None:
    for claims in (issued(), issued(scope="")):
        members = claims.members()
        assert AccessClaims.read(members) == claims
        assert set(members) == {field.name for field in fields(claims) if field.name != "scope" or claims.scope}
        assert list(members)[:3] == ["iss", "exp", "aud"]


def test_the_client_is_backctl_unless_another_is_named() -> None:
    assert issued().client_id == "backctl"
    assert issued(client_id="gateway").client_id == "gateway"


def test_claims_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        issued().role = "admin"  # type: ignore[misc]  # the assignment must fail


@pytest.mark.parametrize(
    ("claim", "value"),
    [("iss", ""), ("aud", "a\nb"), ("aud", "x" * 256), ("sub", "\ud800"), ("jti", ""), ("sid", "\0"),
     ("role", "\u202e"), ("client_id", ""), ("scope", "a  b"), ("scope", " "), ("scope", "é"),
     ("scope", 'a"b'), ("scope", "x" * 1001)],
)  # fmt: skip
def test_what_could_not_be_read_is_not_issued(claim: str, value: str) -> None:
    with pytest.raises(InvalidInput, match="is not a valid") as error:
        issued(**{claim: value})
    assert f"'{claim}'" in error.value.message
    assert error.value.hint
    members = {**issued().members(), claim: value}
    with pytest.raises(TokenInvalid):
        AccessClaims.read(members)


def test_a_moment_before_1970_is_not_issued() -> None:
    with pytest.raises(InvalidInput, match="'iat'"):
        issued(now=Instant(-1))


def test_the_edges_of_time_are_exact() -> None:
    claims = replace(issued(), nbf=1000, iat=900, exp=2000)
    for leeway in (0, 1, 30 * SECOND):
        first, last = Instant(1000 * SECOND - leeway), Instant(2000 * SECOND + leeway - 1)
        claims.require_current(first, leeway=leeway)
        claims.require_current(last, leeway=leeway)
        with pytest.raises(TokenNotYetValid, match=r"not valid before 1970-01-01T00:16:40\.000000Z"):
            claims.require_current(first.plus(-1), leeway=leeway)
        with pytest.raises(TokenExpired, match=r"expired at 1970-01-01T00:33:20\.000000Z"):
            claims.require_current(last.plus(1), leeway=leeway)


def test_a_token_from_the_future_does_not_count_yet() -> None:
    with pytest.raises(TokenNotYetValid, match="1970-01-01T00:50:00"):
        replace(issued(), nbf=1000, iat=3000, exp=4000).require_current(Instant(2000 * SECOND), leeway=0)
