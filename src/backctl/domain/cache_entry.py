"""Cache entries: their format, how long they may be used, and what invalidates them."""

import hmac
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Final, Literal, NamedTuple

from backctl.domain.errors import InvalidCacheEntry
from backctl.domain.quoting import quoted
from backctl.domain.values import SKEW

KEY_MAX: Final = 512
"""The longest key, in bytes."""
TAG_MAX: Final = 128
TAGS_MAX: Final = 16
VALUE_MAX: Final = 1 << 20
"""The largest value, in bytes."""
TTL_MAX: Final = 31 * 86_400_000_000
"""Microseconds from the creation of an entry to its end."""
VERSION_BYTES: Final = 8
"""The size of the version of a tag or of the epoch. Versions are random bytes, so they never repeat."""
MAC_BYTES: Final = 32

RESERVED: Final = ("user", "revocation")
"""The namespaces of accounts and of revocations."""

_FORMAT: Final = b"bkc\x02"
_HEADER: Final = Struct(">4sBQQQQ8sBB")
_NEGATIVE, _BINARY, _SIGNED, _RENEWED = 1, 2, 4, 8
_FLAGS: Final = _NEGATIVE | _BINARY | _SIGNED | _RENEWED
_NUMBER_MAX: Final = 1 << 63

State = Literal["fresh", "stale", "expired", "invalidated"]
"""`stale`: its TTL has passed, so it is used only if the loader fails, or while the entry is renewed."""


class Versions(NamedTuple):
    """The current versions in the store; None for a missing one. A new version invalidates entries."""

    epoch: bytes | None
    tags: Mapping[bytes, bytes | None]


class Entry(NamedTuple):
    """A cached value. Times are microseconds since 1970.

    It is stale from `soft_at` and expired from `hard_at`. `epoch` and the versions of `tags` were read before the value
    was loaded. `negative`: the loader found nothing. `binary`: the payload is bytes, not JSON. `writer` is the process
    that stored it. `mac` is empty if the entry is not signed. From `renew_at`, a read renews the entry in the
    background; 0: never. `renewed`: the entry was stored by such a renewal.
    """

    created_at: int
    soft_at: int
    hard_at: int
    epoch: bytes
    tags: tuple[tuple[bytes, bytes], ...] = ()
    negative: bool = False
    binary: bool = False
    writer: str = ""
    payload: bytes = b"null"
    mac: bytes = b""
    renew_at: int = 0
    renewed: bool = False

    def state(self, versions: Versions, now: int) -> State:
        """Return the state at a time. An entry from the future is expired, because a clock was wrong."""
        if self.epoch != versions.epoch or any(versions.tags.get(tag) != version for tag, version in self.tags):
            return "invalidated"
        if now >= self.hard_at or self.created_at > now + SKEW:
            return "expired"
        return "stale" if now >= self.soft_at else "fresh"

    def encoded(self) -> bytes:
        return self._header(signed=bool(self.mac)) + self.mac + self.payload

    def signed(self, secret: bytes, context: bytes) -> "Entry":
        """Return the entry with a MAC. `context` identifies the installation and the key."""
        return self._replace(mac=self._mac(secret, context))

    def is_signed(self, secret: bytes, context: bytes) -> bool:
        """Whether a process with the same secret stored exactly this entry in this context."""
        return hmac.compare_digest(self.mac, self._mac(secret, context))

    def _header(self, *, signed: bool) -> bytes:
        flags = _NEGATIVE * self.negative | _BINARY * self.binary | _SIGNED * signed | _RENEWED * self.renewed
        # Encoded as it is read back, so that the signature matches.
        writer = self.writer.encode(errors="replace")[:255].decode(errors="ignore").encode()
        times = self.created_at, self.renew_at, self.soft_at, self.hard_at
        fixed = _HEADER.pack(_FORMAT, flags, *times, self.epoch, len(self.tags), len(writer))
        return b"".join([fixed, *(b"%c%b%b" % (len(tag), tag, version) for tag, version in self.tags), writer])

    def _mac(self, secret: bytes, context: bytes) -> bytes:
        """Return HMAC-SHA256. The length prefixes prevent two contexts from producing the same text."""
        header = self._header(signed=True)
        text = b"%d:%b%d:%b%b" % (len(context), context, len(header), header, self.payload)
        return hmac.digest(secret, text, "sha256")


