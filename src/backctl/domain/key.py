"""One key: its purpose, its state and its JWK (RFC 7517).

A key starts as `standby`: published, so that every verifier knows it before it is used. The `primary` key of a purpose
is the one in use. A `retired` key only verifies or decrypts; a retired signing key may have an end, `not_after`, after
which it verifies nothing.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self, TypeGuard, get_args

from backctl.domain.errors import InvalidInput, InvalidKey
from backctl.domain.quoting import quoted
from backctl.domain.values import LATEST, Instant

Purpose = Literal["sign", "encrypt", "audit", "index"]
KeyState = Literal["standby", "primary", "retired"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
STATES: tuple[KeyState, ...] = get_args(KeyState)

SECRET_BYTES = 32
"""Bytes of a symmetric key. HS256 keys that sign tokens may be longer: RFC 7518 §3.2 sets this minimum."""
LONGEST_HMAC_KEY = 512

RSA_BITS = range(2048, 8193)  # RFC 7518 §3.3: at least 2048; above 8192 verification is too slow
_RSA_EXPONENTS = range(65537, 1 << 256)  # FIPS 186-5 §A.1.1
_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PUBLIC = ("kty", "kid", "alg", "use", "crv", "x", "y", "n", "e")
_OWN = ("kid", "kty", "alg", "use", "purpose", "state", "created", "promoted", "not_after")
_CURVES = {"EdDSA": "Ed25519", "ES256": "P-256"}


class Kind(NamedTuple):
    """A kind of key: the JWK members that identify the kind, and those that hold the key (RFC 7518 §6, RFC 8037 §2)."""

    kty: str
    alg: str
    use: str
    members: tuple[str, ...]


_SYMMETRIC = ("k",)
# `init` creates the first kind of each purpose.
KINDS: Mapping[Purpose, tuple[Kind, ...]] = {
    "sign": (
        Kind("OKP", "EdDSA", "sig", ("crv", "x", "d")),
        Kind("EC", "ES256", "sig", ("crv", "x", "y", "d")),
        Kind("RSA", "RS256", "sig", ("n", "e", "d", "p", "q", "dp", "dq", "qi")),
        Kind("oct", "HS256", "sig", _SYMMETRIC),
    ),
    "encrypt": (Kind("oct", "XAES-256-GCM", "enc", _SYMMETRIC),),
    "audit": (Kind("oct", "HS256", "sig", _SYMMETRIC),),
    "index": (Kind("oct", "HS256", "sig", _SYMMETRIC),),
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `material` holds the JWK members of its kind, each base64url as in RFC 7518.

    Times are RFC 3339. `promoted` is when the key became primary; None for a key that was created as primary.
    """

    kid: str
    purpose: Purpose
    state: KeyState
    kty: str
    alg: str
    use: str
    created: str
    not_after: str | None
    material: tuple[tuple[str, str], ...]
    promoted: str | None = None

    def __repr__(self) -> str:
        return f"Key(kid={self.kid!r}, purpose={self.purpose!r}, state={self.state!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a key is not pickled")

    @property
    def is_symmetric(self) -> bool:
        """Whether the key is symmetric. Such a key is never published, because verifiers could sign with it."""
        return self.kty == "oct"

    @property
    def primary_since(self) -> Instant:
        """When the key became primary: its promotion, else its creation."""
        return Instant.parse(self.promoted or self.created)

    def has_ended(self, now: Instant) -> bool:
        """Whether its `not_after` has passed."""
        return self.not_after is not None and Instant.parse(self.not_after) <= now

    def secret_bytes(self) -> bytes:
        """Return the raw bytes of a symmetric key: 32, or 32 to 512 for a signing key."""
        return unpadded(dict(self.material)["k"])

    def document(self) -> dict[str, object]:
        """Return the key as a private JWK. Never log it."""
        later = (("promoted", self.promoted), ("not_after", self.not_after))
        return {
            "kid": self.kid,
            "kty": self.kty,
            "alg": self.alg,
            "use": self.use,
            "purpose": self.purpose,
            "state": self.state,
            "created": self.created,
            **dict(self.material),
            **{name: moment for name, moment in later if moment is not None},
        }

    def public_document(self) -> dict[str, object]:
        """Return the public JWK: an allow-list of members, which excludes `k` of a symmetric key."""
        document = self.document()
        return {name: document[name] for name in _PUBLIC if name in document}

    def as_standby(self) -> Self:
        """Return the key as standby: published but not used yet."""
        return replace(self, state="standby", promoted=None, not_after=None)

    def as_primary(self, now: Instant) -> Self:
        return replace(self, state="primary", promoted=now.isoformat(), not_after=None)

    def as_retired(self, now: Instant, overlap: int | None) -> Self:
        """Return the key as retired; a signing key verifies for `overlap` more microseconds (None: no end).

        An end that is already set can only move nearer, so that a key that has ended stays ended.
        """
        end = self.not_after
        if self.purpose == "sign" and overlap is not None:
            soonest = min(LATEST, now + overlap, LATEST if end is None else Instant.parse(end))
            end = Instant(soonest).isoformat()
        return replace(self, state="retired", not_after=end)

    @classmethod
    def symmetric(cls, kid: str, purpose: Purpose, secret: bytes, *, created: str, state: KeyState = "primary") -> Self:
        """Create a key from 32 raw bytes; a signing key (HS256) may have up to 512."""
        longest = LONGEST_HMAC_KEY if purpose == "sign" else SECRET_BYTES
        if not SECRET_BYTES <= len(secret) <= longest:
            raise ValueError(f"a symmetric key has {SECRET_BYTES} bytes, one that signs up to {LONGEST_HMAC_KEY}")
        kind = next(kind for kind in KINDS[purpose] if kind.kty == "oct")
        return cls(kid, purpose, state, *kind[:3], created, None, (("k", encoded(secret)),))

    @classmethod
    def ed25519(cls, kid: str, *, public: bytes, private: bytes, created: str, state: KeyState = "primary") -> Self:
        """Create a signing key (RFC 8037) from its raw 32-byte halves."""
        material = {"crv": "Ed25519", "x": encoded(public), "d": encoded(private)}
        return cls._signing(kid, "EdDSA", material, created, state)

    @classmethod
    def ec_p256(
        cls, kid: str, *, x: bytes, y: bytes, private: bytes, created: str, state: KeyState = "primary"
    ) -> Self:
        """Create a signing key (RFC 7518 §6.2) from 32-byte big-endian numbers."""
        material = {"crv": "P-256", "x": encoded(x), "y": encoded(y), "d": encoded(private)}
        return cls._signing(kid, "ES256", material, created, state)

    @classmethod
    def rsa(cls, kid: str, numbers: Mapping[str, int], *, created: str, state: KeyState = "primary") -> Self:
        """Create a signing key (RFC 7518 §6.3) from its numbers n, e, d, p, q, dp, dq and qi."""
        material = {name: encoded(number.to_bytes((number.bit_length() + 7) // 8)) for name, number in numbers.items()}
        return cls._signing(kid, "RS256", material, created, state)

    @classmethod
    def _signing(cls, kid: str, alg: str, material: Mapping[str, str], created: str, state: KeyState) -> Self:
        kind = kind_of("sign", alg)
        members = tuple((name, material[name]) for name in kind.members)
        return cls(kid, "sign", state, *kind[:3], created, None, members)


def kind_of(purpose: Purpose, alg: str | None = None) -> Kind:
    """Return the kind of keys with this purpose and algorithm; the default kind if None. Raises InvalidKey."""
    for kind in KINDS[purpose]:
        if alg in (None, kind.alg):
            return kind
    known = ", ".join(kind.alg for kind in KINDS[purpose])
    raise InvalidKey(
        f"keys of purpose {purpose} cannot use the algorithm {quoted(str(alg))}", hint=f"use one of: {known}"
    )


def is_kid(text: object) -> TypeGuard[str]:
    """Whether `text` is a valid kid: 1 to 64 ASCII letters, digits, `_` and `-`."""
    return isinstance(text, str) and _KID.fullmatch(text) is not None


def is_moment(value: object) -> TypeGuard[str]:
    try:
        return isinstance(value, str) and Instant.parse(value) is not None
    except InvalidInput:
        return False


def read_key(entry: object) -> Key:
    """Read a key written by `Key.document`. Raises InvalidKey with the cause but never the key itself.

    Unknown members are refused, because the next change would drop them.
    """
    if not isinstance(entry, dict):
        raise InvalidKey("a key is not a JSON object")
    kid = entry.get("kid")
    if not is_kid(kid):
        raise InvalidKey("a key has no valid kid")
    named = f"the key {quoted(kid)}"
    purpose, state = entry.get("purpose"), entry.get("state")
    if purpose not in PURPOSES or state not in STATES:
        raise InvalidKey(f"{named} has an unknown purpose or state", hint=_NEWER)
    kind = next((kind for kind in KINDS[purpose] if kind[:3] == tuple(map(entry.get, ("kty", "alg", "use")))), None)
    if kind is None:
        raise InvalidKey(f"{named} has a type or algorithm that does not fit its purpose", hint=_NEWER)
    if not is_moment(created := entry.get("created")):
        raise InvalidKey(f"{named} has a missing or invalid date")
    promoted, not_after = entry.get("promoted"), entry.get("not_after")
    if not (promoted is None or is_moment(promoted)) or not (not_after is None or is_moment(not_after)):
        raise InvalidKey(f"{named} has a missing or invalid date")
    for name in entry:
        if name not in _OWN and name not in kind.members:
            raise InvalidKey(f"{named} has an unknown member {quoted(str(name))}", hint=_NEWER)
    material = read_material(named, purpose, kind, entry)
    return Key(kid, purpose, state, *kind[:3], created, not_after, material, promoted)


_NEWER = "upgrade backctl: the keyring may come from a newer version"


def read_material(named: str, purpose: Purpose, kind: Kind, entry: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return the members of `entry` that hold a key of this kind. Raises InvalidKey; messages call the key `named`."""
    material: list[tuple[str, str]] = []
    for name in kind.members:
        value = entry.get(name)
        if not isinstance(value, str) or not _is_sound(purpose, kind.alg, name, value):
            raise InvalidKey(f"{named} has a malformed member {quoted(name)}")
        material.append((name, value))
    if kind.alg == "RS256" and not _is_rsa_pair({name: _number(value) for name, value in material}):
        raise InvalidKey(f"{named} is not a valid RSA key of {RSA_BITS.start} to {RSA_BITS.stop - 1} bits")
    return tuple(material)


def _is_sound(purpose: Purpose, alg: str, name: str, value: str) -> bool:
    if name == "crv":
        return value == _CURVES[alg]
    try:
        raw = unpadded(value)
    except ValueError:
        return False
    if alg == "RS256":
        return raw[:1] not in (b"", b"\0")  # RFC 7518 §2, Base64urlUInt: no leading zero octets
    longest = LONGEST_HMAC_KEY if purpose == "sign" and name == "k" else SECRET_BYTES
    return SECRET_BYTES <= len(raw) <= longest


def _is_rsa_pair(of: Mapping[str, int]) -> bool:
    """Whether the numbers form a valid key (RFC 8017 §3.2) of an acceptable size."""
    p, q, d, e = of["p"], of["q"], of["d"], of["e"]
    return (
        of["n"].bit_length() in RSA_BITS
        and e in _RSA_EXPONENTS
        and 1 < p != q > 1
        and of["n"] == p * q
        and d * e % (p - 1) == d * e % (q - 1) == 1
        and (of["dp"], of["dq"]) == (d % (p - 1), d % (q - 1))
        and of["qi"] < p
        and of["qi"] * q % p == 1
    )


def encoded(raw: bytes) -> str:
    """Encode as base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unpadded(text: str) -> bytes:
    """Decode strict base64url without padding (RFC 7515 §2). Raises ValueError."""
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if encoded(raw) != text:
        raise ValueError("not base64url")
    return raw


def _number(text: str) -> int:
    return int.from_bytes(unpadded(text))
