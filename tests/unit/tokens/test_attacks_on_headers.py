"""Attacks on the header: it must not choose an algorithm or key, contain a key, or have members besides typ, alg, kid.

Where possible, the forged header has a valid signature, so that only the header can be the reason for the refusal.
"""

import hmac
import json
from hashlib import sha256
from itertools import product

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.published_keys import SIGNING
from tests.unit.tokens.compact_form import b64, compact, octets, plain
from tests.unit.tokens.conftest import Scene
from tests.unit.tokens.minting import (
    ALGORITHMS,
    CLAIMS,
    NOW,
    PUBLIC_MEMBERS,
    codec_of,
    header_of,
    key_of,
    minted,
    public_key,
    signed,
)
from tests.unit.tokens.refusals import MALFORMED, NO_ACCESS_TOKEN, NO_KEY, refused


def test_a_token_without_a_signature_is_refused_however_it_spells_none(scene: Scene) -> None:
    for name in map("".join, product("nN", "oO", "nN", "eE")):
        header = header_of(scene.key, alg=name)
        refused(scene.codec, compact(header, CLAIMS.members(), b""), NO_KEY)
        refused(scene.codec, compact(header, CLAIMS.members(), octets(scene.parts[2])), NO_KEY)
        refused(scene.codec, minted(scene.key, header=header), NO_KEY)
    for bare in ({"alg": "none"}, {"alg": "none", "typ": "at+jwt"}, {"alg": "none", "typ": "JWT"}, {}):
        refused(scene.codec, compact(bare, CLAIMS.members(), b""), NO_ACCESS_TOKEN)


@pytest.mark.parametrize(
    "alg", ["", "none ", " none", "HS384", "HS512", "RS384", "PS256", "ES384", "ES256K", "Ed25519", "eddsa", "hs256",
            "RS256\0", "ES256 ", None, 5, True, ["HS256"], {"alg": "HS256"}],
)  # fmt: skip
def test_an_algorithm_that_is_not_exactly_that_of_the_key_is_refused(scene: Scene, alg: object) -> None:
    refused(scene.codec, minted(scene.key, header=header_of(scene.key, alg=alg)), NO_KEY)


def test_a_token_under_another_key_than_it_names_is_refused() -> None:
    """Tests each pair of keys with each algorithm."""
    keys = [key_of(alg) for alg in ALGORITHMS]
    codec = codec_of(*keys)
    for named, used in product(keys, keys):
        for alg in ALGORITHMS:
            token = minted(used, header={"alg": alg, "typ": "at+jwt", "kid": named.kid})
            if named is used and alg == named.alg:
                assert codec.verify(token, now=NOW) == CLAIMS
            else:
                refused(codec, token, NO_KEY)


def public_texts(alg: str) -> list[bytes]:
    """Return the public key in every common form."""
    public, jwk = public_key(alg), SIGNING[alg]
    members = {name: jwk[name] for name in PUBLIC_MEMBERS if name in jwk}
    forms = [(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)]
    if alg == "RS256":
        forms += [(Encoding.PEM, PublicFormat.PKCS1), (Encoding.DER, PublicFormat.PKCS1)]
    if alg == "ES256":
        forms += [(Encoding.X962, PublicFormat.UncompressedPoint), (Encoding.X962, PublicFormat.CompressedPoint)]
    if alg != "RS256":
        forms.append((Encoding.OpenSSH, PublicFormat.OpenSSH))
    texts = [public.public_bytes(*form) for form in forms]
    texts += [json.dumps(members).encode(), json.dumps(members, sort_keys=True, separators=(",", ":")).encode()]
    texts += [json.dumps({"keys": [members]}).encode()]
    texts += [jwk[name].encode() for name in PUBLIC_MEMBERS if name in jwk]
    texts += [octets(jwk[name]) for name in ("x", "y", "n", "e") if name in jwk]
    texts += [text.strip() for text in texts] + [text.rstrip(b"\n") + b"\n\0" for text in texts]
    return [*texts, *(b64(text).encode() for text in texts), *(sha256(text).digest() for text in texts), b"", b"\0"]


