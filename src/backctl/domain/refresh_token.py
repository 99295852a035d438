"""The format of refresh tokens, and the digest that the database stores.

`bkr_`, then 256 random bits as 43 base62 digits, then the CRC-32 (ISO 3309, as zlib computes it) of these 43 characters
as 6 base62 digits, all big-endian with leading zeros. The format follows GitHub's tokens: secret scanners find leaked
tokens by the prefix, the checksum distinguishes a typo from an unknown token without the database, and no character
needs quoting in a shell or a URL.
"""

import hashlib
import zlib
from dataclasses import dataclass

from backctl.domain.errors import TokenInvalid
from backctl.domain.values import Instant, Secret, SessionId

PREFIX = "bkr_"
ENTROPY_BYTES = 32

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_PAYLOAD, _CHECKSUM = 43, 6  # 62⁴³ > 2²⁵⁶ and 62⁶ > 2³²
LENGTH = len(PREFIX) + _PAYLOAD + _CHECKSUM


def refresh_token(entropy: bytes) -> Secret:
    """Return the token made from these 32 random bytes."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"a refresh token has {ENTROPY_BYTES} random bytes")
    payload = _base62(int.from_bytes(entropy), _PAYLOAD)
    return Secret(PREFIX + payload + _checksum(payload))


def looks_like_one(text: str) -> bool:
    """Whether the text has the prefix of refresh tokens, which access tokens never have."""
    return text.startswith(PREFIX)


def digest_of(token: Secret) -> bytes:
    """Return the SHA-256 of the token, which is all that is stored: 256 random bits need no salt and no slow hash.

    Raises TokenInvalid, without any part of the text, for a malformed token.
    """
    text = token.reveal()
    payload = text[len(PREFIX) : -_CHECKSUM]
    well_formed = (
        text.startswith(PREFIX)
        and len(text) == LENGTH
        and all(character in _VALUES for character in text[len(PREFIX) :])
        and _number(payload) < 1 << 8 * ENTROPY_BYTES
    )
    if not well_formed:
        raise TokenInvalid(
            "this is not a refresh token",
            hint=f"pass a token that starts with {PREFIX} and has {LENGTH} characters on one line",
        )
    if _checksum(payload) != text[-_CHECKSUM:]:
        raise TokenInvalid("the checksum of the refresh token does not match", hint="copy the whole token again")
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A stored refresh token. `successor` is the digest of the token that replaced it when it was used; a used token
    without a successor was replaced by a retry."""

    digest: bytes
    session_id: SessionId
    issued_at: Instant
    expires_at: Instant
    used_at: Instant | None = None
    successor: bytes | None = None


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _number(digits: str) -> int:
    number = 0
    for digit in digits:
        number = number * 62 + _VALUES[digit]
    return number


def _checksum(payload: str) -> str:
    return _base62(zlib.crc32(payload.encode()), _CHECKSUM)
