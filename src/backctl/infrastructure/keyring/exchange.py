"""Imports and exports keys as JWK (RFC 7517) and PEM (RFC 7468). Errors never show the input."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, cast

from backctl.application.ports.security import ForeignKey
from backctl.domain.errors import Hint, InvalidKey
from backctl.domain.key import KINDS, RSA_BITS, Kind, encoded, kind_of, read_material, unpadded
from backctl.domain.keyring import Key, Purpose
from backctl.domain.quoting import quoted
from backctl.domain.values import Instant, Secret
from backctl.infrastructure.keyring.maker import key_of, new_kid

if TYPE_CHECKING:
    from backctl.infrastructure.keyring.maker import PrivateKey

T = TypeVar("T")

# RFC 7468 §2 permits other text before, between and after the blocks, and §3 permits CR alone as the end of a line.
_PEM = re.compile(r"(?:^|(?<=[\r\n]))-----BEGIN ([A-Z0-9 ]+)-----.*?[\r\n]-----END \1-----", re.DOTALL)
_PRIVATE_LABEL = "PRIVATE KEY"
_PSS = bytes.fromhex("06092a864886f70d01010a")  # id-RSASSA-PSS: RFC 4055 §1.2
_PSS_FROM, _PSS_TO = 8, 32  # where PKCS #8 names the algorithm

_OTHER_NAMES = {"Ed25519": "EdDSA"}  # RFC 9864 §2.2
_OPERATIONS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "sig": (frozenset(("sign",)), frozenset(("sign", "verify"))),
    "enc": (frozenset(("encrypt", "decrypt")), frozenset(("encrypt", "decrypt"))),
}
"""For each `use`: the operations that a key must permit, and those that it may permit (RFC 7517 §4.3)."""

_ANOTHER = "export the key again from its source, or create one: '{backctl} key add'"
_PRIVATE = "give a private key: a JWK with 'd', or with 'k' if it is symmetric"


class KeyText:
    """Reads and writes keys in exchange formats."""

    def read(self, text: Secret, *, purpose: Purpose, alg: str | None, now: Instant) -> ForeignKey:
        """Read the key from a private JWK or a PEM text. Checks that its private and public halves match.

        The member `alg` or the key type of a JWK sets its algorithm; `alg` must not contradict it. Raises InvalidKey.
        """
        alg = _OTHER_NAMES.get(alg, alg) if alg is not None else None
        if alg is not None:
            kind_of(purpose, alg)
        try:
            return _foreign(text.reveal().strip(), purpose, alg, now)
        except InvalidKey as error:
            error.hint = error.hint or Hint(_ANOTHER)
            raise

    def pem(self, key: Key, *, private: bool) -> str:
        """Format as PKCS #8 (RFC 5958), unencrypted, or SubjectPublicKeyInfo. Raises InvalidKey for a symmetric key."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

        if key.is_symmetric:
            raise InvalidKey(f"the key {quoted(key.kid)} is symmetric: PEM cannot represent it", hint="use --form jwk")
        own = private_key(key)
        if private:
            raw = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        else:
            raw = own.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return raw.decode().rstrip("\n")


def private_key(key: Key) -> "PrivateKey":
    """Convert the key for the cryptography library. Checks that its private and public halves match.

    Raises ValueError when they do not match or do not form a valid key.
    """
    members = {name: value for name, value in key.material if name != "crv"}
    if key.alg == "EdDSA":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        made = Ed25519PrivateKey.from_private_bytes(unpadded(members["d"]))
        if encoded(made.public_key().public_bytes_raw()) != members["x"]:
            raise ValueError("the public half belongs to another key")
        return made
    numbers = {name: int.from_bytes(unpadded(value)) for name, value in members.items()}
    if key.alg == "ES256":
        from cryptography.hazmat.primitives.asymmetric import ec

        public = ec.EllipticCurvePublicNumbers(numbers["x"], numbers["y"], ec.SECP256R1())
        return ec.EllipticCurvePrivateNumbers(numbers["d"], public).private_key()
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.RSAPrivateNumbers(
        p=numbers["p"],
        q=numbers["q"],
        d=numbers["d"],
        dmp1=numbers["dp"],
        dmq1=numbers["dq"],
        iqmp=numbers["qi"],
        public_numbers=rsa.RSAPublicNumbers(numbers["e"], numbers["n"]),
    ).private_key()


