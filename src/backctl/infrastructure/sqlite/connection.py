"""Connects to an SQLite file and reads its stored installation.

Uses only the driver and loads no heavy modules.
"""

import os
import sqlite3
from pathlib import Path

from backctl.domain.errors import DatabaseMissing
from backctl.domain.quoting import quoted
from backctl.infrastructure.sql.dialect import IS_UTF8
from backctl.infrastructure.sql.schema import StoredInstallation, stored_installation
from backctl.infrastructure.sqlite.dialect import SQLITE
from backctl.infrastructure.sqlite.faults import mapped_faults


def connect(
    path: Path,
    *,
    timeout_us: int,
    read_only: bool,
    check_same_thread: bool = True,
    factory: type[sqlite3.Connection] = sqlite3.Connection,
) -> sqlite3.Connection:
    """Open the database at `path`; never create one. Wait up to `timeout_us` microseconds for locks.

    Transactions begin only with an explicit BEGIN. Raises DatabaseMissing, DatabaseUnusable.
    """
    try:
        os.stat(path)
    except FileNotFoundError:
        raise DatabaseMissing(
            f"there is no database at {quoted(os.fspath(path), limit=400)}",
            hint="run '{backctl} init', or check the path",
        ) from None
    except OSError:
        pass  # SQLite reports the error below
    with mapped_faults(path):
        connection = sqlite3.connect(
            uri_of(path, "mode=rw"),
            uri=True,
            timeout=timeout_us / 1_000_000,
            isolation_level=None,
            check_same_thread=check_same_thread,
            factory=factory,
        )
        try:
            connection.create_function(IS_UTF8, 1, _is_utf8, deterministic=True)
            connection.execute("PRAGMA query_only = ON" if read_only else "PRAGMA foreign_keys = ON")
        except sqlite3.Error:
            connection.close()
            raise
    return connection


def read_installation(connection: sqlite3.Connection, path: Path) -> StoredInstallation:
    """Read the stored installation in one statement. Raises DatabaseUnusable when it does not belong to backctl."""
    with mapped_faults(path):
        row = connection.execute(SQLITE.installation).fetchone()
    return stored_installation(row, path)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def uri_of(path: Path, parameters: str) -> str:
    """Return the URI of a database file for SQLite."""
    # https://www.sqlite.org/uri.html §3.1: only these three characters are special in the path of a URI.
    # Do not normalise the path: '..' after a link leads to the parent of the link's target.
    special = os.fspath(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return f"file://{special}?{parameters}"
