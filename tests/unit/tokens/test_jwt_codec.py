"""Issuing tokens, reading them with other libraries, changing keys, and inspecting tokens without verification."""

import json
import re
import warnings
from base64 import urlsafe_b64decode
from dataclasses import replace
from pathlib import Path

import jwt
import pytest
from joserfc import jwt as jose
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet
from tests.published_keys import SIGNING
from tests.unit.tokens.conftest import Scene
from tests.unit.tokens.minting import (
    ALGORITHMS,
    AUDIENCE,
    CLAIMS,
    ISSUER,
    LIFE,
    NOW,
    SECOND,
    codec_of,
    header_of,
    key_of,
    later,
    minted,
    with_claims,
)
from tests.unit.tokens.refusals import MALFORMED, NO_KEY, NOT_FOR_US, refusal, refused

from backctl import open_backend
from backctl.domain.access_token import AccessClaims
from backctl.domain.errors import InvalidInput, KeyringDamaged, KeyringMissing, TokenExpired, TokenInvalid
from backctl.domain.key import Key, KeyState
from backctl.domain.keyring import Keyring
from backctl.domain.values import Instant, Secret
from backctl.infrastructure.crypto.jwt_codec import KEYRING_AGE_MAX, KEYRING_AGE_MIN, JwtCodec
from backctl.infrastructure.host import now as real_now
from backctl.infrastructure.keyring.file import KeyFile
from backctl.infrastructure.keyring.maker import make_keyring


def test_what_is_signed_verifies(scene: Scene) -> None:
    token = scene.codec.sign(CLAIMS)
    assert isinstance(token, Secret)
    assert scene.codec.verify(token.reveal(), now=NOW) == CLAIMS
    without_scope = replace(CLAIMS, scope="")
    assert scene.codec.verify(scene.codec.sign(without_scope).reveal(), now=NOW) == without_scope


def test_the_header_says_typ_alg_and_kid(scene: Scene) -> None:
    header, payload, signature = scene.codec.sign(CLAIMS).reveal().split(".")
    assert json.loads(urlsafe_b64decode(header + "==")) == header_of(scene.key)
    assert list(json.loads(urlsafe_b64decode(payload + "=="))) == list(CLAIMS.members())
    assert "=" not in header + payload + signature


def test_claims_of_any_script_come_back(scene: Scene) -> None:
    claims = replace(CLAIMS, sub="Ада 🦀 é", role="модератор", iss=ISSUER)
    assert scene.codec.verify(scene.codec.sign(claims).reveal(), now=NOW) == claims


def test_no_token_is_issued_that_would_be_too_long_to_verify(scene: Scene) -> None:
    longest = "🦀" * 255
    claims = replace(CLAIMS, sub=longest, role=longest, sid=longest, client_id=longest)
    with pytest.raises(InvalidInput, match="more than 8192 characters"):
        scene.codec.sign(claims)


# Other libraries, which get only the output of `key jwks`.


def current_claims() -> AccessClaims:
    """Return claims issued now by the real clock, which these libraries use."""
    now = real_now()
    return AccessClaims.issued(
        iss=ISSUER, aud=AUDIENCE, sub=CLAIMS.sub, jti=CLAIMS.jti, sid=CLAIMS.sid, role="user", now=now,
        expires=now.plus(LIFE * SECOND),
    )  # fmt: skip


def published(*keys: Key) -> dict[str, list[dict[str, object]]]:
    return {"keys": [key.public_document() for key in keys if not key.is_symmetric]}


@pytest.mark.parametrize("alg", ["EdDSA", "ES256", "RS256"])
def test_pyjwt_verifies_from_the_public_keys_alone(alg: str) -> None:
    key, claims = key_of(alg), current_claims()
    token = codec_of(key).sign(claims).reveal()
    keys = jwt.PyJWKSet.from_dict(published(*map(key_of, ALGORITHMS)))
    assert len(keys.keys) == 3
    chosen = keys[jwt.get_unverified_header(token)["kid"]]
    read = jwt.decode(
        token, chosen, algorithms=[alg], audience=AUDIENCE, issuer=ISSUER, options={"require": list(claims.members())}
    )
    assert read == claims.members()


