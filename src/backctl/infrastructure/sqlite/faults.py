"""Converts errors of SQLite's driver to BackctlErrors. The only module that knows its result codes.

Unwraps SQLAlchemy's errors without importing SQLAlchemy, so that the read side does not load it.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EDQUOT, EFBIG, ENOSPC
from typing import TYPE_CHECKING

from backctl.domain.errors import (
    BackctlError,
    DatabaseDamaged,
    DatabaseFull,
    DatabaseLocked,
    DatabaseUnusable,
    DiskFull,
    FolderUnusable,
    OutcomeUnknown,
    exhaustion_of,
)
from backctl.domain.quoting import quoted

if TYPE_CHECKING:
    from backctl.domain.values import EventId

# https://www.sqlite.org/rescode.html. The low byte of an extended code is its primary code.
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_FOREIGN = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
# SQLite reports ENOSPC as FULL. It reports EFBIG, EDQUOT, no space for the shared index of the log, and EIO as one of
# these codes; only a look at the disk can tell them apart.
_UNWRITTEN = {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_CLOSE,
}

_NO_MEMORY = {sqlite3.SQLITE_IOERR_NOMEM, sqlite3.SQLITE_IOERR_SHMMAP}

_ROOM = 64 << 10
"""The bytes that a disk must accept so that it is not full."""

_FOREIGN_SCHEMA = ("no such table", "no such column", "has no column named")

_RESTORE = "restore it from a backup"


@contextmanager
def mapped_faults(path: str | os.PathLike[str]) -> Iterator[None]:
    """Convert the driver's errors about the database at `path` to DatabaseLocked, DatabaseFull or DatabaseUnusable.

    Other errors, such as a violated constraint or a wrong statement, pass unchanged.
    """
    try:
        yield
    except Exception as error:
        fault = fault_of(error, path)
        if fault is None:
            raise
        raise fault from error


@dataclass(frozen=True, slots=True)
class SqliteFaults:
    """Interprets failures for the write side."""

    path: str | os.PathLike[str]

    def fault_of(self, error: Exception) -> BackctlError | None:
        return fault_of(error, self.path)

    def is_lost(self, error: Exception) -> bool:
        """Whether a COMMIT that failed like this may have left the whole transaction in the log file.

        The commit frame is written last. If flushing or publishing it fails, the change is invisible until the log is
        recovered after a crash, and visible from then on. A write that failed for lack of space wrote no frame.
        """
        cause = getattr(error, "orig", error)
        if isinstance(cause, MemoryError):
            return True
        code = getattr(cause, "sqlite_errorcode", None)
        if code is None or code & 0xFF != sqlite3.SQLITE_IOERR:
            return False
        return code != sqlite3.SQLITE_IOERR_WRITE or not _has_no_room(self.path)

    def was_committed(self, event_id: "EventId | None") -> bool:
        """Raise OutcomeUnknown: the outcome cannot be determined."""
        raise OutcomeUnknown(
            f"the disk failed during a change to {_named(self.path)}; it is unknown whether the change was made",
            hint="check the disk, then check whether the change was made before you repeat it",
        )


def fault_of(error: Exception, path: str | os.PathLike[str]) -> BackctlError | None:
    """Convert `error` to a BackctlError; None when the database is not the cause."""
    cause = getattr(error, "orig", error)
    database = _named(path)
    if isinstance(cause, UnicodeDecodeError):  # Python could not decode SQLite's message about the damage
        return DatabaseUnusable(f"{database} is damaged", hint=_RESTORE)
    if not isinstance(cause, sqlite3.Error):
        return None
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        return _fault_without_code(str(cause), database)
    primary = code & 0xFF
    if primary in _LOCKED:
        return DatabaseLocked(
            f"{database} is locked by another process", hint="wait until the other command has finished, and try again"
        )
    if primary == sqlite3.SQLITE_FULL or (code in _UNWRITTEN and _has_no_room(path)):
        return DatabaseFull(
            f"{database} cannot grow: the disk or a quota is full",
            hint="free some space and try again; nothing was changed",
        )
    if code in _UNWRITTEN:
        return DatabaseUnusable(
            f"{database} cannot be written: input/output error ({_name(cause)})",
            hint="check the disk, then run '{backctl} doctor' before you continue",
        )
    if primary in _FOREIGN or (primary == sqlite3.SQLITE_ERROR and str(cause) == "unsupported file format"):
        return DatabaseUnusable(f"{database} is not an SQLite database, or its first page is damaged", hint=_RESTORE)
    if primary == sqlite3.SQLITE_CORRUPT:
        return DatabaseUnusable(f"{database} is damaged", hint=_RESTORE)
    if exhausted := _exhaustion(code):
        return exhausted
    if primary in _UNWRITABLE:
        return DatabaseUnusable(
            f"{database} cannot be opened or written",
            hint="check the owner and the permissions of the file and its folder; "
            "SQLite needs a writable folder even for reading",
        )
    if primary == sqlite3.SQLITE_IOERR:
        return DatabaseUnusable(f"{database} cannot be read: {_name(cause)}", hint=f"check the disk, or {_RESTORE}")
    if primary == sqlite3.SQLITE_ERROR and any(words in str(cause) for words in _FOREIGN_SCHEMA):
        return DatabaseUnusable(f"{database} does not belong to backctl", hint="check the path of the database")
    return None


def fault_of_copy(error: Exception, copy: os.PathLike[str], *, named: os.PathLike[str]) -> BackctlError | None:
    """Convert the error of writing a copy with the final name `named`; None for errors of the original.

    A copy has no log, so errors about the shared index of the log are about the original.
    """
    if not isinstance(error, sqlite3.Error):
        return None
    code = getattr(error, "sqlite_errorcode", 0)
    is_full = code & 0xFF == sqlite3.SQLITE_FULL
    if not is_full and code not in _UNWRITTEN - {sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE}:
        return None
    file = os.fspath(named)
    if is_full or _has_no_room(copy):
        return DiskFull(file)
    return FolderUnusable(
        f"{quoted(file, limit=400)} cannot be written: input/output error ({_name(error)})", hint="check the disk"
    )


def _fault_without_code(message: str, database: str) -> BackctlError | None:
    # Python's module raises this. Its message contains the text, which must not be shown.
    if message.startswith("Could not decode to UTF-8"):
        return DatabaseDamaged(
            f"{database} holds text that is not UTF-8", hint=f"run '{{backctl}} audit verify', then {_RESTORE}"
        )
    return None


def _has_no_room(path: str | os.PathLike[str]) -> bool:
    """Whether the disk, a quota or a process limit prevents the database or its log from growing."""
    import tempfile
    from pathlib import Path

    size = 0
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            size = max(size, os.stat(f"{os.fspath(path)}{suffix}").st_size)
    try:
        with tempfile.TemporaryFile(dir=Path(path).parent) as file:
            os.posix_fallocate(file.fileno(), size, _ROOM)
    except OSError as error:
        return error.errno in (ENOSPC, EDQUOT, EFBIG)
    return False


def _exhaustion(code: int) -> BackctlError | None:
    """Return what this process has run out of. SQLite only reports that it cannot open the database or map its log."""
    if code in _NO_MEMORY:
        return exhaustion_of(MemoryError())
    if code & 0xFF == sqlite3.SQLITE_CANTOPEN:
        try:
            # Open as many files as a database, its log and its index need. Do not open the database itself: closing it
            # would release every lock of this process on it.
            with open(os.devnull), open(os.devnull), open(os.devnull):
                return None
        except OSError as error:
            return exhaustion_of(error)
    return None


def _named(path: str | os.PathLike[str]) -> str:
    return f"the database {quoted(os.fspath(path), limit=400)}"


def _name(cause: sqlite3.Error) -> str:
    return getattr(cause, "sqlite_errorname", "SQLITE_IOERR")
