"""New keys, from the operating system's random source."""

import secrets

from backctl.domain.keyring import PURPOSES, Key, Keyring, Purpose
from backctl.domain.values import Instant


def make_keyring(now: Instant) -> Keyring:
    """The keyring of a new installation: one primary key of each purpose."""
    return Keyring(tuple(make_key(purpose, now) for purpose in PURPOSES))


def make_key(purpose: Purpose, now: Instant) -> Key:
    """A primary key: Ed25519 to sign, else 256 random bits. Its kid is its purpose and 48 random bits."""
    kid = f"{purpose}-{secrets.token_hex(6)}"
    if purpose == "sign":
        return _signing_key(kid, now)
    return Key.symmetric(kid, purpose, secrets.token_bytes(32), created=now.isoformat())


def _signing_key(kid: str, now: Instant) -> Key:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    return Key.ed25519(
        kid,
        public=private.public_key().public_bytes_raw(),
        private=private.private_bytes_raw(),
        created=now.isoformat(),
    )