@pytest.mark.parametrize("alg", ["EdDSA", "ES256", "RS256"])
def test_joserfc_verifies_from_the_public_keys_alone(alg: str) -> None:
    key, claims = key_of(alg), current_claims()
    token = codec_of(key).sign(claims).reveal()
    keys = KeySet.import_key_set(json.loads(json.dumps(published(*map(key_of, ALGORITHMS)))))
    with warnings.catch_warnings():
        # RFC 9864 renames EdDSA to Ed25519, but most libraries still know only the old name.
        warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)
        read = jose.decode(token, keys, algorithms=[alg])
    assert read.header == header_of(key)
    assert read.claims == claims.members()
    jose.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}
    ).validate(read.claims)


def test_a_shared_secret_verifies_elsewhere_too_and_is_never_published() -> None:
    key, claims = key_of("HS256"), current_claims()
    token = codec_of(key).sign(claims).reveal()
    assert published(key) == {"keys": []}
    assert jwt.decode(token, key.secret_bytes(), algorithms=["HS256"], audience=AUDIENCE) == claims.members()


def test_what_pyjwt_signs_with_our_key_verifies(scene: Scene) -> None:
    private = jwt.PyJWK.from_dict({**SIGNING[scene.alg], "alg": scene.alg})
    headers = {"typ": "at+jwt", "kid": scene.key.kid}
    token = jwt.encode(CLAIMS.members(), private, algorithm=scene.alg, headers=headers)
    assert scene.codec.verify(token, now=NOW) == CLAIMS


# Changing keys.


class Shelf:
    """A keyring that changes and counts how often it is read."""

    def __init__(self, *keys: Key) -> None:
        self.reads = 0
        self.put(*keys)

    def put(self, *keys: Key) -> None:
        self.ring: Keyring | None = Keyring(keys)

    def read(self) -> Keyring:
        self.reads += 1
        if self.ring is None:
            raise KeyringMissing("there is no keyring")
        return self.ring

    def codec(self) -> JwtCodec:
        return JwtCodec(self.read, issuer=ISSUER, audience=AUDIENCE, leeway=0)


@pytest.mark.parametrize("state", ["primary", "standby", "retired"])
def test_a_key_verifies_in_every_state(scene: Scene, state: KeyState) -> None:
    """Also as standby, because another machine may have promoted it."""
    key = replace(scene.key, state=state)
    assert codec_of(key_of("HS256", "other"), key).verify(minted(key), now=NOW) == CLAIMS


def test_a_retired_key_verifies_until_its_end_and_no_leeway_longer(scene: Scene) -> None:
    end = NOW.plus(60 * SECOND)
    key = replace(scene.key, state="retired", not_after=end.isoformat())
    codec = codec_of(key_of("HS256", "other"), key)
    assert codec.verify(minted(key), now=end.plus(-1)) == CLAIMS
    for moment in (end, end.plus(1)):
        refused(codec, minted(key), NO_KEY, now=moment)
    assert codec.verify(minted(key), now=end.plus(-1)) == CLAIMS


def test_the_primary_key_signs_and_the_others_do_not(scene: Scene) -> None:
    other = key_of("EdDSA", "next", state="standby")
    old = key_of("HS256", "old", state="retired")
    token = codec_of(old, other, scene.key).sign(CLAIMS).reveal()
    assert jwt.get_unverified_header(token) == header_of(scene.key)


