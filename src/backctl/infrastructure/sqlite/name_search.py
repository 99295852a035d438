"""Finds account names by prefix, for completion. It must be fast, and callers ignore its errors.

Loads only the driver. Creates, locks and changes nothing: reads a closed database without a lock, and one in use from a
snapshot.
"""

import os
import sqlite3
from stat import S_ISREG

from backctl.infrastructure.sql.revision import REVISION

LIMIT = 500
"""The limit of names to read: ten times the offered number, because some names cannot be offered."""
_END = 50

_BUSY_SECONDS = 0.1
_STEPS = 100_000
"""The limit of SQLite's virtual machine instructions: a hundred times what a sound database needs."""

_IS_OURS = "SELECT 1 FROM installation WHERE id = 1 AND (SELECT version_num FROM alembic_version) = ?"
# Without a prefix, the bounds include every key that can be offered: those begin with a letter or a digit.
_BEGIN, _END_OF_ASCII, _END_OF_ALL = "0", "{", "\U0010ffff"
_NAMES = "SELECT {column}, {column}_key FROM users WHERE {column}_key >= ? AND {column}_key < ? ORDER BY {column}_key"

Name = tuple[object, object]
"""A name in its owner's spelling and its key. Both are bytes, unless someone changed the file."""


def names_beginning(path: str, prefix: str, *, beyond_ascii: bool = False) -> list[Name]:
    """Return usernames with the prefix, or e-mail addresses if `prefix` contains "@" or matches no username.

    Sorted by key. `prefix` is text as typed. If more than `LIMIT` names match, the result has the first ones and the
    very last ones. An empty prefix finds names that begin with ASCII, and with `beyond_ascii` all names. Raises
    sqlite3.Error or OSError without a usable database at `path`.
    """
    connection = _open(path)
    try:
        if connection.execute(_IS_OURS, (REVISION,)).fetchone() is None:
            return []
        for column in ("email",) if "@" in prefix else ("username", "email"):
            if found := _names(connection, column, _bounds(_folded(column, prefix), beyond_ascii=beyond_ascii)):
                return found
        return []
    finally:
        connection.close()


def _folded(column: str, prefix: str) -> str:
    """Return what the key of a name begins with if the name begins with `prefix`."""
    if prefix.isascii():
        return prefix.lower()
    from backctl.domain.values import folded

    return folded(prefix, "NFKC" if column == "username" else "NFC")


def _bounds(prefix: str, *, beyond_ascii: bool) -> tuple[str, str]:
    """Return the first key with this prefix, and the first one after all of them."""
    if prefix:
        return prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)
    return _BEGIN, _END_OF_ALL if beyond_ascii else _END_OF_ASCII


def _names(connection: sqlite3.Connection, column: str, bounds: tuple[str, str]) -> list[Name]:
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
    # https://www.sqlite.org/wal.html §8: if the -wal and -shm files exist, reading creates no files. Without a log,
    # no process is writing, and https://www.sqlite.org/uri.html#uriimmutable needs neither file.
    if _size(f"{file}-wal"):
        os.stat(f"{file}-shm")
        mode = "mode=ro"
    else:
        mode = "mode=ro&immutable=1"
    uri = file.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(f"file://{uri}?{mode}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    connection.text_factory = bytes  # other programs may have written invalid text
    connection.set_progress_handler(lambda: 1, _STEPS)
    return connection


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except FileNotFoundError:
        return 0
