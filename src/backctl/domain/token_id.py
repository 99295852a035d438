"""The `jti` of an access token: a UUIDv7 that contains the time of issue in microseconds.

`iat` has whole seconds, which is too coarse to decide whether a token is older than a revocation in the same second.
RFC 9562 §6.2 (method 3) allows the twelve bits after the version to hold the fraction of the millisecond. Tokens with
another kind of `jti` fall back to `iat`.
"""

from typing import Final

from backctl.domain.values import Instant, is_uuid

SECOND_US: Final = 1_000_000
ENTROPY_BITS: Final = 62


def token_id(moment: Instant, entropy: int) -> str:
    """Return the `jti` of a token issued at `moment`, not before 1970, made unique by 62 random bits."""
    if not 0 <= entropy < 1 << ENTROPY_BITS:
        raise ValueError(f"a token's identifier has {ENTROPY_BITS} random bits")
    milliseconds, microseconds = divmod(int(moment), 1000)
    fraction = (microseconds << 12) // 1000
    number = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | entropy
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def issued_at(jti: str, iat: int) -> Instant:
    """Return when a token was issued.

    `iat` is its claim in seconds. If the `jti` has another format or contradicts `iat`, the start of that second is
    used, so that a token issued in the same second as a revocation is treated as older.
    """
    if is_uuid(jti) and jti[14] == "7":
        number = int(jti.replace("-", ""), 16)
        # Rounded up: the fraction was rounded down, by less than a microsecond.
        moment = (number >> 80) * 1000 - (-(number >> 64 & 0xFFF) * 1000 >> 12)
        if moment // SECOND_US == iat:
            return Instant(moment)
    return Instant(iat * SECOND_US)
