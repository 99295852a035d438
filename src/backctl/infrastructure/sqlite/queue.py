"""The write-behind queue in a separate SQLite file, for all processes of one machine.

A queued update is flushed to disk before `put` returns. Taking and acknowledging are not: after a power failure, an
update can be taken a second time, and the database then knows that it was written.
"""

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Final

from backctl.application.ports.write_behind import DeadUpdate, QueueState, Taken, WriterDepth
from backctl.domain.write_behind import QueuedValue, WriterId
from backctl.infrastructure.sqlite.own_file import Contents, OwnFile

_CONTENTS: Final = Contents(
    "a write-behind queue",
    1,
    frozenset({"queues", "writers", "updates", "dead"}),
    """
CREATE TABLE IF NOT EXISTS queues (
    owner TEXT NOT NULL PRIMARY KEY,
    identity TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (typeof(position) = 'integer'),
    waiting INTEGER NOT NULL CHECK (typeof(waiting) = 'integer')
);
CREATE TABLE IF NOT EXISTS writers (
    owner TEXT NOT NULL,
    writer TEXT NOT NULL,
    lag INTEGER CHECK (lag IS NULL OR typeof(lag) = 'integer'),
    PRIMARY KEY (owner, writer)
);
CREATE TABLE IF NOT EXISTS updates (
    owner TEXT NOT NULL,
    writer TEXT NOT NULL,
    key BLOB NOT NULL CHECK (typeof(key) = 'blob'),
    value BLOB NOT NULL CHECK (typeof(value) = 'blob'),
    is_binary INTEGER NOT NULL CHECK (is_binary IN (0, 1)),
    position INTEGER NOT NULL CHECK (typeof(position) = 'integer'),
    turn INTEGER NOT NULL CHECK (typeof(turn) = 'integer'),
    queued_at INTEGER NOT NULL CHECK (typeof(queued_at) = 'integer'),
    attempts INTEGER NOT NULL CHECK (typeof(attempts) = 'integer'),
    receipt BLOB,
    held_at INTEGER NOT NULL CHECK (typeof(held_at) = 'integer'),
    due_at INTEGER CHECK (due_at IS NULL OR typeof(due_at) = 'integer'),
    replaced_at INTEGER CHECK (replaced_at IS NULL OR typeof(replaced_at) = 'integer'),
    PRIMARY KEY (owner, writer, key)
);
CREATE INDEX IF NOT EXISTS updates_turn ON updates (owner, writer, turn);
CREATE TABLE IF NOT EXISTS dead (
    owner TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (typeof(position) = 'integer'),
    writer TEXT NOT NULL,
    key BLOB NOT NULL CHECK (typeof(key) = 'blob'),
    value BLOB NOT NULL CHECK (typeof(value) = 'blob'),
    is_binary INTEGER NOT NULL CHECK (is_binary IN (0, 1)),
    queued_at INTEGER NOT NULL CHECK (typeof(queued_at) = 'integer'),
    failed_at INTEGER NOT NULL CHECK (typeof(failed_at) = 'integer'),
    attempts INTEGER NOT NULL CHECK (typeof(attempts) = 'integer'),
    error TEXT NOT NULL,
    PRIMARY KEY (owner, position)
);
CREATE TRIGGER IF NOT EXISTS update_added AFTER INSERT ON updates BEGIN
    UPDATE queues SET waiting = waiting + 1 WHERE owner = new.owner;
END;
CREATE TRIGGER IF NOT EXISTS update_removed AFTER DELETE ON updates BEGIN
    UPDATE queues SET waiting = waiting - 1 WHERE owner = old.owner;
END;
""",
)
# `turn` is the place in the line. A replaced update keeps its turn, so that a busy key does not wait forever.
# An update that is taken has a receipt and no `due_at`. `held_at` is when it was taken, or when `due_at` was set.

# A `held_at` in the future is from before the clock was set back.
_DUE: Final = "(held_at > :now OR coalesce(due_at, held_at + :lease_us) <= :now)"
_PAGE: Final = 1000
_IDENTITY_BYTES: Final = 16
_RECEIPT_BYTES: Final = 8
_LAST_POSITION: Final = (1 << 63) - 1
_POSITION: Final = re.compile("[1-9][0-9]{0,17}")

