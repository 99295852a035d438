"""The compact serialization of tokens, written without the code under test."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode


def b64(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def octets(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def plain(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()


def compact(header: object, payload: object, signature: bytes) -> str:
    """Return the compact serialization. Bytes are used as they are; other values are encoded as JSON."""
    return f"{b64(plain(header))}.{b64(plain(payload))}.{b64(signature)}"
