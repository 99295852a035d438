"""Creates keys from the operating system's random source."""

import secrets
from typing import TYPE_CHECKING

from backctl.domain.key import kind_of
from backctl.domain.keyring import PURPOSES, Key, Keyring, Purpose
from backctl.domain.values import Instant

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey

_RSA_BITS = 3072  # NIST SP 800-57 part 1 §5.6.1: 128 bits of strength, like the other keys


def make_keyring(now: Instant) -> Keyring:
    """Create the keyring of a new installation: one primary key for each purpose."""
    return Keyring(tuple(make_key(purpose, now) for purpose in PURPOSES))


def make_key(purpose: Purpose, now: Instant, *, alg: str | None = None, kid: str | None = None) -> Key:
    """Create a primary key. To sign: Ed25519 unless `alg` is ES256, RS256 (3072 bits) or HS256. Else 256 random bits.

    The default `kid` consists of the purpose and 48 random bits. Raises InvalidKey for an algorithm that the purpose
    does not support.
    """
    kind, kid, created = kind_of(purpose, alg), kid or new_kid(purpose), now.isoformat()
    if kind.kty == "oct":
        return Key.symmetric(kid, purpose, secrets.token_bytes(32), created=created)
    return key_of(_made(kind.alg), kid, created)


def new_kid(purpose: Purpose) -> str:
    return f"{purpose}-{secrets.token_hex(6)}"


def key_of(private: "PrivateKey", kid: str, created: str) -> Key:
    """Convert a private key of the cryptography library."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if isinstance(private, RSAPrivateKey):
        own = private.private_numbers()
        numbers = {"n": own.public_numbers.n, "e": own.public_numbers.e, "d": own.d, "p": own.p, "q": own.q}
        return Key.rsa(kid, {**numbers, "dp": own.dmp1, "dq": own.dmq1, "qi": own.iqmp}, created=created)
    if isinstance(private, EllipticCurvePrivateKey):
        point, d = private.public_key().public_numbers(), private.private_numbers().private_value
        x, y = point.x.to_bytes(32), point.y.to_bytes(32)
        return Key.ec_p256(kid, x=x, y=y, private=d.to_bytes(32), created=created)
    public = private.public_key().public_bytes_raw()
    return Key.ed25519(kid, public=public, private=private.private_bytes_raw(), created=created)


def _made(alg: str) -> "PrivateKey":
    if alg == "RS256":
        from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

        return generate_private_key(65537, _RSA_BITS)
    if alg == "ES256":
        from cryptography.hazmat.primitives.asymmetric import ec

        return ec.generate_private_key(ec.SECP256R1())
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate()
