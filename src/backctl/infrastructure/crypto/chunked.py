"""Encrypted streams of any size: Cobblestone-256 of https://c2sp.org/chunked-encryption in constant memory.

A stream is the line `bk1s.<kid>`, a salt of 24 bytes, a commitment to key and context of 32 bytes, and the chunks:
16 KiB of plaintext each but the last, which is shorter and may be empty, each with its tag. So a stream that was cut
off anywhere, between two chunks too, has no last chunk.
"""

import hmac
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from backctl.domain.errors import DecryptFailed, InvalidInput

Read = Callable[[int], bytes]
"""At most so many bytes of what is to come; none at its end."""

HEADER_LONGEST = 70
"""Bytes of the longest first line, its end included."""

_LABEL = b"backctl/stream/1"
_SCHEME = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"
_KEY, _NONCE, _SALT, _COMMITMENT, _TAG = 32, 12, 24, 32, 16
_CHUNK = 16 << 10
_SEALED = _CHUNK + _TAG
_MOST = 1 << 38  # chunks of one message, 4 PiB
_AT_ONCE = 7  # below 128 KiB a block is not mapped anew each time, which costs more than to encrypt it
_HEADER = re.compile(rb"bk1s\.([A-Za-z0-9_-]{1,64})\n")


def header(kid: str) -> bytes:
    """The first line of a stream."""
    return b"bk1s." + kid.encode("ascii") + b"\n"


def read_header(read: Read) -> str:
    """The kid that a stream names. Reads its first line and not a byte more. Raises DecryptFailed."""
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
    """The stream under the key `secret` (32 bytes). Raises InvalidInput above 4 PiB."""
    salt = os.urandom(_SALT)
    message = MessageKeys.derived(stream_key(secret), salt, stream_context(kid, context))
    yield header(kid) + salt + message.commitment
    yield from seal_chunks(message, read)


def open_stream(kid: str, secret: bytes, read: Read, context: bytes) -> Iterator[bytes]:
    """The plaintext of a stream whose first line was read.

    Every piece is authentic when it comes, but only the iterator's end says that nothing is missing. Raises
    DecryptFailed.
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
    """What one message is encrypted with."""

    key: bytes
    nonce: bytes
    commitment: bytes

    @classmethod
    def derived(cls, key: bytes, salt: bytes, context: bytes, digest: str = "sha512") -> Self:
        """From an input key of 32 bytes. Cobblestone-256 has SHA-512; the specification leaves the digest open."""
        if len(key) != _KEY:
            raise ValueError(f"an input key must have {_KEY} bytes")
        made = hkdf_expand(digest, key, _SCHEME + salt + context, _KEY + _NONCE + _COMMITMENT)
        return cls(made[:_KEY], made[_KEY : _KEY + _NONCE], made[_KEY + _NONCE :])


def seal_chunks(message: MessageKeys, read: Read) -> Iterator[bytes]:
    """The chunks of a message, some at once. Raises InvalidInput above 4 PiB."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    seal, nonces = AESGCM(message.key).encrypt, _nonces(message.nonce)
    last = False
    while not last:
        block = _filled(read, _AT_ONCE * _CHUNK)
        last = len(block) < _AT_ONCE * _CHUNK
        view = memoryview(block)
        # Where a block ends with a whole chunk, an empty one follows if it is the last.
        ends = range(0, len(block) + last, _CHUNK)
        sealed = [seal(next(nonces), view[at : at + _CHUNK], None) for at in ends]
        yield b"".join(sealed)


def open_chunks(message: MessageKeys, read: Read) -> Iterator[bytes]:
    """The plaintext of the chunks, each authentic, and complete when this ends. Raises DecryptFailed."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    unseal, nonces = AESGCM(message.key).decrypt, _nonces(message.nonce)
    last = False
    while not last:
        block = _filled(read, _AT_ONCE * _SEALED)
        last = len(block) < _AT_ONCE * _SEALED
        view = memoryview(block)
        if last and len(block) % _SEALED < _TAG:  # the last chunk is missing, or its tag
            raise DecryptFailed
        try:
            opened = [unseal(next(nonces), view[at : at + _SEALED], None) for at in range(0, len(block), _SEALED)]
        except InvalidTag:
            raise DecryptFailed from None
        yield b"".join(opened)


def stream_key(secret: bytes) -> bytes:
    """The input key of streams, derived, so that one key never serves two schemes."""
    return hkdf_expand("sha512", secret, _LABEL, _KEY)


def stream_context(kid: str, context: bytes) -> bytes:
    return b"bk1s." + kid.encode("ascii") + b"\0" + context


def hkdf_expand(digest: str, key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand of RFC 5869 §2.3."""
    made, block, counter = b"", b"", 1
    while len(made) < length:
        block = hmac.digest(key, block + info + bytes((counter,)), digest)
        made += block
        counter += 1
    return made[:length]


def _nonces(base: bytes) -> Iterator[bytes]:
    """One for each chunk: the base with its number XORed in. Raises InvalidInput when they are used up."""
    number = int.from_bytes(base)
    for chunk in range(_MOST):
        yield (number ^ chunk).to_bytes(_NONCE)
    raise InvalidInput("a stream must not exceed 4 PiB")


def _filled(read: Read, size: int) -> bytes:
    """Exactly `size` bytes, or fewer at the end: a pipe gives what it has."""
    block = read(size)
    if len(block) == size or not block:
        return block
    parts, missing = [block], size - len(block)
    while missing and (block := read(missing)):
        parts.append(block)
        missing -= len(block)
    return b"".join(parts)
