"""Importing and exporting keys: published keys are imported and exported unchanged, everything else is rejected."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from hypothesis import given
from hypothesis import strategies as st
from tests import published_keys

from backctl.domain.errors import InvalidKey
from backctl.domain.key import encoded, kind_of, read_key
from backctl.domain.keyring import Key
from backctl.domain.values import Instant, Secret
from backctl.infrastructure.keyring.exchange import KeyText, private_key
from backctl.infrastructure.keyring.maker import make_key

NOW = Instant.parse("2026-11-22T09:24:02Z")
ASYMMETRIC = ("EdDSA", "ES256", "RS256")


def read(text: str | dict[str, Any], **asked: Any) -> Key:
    content = text if isinstance(text, str) else json.dumps(text)
    return KeyText().read(Secret(content), **{"purpose": "sign", "alg": None, "now": NOW, **asked}).key


def refused(text: str | dict[str, Any], **asked: Any) -> str:
    with pytest.raises(InvalidKey) as refusal:
        read(text, **asked)
    assert refusal.value.hint
    return f"{refusal.value} {refusal.value.hint}"


@pytest.mark.parametrize("alg", published_keys.SIGNING)
def test_a_published_jwk_comes_in_as_a_standby_key(alg: str) -> None:
    key = read(published_keys.SIGNING[alg])
    assert (key.alg, key.purpose, key.state, key.created) == (alg, "sign", "standby", NOW.isoformat())
    assert dict(key.material).items() <= published_keys.SIGNING[alg].items()
    assert read_key(key.document()) == key


@pytest.mark.parametrize("alg", published_keys.SIGNING)
def test_what_else_a_jwk_says_is_heard_or_passed_over(alg: str) -> None:
    jwk = {**published_keys.SIGNING[alg], "alg": alg, "use": "sig", "kid": "any/where", "key_ops": ["sign"], "x5c": []}
    assert KeyText().read(Secret(json.dumps(jwk)), purpose="sign", alg=alg, now=NOW).kid == "any/where"
    assert read({"keys": [jwk]}).material == read(published_keys.SIGNING[alg]).material


def test_a_symmetric_jwk_serves_every_purpose() -> None:
    jwk = {"kty": "oct", "k": encoded(bytes(range(32)))}
    for purpose in ("encrypt", "audit", "index", "sign"):
        key = read(jwk, purpose=purpose)
        assert (key.purpose, key.alg, key.secret_bytes()) == (purpose, key.alg, bytes(range(32)))


def test_an_rsa_jwk_may_leave_its_factors_out() -> None:
    short = {name: published_keys.RSA[name] for name in ("kty", "n", "e", "d")}
    key = read(short)
    primes = {dict(key.material)["p"], dict(key.material)["q"]}
    assert primes == {published_keys.RSA["p"], published_keys.RSA["q"]}
    assert read_key(key.document()) == key


@pytest.mark.parametrize("alg", ASYMMETRIC)
def test_pem_goes_out_and_comes_in_again(alg: str) -> None:
    key = read(published_keys.SIGNING[alg])
    text = KeyText().pem(key, private=True)
    assert text.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert read(text + "\n").material == key.material
    public = load_pem_public_key(KeyText().pem(key, private=False).encode())
    own = load_pem_private_key(text.encode(), password=None).public_key()
    forms = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    assert public.public_bytes(*forms) == own.public_bytes(*forms)


@pytest.mark.parametrize("form", [PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8])
def test_older_forms_of_pem_come_in_too(form: PrivateFormat) -> None:
    for made in (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)):
        text = made.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
        assert private_key(read(text)).private_bytes(Encoding.PEM, form, NoEncryption()).decode() == text


@pytest.mark.parametrize("alg", ["EdDSA", "ES256", "RS256", "HS256"])
def test_a_made_key_is_of_the_kind_asked_for_and_sound(alg: str) -> None:
    key = make_key("sign", NOW, alg=alg, kid="mine")
    assert (key.kid, key.alg, key.state, key.use) == ("mine", alg, "primary", "sig")
    assert read_key(key.document()) == key
    if alg == "RS256":
        made = private_key(key)
        assert isinstance(made, rsa.RSAPrivateKey)
        assert made.key_size == 3072
    assert make_key("sign", NOW, alg=alg).material != key.material


def test_a_key_of_an_unknown_algorithm_is_not_made() -> None:
    with pytest.raises(InvalidKey):
        make_key("encrypt", NOW, alg="A256GCM")
    assert make_key("encrypt", NOW).alg == kind_of("encrypt").alg


OTHER_ED25519 = encoded(ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32).public_key().public_bytes_raw())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kty": "EC"}, "malformed member 'crv'"),
        ({"kty": "AKP"}, "a key of this kind cannot"),
        ({"kty": None}, "a key of this kind cannot"),
        ({"alg": "none"}, "a key of this kind cannot"),
        ({"alg": "HS256"}, "a key of this kind cannot"),
        ({"alg": 5}, "does not match the requested one"),
        ({"use": "enc"}, "the member 'use'"),
        ({"crv": "Ed448"}, "malformed member 'crv'"),
        ({"crv": "X25519"}, "malformed member 'crv'"),
        ({"x": OTHER_ED25519}, "do not form a valid key"),
        ({"d": encoded(b"\2" * 32)}, "do not form a valid key"),
        ({"d": "AA"}, "malformed member 'd'"),
    ],
)  # fmt: skip
def test_a_jwk_that_is_not_sound_is_refused(change: dict[str, object], why: str) -> None:
    assert why in refused({**published_keys.ED25519, **change})


@pytest.mark.parametrize("alg", published_keys.SIGNING)
def test_a_public_jwk_is_no_private_key(alg: str) -> None:
    public = {
        name: value
        for name, value in published_keys.SIGNING[alg].items()
        if name not in ("d", "p", "q", "dp", "dq", "qi", "k")
    }
    assert "no private key" in refused(public)


def test_a_point_that_is_not_on_the_curve_is_refused() -> None:
    assert "do not form a valid key" in refused({**published_keys.P256, "y": published_keys.P256["x"]})
    assert "do not form a valid key" in refused({**published_keys.P256, "d": encoded(b"\1" * 32)})
    assert "do not form a valid key" in refused({**published_keys.P256, "d": encoded(bytes(32))})


@pytest.mark.parametrize("member", ["n", "e", "d", "p", "q", "dp", "dq", "qi"])
def test_an_rsa_key_with_one_other_number_is_refused(member: str) -> None:
    others = {**published_keys.RSA, member: published_keys.RSA["p" if member != "p" else "dp"]}
    refused(others)
    short = {name: value for name, value in others.items() if name in ("kty", "n", "e", "d")}
    if member in short:
        refused(short)


@pytest.mark.parametrize("text", ["", "key", "[]", "5", '"x"', "{}", "null", '{"kty":"oct","kty":"oct"}', "NaN",
                                  '{"keys":[]}', '{"keys":[{},{}]}', '{"keys":[5]}', "[" * 5000, "-----BEGIN ",
                                  "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"])  # fmt: skip
def test_what_is_no_key_is_refused(text: str) -> None:
    refused(text)


@given(st.text(max_size=200) | st.text(max_size=100).map(lambda text: f"-----BEGIN PRIVATE KEY-----\n{text}"))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    refused(text)


def pem_of(key: Any, password: bytes | None = None) -> str:
    locked = NoEncryption() if password is None else BestAvailableEncryption(password)
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked).decode())


def test_pem_of_another_kind_is_refused() -> None:
    assert "P-256" in refused(pem_of(ec.generate_private_key(ec.SECP384R1())))
    assert "use Ed25519, EC on P-256, or RSA" in refused(pem_of(ed448.Ed448PrivateKey.generate()))
    assert "1024 bits" in refused(pem_of(rsa.generate_private_key(65537, 1024)))
    assert "is not a valid RSA key" in refused(pem_of(rsa.generate_private_key(3, 2048)))
    assert "is encrypted" in refused(pem_of(ed25519.Ed25519PrivateKey.generate(), b"secret"))


def test_of_two_private_keys_in_one_text_none_is_taken() -> None:
    first, second = (pem_of(ed25519.Ed25519PrivateKey.generate()) for _ in range(2))
    assert "2 private keys" in refused(first + second)
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    made = ec.generate_private_key(ec.SECP256R1())
    one = made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    assert read(parameters + one).alg == "ES256"  # the output format of `openssl ecparam -genkey`


def test_pem_is_for_signing_only_and_keeps_its_algorithm() -> None:
    text = KeyText().pem(read(published_keys.ED25519), private=True)
    assert "signing key for EdDSA" in refused(text, purpose="encrypt")
    assert "signing key for EdDSA" in refused(text, alg="ES256")
    assert "cannot use the algorithm" in refused(text, alg="HS512")


def test_a_symmetric_key_has_no_pem() -> None:
    for private in (True, False):
        with pytest.raises(InvalidKey, match="symmetric"):
            KeyText().pem(read(published_keys.HMAC), private=private)


def test_no_refusal_shows_what_was_given() -> None:
    secret = published_keys.ED25519["d"]
    for text in (
        secret,
        json.dumps({**published_keys.ED25519, "x": OTHER_ED25519}),
        json.dumps({"kty": "oct", "k": secret[:20]}),
        f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----",
    ):
        assert secret[:12] not in refused(text)