@pytest.mark.parametrize("alg", ["EdDSA", "ES256", "RS256"])
def test_a_public_key_is_never_taken_for_a_shared_secret(alg: str) -> None:
    key = key_of(alg)
    codec = codec_of(key, key_of("HS256"))
    message = f"{b64(plain(header_of(key, alg='HS256')))}.{b64(plain(CLAIMS.members()))}"
    own = f"{b64(plain(header_of(key)))}.{b64(plain(CLAIMS.members()))}"
    for secret in public_texts(alg):
        for text in (message, own):
            refused(codec, f"{text}.{b64(hmac.new(secret, text.encode(), sha256).digest())}", NO_KEY)


@pytest.mark.parametrize(
    "kid",
    ["", " ", "sign", "sign-", "sign-x", "../../../dev/null", "/dev/null", "file:///etc/passwd", "sign-EdDSA/../x",
     "' OR '1'='1", "x' UNION SELECT 'AAAA'; --", "sign\0", "\0", "%00", "$(id)", "`id`", "|/bin/true", "{{7*7}}",
     "http://localhost/jwks", "__class__", "*", "%", "_", "sign_EdDSA", "k" * 64, "k" * 65, "k" * 200, "é", "\ud800",
     "sign\u200b", "ſign-EdDSA", None, 0, -1, True, False, 1.5, [], ["sign-EdDSA"], {}, {"kid": "sign-EdDSA"}],
)  # fmt: skip
def test_a_kid_names_a_key_or_nothing(scene: Scene, kid: object) -> None:
    header = header_of(scene.key, kid=kid)
    for token in (minted(scene.key, header=header), compact(header, CLAIMS.members(), b"")):
        refused(scene.codec, token)
    message = f"{b64(plain(header_of(scene.key, alg='HS256', kid=kid)))}.{b64(plain(CLAIMS.members()))}"
    for secret in (b"", b"\0", b"AAAA"):
        refused(scene.codec, f"{message}.{b64(hmac.new(secret, message.encode(), sha256).digest())}")


def test_a_kid_is_compared_exactly(scene: Scene) -> None:
    kid = scene.key.kid
    for other in (kid.upper(), kid.lower(), kid.swapcase(), kid[:-1], kid[1:], f"{kid}A", f" {kid}", f"{kid} "):
        if other != kid:
            refused(scene.codec, minted(scene.key, header=header_of(scene.key, kid=other)), NO_KEY)


def test_a_key_of_another_purpose_verifies_nothing() -> None:
    """The audit and index keys are HS256 keys, too, and must not sign tokens."""
    for purpose in ("audit", "index", "encrypt"):
        other = key_of("HS256", f"{purpose}-1", purpose=purpose)
        codec = codec_of(key_of("HS256"), other)
        refused(codec, minted(other), NO_KEY)
        refused(codec, minted(other, header=header_of(other, kid="sign-HS256", alg="HS256"), payload={}))


ATTACKER = {"kty": "OKP", "crv": "Ed25519", "x": SIGNING["EdDSA"]["x"], "kid": "sign-EdDSA"}


@pytest.mark.parametrize(
    "further",
    [
        {"jwk": ATTACKER},
        {"jwk": None},
        {"jku": "https://attacker.example/jwks.json"},
        {"x5u": "https://attacker.example/certificate.pem"},
        {"x5c": ["MIIB"]},
        {"x5t": "dGh1bWI"},
        {"x5t#S256": "dGh1bWI"},
        {"crit": []},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"cty": "JWT"},
        {"apu": ""},
        {"epk": {}},
        {"exp": 9_999_999_999},
        {"": ""},
        {"Kid": "sign-EdDSA"},
    ],
)
def test_a_header_with_any_other_member_is_refused(scene: Scene, further: dict[str, object]) -> None:
    refused(scene.codec, minted(scene.key, header=header_of(scene.key, **further)), NO_ACCESS_TOKEN)


def test_an_embedded_key_is_not_used() -> None:
    """The token contains the key that signed it, under the kid of a known key."""
    attackers = key_of("EdDSA", "sign-ES256")
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": "sign-ES256", "jwk": ATTACKER}
    refused(codec_of(key_of("ES256")), minted(attackers, header=header), NO_ACCESS_TOKEN)


