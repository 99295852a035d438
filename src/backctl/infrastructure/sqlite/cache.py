"""The shared store of the cache in a separate SQLite file, for all processes of one machine.

Invalidations are flushed to disk, so that an invalidated entry does not return after a power failure.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from backctl.application.ports.cache import Announced, Begun, Heard, Reading, Swept
from backctl.domain.cache_entry import VERSION_BYTES, Versions
from backctl.domain.glob import parse_glob
from backctl.infrastructure.sqlite.own_file import Contents, OwnFile

_CONTENTS: Final = Contents(
    "a cache",
    1,
    frozenset({"entries", "locks", "versions", "counts", "sqlite_sequence"}),
    """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    key BLOB NOT NULL,
    entry BLOB NOT NULL,
    ends_at INTEGER NOT NULL,
    UNIQUE (owner, key)
);
CREATE INDEX IF NOT EXISTS entries_ends_at ON entries (ends_at);
CREATE TABLE IF NOT EXISTS locks (
    owner TEXT NOT NULL,
    key BLOB NOT NULL,
    token BLOB NOT NULL,
    ends_at INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE TABLE IF NOT EXISTS versions (
    owner TEXT NOT NULL,
    name BLOB NOT NULL,
    version BLOB NOT NULL,
    ends_at INTEGER,
    PRIMARY KEY (owner, name)
);
CREATE INDEX IF NOT EXISTS versions_ends_at ON versions (ends_at);
CREATE TABLE IF NOT EXISTS counts (owner TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (owner, name));
""",
)
_EPOCH, _FENCE, _SEQUENCE, _TAG = b"epoch", b"fence", b"sequence", b"t:"
_STEP: Final = 1000
"""How many entries each step of a sweep reads. Other processes cannot write during a step."""
_SWEPT: Final = 4
"""How many expired rows each completed entry deletes per table: more than it can add."""


class SqliteCache:
    """Stores entries in the file at `path`, which is created on first use, readable only by its owner.

    Works in any thread. `clock` returns microseconds since 1970. Installations can share a file.
    """

    def __init__(self, path: Path, *, installation: str, timeout_us: int, clock: Callable[[], int]) -> None:
        self._file = OwnFile(path, _CONTENTS, timeout_us=timeout_us)
        self._owner = installation
        self._clock = clock

    def read(self, keys: Sequence[bytes], tags: Sequence[Sequence[bytes]]) -> list[Reading]:
        if not self._file.exists():
            return [Reading(None, Versions(None, dict.fromkeys(some))) for some in tags]
        with self._file.transaction(writes=False) as connection:
            epoch = self._version(connection, _EPOCH)
            return [
                Reading(self._entry(connection, key), Versions(epoch, self._tags(connection, some)))
                for key, some in zip(keys, tags, strict=True)
            ]

    def begin(
        self, key: bytes, token: bytes, tags: Sequence[bytes], *, hold_us: int, keep_us: int, take_over: bool = False
    ) -> Begun:
        with self._file.transaction(writes=True) as connection:
            now = self._clock()
            lock = self._lock(connection, key, now, hold_us)
            if take_over:
                connection.execute("DELETE FROM entries WHERE owner = ? AND key = ?", (self._owner, key))
            held = take_over or lock is None
            if held:
                connection.execute(
                    "INSERT INTO locks VALUES (?, ?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET token = excluded.token, ends_at = excluded.ends_at",
                    (self._owner, key, token, now + hold_us),
                )
            epoch, fence = (self._made(connection, name, None) for name in (_EPOCH, _FENCE))
            versions = {tag: self._made(connection, _TAG + tag, now + keep_us) for tag in tags}
            reading = Reading(self._entry(connection, key), Versions(epoch, versions))
            return Begun(held, take_over and lock is not None and lock.startswith(b"w"), fence, reading)

    def complete(self, key: bytes, token: bytes, fence: bytes, entry: bytes, *, ttl_us: int) -> bool:
        with self._file.transaction(writes=True) as connection:
            now = self._clock()
            kept = self._unlocked(connection, key, token, now) and self._version(connection, _FENCE) == fence
            if kept:
                connection.execute(
                    "INSERT INTO entries (owner, key, entry, ends_at) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET entry = excluded.entry, ends_at = excluded.ends_at",
                    (self._owner, key, entry, now + ttl_us),
                )
            for table in ("entries", "versions", "locks"):
                connection.execute(
                    f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE ends_at <= ? LIMIT ?)",  # noqa: S608 - three names
                    (now, _SWEPT),
                )
            return kept

    def release(self, key: bytes, token: bytes) -> None:
        with self._file.transaction(writes=True) as connection:
            self._unlocked(connection, key, token, self._clock())

    def remove(self, keys: Sequence[bytes]) -> tuple[int, Announced]:
        if not self._file.exists():
            return 0, _nothing()
        with self._file.transaction(writes=True, flushed=True) as connection:
            removed = 0
            for key in keys:
                at = (self._owner, key)
                connection.execute("DELETE FROM locks WHERE owner = ? AND key = ?", at)
                removed += connection.execute("DELETE FROM entries WHERE owner = ? AND key = ?", at).rowcount
            return removed, self._announced(connection)

    def announce(self, keys: Sequence[bytes]) -> Announced:
        return self._renewed()[1]

    def renew_tags(self, tags: Sequence[bytes]) -> tuple[int, Announced]:
        return self._renewed(*[_TAG + tag for tag in tags])

    def renew_epoch(self) -> tuple[int, Announced]:
        return self._renewed(_EPOCH)

    def sweep(self, pattern: bytes, *, dry_run: bool) -> Iterator[Swept]:
        glob, place = parse_glob(pattern), 0
        if not self._file.exists():
            return
        if not dry_run:  # processes that are loading a value must not store it after the sweep
            self._renewed(_FENCE)
        while True:
            with self._file.transaction(writes=not dry_run) as connection:
                rows = connection.execute(
                    "SELECT id, key, length(entry) FROM entries WHERE owner = ? AND id > ? ORDER BY id LIMIT ?",
                    (self._owner, place, _STEP),
                ).fetchall()
                found = [(number, size) for number, key, size in rows if glob.matches(key)]
                if not dry_run:
                    connection.executemany("DELETE FROM entries WHERE id = ?", [(number,) for number, _ in found])
            yield Swept(len(found), sum(size for _, size in found))
            if len(rows) < _STEP:
                break
            place = rows[-1][0]
        if not dry_run:
            with self._file.transaction(writes=True, flushed=True) as connection:
                self._announced(connection)

    def keys(self, pattern: bytes) -> Iterator[bytes]:
        glob, last = parse_glob(pattern), b""
        while self._file.exists():
            with self._file.transaction(writes=False) as connection:  # a long one would make the file grow
                found = connection.execute(
                    "SELECT key FROM entries WHERE owner = ? AND key > ? ORDER BY key LIMIT ?",
                    (self._owner, last, _STEP),
                ).fetchall()
            yield from (key for (key,) in found if glob.matches(key))
            if len(found) < _STEP:
                break
            last = found[-1][0]

    def sequence(self) -> bytes:
        with self._file.transaction(writes=False) as connection:
            found = self._version(connection, _SEQUENCE)
        if found is not None:
            return found
        with self._file.transaction(writes=True) as connection:
            return self._version(connection, _SEQUENCE) or self._announced(connection).after

    def listen(self, heard: Heard) -> None:
        """Do nothing: a file cannot send messages, and reading the sequence is fast."""

    def count(self, counts: Mapping[str, int]) -> None:
        with self._file.transaction(writes=True) as connection:
            connection.executemany(
                "INSERT INTO counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET number = number + excluded.number",
                [(self._owner, name, number) for name, number in counts.items()],
            )

    def counts(self) -> dict[str, int]:
        if not self._file.exists():
            return {}
        with self._file.transaction(writes=False) as connection:
            return dict(connection.execute("SELECT name, number FROM counts WHERE owner = ?", (self._owner,)))

    def close(self) -> None:
        self._file.close()

    def _entry(self, connection: sqlite3.Connection, key: bytes) -> bytes | None:
        found = connection.execute(
            "SELECT entry FROM entries WHERE owner = ? AND key = ?", (self._owner, key)
        ).fetchone()
        return None if found is None else found[0]

    def _version(self, connection: sqlite3.Connection, name: bytes) -> bytes | None:
        found = connection.execute(
            "SELECT version FROM versions WHERE owner = ? AND name = ?", (self._owner, name)
        ).fetchone()
        return found[0] if found is not None and isinstance(found[0], bytes) else None

    def _tags(self, connection: sqlite3.Connection, tags: Sequence[bytes]) -> dict[bytes, bytes | None]:
        return {tag: self._version(connection, _TAG + tag) for tag in tags}

    def _made(self, connection: sqlite3.Connection, name: bytes, ends_at: int | None) -> bytes:
        """Return a version, creating it if missing. It lasts until at least `ends_at`; None: it never expires."""
        (version,) = connection.execute(
            "INSERT INTO versions VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET ends_at = max(ends_at, excluded.ends_at) RETURNING version",
            (self._owner, name, os.urandom(VERSION_BYTES), ends_at),
        ).fetchone()
        return bytes(version)

    def _renewed(self, *names: bytes) -> tuple[int, Announced]:
        """Remove versions, which are created again as new ones, and announce it. Return how many there were."""
        if not self._file.exists():
            return 0, _nothing()
        with self._file.transaction(writes=True, flushed=True) as connection:
            removed = connection.executemany(
                "DELETE FROM versions WHERE owner = ? AND name = ?", [(self._owner, name) for name in names]
            )
            return max(0, removed.rowcount), self._announced(connection)

    def _announced(self, connection: sqlite3.Connection) -> Announced:
        before, after = self._version(connection, _SEQUENCE), os.urandom(VERSION_BYTES)
        connection.execute(
            "INSERT INTO versions VALUES (?, ?, ?, NULL) ON CONFLICT DO UPDATE SET version = excluded.version",
            (self._owner, _SEQUENCE, after),
        )
        return Announced(before, after)

    def _lock(self, connection: sqlite3.Connection, key: bytes, now: int, hold_us: int) -> bytes | None:
        """Return the token that holds the lock of a key. Ignores locks from before the clock was set back."""
        found = connection.execute(
            "SELECT token FROM locks WHERE owner = ? AND key = ? AND ends_at > ? AND ends_at <= ?",
            (self._owner, key, now, now + 2 * hold_us),
        ).fetchone()
        return None if found is None else found[0]

    def _unlocked(self, connection: sqlite3.Connection, key: bytes, token: bytes, now: int) -> bool:
        """Unlock a key. False if the token no longer holds its lock."""
        held = connection.execute(
            "DELETE FROM locks WHERE owner = ? AND key = ? AND token = ? AND ends_at > ?",
            (self._owner, key, token, now),
        )
        return held.rowcount > 0


def _nothing() -> Announced:
    """Return the announcement if there is no file; no process then has entries in its memory."""
    return Announced(None, os.urandom(VERSION_BYTES))