def _foreign(content: str, purpose: Purpose, alg: str | None, now: Instant) -> ForeignKey:
    is_cut_off = not content.startswith(("{", "[")) and "-----BEGIN " in content
    if is_cut_off or _PEM.search(content) is not None:  # in JSON, no line begins inside a string
        return ForeignKey(_known(_of_pem(content, now), purpose, alg), None)
    jwk = _members(content)
    kid = jwk.get("kid")
    key = _of_jwk(jwk, purpose, alg, now)
    return ForeignKey(key, kid if isinstance(kid, str) else None)


def _members(content: str) -> dict[str, object]:
    """Parse a JWK, or the only JWK of a JWK Set. Raises InvalidKey."""
    from backctl.domain.json_document import parsed

    try:
        document = parsed(content)
    except (ValueError, RecursionError):
        raise InvalidKey(
            "the input is neither a JWK nor PEM", hint="give the complete text of one private key"
        ) from None
    if isinstance(document, dict) and isinstance(keys := document.get("keys"), list):
        if len(keys) != 1:
            raise InvalidKey(f"the JWK Set holds {len(keys)} keys", hint="give one key at a time")
        document = keys[0]
    if not isinstance(document, dict):
        raise InvalidKey("the input is not a JWK", hint="a JWK is a JSON object")
    return document


def _of_jwk(jwk: Mapping[str, object], purpose: Purpose, alg: str | None, now: Instant) -> Key:
    said = jwk.get("alg", alg)
    if "alg" in jwk and (not isinstance(said, str) or not said):
        raise InvalidKey("the JWK has a malformed member 'alg'")
    wanted = _OTHER_NAMES.get(said, said) if isinstance(said, str) else None
    if alg not in (None, wanted):
        raise InvalidKey("the algorithm of the JWK does not match the requested one", hint="omit --alg to use its own")
    kinds = [kind for kind in KINDS[purpose] if kind.kty == jwk.get("kty") and wanted in (None, kind.alg)]
    if not kinds:
        known = ", ".join(f"{kind.kty} with {kind.alg}" for kind in KINDS[purpose])
        raise InvalidKey(f"a key of this kind cannot be used for the purpose {purpose}", hint=f"use one of: {known}")
    kind = kinds[0]
    _require_use(jwk, purpose, kind)
    if ("k" if kind.kty == "oct" else "d") not in jwk:
        raise InvalidKey("the JWK holds no private key", hint=_PRIVATE)
    if "oth" in jwk:  # RFC 7518 §6.3.2.7
        raise InvalidKey("the JWK has more than two primes", hint="use an RSA key with two primes")
    if kind.alg == "RS256" and not {"p", "q", "dp", "dq", "qi"} & jwk.keys():
        jwk = {**jwk, **_factors(jwk)}
    material = read_material("the JWK", purpose, kind, jwk)
    key = Key(new_kid(purpose), purpose, "standby", *kind[:3], now.isoformat(), None, material)
    if not key.is_symmetric:
        _checked(lambda: private_key(key))
    _require_strong(key)
    return key


def _require_use(jwk: Mapping[str, object], purpose: Purpose, kind: Kind) -> None:
    """Raises InvalidKey if the JWK may not be used for this purpose (RFC 7517 §4.2, §4.3)."""
    needed, possible = _OPERATIONS[kind.use]
    operations = jwk.get("key_ops", list(needed))
    if (
        not isinstance(operations, list)
        or not all(isinstance(operation, str) for operation in operations)
        or len(set(operations)) < len(operations)
    ):
        raise InvalidKey("the JWK has a malformed member 'key_ops'")
    for name, fits in (
        ("use", jwk.get("use", kind.use) == kind.use),
        ("key_ops", needed <= set(operations) <= possible),
    ):
        if not fits:
            raise InvalidKey(
                f"the member {quoted(name)} of the JWK does not match the purpose {purpose}",
                hint="set --purpose to what the key is for",
            )


