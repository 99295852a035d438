"""Published keys, and tokens with any header and payload, signed without the code under test."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from tests.published_keys import SIGNING
from tests.unit.tokens.compact_form import b64, octets, plain

from backctl.domain.access_token import AccessClaims
from backctl.domain.key import Key, KeyState, Purpose
from backctl.domain.keyring import Keyring
from backctl.domain.values import Instant
from backctl.infrastructure.crypto.jwt_codec import JwtCodec

JWKS: Mapping[str, Mapping[str, str]] = SIGNING
ALGORITHMS = tuple(JWKS)
PUBLIC_MEMBERS = ("kty", "crv", "x", "y", "n", "e")

CREATED = "2026-11-22T09:00:00.000000Z"
NOW = Instant.parse("2026-11-22T09:24:02Z")
SECOND = 1_000_000
LIFE = 900
LEEWAY = 10 * SECOND
ISSUER, AUDIENCE = "advanced-backend", "api-users"
CLAIMS = AccessClaims.issued(
    iss=ISSUER,
    aud=AUDIENCE,
    sub="0192f0c1-7f00-7000-8000-000000000001",
    jti="0192f0c1-7f00-7000-8000-000000000002",
    sid="0192f0c1-7f00-7000-8000-000000000003",
    role="moderator",
    scope="user:list user:show",
    now=NOW,
    expires=NOW.plus(LIFE * SECOND),
)


def key_of(
    alg: str,
    kid: str | None = None,
    *,
    state: KeyState = "primary",
    purpose: Purpose = "sign",
    not_after: Instant | None = None,
    jwk: Mapping[str, str] | None = None,
) -> Key:
    """Return a keyring key from a JWK, by default the one of the RFC."""
    members = dict(jwk or JWKS[alg])
    kty = members.pop("kty")
    ends = None if not_after is None else not_after.isoformat()
    return Key(kid or f"sign-{alg}", purpose, state, kty, alg, "sig", CREATED, ends, tuple(members.items()))


def codec_of(*keys: Key, leeway: int = LEEWAY) -> JwtCodec:
    ring = Keyring(keys)
    return JwtCodec(lambda: ring, issuer=ISSUER, audience=AUDIENCE, leeway=leeway)


def number(text: str) -> int:
    return int.from_bytes(octets(text), "big")


def header_of(key: Key, **further: object) -> dict[str, object]:
    return {"alg": key.alg, "typ": "at+jwt", "kid": key.kid, **further}


def minted(key: Key, payload: object = None, header: object = None) -> str:
    """Return a token with any header and payload and a valid signature of that key."""
    payload = CLAIMS.members() if payload is None else payload
    header = header_of(key) if header is None else header
    message = f"{b64(plain(header))}.{b64(plain(payload))}"
    return f"{message}.{b64(signed(key, message.encode()))}"


def signed(key: Key, message: bytes) -> bytes:
    jwk = dict(key.material)
    if key.kty == "oct":
        return hmac.new(octets(jwk["k"]), message, hashlib.sha256).digest()
    if key.kty == "OKP":
        return Ed25519PrivateKey.from_private_bytes(octets(jwk["d"])).sign(message)
    if key.kty == "EC":
        r, s = decode_dss_signature(
            ec.derive_private_key(number(jwk["d"]), ec.SECP256R1()).sign(message, ec.ECDSA(SHA256()))
        )
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return rsa_private(jwk).sign(message, padding.PKCS1v15(), SHA256())


_RSA_KEYS: dict[str, rsa.RSAPrivateKey] = {}


def rsa_private(jwk: Mapping[str, str]) -> rsa.RSAPrivateKey:
    """Parse each key once, because checking its primes takes longer than a test."""
    if jwk["n"] not in _RSA_KEYS:
        p, q, d, dp, dq, qi, e, n = (number(jwk[name]) for name in ("p", "q", "d", "dp", "dq", "qi", "e", "n"))
        _RSA_KEYS[jwk["n"]] = rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, rsa.RSAPublicNumbers(e, n)).private_key()
    return _RSA_KEYS[jwk["n"]]


def public_key(alg: str) -> Any:
    """Return the public key as a `cryptography` object."""
    jwk = JWKS[alg]
    if alg == "EdDSA":
        return Ed25519PrivateKey.from_private_bytes(octets(jwk["d"])).public_key()
    if alg == "ES256":
        return ec.derive_private_key(number(jwk["d"]), ec.SECP256R1()).public_key()
    return rsa_private(jwk).public_key()


def with_claims(**changed: object) -> dict[str, object]:
    """Return the payload with some claims changed; `...` removes a claim."""
    members = {**CLAIMS.members(), **changed}
    return {name: value for name, value in members.items() if value is not ...}


def later(claims: AccessClaims, seconds: int) -> AccessClaims:
    return replace(claims, iat=claims.iat + seconds, nbf=claims.nbf + seconds, exp=claims.exp + seconds)
