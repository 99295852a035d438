"""The signature algorithms of RFC 7518 and RFC 8037, for keys of the keyring.

A key is parsed once and determines its algorithm: a token cannot choose either. A key that is too weak for its
algorithm can neither sign nor verify.
"""

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from backctl.domain.errors import KeyringDamaged
from backctl.domain.key import Key
from backctl.domain.quoting import quoted
from backctl.domain.values import LATEST, Instant
from backctl.infrastructure.crypto.strict_encoding import unpadded

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicNumbers
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicNumbers

HMAC_BYTES_MIN = 32  # RFC 7518 §3.2: the key must be at least as long as the hash
RSA_BITS_MIN = 2048  # RFC 7518 §3.3
_ED25519_KEY = 32
_P256 = 32

_Parsed = TypeVar("_Parsed")

Check = Callable[[bytes, bytes], bool]
"""Whether a signature matches a message."""

_TYPES = {"EdDSA": "OKP", "ES256": "EC", "RS256": "RSA", "HS256": "oct"}
"""The key type (kty) of each algorithm."""


class Verifier(NamedTuple):
    """A parsed verification key. `not_after` is in microseconds; `length` is the signature length in bytes."""

    kid: str
    alg: str
    not_after: int
    length: int
    accepts: Check
    """Whether a signature of that length matches a message."""


def verifier(key: Key) -> Verifier:
    """Return the verifier of a key of purpose `sign`. Raises KeyringDamaged for a malformed or too weak key."""
    if _TYPES.get(key.alg) != key.kty:
        raise _unfit(key, "its key type does not match its algorithm")
    length, accepts = _HALVES[key.alg](key)
    not_after = LATEST if key.not_after is None else Instant.parse(key.not_after)
    return Verifier(key.kid, key.alg, not_after, length, accepts)


def signing_key(key: Key) -> "Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey | bytes":
    """Return the signing key, in the form that PyJWT expects. Raises KeyringDamaged like `verifier`.

    Also rejects private and public halves that do not match, because nobody could verify the signatures.
    """
    verifier(key)
    match key.alg:
        case "HS256":
            return _hmac_secret(key)
        case "EdDSA":
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            private = Ed25519PrivateKey.from_private_bytes(_octets(key, "d", _ED25519_KEY))
            if private.public_key().public_bytes_raw() != _octets(key, "x", _ED25519_KEY):
                raise _unfit(key, "its private half does not match its public half")
            return private
        case "ES256":
            from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateNumbers

            numbers = EllipticCurvePrivateNumbers(int.from_bytes(_octets(key, "d", _P256)), _p256_point(key))
            return _parsed(key, numbers.private_key)
        case _:
            from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers

            p, q, d, dp, dq, qi = (_integer(key, name) for name in ("p", "q", "d", "dp", "dq", "qi"))
            return _parsed(key, RSAPrivateNumbers(p, q, d, dp, dq, qi, _rsa_modulus(key)).private_key)


def _hmac_sha256(key: Key) -> tuple[int, Check]:
    secret = _hmac_secret(key)

    def accepts(signature: bytes, message: bytes) -> bool:
        return hmac.compare_digest(hmac.digest(secret, message, "sha256"), signature)

    return 32, accepts


def _ed25519(key: Key) -> tuple[int, Check]:
    """RFC 8032. OpenSSL rejects an S above the group order, so each message has exactly one signature."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if dict(key.material).get("crv") != "Ed25519":
        raise _unfit(key, "its curve is not Ed25519")
    verify = _parsed(key, lambda: Ed25519PublicKey.from_public_bytes(_octets(key, "x", _ED25519_KEY))).verify

    def accepts(signature: bytes, message: bytes) -> bool:
        try:
            verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return 64, accepts


def _ecdsa_p256(key: Key) -> tuple[int, Check]:
    """RFC 7518 §3.4: R and S concatenated, 32 bytes each, never DER."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    verify = _parsed(key, _p256_point(key).public_key).verify
    algorithm = ECDSA(SHA256())

    def accepts(signature: bytes, message: bytes) -> bool:
        r, s = int.from_bytes(signature[:_P256]), int.from_bytes(signature[_P256:])
        # CVE-2022-21449: unchecked zeros match any message. FIPS 186-5 §6.4.2 requires R and S from 1 to n-1.
        if not (0 < r < _P256_ORDER and 0 < s < _P256_ORDER):
            return False
        try:
            verify(encode_dss_signature(r, s), message, algorithm)
        except InvalidSignature:
            return False
        return True

    return 2 * _P256, accepts


_P256_ORDER = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551  # SP 800-186 §3.2.1.3


def _rsa_pkcs1(key: Key) -> tuple[int, Check]:
    """RFC 8017 §8.2.2: a signature must be exactly as long as the modulus."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    numbers = _rsa_modulus(key)
    verify = _parsed(key, numbers.public_key).verify
    padding, digest = PKCS1v15(), SHA256()

    def accepts(signature: bytes, message: bytes) -> bool:
        try:
            verify(signature, message, padding, digest)
        except InvalidSignature:
            return False
        return True

    return (numbers.n.bit_length() + 7) // 8, accepts


_HALVES: dict[str, Callable[[Key], tuple[int, Check]]] = {
    "EdDSA": _ed25519,
    "ES256": _ecdsa_p256,
    "RS256": _rsa_pkcs1,
    "HS256": _hmac_sha256,
}


def _hmac_secret(key: Key) -> bytes:
    secret = _octets(key, "k")
    if len(secret) < HMAC_BYTES_MIN:
        raise _unfit(key, f"it has {8 * len(secret)} bits, fewer than {8 * HMAC_BYTES_MIN}")
    return secret


def _p256_point(key: Key) -> "EllipticCurvePublicNumbers":
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers

    if dict(key.material).get("crv") != "P-256":
        raise _unfit(key, "its curve is not P-256")
    x, y = (int.from_bytes(_octets(key, name, _P256)) for name in ("x", "y"))
    return EllipticCurvePublicNumbers(x, y, SECP256R1())


def _rsa_modulus(key: Key) -> "RSAPublicNumbers":
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    numbers = RSAPublicNumbers(_integer(key, "e"), _integer(key, "n"))
    if numbers.n.bit_length() < RSA_BITS_MIN:
        raise _unfit(key, f"its modulus has {numbers.n.bit_length()} bits, fewer than {RSA_BITS_MIN}")
    return numbers


def _octets(key: Key, name: str, length: int | None = None) -> bytes:
    octets = unpadded(dict(key.material).get(name, "").encode())
    if not octets or (length is not None and len(octets) != length):
        raise _unfit(key, f"its member {quoted(name)} is missing or malformed")
    return octets


def _integer(key: Key, name: str) -> int:
    return int.from_bytes(_octets(key, name))


def _parsed(key: Key, parse: Callable[[], _Parsed]) -> _Parsed:
    """Call `parse`, which may reject the numbers: a point off the curve, or primes of another modulus."""
    try:
        return parse()
    except ValueError:
        raise _unfit(key, "its numbers do not form a valid key") from None


def _unfit(key: Key, why: str) -> KeyringDamaged:
    return KeyringDamaged(
        f"the key {quoted(key.kid)} cannot be used for {quoted(key.alg)}: {why}",
        hint="restore keyring.json from a backup, or destroy that key and add another",
    )
