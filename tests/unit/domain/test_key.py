"""Each kind of key: parsed from its JWK, rejected if any part is wrong, and its public members."""

import json
from typing import Any

import pytest
from tests import published_keys

from backctl.domain.errors import InvalidKey
from backctl.domain.key import Key, encoded, kind_of, read_key, unpadded
from backctl.domain.values import Instant

CREATED = "2026-11-22T09:24:02.123456Z"
NOW = Instant.parse(CREATED)
DAY = 86_400_000_000


def entry(alg: str, /, **members: object) -> dict[str, Any]:
    own = {"kid": "k-1", "alg": alg, "use": "sig", "purpose": "sign", "state": "primary", "created": CREATED}
    return {**own, **published_keys.SIGNING[alg], **members}


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def number(text: str) -> int:
    return int.from_bytes(unpadded(text))


def text(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8))


RSA = {name: number(value) for name, value in published_keys.RSA.items() if name != "kty"}


@pytest.mark.parametrize("alg", published_keys.SIGNING)
def test_a_published_key_is_read_and_written_again(alg: str) -> None:
    key = read_key(entry(alg))
    assert key.document() == entry(alg)
    assert (key.alg, key.kty, key.is_symmetric) == (alg, published_keys.SIGNING[alg]["kty"], alg == "HS256")


@pytest.mark.parametrize("alg", published_keys.SIGNING)
def test_what_is_published_is_exactly_the_public_half(alg: str) -> None:
    public = read_key(entry(alg, promoted=CREATED, not_after=CREATED)).public_document()
    private = {"d", "p", "q", "dp", "dq", "qi", "k", "purpose", "state", "created", "promoted", "not_after"}
    assert public == without(entry(alg), *private)
    secrets = [value for name, value in published_keys.SIGNING[alg].items() if name in private]
    assert secrets
    assert not any(secret in json.dumps(public) for secret in secrets)


def test_keys_are_made_of_their_numbers() -> None:
    raw = {name: unpadded(value) for name, value in published_keys.P256.items() if name not in ("kty", "crv")}
    curve = Key.ec_p256("k-1", x=raw["x"], y=raw["y"], private=raw["d"], created=CREATED)
    assert curve.document() == entry("ES256")
    assert Key.rsa("k-1", RSA, created=CREATED).document() == entry("RS256")
    shared = Key.symmetric("k-1", "sign", unpadded(published_keys.HMAC["k"]), created=CREATED)
    assert shared.document() == entry("HS256")
    assert shared.secret_bytes() == unpadded(published_keys.HMAC["k"])