def _require_strong(key: Key) -> None:
    """Raises InvalidKey for an RSA key that can be factored."""
    if key.alg == "RS256":
        from backctl.infrastructure.keyring.weak_rsa import weakness_of

        number = {name: int.from_bytes(unpadded(value)) for name, value in key.material}
        weakness = weakness_of(n=number["n"], p=number["p"], q=number["q"])
        if weakness is not None:
            raise InvalidKey(f"the RSA key {weakness}")


def _factors(jwk: Mapping[str, object]) -> dict[str, str]:
    """Compute the members that an RSA JWK may omit (RFC 7518 §6.3.2). Raises InvalidKey for inconsistent numbers."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    numbers = []
    for name in ("n", "e", "d"):
        try:
            numbers.append(int.from_bytes(unpadded(cast(str, jwk[name]))))
        except (ValueError, TypeError, AttributeError, KeyError):
            raise InvalidKey(f"the JWK has a malformed member {quoted(name)}") from None
    n, e, d = numbers
    if n.bit_length() not in RSA_BITS or not 1 < e < n or not 1 < d < n or math.gcd(n, 2) != 1:
        raise InvalidKey(f"the JWK is not an RSA key of {RSA_BITS.start} to {RSA_BITS.stop - 1} bits")
    p, q = _checked(lambda: rsa.rsa_recover_prime_factors(n, e, d))
    found = {"p": p, "q": q, "dp": rsa.rsa_crt_dmp1(d, p), "dq": rsa.rsa_crt_dmq1(d, q), "qi": rsa.rsa_crt_iqmp(p, q)}
    return {name: encoded(value.to_bytes((value.bit_length() + 7) // 8)) for name, value in found.items()}


def _of_pem(content: str, now: Instant) -> Key:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    blocks = [found[0] for found in _PEM.finditer(content) if found[1].endswith(_PRIVATE_LABEL)]
    if len(blocks) > 1:
        raise InvalidKey(f"the PEM text holds {len(blocks)} private keys", hint="give one key at a time")
    try:
        private = load_pem_private_key("".join(blocks).encode(), password=None)
    except TypeError:
        raise InvalidKey(
            "the PEM text is encrypted", hint="decrypt it first: 'openssl pkey -in FILE' asks for the passphrase"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKey("the PEM text holds no readable private key", hint="use PKCS #8, PKCS #1 or SEC 1") from None
    if isinstance(private, ec.EllipticCurvePrivateKey) and not isinstance(private.curve, ec.SECP256R1):
        raise InvalidKey(f"the key is on the curve {private.curve.name}", hint="use a key on P-256")
    if isinstance(private, rsa.RSAPrivateKey) and _is_pss(blocks[0]):
        raise InvalidKey("the key is for RSASSA-PSS, not for RS256", hint="use a key whose algorithm is rsaEncryption")
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size not in RSA_BITS:
        raise InvalidKey(f"the RSA key has {private.key_size} bits, not {RSA_BITS.start} to {RSA_BITS.stop - 1}")
    if not isinstance(private, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        raise InvalidKey("the PEM text holds a key of an unsupported kind", hint="use Ed25519, EC on P-256, or RSA")
    return key_of(private, new_kid("sign"), now.isoformat())


def _known(key: Key, purpose: Purpose, alg: str | None) -> Key:
    if purpose != "sign" or alg not in (None, key.alg):
        raise InvalidKey(
            f"the PEM text holds a signing key for {key.alg}, not the requested kind of key",
            hint="omit --purpose and --alg",
        )
    # Apply the rules of the keyring, for example to the public exponent.
    material = read_material("the PEM text", "sign", kind_of("sign", key.alg), dict(key.material))
    known = replace(key, material=material)
    _require_strong(known)
    return known


def _is_pss(block: str) -> bool:
    """Whether a PEM block is restricted to RSASSA-PSS, which the library does not tell."""
    import base64

    start = base64.b64decode("".join(block.split("-----")[2].split())[:64] + "==")
    return _PSS in start[_PSS_FROM:_PSS_TO]


def _checked(make: Callable[[], T]) -> T:
    try:
        return make()
    except (ValueError, OverflowError):
        raise InvalidKey("the numbers do not form a valid key") from None
