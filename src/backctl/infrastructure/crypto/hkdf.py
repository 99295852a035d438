"""Derives keys from keys."""

import hmac


def hkdf_expand(digest: str, key: bytes, info: bytes, length: int) -> bytes:
    """Compute HKDF-Expand (RFC 5869 §2.3)."""
    made, block, counter = b"", b"", 1
    while len(made) < length:
        block = hmac.digest(key, block + info + bytes((counter,)), digest)
        made += block
        counter += 1
    return made[:length]
