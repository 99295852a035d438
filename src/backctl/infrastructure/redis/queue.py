"""The write-behind queue on Redis: a stream for each writer, whose consumer group shares its updates among workers.

A stream contains each waiting key once; a hash has the values, so that replacing one does not lengthen the stream. All
keys of a queue are in one slot, so that each change is one script. On a cluster, one primary has the whole queue.
"""

import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from heapq import merge
from struct import Struct
from typing import Any, Final, NamedTuple, TypeVar

from redis.exceptions import NoScriptError

from backctl.application.ports.write_behind import DeadUpdate, QueueState, Taken, WriterDepth
from backctl.domain.errors import BackctlError
from backctl.domain.write_behind import QueuedValue, WriterId
from backctl.infrastructure.redis.connection import RedisServers
from backctl.infrastructure.redis.exchange import Call, Word
from backctl.infrastructure.redis.scripts import Script, evaluated, source

_AT_ONCE: Final = 256
"""How many updates one call of a script handles, which blocks the server meanwhile."""
_DEAD_AT_ONCE: Final = 100
_FORMAT: Final = 1
_HEADER: Final = Struct(">Bqqqqqi8s")
"""The format; the position; when it was queued and replaced; the id of its entry; attempts; the receipt."""
_DEAD: Final = Struct(">qqqiI")
"""The position; when it was queued and buried; attempts; the length of the key."""
_LENGTH: Final = Struct(">I")
_TEXT, _BINARY = b"\0", b"\1"
"""How a content begins; then comes the value."""
_RECEIPT_BYTES: Final = 8
_IDENTITY_BYTES: Final = 16
_LAST_POSITION: Final = (1 << 53) - 1
"""Scripts calculate with floating-point numbers."""
_POSITION: Final = re.compile("[1-9][0-9]{0,15}")
_DIGITS: Final = 17
"""More digits than a position or a time has."""
_PARTS: Final = {
    "queue_put": ("clock", "queue_format"),
    "queue_state": ("clock", "queue_format", "queue"),
    "queue_take": ("clock", "queue_format", "queue"),
    "queue_waiting": ("queue_read",),
    "queue_writers": ("queue_read",),
    "queue_fields": ("queue_read",),
    "queue_check": ("queue_format", "queue", "queue_read"),
    "queue_depth": ("queue_format", "queue", "queue_read", "queue_writer"),
    "queue_dead": ("queue_format", "queue", "queue_read", "queue_writer"),
}
"""The files that precede a script. Those without the clock only read."""
_PARTS_OF_OTHERS: Final = ("clock", "queue_format", "queue", "queue_writer")
_LENGTHEN: Final = {"queue_put", "queue_put_any"}
"""These scripts fail on a server without memory. All others work there, because they make the queue shorter."""
Run = tuple[Script, Sequence[Call]]
Item = TypeVar("Item")


class _Line(NamedTuple):
    """What belongs to a writer: the beginning of the fields of its updates, and keys."""

    prefix: bytes
    stream: bytes
    retries: bytes
    moved: bytes
    keys: tuple[bytes, ...]
    """The keys that most scripts take."""


