"""What every command asks of a database before it uses it: is it ours, whose is it, and of which revision.

Speaks to the driver alone and loads nothing heavy.
"""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from backctl.domain.errors import DatabaseMissing, DatabaseUnusable, SchemaOutdated, SchemaTooNew, quoted
from backctl.infrastructure.database import revision as stored_revision
from backctl.infrastructure.database.faults import mapped_faults

REVISION = stored_revision.REVISION

_INSTALLATION = """
SELECT (SELECT version_num FROM alembic_version), installation_id, (SELECT group_concat(kid, ' ') FROM audit_keys)
FROM installation WHERE id = 1
"""
INSTALLATION_ON_POSTGRES = _INSTALLATION.replace("group_concat", "string_agg").strip()


@dataclass(frozen=True, slots=True)
class StoredInstallation:
    """What a database says about itself. `audit_kids` are the audit keys its events were written with."""

    installation_id: str
    revision: str
    audit_kids: tuple[str, ...]


def connect(path: Path, *, timeout_us: int, read_only: bool, check_same_thread: bool = True) -> sqlite3.Connection:
    """Open the database at `path`; never create one. Locks are waited for `timeout_us` microseconds.

    Transactions begin when told so and not by themselves. Raises DatabaseMissing, DatabaseUnusable.
    """
    try:
        os.stat(path)
    except FileNotFoundError:
        raise DatabaseMissing(
            f"there is no database at {quoted(os.fspath(path), limit=400)}",
            hint="run 'backctl init', or check the path",
        ) from None
    except OSError:
        pass  # SQLite's own words about the path follow
    with mapped_faults(path):
        connection = sqlite3.connect(
            f"file://{_uri_path(path)}?mode=rw",
            uri=True,
            timeout=timeout_us / 1_000_000,
            isolation_level=None,
            check_same_thread=check_same_thread,
        )
        try:
            connection.execute("PRAGMA query_only = ON" if read_only else "PRAGMA foreign_keys = ON")
        except sqlite3.Error:
            connection.close()
            raise
    return connection


def read_installation(connection: sqlite3.Connection, path: Path) -> StoredInstallation:
    """Ask the database about itself, in one statement. Raises DatabaseUnusable when it is not one of ours."""
    with mapped_faults(path):
        row = connection.execute(_INSTALLATION).fetchone()
    return stored_installation(row, path)


def stored_installation(row: object, path: str | os.PathLike[str]) -> StoredInstallation:
    """What the row of the statement above says. Raises DatabaseUnusable when that is nothing."""
    match row:
        case (str(revision), str(installation_id), str() | None as kids):
            return StoredInstallation(installation_id, revision, tuple((kids or "").split()))
    raise DatabaseUnusable(
        f"the database {quoted(os.fspath(path), limit=400)} does not say which installation it belongs to",
        hint="restore it from a backup",
    )


def require_current(stored: StoredInstallation, path: str | os.PathLike[str], *, revision: str = REVISION) -> None:
    """Raises SchemaOutdated or SchemaTooNew when the database has another revision than this program works with."""
    if stored.revision == revision:
        return
    described = f"the database {quoted(os.fspath(path), limit=400)} has revision {quoted(stored.revision)}"
    if stored.revision > revision:
        raise SchemaTooNew(
            f"{described}, newer than the {quoted(revision)} of this backctl", hint="install a newer backctl"
        )
    raise SchemaOutdated(
        f"{described}, older than the {quoted(revision)} of this backctl", hint="run 'backctl db upgrade'"
    )


def _uri_path(path: Path) -> str:
    # https://www.sqlite.org/uri.html §3.1: these three have a meaning in the path of a URI, all others stand for
    # themselves.
    # Joined, not normalised: '..' behind a link leads elsewhere than its text says.
    return os.path.join(os.getcwd(), path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
