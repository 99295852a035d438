"""Encrypted values: XAES-256-GCM (https://c2sp.org/XAES-256-GCM) as one line of ASCII.

A value is `bk1.<kid>.<base64url(nonce ‖ ciphertext ‖ tag)>`, without padding. Its associated data is `bk1.<kid>`, a
zero byte and the context, which names the place of the value: a value that is moved to another place does not decrypt.

XAES derives an AES-256-GCM key from the first half of a 192-bit nonce. This module reuses a random first half and its
derived key for 2¹⁶ messages or 2³² bytes; the second half is random for each message. So it is as fast as AES-GCM, and
two messages with the same first half collide with a probability of at most 2⁻⁶⁵; after 2⁴⁹ messages with one key, the
probability is 2⁻³². The reuse reveals that two values came from the same process.
"""

import os
import re
from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from os import urandom
from typing import TYPE_CHECKING
from weakref import WeakSet

from backctl.application.encryption import LONGEST_VALUE
from backctl.domain.errors import DecryptFailed, InvalidInput

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PREFIX = b"bk1."
_HALF = 12  # bytes of each half of a nonce
_SHORTEST = 2 * _HALF + 16  # nonce and tag of an empty value
_MESSAGES = 1 << 16
_CHARGED = 1 << 16  # this many bytes use up one more message, so that 2¹⁶ messages have less than 2³² bytes
_REMEMBERED = 256
_URLSAFE = bytes.maketrans(b"+/", b"-_")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_SHAPE = re.compile(rb"bk1\.([A-Za-z0-9_-]{1,64})\.")


class XaesCipher:
    """Encrypts and decrypts values with one key: `secret` (32 bytes) with the id `kid`.

    A forked child uses a new first half. Threads can share a cipher: a race only makes a few counts inexact.
    """

    __slots__ = (
        "__weakref__",
        "_associated",
        "_current",
        "_derived",
        "_left",
        "_start",
        "_subkeys",
    )

    def __init__(self, kid: str, secret: bytes) -> None:
        name = _PREFIX + kid.encode("ascii")
        self._start, self._associated = name + b".", name + b"\0"
        self._subkeys = SubkeySource(secret)
        self._derived: dict[bytes, AESGCM] = {}
        self._left = 0  # messages left for the current first half
        self._current: tuple[bytes, Callable[[bytes, bytes, bytes], bytes]] | None = None
        _in_use.add(self)

    def __repr__(self) -> str:
        return f"XaesCipher({self._start[:-1].decode()!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a cipher cannot be pickled")

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Encrypt to a value without a line end. Raises InvalidInput above LONGEST_VALUE."""
        cost = 1
        if len(plaintext) >= _CHARGED:
            if len(plaintext) > LONGEST_VALUE:
                raise InvalidInput(
                    f"the value is longer than {LONGEST_VALUE} bytes", hint="use --file for larger values"
                )
            cost += len(plaintext) // _CHARGED
        current, left = self._current, self._left - cost
        if left < 0 or current is None:
            current, left = self._renewed(), _MESSAGES - cost
        self._left = left
        first, seal = current  # read half and key together, because another thread may renew them
        second = urandom(_HALF)
        sealed = first + second + seal(second, plaintext, self._associated + context)
        return self._start + b2a_base64(sealed).translate(_URLSAFE, b"=\n")

    def open(self, value: bytes, context: bytes) -> bytes:
        """Decrypt a value. Raises DecryptFailed, also for a value with another kid."""
        from cryptography.exceptions import InvalidTag

        if not value.startswith(self._start):
            raise DecryptFailed
        sealed = _decoded(value[len(self._start) :])
        if len(sealed) < _SHORTEST:
            raise DecryptFailed
        first, second = sealed[:_HALF], sealed[_HALF : 2 * _HALF]
        gcm = self._derived.get(first)
        if gcm is None:
            if len(self._derived) >= _REMEMBERED:
                self._derived.clear()
            gcm = self._derived[first] = self._subkeys.cipher(first)
        try:
            return gcm.decrypt(second, memoryview(sealed)[2 * _HALF :], self._associated + context)
        except InvalidTag:
            raise DecryptFailed from None

    def _renewed(self) -> "tuple[bytes, Callable[[bytes, bytes, bytes], bytes]]":
        first = urandom(_HALF)
        self._current = first, self._subkeys.cipher(first).encrypt
        return self._current

    def forget_nonce(self) -> None:
        """Use a new first half for the next message."""
        self._left = 0


class SubkeySource:
    """Steps 1 to 5 of the XAES-256-GCM key derivation: NIST SP 800-108r1 in counter mode with AES-256-CMAC."""

    __slots__ = ("_k1", "_secret")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32:
            raise ValueError("an XAES-256-GCM key must have 32 bytes")
        self._secret = secret
        self._k1: int | None = None

    def derive(self, first: bytes) -> bytes:
        """Derive the AES-256-GCM key for nonces that begin with these 12 bytes."""
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        # ECB is the plain block cipher, from which SP 800-38B builds the CMAC of a single block.
        aes = Cipher(algorithms.AES(self._secret), modes.ECB()).encryptor()  # noqa: S305
        if self._k1 is None:
            self._k1 = _doubled(aes.update(bytes(16)))
        blocks = (int.from_bytes(bytes((0, counter, 0x58, 0)) + first) ^ self._k1 for counter in (1, 2))
        return aes.update(b"".join(block.to_bytes(16) for block in blocks))

    def cipher(self, first: bytes) -> "AESGCM":
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self.derive(first))


def _doubled(block: bytes) -> int:
    """Double a block in GF(2¹²⁸), as NIST SP 800-38B §6.1 derives a CMAC subkey."""
    number = int.from_bytes(block) << 1
    return (number ^ 0x87) & ((1 << 128) - 1) if number >> 128 else number


def named_kid(value: bytes) -> str:
    """Return the kid of a value. Raises DecryptFailed if the text does not have the form of a value."""
    match = _SHAPE.match(value)
    if match is None:
        raise DecryptFailed
    return match[1].decode("ascii")


def _decoded(payload: bytes) -> bytes:
    """Decode canonical base64url without padding (RFC 4648 §3.5, §5): each byte sequence has exactly one text."""
    try:
        raw = a2b_base64(payload.translate(_STANDARD) + b"=" * (-len(payload) % 4), strict_mode=True)
    except NotBase64:
        raise DecryptFailed from None
    if b2a_base64(raw, newline=False).translate(_URLSAFE).rstrip(b"=") != payload:
        raise DecryptFailed
    return raw


_in_use: WeakSet[XaesCipher] = WeakSet()


def _forked() -> None:
    for cipher in tuple(_in_use):
        cipher.forget_nonce()


os.register_at_fork(after_in_child=_forked)