def test_a_running_codec_follows_a_rotation() -> None:
    first, second = key_of("EdDSA", "first"), key_of("ES256", "second")
    shelf = Shelf(first)
    codec = shelf.codec()
    old = codec.sign(CLAIMS).reveal()
    shelf.put(replace(first, state="retired"), second)
    claims = later(CLAIMS, KEYRING_AGE_MAX // SECOND)
    new = codec.sign(claims).reveal()
    assert jwt.get_unverified_header(new)["kid"] == "second"
    assert codec.verify(new, now=claims.issued_at) == claims
    assert codec.verify(old, now=claims.issued_at) == CLAIMS
    assert shelf.reads == 2


def test_the_keyring_is_read_when_the_first_token_comes_and_then_every_ten_seconds() -> None:
    key = key_of("HS256")
    shelf = Shelf(key)
    codec, token = shelf.codec(), minted(key)
    assert shelf.reads == 0
    for moment, reads in ((0, 1), (0, 1), (KEYRING_AGE_MAX - 1, 1), (KEYRING_AGE_MAX, 2), (KEYRING_AGE_MAX + 1, 2)):
        assert codec.verify(token, now=NOW.plus(moment)) == CLAIMS
        assert shelf.reads == reads
    assert codec.verify(token, now=NOW) == CLAIMS
    assert shelf.reads == 3  # the clock was set back


def test_a_destroyed_key_ends_within_ten_seconds_however_well_it_was_known() -> None:
    key = key_of("HS256")
    shelf = Shelf(key)
    codec, token = shelf.codec(), minted(key)
    assert codec.verify(token, now=NOW) == CLAIMS
    shelf.put(key_of("EdDSA"))
    refused(codec, token, NO_KEY, now=NOW.plus(KEYRING_AGE_MAX))


def test_a_key_of_the_same_name_is_not_the_same_key() -> None:
    key, other = key_of("HS256", "k"), key_of("HS256", "k", jwk={"kty": "oct", "k": "A" * 43})
    shelf = Shelf(key)
    codec = shelf.codec()
    assert codec.verify(minted(key), now=NOW) == CLAIMS
    shelf.put(other)
    refused(codec, minted(key), NO_KEY, now=NOW.plus(KEYRING_AGE_MAX))
    assert codec.verify(minted(other), now=NOW.plus(KEYRING_AGE_MAX)) == CLAIMS


def test_a_new_key_is_known_within_a_second_and_unknown_ones_cost_one_reading_a_second() -> None:
    first, second = key_of("HS256", "first"), key_of("EdDSA", "second")
    shelf = Shelf(first)
    codec = shelf.codec()
    assert codec.verify(minted(first), now=NOW) == CLAIMS
    shelf.put(first, second)
    for _ in range(100):
        refused(codec, minted(second), NO_KEY, now=NOW.plus(KEYRING_AGE_MIN - 1))
    assert shelf.reads == 1
    assert codec.verify(minted(second), now=NOW.plus(KEYRING_AGE_MIN)) == CLAIMS
    assert shelf.reads == 2
    for number in range(100):
        refused(codec, minted(key_of("HS256", f"unknown-{number}")), NO_KEY, now=NOW.plus(KEYRING_AGE_MIN))
    assert shelf.reads == 2


def test_without_a_readable_keyring_nothing_verifies() -> None:
    key = key_of("HS256")
    shelf = Shelf(key)
    codec, token = shelf.codec(), minted(key)
    assert codec.verify(token, now=NOW) == CLAIMS
    shelf.ring = None
    with pytest.raises(KeyringMissing):
        codec.verify(token, now=NOW.plus(KEYRING_AGE_MAX))
    with pytest.raises(KeyringMissing):
        shelf.codec().sign(CLAIMS)


def test_a_weak_key_neither_signs_nor_verifies_and_stands_in_nobodys_way() -> None:
    weak = key_of("HS256", "weak", jwk={"kty": "oct", "k": "c2hvcnQ"})
    good = key_of("EdDSA", state="standby")
    codec = codec_of(weak, good)
    with pytest.raises(KeyringDamaged, match="the key 'weak' cannot be used"):
        codec.sign(CLAIMS)
    with pytest.raises(KeyringDamaged, match="the key 'weak' cannot be used"):
        codec.verify(minted(weak), now=NOW)
    assert codec.verify(minted(good), now=NOW) == CLAIMS


def test_a_codec_forgets_spellings_of_headers_rather_than_keep_them_all() -> None:
    key = key_of("HS256")
    codec = codec_of(key)
    for spaces in range(200):
        header = json.dumps(header_of(key)).replace(", ", "," + " " * spaces, 1).encode()
        assert codec.verify(minted(key, header=header), now=NOW) == CLAIMS
    assert codec._state is not None
    assert 0 < len(codec._state.headers) <= 64


def test_threads_share_a_codec_while_keys_change() -> None:
    from concurrent.futures import ThreadPoolExecutor

    keys = [key_of(alg, state="standby") for alg in ALGORITHMS]
    shelf = Shelf(*keys)
    codec, tokens = shelf.codec(), [minted(key) for key in keys]

    def work(seed: int) -> int:
        for number in range(40):
            at = NOW.plus((seed * 40 + number) % 300 * SECOND)
            assert codec.verify(tokens[(seed + number) % 4], now=at) == CLAIMS
            if number % 10 == 0:
                shelf.put(*keys[seed % 4 :], *keys[: seed % 4])
        return seed

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(work, range(16))) == list(range(16))