_REPLACE: Final = """
UPDATE updates SET value = :value, is_binary = :is_binary, position = :position, attempts = 0,
    replaced_at = CASE WHEN receipt IS NOT NULL THEN coalesce(replaced_at, :now) END,
    held_at = CASE WHEN receipt IS NULL THEN :now ELSE held_at END,
    due_at = CASE WHEN receipt IS NULL THEN :now END
WHERE owner = :owner AND writer = :writer AND key = :key
"""
_ADD: Final = """
INSERT INTO updates VALUES (:owner, :writer, :key, :value, :is_binary, :position, :position, :now, 0, NULL, :now, :now,
    NULL)
"""
_WAITING: Final = "SELECT position, value, is_binary FROM updates WHERE owner = ? AND writer = ? AND key = ?"
_NEXT: Final = f"""
SELECT turn, rowid FROM updates WHERE owner = :owner AND writer = :writer AND {_DUE} ORDER BY turn LIMIT :count
"""  # noqa: S608 - constants
_TAKE: Final = """
UPDATE updates SET receipt = :receipt, held_at = :now, due_at = NULL, replaced_at = NULL WHERE rowid = :row
RETURNING writer, key, value, is_binary, position, queued_at, attempts
"""
_SAME: Final = "owner = :owner AND writer = :writer AND key = :key AND position = :position"
_REMOVE: Final = f"DELETE FROM updates WHERE {_SAME}"  # noqa: S608 - a constant
_RETRY: Final = f"""
UPDATE updates SET receipt = NULL, held_at = :now, due_at = :due_at, attempts = attempts + :failed
WHERE {_SAME} AND receipt = :receipt
"""  # noqa: S608 - a constant
# An update that was replaced while a worker had it. What it replaces was written or buried, so it begins a new wait.
_RELEASE_NEWER: Final = """
UPDATE updates SET receipt = NULL, held_at = :now, due_at = :now, replaced_at = NULL,
    turn = position, queued_at = coalesce(replaced_at, queued_at)
WHERE owner = :owner AND writer = :writer AND key = :key AND position > :position AND receipt = :receipt
"""
# What it replaces was not written, so it keeps its turn.
_RETRY_NEWER: Final = """
UPDATE updates SET receipt = NULL, held_at = :now, due_at = :now, replaced_at = NULL
WHERE owner = :owner AND writer = :writer AND key = :key AND position > :position AND receipt = :receipt
"""
_BURY: Final = """
INSERT OR REPLACE INTO dead SELECT owner, position, writer, key, value, is_binary, queued_at, :now, attempts + :failed,
    :error FROM updates
"""
_REQUEUE: Final = """
INSERT INTO updates SELECT owner, writer, key, value, is_binary, position, position, queued_at, 0, NULL, :now, :now,
    NULL FROM dead WHERE owner = :owner AND position BETWEEN :first AND :last ORDER BY position
ON CONFLICT DO UPDATE SET value = excluded.value, is_binary = excluded.is_binary, position = excluded.position,
    attempts = 0, replaced_at = CASE WHEN receipt IS NOT NULL THEN coalesce(replaced_at, :now) END,
    held_at = CASE WHEN receipt IS NULL THEN :now ELSE held_at END, due_at = CASE WHEN receipt IS NULL THEN :now END
WHERE excluded.position > updates.position
"""
_DROP: Final = "DELETE FROM dead WHERE owner = :owner AND position BETWEEN :first AND :last"


