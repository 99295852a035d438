"""Importing and exporting keys: published keys are imported and exported unchanged, everything else is rejected."""

import base64
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
from tests import published_keys, weak_rsa_keys

from backctl.domain.errors import InvalidKey
from backctl.domain.key import encoded, kind_of, read_key
from backctl.domain.keyring import Key
from backctl.domain.values import Instant, Secret
from backctl.infrastructure.keyring.exchange import KeyText, private_key
from backctl.infrastructure.keyring.maker import make_key
from backctl.infrastructure.keyring.weak_rsa import weakness_of

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
        ({"alg": 5}, "malformed member 'alg'"),
        ({"alg": ""}, "malformed member 'alg'"),
        ({"alg": None}, "malformed member 'alg'"),
        ({"use": ""}, "the member 'use'"),
        ({"use": None}, "the member 'use'"),
        ({"key_ops": []}, "the member 'key_ops'"),
        ({"key_ops": ["verify"]}, "the member 'key_ops'"),
        ({"key_ops": ["sign", "encrypt"]}, "the member 'key_ops'"),
        ({"key_ops": ["sign", "sign"]}, "malformed member 'key_ops'"),
        ({"key_ops": "sign"}, "malformed member 'key_ops'"),
        ({"key_ops": [5]}, "malformed member 'key_ops'"),
        ({"key_ops": None}, "malformed member 'key_ops'"),
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


def rsa_key(p: int, q: int) -> rsa.RSAPrivateKey:
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key()


def jwk_of(made: rsa.RSAPrivateKey, *names: str) -> dict[str, str]:
    numbers = made.private_numbers()
    found = {"n": numbers.public_numbers.n, "e": 65537, "d": numbers.d, "p": numbers.p, "q": numbers.q}
    found |= {"dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
    return {
        "kty": "RSA",
        **{name: encoded(found[name].to_bytes((found[name].bit_length() + 7) // 8)) for name in names or found},
    }


@pytest.mark.parametrize(
    ("primes", "why"),
    [
        (weak_rsa_keys.TWINS, "too close"),
        (weak_rsa_keys.CLOSE, "too close"),
        (weak_rsa_keys.UNEQUAL, "unequal length"),
        (weak_rsa_keys.ROCA, "CVE-2017-15361"),
    ],
    ids=["twins", "close", "unequal", "roca"],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_an_rsa_key_that_can_be_factored_is_refused(primes: tuple[int, int], why: str, swapped: bool) -> None:
    made = rsa_key(*(reversed(primes) if swapped else primes))
    assert why in refused(jwk_of(made))
    assert why in refused(jwk_of(made, "n", "e", "d"))
    for form in (PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8):
        assert why in refused(made.private_bytes(Encoding.PEM, form, NoEncryption()).decode())


def test_a_published_modulus_of_the_faulty_generator_is_recognized() -> None:
    half = 1 << 1023
    numbers = {"p": half + 1, "q": half + (half >> 1)}
    assert "ROCA" in (weakness_of(n=weak_rsa_keys.PUBLISHED_ROCA_MODULUS, **numbers) or "")
    for bits in (2048, 2049, 3072, 4096):
        found = rsa.generate_private_key(65537, bits).private_numbers()
        assert weakness_of(n=found.public_numbers.n, p=found.p, q=found.q) is None


def test_an_rsa_key_with_more_than_two_primes_is_refused() -> None:
    other = {"r": "AQAB", "d": "AQAB", "t": "AQAB"}
    assert "more than two primes" in refused({**published_keys.RSA, "oth": [other]})
    assert "more than two primes" in refused({**published_keys.RSA, "oth": []})


def test_the_operations_of_a_symmetric_key_match_its_purpose() -> None:
    jwk = {"kty": "oct", "k": encoded(bytes(range(32)))}
    assert read({**jwk, "key_ops": ["encrypt", "decrypt"]}, purpose="encrypt").purpose == "encrypt"
    assert read({**jwk, "key_ops": ["verify", "sign"]}, purpose="audit").purpose == "audit"
    for purpose, operations in (("encrypt", ["encrypt"]), ("encrypt", ["sign"]), ("audit", ["encrypt", "decrypt"])):
        assert "the member 'key_ops'" in refused({**jwk, "key_ops": operations}, purpose=purpose)


def test_the_newer_name_of_eddsa_is_accepted() -> None:
    """RFC 9864 §2.2; Node.js writes it."""
    jwk = {**published_keys.ED25519, "alg": "Ed25519"}
    assert read(jwk).alg == "EdDSA"
    assert read(jwk, alg="EdDSA").material == read(published_keys.ED25519, alg="Ed25519").material
    assert "cannot be used" in refused({**jwk, "kty": "EC"})
    assert "cannot be used" in refused({**jwk, "alg": "Ed448"})


def test_a_key_restricted_to_pss_is_refused() -> None:
    """RFC 4055 §1.2."""
    made = rsa.generate_private_key(65537, 2048)
    raw = made.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    any_padding, pss = bytes.fromhex("06092a864886f70d0101010500"), bytes.fromhex("06092a864886f70d01010a3000")
    assert raw.count(any_padding) == 1
    restricted = base64.encodebytes(raw.replace(any_padding, pss)).decode()
    assert "RSASSA-PSS" in refused(f"-----BEGIN PRIVATE KEY-----\n{restricted}-----END PRIVATE KEY-----\n")


@pytest.mark.parametrize("alg", ASYMMETRIC)
def test_text_around_a_pem_block_is_ignored(alg: str) -> None:
    """RFC 7468 §2."""
    key = read(published_keys.SIGNING[alg])
    text = KeyText().pem(key, private=True) + "\n"
    public = KeyText().pem(key, private=False) + "\n"
    bag = "Bag Attributes\n    friendlyName: ours\n    localKeyID: 54 69 6D 65\nKey Attributes: <No Attributes>\n"
    assert read(bag + text).material == key.material
    assert read(bag + public + "subject=CN = x\n\n" + text + bag).material == key.material
    for end in ("\r\n", "\r"):  # RFC 7468 §3
        assert read((bag + text).replace("\n", end)).material == key.material
    for before in ("{ours}\n", "[1]\n"):
        assert read(before + text).material == key.material
    assert "no readable private key" in refused(text[:80])
    assert read(text + "ED25519 Private-Key:\npriv:\n    9d:61:b1:9d\n").material == key.material  # openssl -text
    assert "holds 2 private keys" in refused(bag + text + bag + text)
    assert "no readable private key" in refused(bag + public)


def test_the_parameters_that_openssl_writes_before_a_key_are_ignored() -> None:
    made = ec.generate_private_key(ec.SECP256R1())
    text = made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert read(parameters + text).material == read(text).material