class RedisQueue:
    """Stores updates in keys that begin with `namespace` and contain the id of the installation.

    Works in any thread and after a fork. Times are those of the server's clock, except for what callers give as `now`.
    """

    def __init__(self, servers: RedisServers, *, namespace: str, installation: str) -> None:
        self._servers = servers
        self._prefix = _prefix(namespace, installation)
        self._waiting_key = waiting_key(namespace, installation)
        self._writers_key = self._prefix + b"writers"
        self._lines: dict[WriterId, _Line] = {}

    def put(self, writer: WriterId, key: bytes, value: QueuedValue, *, limit: int) -> int | None:
        line = self._line(writer)
        words = line.prefix + key, (_BINARY if value.binary else _TEXT) + value.payload, limit
        position = self._put(Call(self._waiting_key, (2, self._waiting_key, line.stream, *words)))
        if not position:
            put = "queue_put_any", line.keys, str(writer), *words, _new_identity()
            position = int(self._evaluated(*put))
        return position if position > 0 else None

    def waiting(self, writers: Sequence[WriterId], key: bytes) -> QueuedValue | None:
        if not writers:
            return None
        fields = [self._line(writer).prefix + key for writer in writers]
        contents = self._evaluated("queue_waiting", [self._waiting_key], *fields)
        found = [(position, content) for content in contents if (position := _position(content))]
        return _value(max(found)[1][_HEADER.size :]) if found else None

    def state(self) -> QueueState:
        identity, position = self._evaluated("queue_state", [self._waiting_key], _new_identity(), 0)
        return QueueState(identity.decode(), position)

    def advance(self, position: int) -> None:
        self._evaluated("queue_state", [self._waiting_key], _new_identity(), position)

    def take(self, writers: Sequence[WriterId], *, worker: str, count: int, lease_us: int) -> list[Taken]:
        taken: list[Taken] = []
        while count > len(taken) and writers:
            wanted = min(count - len(taken), _AT_ONCE)
            try:
                waiting, some = self._taken(writers, worker, wanted, lease_us)
                if not some and not taken and waiting and self._repaired():
                    _, some = self._taken(writers, worker, wanted, lease_us)
            except BackctlError:
                if not taken:
                    raise
                break  # else nobody could take them until their lease ends
            taken += some
            if len(some) < wanted:
                break
        return taken

    def acknowledge(self, taken: Sequence[Taken], *, now: int) -> None:
        runs: list[Run] = []
        for writer, some in _by_writer(taken).items():
            runs += self._decisions("queue_acknowledge", writer, max(0, now - some[-1].queued_at), some)
        self._all(runs)

    def retry(self, taken: Sequence[Taken], *, after_us: int) -> None:
        runs: list[Run] = []
        for writer, some in _by_writer(taken).items():
            runs += self._decisions("queue_retry", writer, after_us, some)
        self._all(runs)

    def bury(self, taken: Taken, error: str, *, now: int) -> None:
        words = now, _encoded(error), taken.key, taken.position, taken.receipt
        self._evaluated("queue_bury", self._line(taken.writer).keys, str(taken.writer), *words)

    def depths(self) -> list[WriterDepth]:
        lags = self._lags()
        replies = self._all([self._call("queue_depth", self._line(writer).keys, str(writer)) for writer in lags])
        return [
            WriterDepth(writer, waiting, oldest, dead, lags[writer])
            for writer, (waiting, oldest, dead) in zip(lags, replies, strict=True)
        ]

    def dead(self) -> Iterator[DeadUpdate]:
        return merge(*map(self._dead, self._lags()), key=lambda dead: int(dead.id))

    def requeue(self, ids: Sequence[str] | None) -> int:
        return self._revived(ids, again=True)

    def drop(self, ids: Sequence[str] | None) -> int:
        return self._revived(ids, again=False)

    def set_aside(self, writers: Sequence[WriterId], error: str, *, now: int) -> int:
        moved = 0
        self._repaired()
        for writer in set(writers):
            more = True
            while more:
                words = str(writer), now, _encoded(error), _AT_ONCE
                number, more = self._evaluated("queue_set_aside", self._line(writer).keys, *words)
                moved += number
        return moved

    def close(self) -> None:
        self._servers.close()

    def _put(self, call: Call) -> int:
        """Do what `evaluated` does, but in less time for one call."""
        put = self._script("queue_put")
        (reply,) = self._servers.run([Call(call.key, ("EVALSHA", put.digest, *call.command))])
        if isinstance(reply, NoScriptError):
            (reply,) = evaluated(self._servers, [(put, [call])])
        return int(_checked(reply))

    def _taken(self, writers: Sequence[WriterId], worker: str, count: int, lease_us: int) -> tuple[int, list[Taken]]:
        """Return how many updates of all writers wait, and those that were taken."""
        receipt, lease_ms = os.urandom(_RECEIPT_BYTES), -(-lease_us // 1000)
        names = map(str, writers)
        waiting, entries = self._evaluated(
            "queue_take", self._keys_of_lines(writers), receipt, worker, lease_ms, count, *names
        )
        taken = []
        for number, key, content in entries:
            _, position, queued_at, _, _, _, attempts, _ = _HEADER.unpack_from(content)
            value = _value(content[_HEADER.size :])
            taken.append(Taken(writers[number - 1], key, value, position, queued_at, attempts, receipt))
        return waiting, taken

    def _dead(self, writer: WriterId) -> Iterator[DeadUpdate]:
        """Yield the dead updates of a writer."""
        number, score = _DEAD_AT_ONCE, b"-inf"
        while number == _DEAD_AT_ONCE:
            words = str(writer), score, _DEAD_AT_ONCE
            number, score, *found = self._evaluated("queue_dead", self._line(writer).keys, *words)
            for head, size in found:
                position, queued_at, failed_at, attempts, length = _DEAD.unpack_from(head)
                end = _DEAD.size + length
                message = head[end + _LENGTH.size :].decode(errors="replace")
                yield DeadUpdate(
                    str(position), writer, head[_DEAD.size : end], size - 1, queued_at, failed_at, attempts, message
                )

    def _revived(self, ids: Sequence[str] | None, *, again: bool) -> int:
        """Remove dead updates, and let them wait again if wanted. Return how many there were."""
        total = 0
        for writer in self._lags():
            keys, words = self._line(writer).keys, (str(writer), int(again), _DEAD_AT_ONCE)
            if ids is None:
                number = _DEAD_AT_ONCE
                while number == _DEAD_AT_ONCE:
                    number = self._evaluated("queue_revive", keys, *words)
                    total += number
            else:
                for some in _parts(_positions(ids), _DEAD_AT_ONCE):
                    total += self._evaluated("queue_revive", keys, *words, *some)
        return total

    def _repaired(self) -> bool:
        """Give each waiting update a place in the line, if other programs removed some. Return whether they did."""
        if not self._is_damaged():
            return False
        for line in map(self._line, self._lags()):
            self._run(Call(line.stream, ("UNLINK", line.stream, line.retries, line.moved)))
        cursor = b""
        while cursor != b"0":
            cursor, fields = self._evaluated("queue_fields", [self._waiting_key], cursor or b"0", _AT_ONCE)
            found: dict[WriterId, list[bytes]] = {}
            for field in fields:
                name = field.partition(b":")[0]
                writer = WriterId.parse(name.decode(errors="replace"))
                if writer is not None and str(writer).encode() == name:
                    found.setdefault(writer, []).append(field)
                else:
                    self._run(Call(self._waiting_key, ("HDEL", self._waiting_key, field)))
            for writer, named in found.items():
                for some in _parts(named):
                    self._evaluated("queue_repair", self._line(writer).keys, str(writer), *some)
        return True

    def _is_damaged(self) -> bool:
        """Whether a waiting update cannot be taken at any time."""
        writers = list(self._lags())
        while not self._evaluated("queue_check", self._keys_of_lines(writers)):
            before, writers = writers, list(self._lags())
            if writers == before:  # else one was added meanwhile, whose updates were not counted
                return True
        return False

    def _lags(self) -> dict[WriterId, int | None]:
        """Return the writers that have had updates, in their order, and how long the last written update had waited."""
        words = self._evaluated("queue_writers", [self._writers_key])
        lags = {}
        for name, lag in zip(words[::2], words[1::2], strict=True):
            writer = WriterId.parse(name.decode(errors="replace"))
            if writer is not None:
                lags[writer] = int(lag) if lag.isdigit() and len(lag) < _DIGITS else None
        return dict(sorted(lags.items()))

    def _line(self, writer: WriterId) -> _Line:
        found = self._lines.get(writer)
        if found is None:
            name, waiting = str(writer).encode(), self._waiting_key
            kinds = (b"updates:", b"retries:", b"moved:", b"dead:")
            stream, retries, moved, buried = (self._prefix + kind + name for kind in kinds)
            keys = (waiting, stream, retries, moved, buried, self._writers_key)
            found = self._lines[writer] = _Line(name + b":", stream, retries, moved, keys)
        return found

    def _keys_of_lines(self, writers: Sequence[WriterId]) -> list[bytes]:
        """Return the keys of all waiting updates, and those of the lines of some writers."""
        lines = map(self._line, writers)
        return [self._waiting_key, *(key for line in lines for key in (line.stream, line.retries))]

    def _decisions(self, name: str, writer: WriterId, word: Word, taken: Sequence[Taken]) -> Iterator[Run]:
        """Yield calls of a script that decides about updates of a writer."""
        for some in _parts(taken):
            named = (part for one in some for part in (one.key, one.position, one.receipt))
            yield self._call(name, self._line(writer).keys, str(writer), word, *named)

    def _call(self, name: str, keys: Sequence[bytes], *words: Word) -> Run:
        return self._script(name), [Call(keys[0], (len(keys), *keys, *words))]

    def _script(self, name: str) -> Script:
        return script(name)

    def _evaluated(self, name: str, keys: Sequence[bytes], *words: Word) -> Any:
        return self._all([self._call(name, keys, *words)])[0]

    def _all(self, runs: Sequence[Run]) -> list[Any]:
        """Run scripts in one round trip, and return their replies. Raises the first error among them."""
        return [_checked(reply) for reply in evaluated(self._servers, runs)]

    def _run(self, call: Call) -> Any:
        return _checked(self._servers.run([call])[0])


def waiting_key(namespace: str, installation: str) -> bytes:
    """Return the key with the waiting updates of a queue. All its keys are on the same node."""
    return _prefix(namespace, installation) + b"waiting"


def _prefix(namespace: str, installation: str) -> bytes:
    return f"{namespace}:queue:{{{installation}.queue}}:".encode()


@lru_cache(maxsize=256)
def script(name: str, clock: str | None = None) -> Script:
    """Assemble a script from the files in `lua`. `clock` replaces the functions of `clock.lua`."""
    parts = _PARTS.get(name, _PARTS_OF_OTHERS)
    flags = b" flags=allow-oom" if "clock" in parts else b" flags=no-writes"
    if name in _LENGTHEN:
        flags = b""
    sources = [clock.encode() if part == "clock" and clock is not None else source(part) for part in parts]
    return Script.of(b"#!lua" + flags, *sources, source(name))


def _checked(reply: Any) -> Any:
    if isinstance(reply, BackctlError):
        raise reply
    return reply


def _position(content: bytes | None) -> int:
    """Return the position of a waiting update; 0 if there is none, or if another program has written it."""
    if content is None or len(content) <= _HEADER.size:
        return 0
    version, *numbers, _ = _HEADER.unpack_from(content)
    is_sound = version == _FORMAT and all(0 <= number <= _LAST_POSITION for number in numbers)
    return int(numbers[0]) if is_sound else 0


def _value(content: bytes) -> QueuedValue:
    return QueuedValue(content[1:], content.startswith(_BINARY))


def _new_identity() -> str:
    return os.urandom(_IDENTITY_BYTES).hex()


def _encoded(message: str) -> bytes:
    return message.encode(errors="backslashreplace")


def _positions(ids: Sequence[str]) -> list[int]:
    """Return the positions that ids of dead updates stand for, without those that cannot be."""
    found = [int(text) for text in dict.fromkeys(ids) if _POSITION.fullmatch(text)]
    return [position for position in found if position <= _LAST_POSITION]


def _by_writer(taken: Sequence[Taken]) -> dict[WriterId, list[Taken]]:
    found: dict[WriterId, list[Taken]] = {}
    for one in taken:
        found.setdefault(one.writer, []).append(one)
    return found


def _parts(items: Sequence[Item], size: int = _AT_ONCE) -> Iterator[Sequence[Item]]:
    return (items[at : at + size] for at in range(0, len(items), size))
