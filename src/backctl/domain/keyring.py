"""The keys of an installation: what each is for, and which one is in use.

A keyring is immutable; every change answers a new one. It is stored as a private JWK Set (RFC 7517) with a checksum
over the RFC 8785 form of the rest; this module owns that document, a KeyStore owns the file around it.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, TypeGuard, get_args

from backctl.domain.canonical_json import canonical
from backctl.domain.errors import InvalidInput, KeyringDamaged, quoted
from backctl.domain.values import Instant

Purpose = Literal["sign", "encrypt", "audit", "index"]
KeyState = Literal["standby", "primary", "retired"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
STATES: tuple[KeyState, ...] = get_args(KeyState)

_FORMAT = 1
_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SYMMETRIC_BYTES = 32
# kty and alg that a key of each purpose may have; the first pair is what `init` makes.
_KINDS: Mapping[Purpose, tuple[tuple[str, str, str], ...]] = {
    "sign": (("OKP", "EdDSA", "sig"),),
    "encrypt": (("oct", "XAES-256-GCM", "enc"),),
    "audit": (("oct", "HS256", "sig"),),
    "index": (("oct", "HS256", "sig"),),
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `material` holds the JWK members of its kind (`k`, or `crv`, `x`, `d`), base64url as in RFC 7518."""

    kid: str
    purpose: Purpose
    state: KeyState
    kty: str
    alg: str
    use: str
    created: str
    not_after: str | None
    material: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return f"Key(kid={self.kid!r}, purpose={self.purpose!r}, state={self.state!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a key is not pickled")

    def secret_bytes(self) -> bytes:
        """The raw bytes of a symmetric key (32 of them)."""
        return _unpadded(dict(self.material)["k"])

    def document(self) -> dict[str, object]:
        """The key as a private JWK. Never log it."""
        members: dict[str, object] = {
            "kid": self.kid,
            "kty": self.kty,
            "alg": self.alg,
            "use": self.use,
            "purpose": self.purpose,
            "state": self.state,
            "created": self.created,
            **dict(self.material),
        }
        if self.not_after is not None:
            members["not_after"] = self.not_after
        return members

    @classmethod
    def symmetric(cls, kid: str, purpose: Purpose, secret: bytes, *, created: str) -> Self:
        """A new primary key from 32 raw bytes."""
        if len(secret) != _SYMMETRIC_BYTES:
            raise ValueError(f"a symmetric key has {_SYMMETRIC_BYTES} bytes")
        kty, alg, use = _KINDS[purpose][0]
        encoded = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
        return cls(kid, purpose, "primary", kty, alg, use, created, None, (("k", encoded),))

    @classmethod
    def ed25519(cls, kid: str, *, public: bytes, private: bytes, created: str) -> Self:
        """A signing key (RFC 8037) from its raw 32-byte halves."""
        kty, alg, use = _KINDS["sign"][0]
        halves = (("x", public), ("d", private))
        encoded = tuple((name, base64.urlsafe_b64encode(raw).rstrip(b"=").decode()) for name, raw in halves)
        return cls(kid, "sign", "primary", kty, alg, use, created, None, (("crv", "Ed25519"), *encoded))


@dataclass(frozen=True, slots=True)
class Keyring:
    """All keys of an installation; each purpose has exactly one primary."""

    keys: tuple[Key, ...]

    def primary(self, purpose: Purpose) -> Key:
        return next(key for key in self.keys if key.purpose == purpose and key.state == "primary")

    def secrets(self, purpose: Purpose) -> dict[str, bytes]:
        """kid → raw bytes of every symmetric key of a purpose, whatever its state."""
        return {key.kid: key.secret_bytes() for key in self.keys if key.purpose == purpose}

    def kids(self) -> tuple[str, ...]:
        return tuple(key.kid for key in self.keys)

    def document(self) -> dict[str, object]:
        """The whole keyring as it is stored, checksum included. Never log it."""
        body: dict[str, object] = {"format": _FORMAT, "keys": [key.document() for key in self.keys], "tombstones": []}
        return {**body, "checksum": _checksum(body)}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Read what `document` wrote. Raises KeyringDamaged naming what is wrong, never a key."""
        if not isinstance(document, dict) or not isinstance(document.get("checksum"), str):
            raise _damaged("it is not a keyring")
        body = {name: value for name, value in document.items() if name != "checksum"}
        try:
            checksum = _checksum(body)
        except (ValueError, RecursionError):
            raise _damaged("it holds a value that a keyring never holds") from None
        if not hmac.compare_digest(checksum.encode(), document["checksum"].encode("utf-8", "replace")):
            raise _damaged("its checksum does not match")
        if type(version := body.get("format")) is not int or version != _FORMAT:  # True is 1, too
            raise _damaged(f"its format is not {_FORMAT}", hint="it may come from a newer backctl")
        entries = body.get("keys")
        if not isinstance(entries, list):
            raise _damaged("it has no list of keys")
        ring = cls(tuple(map(_read_key, entries)))
        if len(set(ring.kids())) != len(ring.keys):
            raise _damaged("two keys share a kid")
        for purpose in PURPOSES:
            primaries = sum(key.purpose == purpose and key.state == "primary" for key in ring.keys)
            if primaries != 1:
                raise _damaged(f"it has {primaries} primary keys of purpose {quoted(purpose)}, not one")
        return ring


def _damaged(why: str, *, hint: str = "restore keyring.json from a backup; it is never made anew") -> KeyringDamaged:
    return KeyringDamaged(f"the keyring is damaged: {why}", hint=hint)


def _checksum(body: Mapping[str, object]) -> str:
    return hashlib.sha256(canonical(dict(body))).hexdigest()


def _unpadded(text: str) -> bytes:
    """Strict base64url without padding (RFC 7515 §2). Raises ValueError."""
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("not base64url")
    return raw


def _read_key(entry: object) -> Key:
    if not isinstance(entry, dict):
        raise _damaged("a key is no object")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise _damaged("a key has no valid kid")
    named = f"the key {quoted(kid)}"
    purpose, state = entry.get("purpose"), entry.get("state")
    kind = (entry.get("kty"), entry.get("alg"), entry.get("use"))
    created, not_after = entry.get("created"), entry.get("not_after")
    if purpose not in PURPOSES or state not in STATES:
        raise _damaged(f"{named} has an unknown purpose or state")
    if kind not in _KINDS[purpose]:
        raise _damaged(f"{named} is of a kind that does not serve its purpose", hint="it may come from a newer backctl")
    if not _is_moment(created) or not (not_after is None or _is_moment(not_after)):
        raise _damaged(f"{named} has no valid dates")
    material: list[tuple[str, str]] = []
    for name in ("k",) if kind[0] == "oct" else ("crv", "x", "d"):
        value = entry.get(name)
        if not isinstance(value, str) or not _is_valid(name, value):
            raise _damaged(f"{named} has a malformed member {quoted(name)}")
        material.append((name, value))
    return Key(kid, purpose, state, *kind, created, not_after, tuple(material))


def _is_moment(value: object) -> TypeGuard[str]:
    try:
        return isinstance(value, str) and Instant.parse(value) is not None
    except InvalidInput:
        return False


def _is_valid(member: str, value: str) -> bool:
    if member == "crv":
        return value == "Ed25519"
    try:
        return len(_unpadded(value)) == _SYMMETRIC_BYTES
    except ValueError:
        return False