@pytest.mark.parametrize(
    "typ", ["", "JWT", "jwt", "at+jwt ", " at+jwt", "at+jwt\0", "dpop+jwt", "application/dpop+jwt", "application/jwt",
            "application/", "application/application/at+jwt", "text/at+jwt", "application/at+jwt;v=1", "x/at+jwt",
            "/at+jwt", "logout+jwt", "JOSE", None, 5, True, ["at+jwt"], {"typ": "at+jwt"}],
)  # fmt: skip
def test_a_token_of_another_type_is_refused(scene: Scene, typ: object) -> None:
    refused(scene.codec, minted(scene.key, header=header_of(scene.key, typ=typ)), NO_ACCESS_TOKEN)


@pytest.mark.parametrize(
    "typ", ["at+jwt", "AT+JWT", "at+JWT", "application/at+jwt", "Application/AT+JWT", "APPLICATION/at+jwt"]
)
def test_the_type_may_be_a_media_type_in_any_case(scene: Scene, typ: str) -> None:
    """RFC 9068 §4, RFC 7515 §4.1.9."""
    assert scene.codec.verify(minted(scene.key, header=header_of(scene.key, typ=typ)), now=NOW).sub


@pytest.mark.parametrize("lacking", ["alg", "typ", "kid"])
def test_a_header_that_lacks_a_member_is_refused(scene: Scene, lacking: str) -> None:
    header = header_of(scene.key)
    del header[lacking]
    refused(scene.codec, minted(scene.key, header=header), NO_ACCESS_TOKEN)


def test_a_header_that_is_not_one_json_object_is_refused(scene: Scene) -> None:
    right = plain(header_of(scene.key)).decode()
    kid = f'"kid":"{scene.key.kid}"'
    for text in (
        f"{right[:-1]},{kid}}}",
        f'{right[:-1]},"alg":"{scene.alg}"}}',
        right.replace(kid, f'"kid":"x",{kid}'),
        right.replace('"typ":"at+jwt"', '"typ":"JWT","typ":"at+jwt"'),
        right.replace('"typ":"at+jwt"', '"typ":"at+jwt","ty\\u0070":"at+jwt"'),
        right.replace('"at+jwt"', "NaN"),
        right.replace('"', "'"),
        f"[{right}]",
        f"{right}{right}",
        f"{right}x",
        f"\ufeff{right}",
        right[:-1],
        f"{right[:-1]},}}",
        "{}{}",
        "[]",
        "null",
        "1",
        '"text"',
        "",
        "{" * 100,
        '{"a":' * 60 + "1" + "}" * 60,
    ):
        refused(scene.codec, minted(scene.key, header=text.encode()), MALFORMED)
    for octets_ in (right.encode("utf-16"), right.encode("utf-32"), b"\xff" + right.encode(), b"\xc0\xaf", b"\0"):
        refused(scene.codec, minted(scene.key, header=octets_), MALFORMED)


def test_a_header_with_other_white_space_and_order_is_the_same_header(scene: Scene) -> None:
    """RFC 7515 §4 does not require an order. Another version of backctl can use a different one."""
    spaced = json.dumps(header_of(scene.key), indent=2, sort_keys=True).encode()
    reversed_ = plain(dict(reversed(header_of(scene.key).items())))
    for header in (spaced, reversed_, plain(header_of(scene.key)).replace(b"kid", b"k\\u0069d")):
        for _ in range(2):  # the second time, its spelling is cached
            assert scene.codec.verify(minted(scene.key, header=header), now=NOW) == CLAIMS


def test_a_longer_header_than_any_of_ours_is_refused(scene: Scene) -> None:
    padded = plain(header_of(scene.key)).replace(b"{", b"{" + b" " * 400, 1)
    refused(scene.codec, minted(scene.key, header=padded), MALFORMED)


def test_a_remembered_header_does_not_vouch_for_another_signature(scene: Scene) -> None:
    header, payload, signature = scene.parts
    forged = plain({**CLAIMS.members(), "role": "admin"})
    for _ in range(3):
        assert scene.codec.verify(scene.token, now=NOW) == CLAIMS
        refused(scene.codec, f"{header}.{b64(forged)}.{signature}", NO_KEY)
        refused(scene.codec, f"{header}.{payload}.{b64(signed(scene.key, b''))}", NO_KEY)
