"""The use cases of encryption: values, selected fields of records, and streams of any size.

Encrypted data is stored elsewhere: in a column, a file, a message. `context` names that place; data moved to another
place cannot be decrypted. The primary key of purpose `encrypt` encrypts; the key named in the data decrypts.
"""

from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING

from backctl.application.views import Change
from backctl.domain.errors import DecryptFailed, InvalidInput

if TYPE_CHECKING:
    from backctl.application.ports.environment import WholeFiles
    from backctl.application.ports.security import FieldCipher, FieldCiphers, Read
    from backctl.domain.keyring import Keyring

LONGEST_VALUE = 64 << 20
"""Maximum bytes of a plaintext in memory; use streams for larger ones."""
_GOOD_FOR = 1.0  # seconds for which the keyring is cached


class EncryptionService:
    """Encrypt, decrypt and re-encrypt. A rotation by another process takes effect within a second."""

    def __init__(
        self,
        *,
        keyring: "Callable[[], Keyring]",
        ciphers: "FieldCiphers",
        files: "WholeFiles",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`keyring` returns the keyring, as the same object until it changes. `clock` returns monotonic seconds."""
        self.files = files
        self._keyring = keyring
        self._ciphers = ciphers
        self._clock = clock
        self._look_again = float("-inf")
        self._primary: tuple[str, Callable[[bytes, bytes], bytes]] | None = None
        self._known: dict[str, FieldCipher] = {}

    # Values.

    def encrypt(self, value: bytes | str, *, context: str) -> str:
        """Encrypt a value and return ASCII; a text is encoded as UTF-8.

        The result is a third longer, plus 79 bytes for a kid of 20 characters. Raises InvalidInput above 64 MiB, and
        the errors of reading the keyring.
        """
        try:
            plaintext = value.encode() if isinstance(value, str) else value
            # Inlined from `seal`: saves a call, which is a tenth of the time.
            primary = self._primary
            if primary is None or self._clock() >= self._look_again:
                primary = self._look()
            return primary[1](plaintext, context.encode()).decode("ascii")
        except UnicodeEncodeError:
            raise _not_unicode() from None

    def decrypt(self, value: bytes | str, *, context: str) -> bytes:
        """Decrypt a value. Raises DecryptFailed for any problem with the value or its context."""
        return self.open(_value(value), _context(context))

    def reencrypt(self, value: bytes | str, *, context: str) -> Change[str]:
        """Re-encrypt a value under the primary key; no change if it already is. Raises DecryptFailed in both cases."""
        before = _value(value)
        after = self.move(before, _context(context))
        return Change(after.decode("ascii"), changed=after is not before)

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Like `encrypt`, with bytes."""
        primary = self._primary
        if primary is None or self._clock() >= self._look_again:
            primary = self._look()
        return primary[1](plaintext, context)

    def open(self, value: bytes, context: bytes) -> bytes:
        """Like `decrypt`, with bytes."""
        return self._cipher(self._ciphers.kid_of_value(value)).open(value, context)

    def move(self, value: bytes, context: bytes) -> bytes:
        """Like `reencrypt`, with bytes; returns the same object if the value is already under the primary key."""
        plaintext = self.open(value, context)
        return value if self._ciphers.kid_of_value(value) == self._in_use()[0] else self.seal(plaintext, context)

    # Streams.

    def encrypt_stream(self, read: "Read", *, context: str) -> Iterator[bytes]:
        """Encrypt a stream and yield the result in pieces.

        The iterator raises the errors of reading the keyring before it reads any input.
        """
        return self._sealed(read, _context(context))

    def decrypt_stream(self, read: "Read", *, context: str) -> Iterator[bytes]:
        """Decrypt a stream and yield the plaintext in pieces. Each piece is authentic.

        The plaintext is complete when the iterator ends. Raises DecryptFailed.
        """
        return self._cipher(self._ciphers.kid_of_stream(read)).open_stream(read, _context(context))

    def reencrypt_stream(self, read: "Read", *, context: str) -> tuple[bool, Iterator[bytes]]:
        """Re-encrypt a stream; return whether it changes, and the resulting stream in pieces.

        A stream that is already under the primary key is verified and returned unchanged. This method and the iterator
        raise DecryptFailed.
        """
        source, bound = _Witness(read), _context(context)
        kid = self._ciphers.kid_of_stream(source.read)
        cipher = self._cipher(kid)
        if kid == self._in_use()[0]:
            return False, source.echoed(cipher.open_stream(source.read, bound))
        # Read directly: `source` would keep everything that is not echoed.
        return True, self._primary_cipher().seal_stream(_reading(cipher.open_stream(read, bound)), bound)

    def _sealed(self, read: "Read", context: bytes) -> Iterator[bytes]:
        yield from self._primary_cipher().seal_stream(read, context)

    # Keys.

    def _in_use(self) -> "tuple[str, Callable[[bytes, bytes], bytes]]":
        if self._primary is None or self._clock() >= self._look_again:
            return self._look()
        return self._primary

    def _look(self) -> "tuple[str, Callable[[bytes, bytes], bytes]]":
        """Read the primary key from the current keyring."""
        key = self._keyring().primary("encrypt")
        self._begin()
        self._primary = key.kid, self._ciphers.of(key).seal
        return self._primary

    def _begin(self) -> None:
        self._look_again = self._clock() + _GOOD_FOR
        self._primary = None
        self._known.clear()

    def _primary_cipher(self) -> "FieldCipher":
        return self._ciphers.of(self._keyring().primary("encrypt"))

    def _cipher(self, kid: str) -> "FieldCipher":
        """Return the cipher of a key in any state. Raises DecryptFailed if there is no such key."""
        if self._clock() >= self._look_again:
            self._begin()
        cipher = self._known.get(kid)
        if cipher is None:
            key = self._keyring().find(kid)
            if key is None or key.purpose != "encrypt":
                raise DecryptFailed
            cipher = self._known[kid] = self._ciphers.of(key)
        return cipher


def _value(value: bytes | str) -> bytes:
    return value.encode("ascii", "replace") if isinstance(value, str) else value


def _context(context: str) -> bytes:
    try:
        return context.encode()
    except UnicodeEncodeError:
        raise _not_unicode() from None


def _not_unicode() -> InvalidInput:
    return InvalidInput("a value or its context contains an unpaired surrogate, so it is not valid Unicode")


class _Witness:
    """Reads a stream and keeps the bytes until they are echoed."""

    def __init__(self, read: "Read") -> None:
        self._read = read
        self._seen: list[bytes] = []

    def read(self, size: int) -> bytes:
        block = self._read(size)
        self._seen.append(block)
        return block

    def echoed(self, checked: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the bytes read so far each time `checked` has verified a piece."""
        for _ in checked:
            yield b"".join(self._seen)
            self._seen.clear()


def _reading(pieces: Iterator[bytes]) -> "Read":
    rest = b""

    def read(size: int) -> bytes:
        nonlocal rest
        while not rest:
            piece = next(pieces, None)
            if piece is None:
                return b""
            rest = piece
        block, rest = rest[:size], rest[size:]
        return block

    return read