class SqliteQueue:
    """Keeps the updates in the file at `path`, which is created on first use, readable only by its owner.

    Works in any thread. `clock` returns microseconds since 1970. Installations can share a file.
    """

    def __init__(self, path: Path, *, installation: str, timeout_us: int, clock: Callable[[], int]) -> None:
        self._file = OwnFile(path, _CONTENTS, timeout_us=timeout_us)
        self._owner = installation
        self._clock = clock

    def put(self, writer: WriterId, key: bytes, value: QueuedValue, *, limit: int) -> int | None:
        with self._file.transaction(writes=True, flushed=True) as connection:
            now, (_, last, waiting) = self._clock(), self._ensured(connection)
            position = max(last + 1, now)
            row = {
                "owner": self._owner,
                "writer": str(writer),
                "key": key,
                "value": value.payload,
                "is_binary": int(value.binary),
                "position": position,
                "now": now,
            }
            if not connection.execute(_REPLACE, row).rowcount:
                if waiting >= limit:
                    return None
                connection.execute(_ADD, row)
                connection.execute(
                    "INSERT INTO writers VALUES (?, ?, NULL) ON CONFLICT DO NOTHING", (self._owner, str(writer))
                )
            connection.execute("UPDATE queues SET position = ? WHERE owner = ?", (position, self._owner))
            return position

    def waiting(self, writers: Sequence[WriterId], key: bytes) -> QueuedValue | None:
        if not self._file.exists():
            return None
        with self._file.transaction(writes=False) as connection:
            rows = [connection.execute(_WAITING, (self._owner, writer, key)).fetchone() for writer in map(str, writers)]
        latest = max(filter(None, rows), default=None)
        return None if latest is None else QueuedValue(latest[1], bool(latest[2]))

    def state(self) -> QueueState:
        if self._file.exists():
            with self._file.transaction(writes=False) as connection:
                found = self._queue(connection)
            if found is not None:
                return QueueState(*found[:2])
        with self._file.transaction(writes=True, flushed=True) as connection:
            return QueueState(*self._ensured(connection)[:2])

    def advance(self, position: int) -> None:
        with self._file.transaction(writes=True, flushed=True) as connection:
            self._ensured(connection)
            connection.execute(
                "UPDATE queues SET position = ? WHERE owner = ? AND position < ?", (position, self._owner, position)
            )

    def take(self, writers: Sequence[WriterId], *, worker: str, count: int, lease_us: int) -> list[Taken]:
        if not self._file.exists():
            return []
        receipt = os.urandom(_RECEIPT_BYTES)
        with self._file.transaction(writes=True) as connection:
            now = self._clock()
            asked = {"owner": self._owner, "now": now, "lease_us": lease_us, "count": count}
            lines = [
                connection.execute(_NEXT, {**asked, "writer": writer}).fetchall() for writer in set(map(str, writers))
            ]
            rows = [
                connection.execute(_TAKE, {"receipt": receipt, "now": now, "row": row}).fetchone()
                for _, row in islice(merge(*lines), count)
            ]
        named = {str(writer): writer for writer in writers}
        return [
            Taken(named[name], key, QueuedValue(value, bool(is_binary)), position, queued_at, attempts, receipt)
            for name, key, value, is_binary, position, queued_at, attempts in rows
        ]

    def acknowledge(self, taken: Sequence[Taken], *, now: int) -> None:
        if not taken or not self._file.exists():
            return
        with self._file.transaction(writes=True) as connection:
            rows = [self._named(one, now) for one in taken]
            connection.executemany(_REMOVE, rows)
            connection.executemany(_RELEASE_NEWER, rows)
            lags = {str(one.writer): max(0, now - one.queued_at) for one in taken}
            connection.executemany(
                "UPDATE writers SET lag = ? WHERE owner = ? AND writer = ?",
                [(lag, self._owner, writer) for writer, lag in lags.items()],
            )

    def retry(self, taken: Sequence[Taken], *, after_us: int) -> None:
        if not taken or not self._file.exists():
            return
        with self._file.transaction(writes=True) as connection:
            now = self._clock()
            more = {"due_at": now + after_us, "failed": int(after_us > 0)}
            rows = [{**self._named(one, now), **more} for one in taken]
            connection.executemany(_RETRY, rows)
            connection.executemany(_RETRY_NEWER, rows)

    def bury(self, taken: Taken, error: str, *, now: int) -> None:
        if not self._file.exists():
            return
        with self._file.transaction(writes=True, flushed=True) as connection:
            row = {**self._named(taken, now), "failed": 1, "error": error}
            if connection.execute(f"{_BURY} WHERE {_SAME} AND receipt = :receipt", row).rowcount:
                connection.execute(_REMOVE, row)
            connection.execute(_RELEASE_NEWER, row)

    def depths(self) -> list[WriterDepth]:
        if not self._file.exists():
            return []
        with self._file.transaction(writes=False) as connection:
            asked = (self._owner,)
            lags = dict(connection.execute("SELECT writer, lag FROM writers WHERE owner = ?", asked).fetchall())
            waiting = {
                writer: (number, oldest)
                for writer, number, oldest in connection.execute(
                    "SELECT writer, count(*), min(queued_at) FROM updates WHERE owner = ? GROUP BY writer", asked
                )
            }
            dead = dict(
                connection.execute(
                    "SELECT writer, count(*) FROM dead WHERE owner = ? GROUP BY writer", asked
                ).fetchall()
            )
        writers = [(WriterId.parse(text), text) for text in lags.keys() | waiting.keys() | dead.keys()]
        return [
            WriterDepth(writer, *waiting.get(text, (0, None)), dead.get(text, 0), lags.get(text))
            for writer, text in sorted((writer, text) for writer, text in writers if writer is not None)
        ]

    def dead(self) -> Iterator[DeadUpdate]:
        last = 0
        while self._file.exists():
            with self._file.transaction(writes=False) as connection:  # a long one would make the file grow
                rows = connection.execute(
                    "SELECT position, writer, key, length(value), queued_at, failed_at, attempts, error FROM dead "
                    "WHERE owner = ? AND position > ? ORDER BY position LIMIT ?",
                    (self._owner, last, _PAGE),
                ).fetchall()
            for position, text, *others in rows:
                writer = WriterId.parse(text)
                if writer is not None:
                    yield DeadUpdate(str(position), writer, *others)
            if len(rows) < _PAGE:
                break
            last = rows[-1][0]

    def requeue(self, ids: Sequence[str] | None) -> int:
        return self._dead_removed(ids, requeued=True)

    def drop(self, ids: Sequence[str] | None) -> int:
        return self._dead_removed(ids, requeued=False)

    def set_aside(self, writers: Sequence[WriterId], error: str, *, now: int) -> int:
        if not self._file.exists():
            return 0
        moved = 0
        with self._file.transaction(writes=True, flushed=True) as connection:
            for writer in set(map(str, writers)):
                row = {"owner": self._owner, "writer": writer, "now": now, "failed": 0, "error": error}
                connection.execute(f"{_BURY} WHERE owner = :owner AND writer = :writer", row)
                moved += connection.execute(
                    "DELETE FROM updates WHERE owner = :owner AND writer = :writer", row
                ).rowcount
        return moved

    def close(self) -> None:
        self._file.close()

    def _dead_removed(self, ids: Sequence[str] | None, *, requeued: bool) -> int:
        if not self._file.exists():
            return 0
        ranges = [(0, _LAST_POSITION)] if ids is None else [(position, position) for position in _positions(ids)]
        with self._file.transaction(writes=True, flushed=True) as connection:
            removed = 0
            for first, last in ranges:
                row = {"owner": self._owner, "first": first, "last": last, "now": self._clock()}
                if requeued:
                    connection.execute(_REQUEUE, row)
                removed += connection.execute(_DROP, row).rowcount
            return removed

    def _named(self, taken: Taken, now: int) -> dict[str, object]:
        """Return the parameters that identify an update, for the statements above."""
        return {
            "owner": self._owner,
            "writer": str(taken.writer),
            "key": taken.key,
            "position": taken.position,
            "receipt": taken.receipt,
            "now": now,
        }

    def _queue(self, connection: sqlite3.Connection) -> tuple[str, int, int] | None:
        """Return the identity, the last position and the number of waiting updates."""
        found: tuple[str, int, int] | None = connection.execute(
            "SELECT identity, position, waiting FROM queues WHERE owner = ?", (self._owner,)
        ).fetchone()
        return found

    def _ensured(self, connection: sqlite3.Connection) -> tuple[str, int, int]:
        """Return what `_queue` returns, and give the queue an identity if it has none."""
        found = self._queue(connection)
        if found is None:
            found = _new_identity(), 0, 0
            connection.execute("INSERT INTO queues VALUES (?, ?, ?, ?)", (self._owner, *found))
        return found


def _new_identity() -> str:
    return os.urandom(_IDENTITY_BYTES).hex()


def _positions(ids: Sequence[str]) -> list[int]:
    """Return the positions that ids of dead updates stand for, without those that cannot be."""
    return [int(text) for text in dict.fromkeys(ids) if _POSITION.fullmatch(text)]
