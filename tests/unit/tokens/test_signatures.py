"""Signatures: published ones verify, and similar but invalid ones do not."""

import hashlib
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from tests.unit.tokens.compact_form import b64, octets
from tests.unit.tokens.minting import ALGORITHMS, JWKS, key_of, number, signed

from backctl.domain.errors import KeyringDamaged
from backctl.domain.key import Key
from backctl.domain.values import Instant
from backctl.infrastructure.crypto.signatures import signing_key, verifier

# RFC 7515 appendices A.1, A.2 and A.3; RFC 8037 appendix A.4.
_PAYLOAD = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
PUBLISHED = {
    "HS256": f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{_PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "RS256": f"eyJhbGciOiJSUzI1NiJ9.{_PAYLOAD}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuH"
    "Im4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkS"
    "jtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI"
    "8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    "ES256": f"eyJhbGciOiJFUzI1NiJ9.{_PAYLOAD}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQ"
    "xfKTUJqPP3-Kg6NU1Q",
    "EdDSA": "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6d"
    "WbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
}
MESSAGE = b"a message"


def accepts(key: Key, signature: bytes, message: bytes = MESSAGE) -> bool:
    check = verifier(key)
    return len(signature) == check.length and check.accepts(signature, message)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_the_examples_of_the_rfcs_verify(alg: str) -> None:
    message, _, signature = PUBLISHED[alg].rpartition(".")
    assert accepts(key_of(alg), octets(signature), message.encode())
    assert not accepts(key_of(alg), octets(signature), message.encode() + b"A")


@pytest.mark.parametrize("alg", ["EdDSA", "RS256", "HS256"])
def test_the_deterministic_examples_are_what_the_signing_half_makes(alg: str) -> None:
    message, _, signature = PUBLISHED[alg].rpartition(".")
    assert b64(signed(key_of(alg), message.encode())) == signature
    assert signing_key(key_of(alg))


# Wycheproof, ed25519_test.json (public key of its first group) and ecdsa_secp256r1_sha256_p1363_test.json.
WYCHEPROOF_ED25519 = key_of(
    "EdDSA", jwk={"kty": "OKP", "crv": "Ed25519", "x": "fU0Of2FTpptiQrUiq77mhf2kQg-INLEIw72uNp71Sfo"}
)
WYCHEPROOF_P256 = key_of(
    "ES256",
    jwk={
        "kty": "EC",
        "crv": "P-256",
        "x": b64(bytes.fromhex("2927b10512bae3eddcfe467828128bad2903269919f7086069c8c4df6c732838")),
        "y": b64(bytes.fromhex("c7787964eaac00e5921fb1498a60f4606766b3d9685001558d1a974e7341513e")),
    },
)
_R = 0x2BA3A8BE6B94D5EC80A6D9D1190A436EFFE50D85A1EEE859B8CC6AF9BD5C2E18
_S = 0xB329F479A2BBD0A5C384EE1493B1F5186A87139CAC5DF4087C134B49156847DB
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_FIELD = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 8032 §5.1
ED25519_FIELD = 2**255 - 19


@pytest.mark.parametrize(
    ("message", "first", "second"),
    [
        ("", "d4fbdb52bfa726b44d1786a8c0d171c3e62ca83c9e5bbe63de0bb2483f8fd6cc",
         "1429ab72cafc41ab56af02ff8fcc43b99bfe4c7ae940f60f38ebaa9d311c4007"),
        ("78", "d80737358ede548acb173ef7e0399f83392fe8125b2ce877de7975d8b726ef5b",
         "1e76632280ee38afad12125ea44b961bf92f1178c9fa819d020869975bcbe109"),
        ("313233343030", "657c1492402ab5ce03e2c3a7f0384d051b9cf3570f1207fc78c1bcc98c281c2b",
         "f0cf5b3a289976458a1be6277a5055545253b45b07dcc1abd96c8b989c00f301"),
        ("ffffffffffffffffffffffffffffffff", "5dbd7360e55aa38e855d6ad48c34bd35b7871628508906861a7c4776765ed7d1",
         "e13d910faabd689ec8618b78295c8ab8f0e19c8b4b43eb8685778499e943ae04"),
    ],
)  # fmt: skip
def test_an_ed25519_signature_has_one_spelling(message: str, first: str, second: str) -> None:
    said, right = bytes.fromhex(message), bytes.fromhex(first + second)
    assert accepts(WYCHEPROOF_ED25519, right, said)
    for times in range(1, 15):  # RFC 8032 §8.4: S + L verifies if the range of S is not checked
        raised = int.from_bytes(right[32:], "little") + times * ED25519_ORDER
        assert not accepts(WYCHEPROOF_ED25519, right[:32] + raised.to_bytes(32, "little"), said)
    assert not accepts(WYCHEPROOF_ED25519, right + b"\0", said)
    assert not accepts(WYCHEPROOF_ED25519, right[:-1], said)


def test_an_ed25519_signature_of_special_values_fits_nothing() -> None:
    special = [0, 1, ED25519_ORDER - 1, ED25519_ORDER, ED25519_FIELD - 1, ED25519_FIELD, ED25519_FIELD + 1, 2**256 - 1]
    for first in special:
        for second in special:
            signature = first.to_bytes(32, "little") + second.to_bytes(32, "little")
            assert not accepts(WYCHEPROOF_ED25519, signature, b"?")
            assert not accepts(key_of("EdDSA"), signature)


def fixed(r: int, s: int, width: int = 32) -> bytes:
    return r.to_bytes(width, "big") + s.to_bytes(width, "big")


def test_an_ecdsa_signature_is_two_numbers_in_range_and_nothing_else() -> None:
    said = b"123400"
    assert accepts(WYCHEPROOF_P256, fixed(_R, _S), said)
    for r, s in ((P256_ORDER - _R, _S), (_S, _R), (_R, _S + 1), (_R + 1, _S)):
        assert not accepts(WYCHEPROOF_P256, fixed(r, s), said)
    for r, s in ((_R + P256_ORDER, _S), (_R, _S + P256_ORDER), (_R + 2**256, _S), (_R, _S + 2**256)):
        assert not accepts(WYCHEPROOF_P256, fixed(r, s, 33), said)
    assert not accepts(WYCHEPROOF_P256, fixed(_R, _S, 33), said)
    assert not accepts(WYCHEPROOF_P256, encode_dss_signature(_R, _S), said)


def test_an_ecdsa_signature_of_special_values_fits_nothing() -> None:
    """CVE-2022-21449 and similar: the combinations of these values, as in Wycheproof."""
    special = [0, 1, P256_ORDER - 1, P256_ORDER, P256_ORDER + 1, P256_FIELD, P256_FIELD + 1, 2**256 - 1]
    for r in special:
        for s in special:
            assert not accepts(WYCHEPROOF_P256, fixed(r, s), b"123400")
            assert not accepts(key_of("ES256"), fixed(r, s))


def test_an_ecdsa_signature_with_the_other_s_is_the_same_signature() -> None:
    """FIPS 186-5 and RFC 7518 do not require the lower s. Revocation uses the jti, not the text of the token."""
    assert accepts(WYCHEPROOF_P256, fixed(_R, P256_ORDER - _S), b"123400")


RSA_NUMBERS = {name: number(JWKS["RS256"][name]) for name in ("n", "e", "d")}
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")  # RFC 8017 §9.2, note 1


def rsa_of(encoded: bytes) -> bytes:
    """Return the private key operation on an encoded message, which may have any content."""
    return pow(int.from_bytes(encoded, "big"), RSA_NUMBERS["d"], RSA_NUMBERS["n"]).to_bytes(256, "big")


def padded(info: bytes, kind: bytes = b"\1", filler: bytes = b"\xff", start: bytes = b"\0") -> bytes:
    return start + kind + filler * (256 - len(info) - 3) + b"\0" + info


def test_an_rsa_signature_has_its_padding_exactly() -> None:
    digest = hashlib.sha256(MESSAGE).digest()
    assert accepts(key_of("RS256"), rsa_of(padded(_SHA256_INFO + digest)))
    # Bleichenbacher's attack of 2006 and ModifiedPadding in Wycheproof.
    without_null = bytes.fromhex("302f300b06096086480165030402010420")
    long_form = bytes.fromhex("308131300d060960864801650304020105000420")
    sha1 = bytes.fromhex("3021300906052b0e03021a05000414")
    wrong = [
        padded(_SHA256_INFO + digest, kind=b"\2"),
        padded(_SHA256_INFO + digest, kind=b"\0"),
        padded(_SHA256_INFO + digest, filler=b"\xfe"),
        padded(_SHA256_INFO + digest, filler=b"\0"),
        padded(_SHA256_INFO + digest, start=b"\1"),
        padded(without_null + digest),
        padded(long_form + digest),
        padded(_SHA256_INFO + digest + b"\0"),
        padded(digest),
        padded(sha1 + hashlib.sha1(MESSAGE).digest()),
        padded(_SHA256_INFO + hashlib.sha256(b"another").digest()),
        b"\0\1" + b"\xff" * 8 + b"\0" + _SHA256_INFO + digest + b"\xaa" * (256 - 11 - 51),
        b"\0\1\0" + _SHA256_INFO + digest + b"\0" * (256 - 3 - 51),
    ]
    for encoded in wrong:
        assert len(encoded) == 256
        assert not accepts(key_of("RS256"), rsa_of(encoded))


def test_an_rsa_signature_is_as_long_as_the_modulus_and_below_it() -> None:
    right = rsa_of(padded(_SHA256_INFO + hashlib.sha256(MESSAGE).digest()))
    value = int.from_bytes(right, "big")
    for wrong in (b"\0" + right, right + b"\0", right[:-1], right[1:], (value + RSA_NUMBERS["n"]).to_bytes(257, "big")):
        assert not accepts(key_of("RS256"), wrong)
    for number_ in (0, 1, RSA_NUMBERS["n"] - 1, RSA_NUMBERS["n"], 2**2048 - 1):
        assert not accepts(key_of("RS256"), number_.to_bytes(256, "big"))


def test_a_mac_is_whole() -> None:
    right = signed(key_of("HS256"), MESSAGE)
    assert accepts(key_of("HS256"), right)
    for length in range(32):
        assert not accepts(key_of("HS256"), right[:length])
    assert not accepts(key_of("HS256"), right + b"\0")
    assert not accepts(key_of("HS256"), right.hex().encode()[:32])


def test_macs_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared: list[tuple[bytes, bytes]] = []
    original = hmac.compare_digest

    def spy(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return original(first, second)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    right = signed(key_of("HS256"), MESSAGE)
    assert accepts(key_of("HS256"), right)
    assert not accepts(key_of("HS256"), b"\0" * 32)
    assert compared == [(right, right), (right, b"\0" * 32)]


# Keys.


def weak_keys() -> Iterator[tuple[Key, str]]:
    for length in (0, 1, 16, 31):
        yield key_of("HS256", jwk={"kty": "oct", "k": b64(b"k" * length)}), "'k'" if length == 0 else "fewer than 256"
    small = rsa.generate_private_key(65537, 1024).private_numbers()
    members = {"n": small.public_numbers.n, "e": 65537, "d": small.d, "p": small.p, "q": small.q}
    members |= {"dp": small.dmp1, "dq": small.dmq1, "qi": small.iqmp}
    encoded = {name: b64(value.to_bytes((value.bit_length() + 7) // 8, "big")) for name, value in members.items()}
    yield key_of("RS256", jwk={"kty": "RSA", **encoded}), "1024 bits, fewer than 2048"
    yield key_of("RS256", jwk={**JWKS["RS256"], "e": "AQ"}), "do not form a valid key"
    yield key_of("RS256", jwk={**JWKS["RS256"], "n": "!"}), "'n'"
    yield key_of("ES256", jwk={**JWKS["ES256"], "crv": "P-384"}), "not P-256"
    yield key_of("ES256", jwk={**JWKS["ES256"], "y": JWKS["ES256"]["x"]}), "do not form a valid key"
    yield key_of("ES256", jwk={**JWKS["ES256"], "x": JWKS["ES256"]["x"][:-2]}), "'x'"
    yield key_of("EdDSA", jwk={**JWKS["EdDSA"], "crv": "Ed448"}), "not Ed25519"
    yield key_of("EdDSA", jwk={**JWKS["EdDSA"], "x": ""}), "'x'"
    for alg in ALGORITHMS:
        for other in ALGORITHMS:
            if alg != other:
                yield key_of(alg, jwk=JWKS[other]), "does not match its algorithm"
    for alg in ("none", "HS512", "ES384", "RS512", "PS256", "eddsa", ""):
        yield key_of(alg, jwk=JWKS["HS256"]), "does not match its algorithm"


def test_a_weak_or_malformed_key_serves_for_nothing_and_shows_nothing() -> None:
    for key, why in weak_keys():
        for use in (verifier, signing_key):
            with pytest.raises(KeyringDamaged) as error:
                use(key)
            assert f"the key '{key.kid}'" in error.value.message
            assert why in error.value.message
            shown = f"{error.value!r} {error.value.hint} {error.value.__cause__}"
            assert not any(value in shown for _, value in key.material if len(value) > 6)


def test_a_verifier_knows_when_its_key_ends() -> None:
    moment = Instant.parse("2026-12-01T00:00:00.5Z")
    assert verifier(key_of("HS256", not_after=moment)).not_after == moment
    assert verifier(key_of("HS256")).not_after > moment
