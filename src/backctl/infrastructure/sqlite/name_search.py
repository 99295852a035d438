"""Which accounts have a name that begins so, for completion: whoever pressed TAB must not wait, and is told no error.

Loads the driver and nothing else. Nothing is created, locked or changed: a database that nobody else has open is read
without a lock, one in use from a snapshot of its own.
"""

import os
import sqlite3
from stat import S_ISREG

from backctl.infrastructure.sql.revision import REVISION

LIMIT = 500
"""Names that are read at most: ten times what is offered, for not every name can be."""
_END = 50

_BUSY_SECONDS = 0.1
_STEPS = 100_000
"""Instructions of SQLite's machine in which to answer: a hundred times what a sound database needs."""

_IS_OURS = "SELECT 1 FROM installation WHERE id = 1 AND (SELECT version_num FROM alembic_version) = ?"
# Without a prefix the bounds hold every key that could be offered: those begin with a letter or a digit.
_NAMES = "SELECT {column}, {column}_key FROM users WHERE {column}_key >= ? AND {column}_key < ? ORDER BY {column}_key"

Name = tuple[object, object]
"""A name as its owner writes it and the key under which it is found: bytes, if nobody wrote over them."""


def names_beginning(path: str, prefix: str) -> list[Name]:
    """Usernames, or e-mail addresses where `prefix` holds an "@" or begins no username; in the order of their keys.

    `prefix` is ASCII text as typed. Where more than `LIMIT` names begin so, the very last of them all follow the first.
    Raises sqlite3.Error, or OSError, when there is no database at `path` that this program works with.
    """
    connection = _open(path)
    try:
        if connection.execute(_IS_OURS, (REVISION,)).fetchone() is None:
            return []
        for column in ("email",) if "@" in prefix else ("username", "email"):
            if found := _names(connection, column, prefix.lower()):
                return found
        return []
    finally:
        connection.close()


def _names(connection: sqlite3.Connection, column: str, prefix: str) -> list[Name]:
    bounds = (prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)) if prefix else ("0", "{")
    statement = _NAMES.format(column=column)
    found = connection.execute(f"{statement} LIMIT {LIMIT}", bounds).fetchall()
    if len(found) == LIMIT:
        known = {key for _, key in found}
        end = connection.execute(f"{statement} DESC LIMIT {_END}", bounds).fetchall()
        found += [row for row in reversed(end) if row[1] not in known]
    return found


def _open(path: str) -> sqlite3.Connection:
    file = os.path.realpath(path)
    if not S_ISREG(os.stat(file).st_mode) or os.path.exists(f"{file}-journal"):
        raise OSError(f"{file} is not a cleanly closed database")
    # https://www.sqlite.org/wal.html §8: where the two files beside it exist, nothing is created by reading. Where
    # there is no log, nobody has begun to write: https://www.sqlite.org/uri.html#uriimmutable then needs neither.
    if _size(f"{file}-wal"):
        os.stat(f"{file}-shm")
        mode = "mode=ro"
    else:
        mode = "mode=ro&immutable=1"
    uri = file.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(f"file://{uri}?{mode}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    connection.text_factory = bytes  # what was written past the program may be no text
    connection.set_progress_handler(lambda: 1, _STEPS)
    return connection


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except FileNotFoundError:
        return 0
