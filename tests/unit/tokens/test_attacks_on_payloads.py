"""Payloads with a valid signature: required claims, their exact form, and times."""

import json

import pytest
from tests.unit.tokens.compact_form import b64, plain
from tests.unit.tokens.conftest import Scene
from tests.unit.tokens.minting import (
    AUDIENCE,
    CLAIMS,
    ISSUER,
    LEEWAY,
    LIFE,
    NOW,
    SECOND,
    codec_of,
    key_of,
    minted,
    with_claims,
)
from tests.unit.tokens.refusals import MALFORMED, NO_KEY, NOT_FOR_US, NOT_SAID, refusal, refused

from backctl.domain.errors import TokenExpired, TokenInvalid, TokenNotYetValid

TEXTS = ("iss", "aud", "sub", "client_id", "jti", "sid", "role")
TIMES = ("iat", "nbf", "exp")


def test_a_payload_is_not_read_before_its_signature_was_right(scene: Scene) -> None:
    """Without a key, nobody can reach the parser or learn its result."""
    header, payload, signature = scene.parts
    for content in (b"", b"{", b"\xff", plain(with_claims(exp=0)), plain(with_claims(iss="x")), b"{" * 4000):
        refused(scene.codec, f"{header}.{b64(content)}.{signature}", "" if content == b"" else NO_KEY)
    refused(scene.codec, f"{header}.{payload}!.{signature}", NO_KEY)


@pytest.mark.parametrize("claim", [*TEXTS, *TIMES])
def test_a_claim_that_is_missing_is_missed(scene: Scene, claim: str) -> None:
    refused(scene.codec, minted(scene.key, with_claims(**{claim: ...})), NOT_SAID)
    renamed = {claim.upper() if name == claim else name: value for name, value in CLAIMS.members().items()}
    refused(scene.codec, minted(scene.key, renamed), NOT_SAID)


@pytest.mark.parametrize("claim", TEXTS)
@pytest.mark.parametrize(
    "value", [None, 0, 5, 1.5, True, False, [], ["x"], {}, {"x": 1}, "", "x" * 256, "a\nb", "a\0b", "\u202e", "\x1b[2J"]
)
def test_a_claim_that_is_no_text_is_refused(claim: str, value: object) -> None:
    key = key_of("HS256")
    refused(codec_of(key), minted(key, with_claims(**{claim: value})), NOT_SAID)


@pytest.mark.parametrize("claim", TIMES)
@pytest.mark.parametrize("value", [None, True, False, "", "1795341842", 1795341842.0, 1.5, -1, 253_402_300_800, [], {}])
def test_a_claim_that_is_no_time_in_whole_seconds_is_refused(claim: str, value: object) -> None:
    key = key_of("HS256")
    refused(codec_of(key), minted(key, with_claims(**{claim: value})), NOT_SAID)


@pytest.mark.parametrize(
    "value", [None, 5, True, [], ["a"], "", " ", " a", "a ", "a  b", "a\tb", 'a"', "a\\", "é", "x" * 1001]
)
def test_a_scope_that_is_none_is_refused(value: object) -> None:
    key = key_of("HS256")
    refused(codec_of(key), minted(key, with_claims(scope=value)), NOT_SAID)


def test_a_token_needs_no_scope() -> None:
    key = key_of("HS256")
    assert codec_of(key).verify(minted(key, with_claims(scope=...)), now=NOW).scope == ""


def test_what_a_token_says_besides_is_ignored(scene: Scene) -> None:
    """RFC 7519 §4. A newer program can add claims without making an older one reject the token."""
    further: dict[str, object] = {"act": {"sub": ["x", 1.5, None]}, "amr": ["pwd"], "big": 2**53, "small": -(2**53)}
    assert scene.codec.verify(minted(scene.key, with_claims(**further)), now=NOW) == CLAIMS


@pytest.mark.parametrize("claim", ["iss", "aud"])
def test_issuer_and_audience_are_compared_exactly(scene: Scene, claim: str) -> None:
    right = str(CLAIMS.members()[claim])
    for other in (right.upper(), right.title(), right[:-1], f"{right}/", f" {right}", right.replace("-", "_"), "*"):
        refused(scene.codec, minted(scene.key, with_claims(**{claim: other})), NOT_FOR_US)


def test_an_audience_is_one_text_and_not_a_list_that_holds_it(scene: Scene) -> None:
    for audience in ([AUDIENCE], [AUDIENCE, "others"], [], {AUDIENCE: True}):
        refused(scene.codec, minted(scene.key, with_claims(aud=audience)), NOT_SAID)


def test_an_audience_may_be_asked_for(scene: Scene) -> None:
    token = minted(scene.key, with_claims(aud="billing"))
    assert scene.codec.verify(token, now=NOW, audience="billing").aud == "billing"
    assert NOT_FOR_US in refusal(scene.codec, token).message
    assert NOT_FOR_US in refusal(scene.codec, scene.token, audience="billing").message
    assert NOT_FOR_US in refusal(scene.codec, scene.token, audience="").message


