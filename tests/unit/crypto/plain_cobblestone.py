"""A second implementation of Cobblestone-256, from the specification and with other primitives, for tests only.

The whole message is in memory, the key derivation is HKDFExpand of `cryptography`, and the chunks use its low-level
GCM mode. Run it as a program to write the committed vectors.
"""

import hashlib
import json
import sys
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA512, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CHUNK = 16384
SIZES = (0, 1, 16383, 16384, 16385, 7 * CHUNK - 1, 7 * CHUNK, 7 * CHUNK + 1, 300 * CHUNK + 5)
"""Plaintext sizes of the vectors: around a chunk, around the block that backctl encrypts at once, and with a counter
that needs more than one byte."""


class Refused(Exception):
    """The message is not authentic."""


def derive(key: bytes, salt: bytes, context: bytes, digest: HashAlgorithm) -> tuple[bytes, bytes, bytes]:
    """Return the key, base nonce and commitment of a message."""
    info = b"c2sp.org/chunked-encryption@v1+" + b"AEAD_AES_256_GCM" + b"\x00" + salt + context
    made = HKDFExpand(digest, 32 + 12 + 32, info).derive(key)
    return made[0:32], made[32:44], made[44:76]


def nonce(base: bytes, number: int) -> bytes:
    return bytes(a ^ b for a, b in zip(base, number.to_bytes(12, "big"), strict=True))


def encrypt(key: bytes, salt: bytes, context: bytes, message: bytes) -> bytes:
    message_key, base, commitment = derive(key, salt, context, SHA512())
    result = salt + commitment
    for number in range(len(message) // CHUNK + 1):
        gcm = Cipher(algorithms.AES(message_key), modes.GCM(nonce(base, number))).encryptor()
        result += gcm.update(message[number * CHUNK : (number + 1) * CHUNK]) + gcm.finalize() + gcm.tag
    return result


def decrypt(key: bytes, context: bytes, sealed: bytes) -> bytes:
    salt, committed, chunks = sealed[:24], sealed[24:56], sealed[56:]
    message_key, base, commitment = derive(key, salt, context, SHA512())
    if committed != commitment or len(chunks) % (CHUNK + 16) < 16:
        raise Refused
    result = b""
    for number in range(len(chunks) // (CHUNK + 16) + 1):
        chunk = chunks[number * (CHUNK + 16) : (number + 1) * (CHUNK + 16)]
        gcm = Cipher(algorithms.AES(message_key), modes.GCM(nonce(base, number), chunk[-16:])).decryptor()
        try:
            result += gcm.update(chunk[:-16]) + gcm.finalize()
        except InvalidTag:
            raise Refused from None
    return result


def plaintext(size: int) -> bytes:
    """Return the plaintext of a vector."""
    return hashlib.shake_128(size.to_bytes(8, "big")).digest(size)


def vector(size: int) -> dict[str, Any]:
    """Return one vector. Of a long ciphertext, it contains only the hash."""
    seed = hashlib.sha512(b"cobblestone-256 vector %d" % size).digest()
    key, salt = seed[:32], seed[32:56]
    context = b"backups:%d" % size
    sealed = encrypt(key, salt, context, plaintext(size))
    return {
        "size": size,
        "key": key.hex(),
        "salt": salt.hex(),
        "context": context.decode(),
        "header": sealed[:56].hex(),
        "last_chunk": sealed[-16 - size % CHUNK :].hex() if size % CHUNK < 64 else None,
        "sha256": hashlib.sha256(sealed).hexdigest(),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps([vector(size) for size in SIZES], indent=2) + "\n")
