"""The use cases of encryption: values, chosen fields of records, and streams of any size.

What is encrypted lives elsewhere: in a column, a file, a message. `context` says where, and what was moved to another
place does not decrypt. The primary key of purpose `encrypt` encrypts; exactly the key that a value names decrypts.
"""

from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING

from backctl.application.views import Change
from backctl.domain.errors import DecryptFailed, InvalidInput

if TYPE_CHECKING:
    from backctl.application.ports.environment import WholeFiles
    from backctl.application.ports.security import FieldCipher, FieldCiphers, KeyringSource, Read

LONGEST_VALUE = 64 << 20
"""Bytes of a plaintext in memory; what is larger is for streams."""
_GOOD_FOR = 1.0  # seconds that a service goes on with a keyring without looking at it again


class EncryptionService:
    """Encrypt, decrypt and move to the primary key. A rotation by another process is followed within a second."""

    def __init__(
        self,
        *,
        keyring: "KeyringSource",
        ciphers: "FieldCiphers",
        files: "WholeFiles",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`clock` counts seconds on any steady scale."""
        self.files = files
        self._source = keyring
        self._ciphers = ciphers
        self._clock = clock
        self._look_again = float("-inf")
        self._primary: tuple[str, Callable[[bytes, bytes], bytes]] | None = None
        self._known: dict[str, FieldCipher] = {}

    def require_keyring(self) -> None:
        """Foresee what the keyring would raise, before a secret is asked for or input is read. Makes nothing.

        Raises KeyringMissing and what else the keyring's file raises.
        """
        self._source.current()

    # Values.

    def encrypt(self, value: bytes | str, *, context: str) -> str:
        """The value as ASCII, a third and, under a kid of 20 characters, 79 bytes longer; a text goes in as UTF-8.

        Raises InvalidInput above 64 MiB, and what the keyring's file raises.
        """
        try:
            plaintext = value.encode() if isinstance(value, str) else value
            # As `seal` does it; one call less is a tenth of the whole.
            primary = self._primary
            if primary is None or self._clock() >= self._look_again:
                primary = self._look()
            return primary[1](plaintext, context.encode()).decode("ascii")
        except UnicodeEncodeError:
            raise _not_unicode() from None

    def decrypt(self, value: bytes | str, *, context: str) -> bytes:
        """The plaintext. Raises DecryptFailed whatever is wrong with the value or its context."""
        return self.open(_value(value), _context(context))

    def reencrypt(self, value: bytes | str, *, context: str) -> Change[str]:
        """The value under the primary key; unchanged when it is already. Raises DecryptFailed, then too."""
        before = _value(value)
        after = self.move(before, _context(context))
        return Change(after.decode("ascii"), changed=after is not before)

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """`encrypt` in bytes."""
        primary = self._primary
        if primary is None or self._clock() >= self._look_again:
            primary = self._look()
        return primary[1](plaintext, context)

    def open(self, value: bytes, context: bytes) -> bytes:
        """`decrypt` in bytes."""
        return self._cipher(self._ciphers.kid_of_value(value)).open(value, context)

    def move(self, value: bytes, context: bytes) -> bytes:
        """`reencrypt` in bytes: the same object when the value is under the primary key already."""
        plaintext = self.open(value, context)
        return value if self._ciphers.kid_of_value(value) == self._in_use()[0] else self.seal(plaintext, context)

    # Streams.

    def encrypt_stream(self, read: "Read", *, context: str) -> Iterator[bytes]:
        """What `read` gives, encrypted, in pieces.

        The iterator raises what the keyring's file raises, before anything is read; only then a fresh machine gets its
        installation.
        """
        return self._sealed(read, _context(context))

    def decrypt_stream(self, read: "Read", *, context: str) -> Iterator[bytes]:
        """The plaintext in pieces. Each is authentic, and nothing is missing once the iterator has ended.

        Raises DecryptFailed.
        """
        return self._cipher(self._ciphers.kid_of_stream(read)).open_stream(read, _context(context))

    def reencrypt_stream(self, read: "Read", *, context: str) -> tuple[bool, Iterator[bytes]]:
        """Whether the stream moves to the primary key, and the stream that takes its place, in pieces.

        One that is under the primary key is checked and given as it is. Raises DecryptFailed, the iterator too.
        """
        source, bound = _Witness(read), _context(context)
        kid = self._ciphers.kid_of_stream(source.read)
        cipher = self._cipher(kid)
        if kid == self._in_use()[0]:
            return False, source.echoed(cipher.open_stream(source.read, bound))
        # Past the witness: what is not echoed would all be remembered.
        return True, self._primary_cipher().seal_stream(_reading(cipher.open_stream(read, bound)), bound)

    def _sealed(self, read: "Read", context: bytes) -> Iterator[bytes]:
        yield from self._primary_cipher().seal_stream(read, context)

    # Keys.

    def _in_use(self) -> "tuple[str, Callable[[bytes, bytes], bytes]]":
        if self._primary is None or self._clock() >= self._look_again:
            return self._look()
        return self._primary

    def _look(self) -> "tuple[str, Callable[[bytes, bytes], bytes]]":
        """Take the primary key from the keyring as it is now."""
        key = self._source.current_or_new().primary("encrypt")
        self._begin()
        self._primary = key.kid, self._ciphers.of(key).seal
        return self._primary

    def _begin(self) -> None:
        self._look_again = self._clock() + _GOOD_FOR
        self._primary = None
        self._known.clear()

    def _primary_cipher(self) -> "FieldCipher":
        return self._ciphers.of(self._source.current_or_new().primary("encrypt"))

    def _cipher(self, kid: str) -> "FieldCipher":
        """The cipher of the named key, in whatever state it is. Raises DecryptFailed where there is none."""
        if self._clock() >= self._look_again:
            self._begin()
        cipher = self._known.get(kid)
        if cipher is None:
            key = self._source.current().find(kid)
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
    """Reads, and remembers what it read."""

    def __init__(self, read: "Read") -> None:
        self._read = read
        self._seen: list[bytes] = []

    def read(self, size: int) -> bytes:
        block = self._read(size)
        self._seen.append(block)
        return block

    def echoed(self, checked: Iterator[bytes]) -> Iterator[bytes]:
        """What was read so far, every time that a piece of it was found to be good."""
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