def test_a_payload_that_is_not_one_json_object_is_refused(scene: Scene) -> None:
    right = plain(CLAIMS.members()).decode()
    exp = f'"exp":{CLAIMS.exp}'
    for text in (
        right.replace(exp, f'"exp":1,{exp}'),
        right.replace(exp, f'{exp},"exp":{CLAIMS.exp}'),
        f'{right[:-1]},"role":"admin"}}',
        f'{right[:-1]},"r\\u006fle":"admin"}}',
        f'{right[:-1]},"x":{{"a":1,"a":2}}}}',
        right.replace(exp, '"exp":NaN'),
        right.replace(exp, '"exp":Infinity'),
        f'{right[:-1]},"x":-Infinity}}',
        f'{right[:-1]},"x":NaN}}',
        f'{right[:-1]},"x":1e400}}',
        f'{right[:-1]},"x":9007199254740993}}',
        f'{right[:-1]},"x":-9007199254740993}}',
        f'{right[:-1]},"x":{"9" * 5000}}}',
        f'{right[:-1]},"x":"\\ud800"}}',
        f'{right[:-1]},"x":"\\udc00\\ud800"}}',
        f'{right[:-1]},"\\ud83d":1}}',
        f'{right[:-1]},"x":{"[" * 17}{"]" * 17}}}',
        f'{right[:-1]},"x":{"[" * 2000}{"]" * 2000}}}',
        f'{right[:-1]},"x":{"[" * 2000}',
        f'{right[:-1]},"x":01}}',
        f'{right[:-1]},"x":+1}}',
        f'{right[:-1]},"x":.5}}',
        f'{right[:-1]},"x":0x1}}',
        f'{right[:-1]},"x":"\t"}}',
        f'{right[:-1]},"x":"\\q"}}',
        f"{right[:-1]},}}",
        right.replace('"', "'"),
        right.replace("{", "{/**/", 1),
        f"[{right}]",
        f"{right}{right}",
        f"{right}\0",
        f"\ufeff{right}",
        "{}x",
        "[]",
        "null",
        "true",
        "1",
        '"text"',
        " ",
    ):
        refused(scene.codec, minted(scene.key, text.encode()), MALFORMED)
    for octets in (right.encode("utf-16"), right.encode("utf-16-le"), right.encode() + b"\xff", b"\xed\xa0\x80"):
        refused(scene.codec, minted(scene.key, octets), MALFORMED)


def test_a_payload_in_other_words_is_the_same_payload(scene: Scene) -> None:
    escaped = plain(CLAIMS.members()).replace(b"moderator", b"mod\\u0065rator")
    for payload in (json.dumps(CLAIMS.members(), indent=3).encode(), escaped, b" " + plain(CLAIMS.members()) + b"\n"):
        assert scene.codec.verify(minted(scene.key, payload), now=NOW) == CLAIMS
    pair = plain(with_claims(x="\U0001f600", y=[[[[1]]]]))
    assert b"\\ud83d\\ude00" in pair
    assert scene.codec.verify(minted(scene.key, pair), now=NOW) == CLAIMS


# Time.


@pytest.mark.parametrize("leeway", [0, 1, LEEWAY])
def test_a_token_counts_until_exp_excluded_and_the_leeway(leeway: int) -> None:
    key = key_of("HS256")
    codec, token = codec_of(key, leeway=leeway), minted(key)
    end = NOW.plus(LIFE * SECOND + leeway)
    assert codec.verify(token, now=end.plus(-1)) == CLAIMS
    for late in (end, end.plus(1), end.plus(10**15)):
        error = refusal(codec, token, now=late)
        assert isinstance(error, TokenExpired)
        assert (error.code, error.message) == ("token.expired", "the token expired at 2026-11-22T09:39:02.000000Z")


@pytest.mark.parametrize("leeway", [0, 1, LEEWAY])
@pytest.mark.parametrize("claims", [{}, {"iat": 0}, {"nbf": 0}])
def test_a_token_counts_from_nbf_included_and_not_before_it_was_issued(claims: dict[str, object], leeway: int) -> None:
    key = key_of("HS256")
    codec, token = codec_of(key, leeway=leeway), minted(key, with_claims(**claims))
    begin = NOW.plus(-leeway)
    assert codec.verify(token, now=begin).jti == CLAIMS.jti
    for early in (begin.plus(-1), begin.plus(-SECOND), begin.plus(-(10**15))):
        error = refusal(codec, token, now=early)
        assert isinstance(error, TokenNotYetValid)
        assert (error.code, error.message) == (
            "token.not_yet_valid",
            "the token is not valid before 2026-11-22T09:24:02.000000Z",
        )


def test_a_token_whose_time_never_comes_is_expired() -> None:
    key = key_of("HS256")
    token = minted(key, with_claims(exp=CLAIMS.nbf - 100))
    assert isinstance(refusal(codec_of(key), token), TokenExpired)


def test_what_is_forged_is_never_called_expired(scene: Scene) -> None:
    header, _, signature = scene.parts
    old = f"{header}.{b64(plain(with_claims(exp=1)))}.{signature}"
    assert type(refusal(scene.codec, old)) is TokenInvalid


def test_the_token_of_another_installation_is_not_called_expired() -> None:
    key = key_of("HS256")
    assert NOT_FOR_US in refusal(codec_of(key), minted(key, with_claims(iss=f"not-{ISSUER}", exp=1))).message