def test_a_backend_reads_tokens_without_knowing_where_its_database_is(tmp_path: Path) -> None:
    now = real_now()
    KeyFile(tmp_path / "keys.json").create(make_keyring(now))
    environ = {
        "BACKCTL_KEYRING_PATH": str(tmp_path / "keys.json"),
        "BACKCTL_DATABASE_URL_FILE": str(tmp_path / "missing"),
        "BACKCTL_TOKENS_ISSUER": "https://issuer.example",
        "BACKCTL_TOKENS_AUDIENCE": "billing",
        "BACKCTL_TOKENS_LEEWAY": "0s",
    }
    with open_backend(environ=environ) as backend:
        claims = replace(current_claims(), iss="https://issuer.example", aud="billing")
        token = backend._token_codec.sign(claims).reveal()
        assert backend._token_codec.verify(token, now=now.plus(SECOND)) == claims
        assert isinstance(refusal(backend._token_codec, token, now=claims.expires_at), TokenExpired)
        assert NOT_FOR_US in refusal(backend._token_codec, token, audience=AUDIENCE, now=now.plus(SECOND)).message
        backend.close()
        assert backend._token_codec.verify(token, now=now.plus(SECOND)) == claims


# Inspecting.


def test_a_look_shows_header_and_payload_and_needs_no_key(scene: Scene) -> None:
    def nobody() -> Keyring:
        raise AssertionError("a keyring was read")

    codec = JwtCodec(nobody, issuer=ISSUER, audience=AUDIENCE, leeway=0)
    seen = codec.inspect(scene.token)
    assert (seen.header, seen.payload) == (header_of(scene.key), CLAIMS.members())


def test_a_look_shows_what_would_never_verify(scene: Scene) -> None:
    header = {"alg": "none", "jku": "https://attacker.example", "crit": ["x"]}
    seen = scene.codec.inspect(minted(scene.key, with_claims(exp=0, aud=["a", "b"]), header).rpartition(".")[0] + ".")
    assert seen.header == header
    assert seen.payload["aud"] == ["a", "b"]


@pytest.mark.parametrize(
    "text", ["", "a", "a.b", "a.b.c", "e30.e30", "e30.e30.x.y", "e30.e30.e30.e30.e30", "W10.e30.", "é", "bkr_x"]
)
def test_a_look_at_what_is_no_token_says_so(text: str) -> None:
    with pytest.raises(TokenInvalid, match=re.escape(MALFORMED)) as error:
        codec_of(key_of("HS256")).inspect(text)
    assert error.value.__context__ is None


def test_a_look_is_as_strict_about_the_words(scene: Scene) -> None:
    for payload in (b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":"\\ud800"}', b"[" * 5000, b"{}\xff"):
        with pytest.raises(TokenInvalid):
            scene.codec.inspect(minted(scene.key, payload))
    with pytest.raises(TokenInvalid):
        scene.codec.inspect(minted(scene.key, with_claims(x="x" * 8192)))


def test_a_codec_shows_no_key() -> None:
    codec = codec_of(key_of("HS256"))
    codec.sign(CLAIMS)
    assert codec.verify(minted(key_of("HS256")), now=Instant(NOW)) == CLAIMS
    assert SIGNING["HS256"]["k"] not in repr(codec) + str(codec._state) + repr(codec._signing)
