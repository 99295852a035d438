"""`values.py WAY COUNT`: encrypt values of 64 bytes one by one, and print the last one and their number."""

import base64
import os
import sys
from collections.abc import Callable

_VALUE = b"v" * 64


def bare() -> Callable[[], object]:
    """The minimum: a random nonce, AES-256-GCM, base64."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    seal, urandom, encode = AESGCM(os.urandom(32)).encrypt, os.urandom, base64.urlsafe_b64encode

    def encrypt() -> bytes:
        nonce = urandom(12)
        return encode(nonce + seal(nonce, _VALUE, None))

    return encrypt


def fernet() -> Callable[[], object]:
    from cryptography.fernet import Fernet

    key = Fernet(Fernet.generate_key())
    return lambda: key.encrypt(_VALUE)


def backctl() -> Callable[[], object]:
    """The service of `open_backend`."""
    from backctl import open_backend

    service = open_backend().encryption
    return lambda: service.encrypt(_VALUE, context="users.phone:1")


def main(way: str, count: int) -> None:
    encrypt = {"bare": bare, "fernet": fernet, "backctl": backctl}[way]()
    value: object = None
    for _ in range(count):
        value = encrypt()
    print(value, count)


main(sys.argv[1], int(sys.argv[2]))