@pytest.mark.parametrize("size", [0, 16, 31, 513])
def test_a_symmetric_key_of_another_size_is_not_made(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Key.symmetric("k", "sign", bytes(size), created=CREATED)


def test_only_a_key_that_signs_may_be_longer_than_32_bytes() -> None:
    assert len(Key.symmetric("k", "sign", bytes(512), created=CREATED).secret_bytes()) == 512
    for purpose in ("encrypt", "audit", "index"):
        with pytest.raises(ValueError, match="32 bytes"):
            Key.symmetric("k", purpose, bytes(33), created=CREATED)


SHORT, LONG = encoded(bytes(31)), encoded(bytes(33))


@pytest.mark.parametrize(
    ("alg", "name", "values"),
    [
        ("ES256", "crv", [None, "P-384", "secp256k1", "Ed25519"]),
        ("ES256", "x", [None, "", SHORT, LONG, 5, published_keys.P256["x"] + "="]),
        ("ES256", "y", [None, "", SHORT, LONG]),
        ("ES256", "d", [None, "", SHORT, LONG]),
        ("HS256", "k", [None, "", SHORT, encoded(bytes(513)), "é" * 43]),
        ("RS256", "n", [None, "", "AQAB", encoded(b"\0" + unpadded(published_keys.RSA["n"])), text(RSA["n"] + 2)]),
        ("RS256", "e", [None, "", "AQ", "Aw", "AAEAAQ", text(65536), text(RSA["e"] + 2), text((1 << 256) + 1)]),
        ("RS256", "d", [None, "", "AQ", text(RSA["d"] + 2)]),
        ("RS256", "p", [None, "", "AQ", "AA", published_keys.RSA["q"]]),
        ("RS256", "q", [None, "", "AQ", "AA", published_keys.RSA["p"]]),
        ("RS256", "dp", [None, "", text(RSA["dp"] + 2), text(RSA["dp"] + RSA["p"] - 1)]),
        ("RS256", "dq", [None, "", text(RSA["dq"] + 2)]),
        ("RS256", "qi", [None, "", text(RSA["qi"] + 2), text(RSA["qi"] + RSA["p"])]),
        ("EdDSA", "promoted", [5, "", "yesterday"]),
        ("EdDSA", "kid", ["../../etc/passwd", "a'; DROP TABLE keys; --", "a\0", "a" * 65]),
        ("EdDSA", "alg", ["none", "None", "nOnE", "HS256", "RS256", "ES256", "EdDSA "]),
        ("HS256", "alg", ["RS256", "HS512", "EdDSA"]),
        ("RS256", "alg", ["RS384", "PS256", "HS256"]),
    ],
)  # fmt: skip
def test_a_key_with_a_wrong_member_is_refused(alg: str, name: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(InvalidKey) as refusal:
            read_key(entry(alg, **{name: value}))
        message = f"{refusal.value} {refusal.value.hint}"
        assert not any(secret in message for secret in list(published_keys.SIGNING[alg].values()) if len(secret) > 10)


def rsa_key(p: int, q: int, e: int = 65537) -> dict[str, str]:
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = {"n": p * q, "e": e, "d": d, "p": p, "q": q, "dp": d % (p - 1), "dq": d % (q - 1), "qi": pow(q, -1, p)}
    return {name: text(value) for name, value in numbers.items()}


MERSENNE_521, MERSENNE_607, MERSENNE_1279 = 2**521 - 1, 2**607 - 1, 2**1279 - 1  # primes


def test_an_rsa_key_has_at_least_2048_bits() -> None:
    with pytest.raises(InvalidKey, match="2048 to 8192 bits"):
        read_key(entry("RS256", **rsa_key(MERSENNE_521, MERSENNE_607)))
    with pytest.raises(InvalidKey, match="2048 to 8192 bits"):
        read_key(entry("RS256", **rsa_key(MERSENNE_607, MERSENNE_1279)))  # 1886 bits
    assert read_key(entry("RS256", **rsa_key(MERSENNE_1279, 2**2203 - 1))).alg == "RS256"


def test_an_rsa_key_has_at_most_8192_bits() -> None:
    with pytest.raises(InvalidKey, match="2048 to 8192 bits"):
        read_key(entry("RS256", **rsa_key(2**4423 - 1, 2**4253 - 1)))


def test_a_member_that_is_not_known_is_refused_rather_than_lost() -> None:
    for name in ("oth", "x5c", "jku", "note", "k"):
        with pytest.raises(InvalidKey, match=f"unknown member '{name}'") as refusal:
            read_key(entry("RS256", **{name: "x"}))
        assert refusal.value.hint == "upgrade backctl: the keyring may come from a newer version"


def test_what_a_purpose_cannot_be_served_with_is_refused() -> None:
    assert kind_of("sign").alg == "EdDSA"
    assert kind_of("sign", "ES256").kty == "EC"
    for purpose, alg in (("sign", "HS512"), ("sign", "none"), ("encrypt", "A256GCM"), ("audit", "EdDSA")):
        with pytest.raises(InvalidKey, match="cannot use the algorithm"):
            kind_of(purpose, alg)  # type: ignore[arg-type]


def test_the_end_of_a_signing_key_moves_nearer_and_never_further_away() -> None:
    key = read_key(entry("EdDSA"))
    assert key.as_retired(NOW, None).not_after is None
    week = key.as_retired(NOW, 7 * DAY)
    assert week.not_after == "2026-11-29T09:24:02.123456Z"
    assert week.as_retired(NOW, 30 * DAY) == week
    assert week.as_retired(NOW, None) == week
    assert week.as_retired(NOW, 0).not_after == CREATED
    assert not week.has_ended(NOW.plus(7 * DAY - 1))
    assert week.has_ended(NOW.plus(7 * DAY))


def test_the_end_stays_within_the_years_that_can_be_written() -> None:
    late = Instant.parse("9999-12-31T00:00:00Z")
    assert read_key(entry("EdDSA")).as_retired(late, 36_500 * DAY).not_after == "9999-12-31T23:59:59.999999Z"
