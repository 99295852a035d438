"""Encrypted streams of any size: Cobblestone-256 of https://c2sp.org/chunked-encryption in constant memory.

A stream consists of the line `bk1s.<kid>`, a salt of 24 bytes, a commitment to key and context of 32 bytes, and the
chunks. Each chunk has 16 KiB of plaintext and a tag; only the last chunk is shorter, and it may be empty. So a stream
that was cut off has no last chunk, even if it was cut between two chunks.
"""

import hmac
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from backctl.domain.errors import DecryptFailed, InvalidInput
from backctl.infrastructure.crypto.hkdf import hkdf_expand

Read = Callable[[int], bytes]
"""Reads up to the given number of bytes; returns no bytes at the end."""

HEADER_LONGEST = 70
"""The length of the longest first line in bytes, including its line end."""

_LABEL = b"backctl/stream/1"
_SCHEME = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"
_KEY, _NONCE, _SALT, _COMMITMENT, _TAG = 32, 12, 24, 32, 16
_CHUNK = 16 << 10
_SEALED = _CHUNK + _TAG
_MOST = 1 << 38  # chunks of one message, 4 PiB
_AT_ONCE = 7  # chunks per block; larger blocks need a memory mapping each, which costs more than encryption
_HEADER = re.compile(rb"bk1s\.([A-Za-z0-9_-]{1,64})\n")


def header(kid: str) -> bytes:
    """Return the first line of a stream."""
    return b"bk1s." + kid.encode("ascii") + b"\n"


def read_header(read: Read) -> str:
    """Return the kid of a stream. Reads exactly its first line. Raises DecryptFailed."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < HEADER_LONGEST:
        byte = read(1)
        if not byte:
            break
        line += byte
    match = _HEADER.fullmatch(line)
    if match is None:
        raise DecryptFailed
    return match[1].decode("ascii")


def seal_stream(kid: str, secret: bytes, read: Read, context: bytes) -> Iterator[bytes]:
    """Encrypt a stream with the key `secret` (32 bytes). Raises InvalidInput above 4 PiB."""
    salt = os.urandom(_SALT)
    message = MessageKeys.derived(stream_key(secret), salt, stream_context(kid, context))
    yield header(kid) + salt + message.commitment
    yield from seal_chunks(message, read)


def open_stream(kid: str, secret: bytes, read: Read, context: bytes) -> Iterator[bytes]:
    """Decrypt a stream whose first line was already read.

    Every piece is authentic, but only the end of the iterator proves that the stream is complete. Raises DecryptFailed.
    """
    head = _filled(read, _SALT + _COMMITMENT)
    if len(head) < _SALT + _COMMITMENT:
        raise DecryptFailed
    message = MessageKeys.derived(stream_key(secret), head[:_SALT], stream_context(kid, context))
    if not hmac.compare_digest(message.commitment, head[_SALT:]):
        raise DecryptFailed
    yield from open_chunks(message, read)


@dataclass(frozen=True, slots=True, repr=False)
class MessageKeys:
    """The keys of one message."""

    key: bytes
    nonce: bytes
    commitment: bytes

    @classmethod
    def derived(cls, key: bytes, salt: bytes, context: bytes, digest: str = "sha512") -> Self:
        """Derive the keys from an input key of 32 bytes. Cobblestone-256 uses SHA-512; the scheme allows others."""
        if len(key) != _KEY:
            raise ValueError(f"an input key must have {_KEY} bytes")
        made = hkdf_expand(digest, key, _SCHEME + salt + context, _KEY + _NONCE + _COMMITMENT)
        return cls(made[:_KEY], made[_KEY : _KEY + _NONCE], made[_KEY + _NONCE :])


def seal_chunks(message: MessageKeys, read: Read) -> Iterator[bytes]:
    """Encrypt the chunks of a message and yield several at a time. Raises InvalidInput above 4 PiB."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    seal, nonces = AESGCM(message.key).encrypt, _nonces(message.nonce)
    last = False
    while not last:
        block = _filled(read, _AT_ONCE * _CHUNK)
        last = len(block) < _AT_ONCE * _CHUNK
        view = memoryview(block)
        # If the last block ends with a whole chunk, an empty chunk follows.
        ends = range(0, len(block) + last, _CHUNK)
        sealed = [seal(next(nonces), view[at : at + _CHUNK], None) for at in ends]
        yield b"".join(sealed)


def open_chunks(message: MessageKeys, read: Read) -> Iterator[bytes]:
    """Decrypt chunks. Each is authentic; all are complete when the iterator ends. Raises DecryptFailed."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    unseal, nonces = AESGCM(message.key).decrypt, _nonces(message.nonce)
    last = False
    while not last:
        block = _filled(read, _AT_ONCE * _SEALED)
        last = len(block) < _AT_ONCE * _SEALED
        view = memoryview(block)
        if last and len(block) % _SEALED < _TAG:  # the last chunk or its tag is missing
            raise DecryptFailed
        try:
            opened = [unseal(next(nonces), view[at : at + _SEALED], None) for at in range(0, len(block), _SEALED)]
        except InvalidTag:
            raise DecryptFailed from None
        yield b"".join(opened)


def stream_key(secret: bytes) -> bytes:
    """Derive the input key of streams, so that no key is used in two schemes."""
    return hkdf_expand("sha512", secret, _LABEL, _KEY)


def stream_context(kid: str, context: bytes) -> bytes:
    return b"bk1s." + kid.encode("ascii") + b"\0" + context


def _nonces(base: bytes) -> Iterator[bytes]:
    """Yield a nonce per chunk: `base` XOR the number of the chunk. Raises InvalidInput when they are used up."""
    number = int.from_bytes(base)
    for chunk in range(_MOST):
        yield (number ^ chunk).to_bytes(_NONCE)
    raise InvalidInput("a stream must not exceed 4 PiB")


def _filled(read: Read, size: int) -> bytes:
    """Read exactly `size` bytes, or fewer at the end, because reading a pipe can return less."""
    block = read(size)
    if len(block) == size or not block:
        return block
    parts, missing = [block], size - len(block)
    while missing and (block := read(missing)):
        parts.append(block)
        missing -= len(block)
    return b"".join(parts)