def decoded(raw: object) -> Entry | None:
    """Decode an entry; None for another format version or anything else that is not an entry."""
    if not isinstance(raw, bytes) or len(raw) < _HEADER.size or not raw.startswith(_FORMAT):
        return None
    _, flags, created_at, renew_at, soft_at, hard_at, epoch, tag_count, writer_size = _HEADER.unpack_from(raw)
    place, tags = _HEADER.size, []
    for _ in range(tag_count):
        size = raw[place] if place < len(raw) else 0
        end = place + 1 + size
        tags.append((raw[place + 1 : end], raw[end : end + VERSION_BYTES]))
        place = end + VERSION_BYTES
    writer = raw[place : place + writer_size].decode(errors="replace")
    place += writer_size
    body = place + (MAC_BYTES if flags & _SIGNED else 0)
    if flags & ~_FLAGS or body > len(raw) or not created_at <= soft_at <= hard_at < _NUMBER_MAX:
        return None
    if renew_at and not created_at <= renew_at <= soft_at:
        return None
    return Entry(
        created_at,
        soft_at,
        hard_at,
        epoch,
        tuple(tags),
        bool(flags & _NEGATIVE),
        bool(flags & _BINARY),
        writer,
        raw[body:],
        raw[place:body],
        renew_at,
        bool(flags & _RENEWED),
    )


def checked_key(key: str) -> bytes:
    """Return the bytes of a key. Raises InvalidCacheEntry if it is empty, too long or not valid text."""
    raw = _raw(key)
    if not raw:
        raise InvalidCacheEntry("the key is empty", hint="name the entry, for example 'report:2026'")
    if len(raw) > KEY_MAX:
        raise InvalidCacheEntry(
            f"the key has {len(raw)} bytes", hint=f"use at most {KEY_MAX}; for example, use a digest of the long part"
        )
    return raw


def checked_tags(tags: Sequence[str]) -> tuple[bytes, ...]:
    """Return the bytes of the tags, in order and without duplicates. Raises InvalidCacheEntry."""
    if isinstance(tags, str):
        raise InvalidCacheEntry(f"the tags are a string: {quoted(tags)}", hint="use a list of tags")
    raw = tuple(dict.fromkeys(map(_raw, tags)))
    if len(raw) > TAGS_MAX:
        raise InvalidCacheEntry(f"the entry has {len(raw)} tags", hint=f"use at most {TAGS_MAX}")
    for tag in raw:
        if not 0 < len(tag) <= TAG_MAX:
            raise InvalidCacheEntry(f"a tag has {len(tag)} bytes", hint=f"use 1 to {TAG_MAX}")
    return raw


def _raw(text: str) -> bytes:
    """Return the bytes that represent only this text. Raises InvalidCacheEntry for lone surrogates."""
    try:
        raw = text.encode(errors="surrogateescape")
        if raw.decode(errors="surrogateescape") == text:
            return raw
    except UnicodeEncodeError:
        pass
    raise InvalidCacheEntry(f"{quoted(text)} contains surrogates", hint="use text that UTF-8 can encode")


def namespace_of(key: bytes) -> bytes:
    """Return the part of a key before its first colon."""
    return key.partition(b":")[0]


def is_reserved(key: bytes) -> bool:
    """Whether only backctl may store an entry with this key."""
    return namespace_of(key) in _RESERVED


_RESERVED: Final = frozenset(name.encode() for name in RESERVED)
