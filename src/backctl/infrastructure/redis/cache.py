"""The shared store of the cache on Redis.

An entry, its lock, the epoch and the fence are in one slot, so that one script sees all of them. On a cluster there are
256 groups of entries, each with its own epoch and fence. Each tag has a slot of its own.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final
from urllib.parse import quote_from_bytes

from backctl.application.ports.cache import Announced, Begun, Change, Heard, Reading, Swept
from backctl.domain.cache_entry import KEY_MAX, VERSION_BYTES, Versions
from backctl.domain.errors import BackctlError
from backctl.domain.glob import literal_glob
from backctl.infrastructure.redis.connection import RedisServers
from backctl.infrastructure.redis.exchange import Call, Word
from backctl.infrastructure.redis.scripts import Script, evaluated, script
from backctl.infrastructure.redis.subscription import Subscription

_GROUPS: Final = 256
_STEP: Final = 500
"""How many keys each step of a sweep reads. A step blocks the server."""
_AT_ONCE: Final = 256
_MESSAGE_MAX: Final = 1 << 16
"""The size of the longest message that is read. A longer one means that anything can have been invalidated."""
_DIGITS: Final = 20
"""More digits than a counter of Redis has."""


class RedisCache:
    """Stores entries in keys that begin with `namespace` and contain the id of the installation.

    Works in any thread and after a fork.
    """

    def __init__(self, servers: RedisServers, *, namespace: str, installation: str) -> None:
        self._servers = servers
        self._prefix = f"{namespace}:cache:".encode()
        self._installation = installation.encode()
        self._channel = b"%b{%b}" % (self._prefix, self._installation)
        self._groups = range(_GROUPS if servers.has_slots else 1)
        self._in_groups = [b"%b{%b.%02x}:" % (self._prefix, self._installation, number) for number in self._groups]
        self._sequence = self._in_groups[0] + b"sequence"
        self._counts = self._in_groups[0] + b"counts"
        self._subscription = Subscription(lambda: servers.subscription(self._channel))

    def read(self, keys: Sequence[bytes], tags: Sequence[Sequence[bytes]]) -> list[Reading]:
        spread = self._servers.has_slots
        calls = []
        for key, some in zip(keys, tags, strict=True):
            group = self._group(key)
            entry, versions = group + b"e:" + key, [self._tag(tag) for tag in some]
            calls.append(Call(entry, ("MGET", entry, group + b"epoch", *(() if spread else versions))))
            if spread:  # a tag is in a slot of its own
                calls += [Call(version, ("MGET", version)) for version in versions]
        replies = iter(self._answers(self._servers.run(calls)))
        readings = []
        for some in tags:
            entry, epoch, *versions = next(replies)
            if spread:
                versions = [next(replies)[0] for _ in some]
            readings.append(Reading(entry, Versions(epoch, dict(zip(some, versions, strict=True)))))
        return readings

    def begin(
        self, key: bytes, token: bytes, tags: Sequence[bytes], *, hold_us: int, keep_us: int, take_over: bool = False
    ) -> Begun:
        group = self._group(key)
        keys = (group + b"l:" + key, group + b"e:" + key, group + b"epoch", group + b"fence")
        options = (token, _ms(hold_us), int(take_over), _new_version(), _new_version())
        begun = [Call(keys[0], (len(keys), *keys, *options))]
        asked = [Call(name, (1, name, _new_version(), _ms(keep_us))) for name in map(self._tag, tags)]
        replies = evaluated(self._servers, [(script("cache_begin"), begun), (script("cache_version"), asked)])
        (held, contended, entry, epoch, fence), *versions = self._answers(replies)
        reading = Reading(entry, Versions(epoch, dict(zip(tags, versions, strict=True))))
        return Begun(bool(held), bool(contended), fence, reading)

    def complete(self, key: bytes, token: bytes, fence: bytes, entry: bytes, *, ttl_us: int) -> bool:
        return bool(self._evaluated(*self._ending(key, token, fence, entry, _ms(ttl_us))))

    def release(self, key: bytes, token: bytes) -> None:
        self._evaluated(*self._ending(key, token))

    def remove(self, keys: Sequence[bytes]) -> tuple[int, Announced]:
        # The locks first: afterwards, nobody can store a value that was loaded before.
        locks = [self._group(key) + b"l:" + key for key in keys]
        entries = [self._group(key) + b"e:" + key for key in keys]
        return self._removed(locks, entries, Change("keys", tuple(keys)))

    def announce(self, keys: Sequence[bytes]) -> Announced:
        return self._announce(Change("keys", tuple(keys)))[1]

    def renew_tags(self, tags: Sequence[bytes]) -> tuple[int, Announced]:
        return self._removed([], list(map(self._tag, tags)), Change("tags", tuple(tags)))

    def renew_epoch(self) -> tuple[int, Announced]:
        return self._removed([], [group + b"epoch" for group in self._in_groups], Change("all"))

    def sweep(self, pattern: bytes, *, dry_run: bool) -> Iterator[Swept]:
        if not dry_run:  # processes that are loading a value must not store it after the sweep
            self._unlink([group + b"fence" for group in self._in_groups])
        source, matched = script("cache_sweep").source, self._matched(pattern)
        for found in self._servers.walk(lambda cursor: ("EVAL", source, 0, cursor, matched, _STEP, int(not dry_run))):
            yield Swept(*found)
        if not dry_run:
            self._announce(Change("glob", (pattern,)))

    def keys(self, pattern: bytes) -> Iterator[bytes]:
        start = len(self._in_groups[0]) + 2
        for key in self._servers.scan(self._matched(pattern)):
            yield key[start:]

    def sequence(self) -> bytes:
        (found,) = self._answers(self._servers.run([Call(self._sequence, ("MGET", self._sequence))]))[0]
        if isinstance(found, bytes) and len(found) == VERSION_BYTES:
            return found
        return self._announce(Change("all"))[1].after  # missing after a restart, or overwritten by another program

    def listen(self, heard: Heard) -> None:
        self._subscription.start(lambda message: heard(*(_message(message) if message else (None, None))))

    def count(self, counts: Mapping[str, int]) -> None:
        words: list[Word] = [word for pair in counts.items() for word in pair]
        self._evaluated(script("cache_count"), self._counts, (1, self._counts, *words))

    def counts(self) -> dict[str, int]:
        found = self._evaluated(script("cache_count"), self._counts, (1, self._counts))
        pairs = zip(islice(found, 0, None, 2), islice(found, 1, None, 2), strict=True)
        # Others can write there; a counter has at most 19 digits.
        return {
            name.decode(errors="replace"): int(number)
            for name, number in pairs
            if number.isdigit() and len(number) < _DIGITS
        }

    def close(self) -> None:
        self._subscription.stop()
        self._servers.close()

    def _group(self, key: bytes) -> bytes:
        """Return the prefix of the Redis keys of an entry."""
        groups = self._in_groups
        return groups[0] if len(groups) == 1 else groups[self._servers.slot(key) % len(groups)]

    def _matched(self, pattern: bytes) -> bytes:
        """Return a glob for the Redis keys of matching entries. It matches no other keys, whatever the pattern."""
        before = literal_glob(b"%b{%b." % (self._prefix, self._installation))
        group = b"[0-9a-f][0-9a-f]" if len(self._groups) > 1 else b"00"
        return before + group + literal_glob(b"}:e:") + pattern

    def _ending(self, key: bytes, token: bytes, *words: Word) -> tuple[Script, bytes, tuple[Word, ...]]:
        group = self._group(key)
        keys = (group + b"l:" + key, group + b"e:" + key, group + b"fence")
        return script("cache_complete"), keys[0], (len(keys), *keys, token, *words)

    def _evaluated(self, script: Script, key: bytes, words: tuple[Word, ...]) -> Any:
        return self._answers(evaluated(self._servers, [(script, [Call(key, words)])]))[0]

    def _tag(self, tag: bytes) -> bytes:
        """Return the Redis key of the version of a tag."""
        return b"%b{%b.%b}:tag" % (self._prefix, self._installation, quote_from_bytes(tag, safe="@+:").encode())

    def _removed(self, before: Sequence[bytes], counted: Sequence[bytes], change: Change) -> tuple[int, Announced]:
        """Remove keys, the uncounted ones first, and announce it. A removed version is created again, as a new one.

        On a cluster, that takes several steps. So that a process that is killed in between leaves nothing in the memory
        of others, announce it before and after.
        """
        if not self._servers.has_slots:
            return self._announce(change, before, counted)
        _, first = self._announce(change)
        self._unlink(before)
        removed = self._unlink(counted)
        _, last = self._announce(change)
        uninterrupted = last.before == first.after
        return removed, Announced(first.before if uninterrupted else last.before, last.after)

    def _unlink(self, names: Sequence[bytes]) -> int:
        removed = 0
        for at in range(0, len(names), _AT_ONCE):
            calls = [Call(name, ("UNLINK", name)) for name in names[at : at + _AT_ONCE]]
            removed += sum(self._answers(self._servers.run(calls)))
        return removed

    def _announce(
        self, change: Change, before: Sequence[bytes] = (), counted: Sequence[bytes] = ()
    ) -> tuple[int, Announced]:
        """Replace the sequence, and tell all processes; first remove keys, which must be in its slot."""
        after, names = _new_version(), (self._sequence, *before, *counted)
        words: tuple[Word, ...] = (len(names), *names, after, self._channel, _written(change), len(before))
        previous, removed = self._evaluated(script("cache_announce"), self._sequence, words)
        return removed, Announced(previous or None, after)

    @staticmethod
    def _answers(replies: list[Any]) -> list[Any]:
        """Return the replies. Raises the first error among them."""
        for reply in replies:
            if isinstance(reply, BackctlError):
                raise reply
        return replies


def _new_version() -> bytes:
    return os.urandom(VERSION_BYTES)


def _ms(microseconds: int) -> int:
    return max(1, microseconds // 1000)


def _written(change: Change) -> bytes:
    names = [name.decode(errors="surrogateescape") for name in change.names]
    return json.dumps([change.kind, *names], separators=(",", ":")).encode()


def _message(message: bytes) -> tuple[Announced | None, Change | None]:
    """Parse a message. None for one that this version does not understand or another program sent."""
    if len(message) > _MESSAGE_MAX:
        return None, None
    try:
        size = message[0]
        before, after = message[1 : 1 + size], message[1 + size : 1 + size + VERSION_BYTES]
        kind, *names = json.loads(message[1 + size + VERSION_BYTES :])
        change = Change(kind, tuple(name.encode(errors="surrogateescape") for name in names))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None, None
    if (
        kind not in ("keys", "tags", "glob", "all")
        or len(after) != VERSION_BYTES
        or max(map(len, names), default=0) > KEY_MAX
    ):
        return None, None
    return Announced(before or None, after), change
