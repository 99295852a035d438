"""Implements the FieldCiphers port for the keys of one installation."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from backctl.infrastructure.crypto import xaes

if TYPE_CHECKING:
    from backctl.application.ports.security import Read
    from backctl.domain.keyring import Key


class KeyCipher:
    """Encrypts and decrypts values and streams with one key."""

    __slots__ = ("_kid", "_secret", "open", "seal")

    def __init__(self, key: "Key") -> None:
        self._kid, self._secret = key.kid, key.secret_bytes()
        values = xaes.XaesCipher(self._kid, self._secret)
        self.seal, self.open = values.seal, values.open  # bound here to save a call per value

    def __repr__(self) -> str:
        return f"KeyCipher({self._kid!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a cipher cannot be pickled")

    def seal_stream(self, read: "Read", context: bytes) -> Iterator[bytes]:
        from backctl.infrastructure.crypto import chunked

        return chunked.seal_stream(self._kid, self._secret, read, context)

    def open_stream(self, read: "Read", context: bytes) -> Iterator[bytes]:
        from backctl.infrastructure.crypto import chunked

        return chunked.open_stream(self._kid, self._secret, read, context)


class KeyCiphers:
    """Creates each cipher once, because a cipher reuses half of its nonce and the derived key."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Key, KeyCipher]] = {}

    def of(self, key: "Key") -> KeyCipher:
        made = self._made.get(key.kid)
        if made is None or made[0] != key:
            made = self._made[key.kid] = key, KeyCipher(key)
        return made[1]

    def kid_of_value(self, value: bytes) -> str:
        return xaes.named_kid(value)

    def kid_of_stream(self, read: "Read") -> str:
        from backctl.infrastructure.crypto import chunked

        return chunked.read_header(read)
