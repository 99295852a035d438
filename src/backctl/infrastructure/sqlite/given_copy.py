"""Reads a copy of a database that a person named, as a private file that was checked. The named file is not changed."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backctl.domain.audit import MAC_BYTES, Head
from backctl.domain.errors import (
    BackctlError,
    DatabaseDamaged,
    DatabaseFull,
    DatabaseUnusable,
    DiskFull,
    Hint,
    InvalidInput,
    KeyNotFound,
    KeyringMismatch,
    SchemaOutdated,
)
from backctl.domain.quoting import quoted
from backctl.domain.values import Instant
from backctl.infrastructure.files import durable
from backctl.infrastructure.files.regular import Unreadable, open_regular
from backctl.infrastructure.sql.rows import HEAD
from backctl.infrastructure.sql.schema import StoredInstallation, require_current
from backctl.infrastructure.sqlite.connection import connect, read_installation
from backctl.infrastructure.sqlite.faults import mapped_faults
from backctl.staged_files import write_all
from backctl.trusted_paths import Place

if TYPE_CHECKING:
    from backctl.domain.keyring import Keyring

_BLOCK = 1 << 20
_OTHER_BACKUP = "use another backup"
_LAST = "SELECT seq, mac FROM events ORDER BY seq DESC LIMIT 1"
_TRIGGERS = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
_KEYS = (
    ("mfa_secrets", "SELECT DISTINCT kid FROM mfa_secrets"),
    ("recovery_codes", "SELECT DISTINCT kid FROM recovery_codes WHERE used_at IS NULL"),
)
"""The keys that rows need, by table, apart from the audit keys. Older revisions have fewer tables."""


@dataclass(frozen=True, slots=True)
class GivenCopy:
    """The private file `path` with the content of the file `shown`, and what that contains.

    `triggers` are the statements that create its triggers, which are removed until `restore_triggers`.
    """

    path: Path
    shown: str
    stored: StoredInstallation
    head: Head
    last_event_at: Instant | None
    triggers: tuple[str, ...]

    def restore_triggers(self) -> None:
        with self.named(), closing(connect(self.path, timeout_us=0, read_only=False)) as connection:
            for statement in self.triggers:
                connection.execute(statement)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Let errors name the file that the person knows. Raises DatabaseUnusable for one that cannot be changed."""
        with _named(self.path, self.shown):
            yield


def read_copy(file: str, place: Place, *, database: Path, keyring: "Keyring") -> GivenCopy:
    """Copy the file into the private place and check that it is whole and that the keyring fits.

    `database` is the file that it will replace. Ignores a log next to the file: anyone who can write to its folder
    could have put it there. Raises InvalidInput, DatabaseUnusable, SchemaTooNew, KeyringMismatch, DiskFull,
    FolderUnusable.
    """
    _copy_bytes(file, place, database)
    with _named(place.path, file), _other_hint():
        copy = _checked(place.path, file, keyring)
        _remove_triggers(place.path)
    return copy


def require_schema(copy: GivenCopy, *, timeout_us: int) -> tuple[str, ...]:
    """Check a copy that has the current revision. Return what is wrong with its accounts and its event log.

    Raises DatabaseUnusable unless it has the expected schema.
    """
    from backctl.infrastructure.sqlite.checks import file_probes

    flaws = list[str]()
    with copy.named(), _other_hint():
        for probe in file_probes(copy.path, timeout_us=timeout_us):
            if probe.check.startswith("schema.") or probe.check in ("contents.accounts", "contents.events"):
                found = probe.examine()
                if found.status == "fail" and probe.check.startswith("schema."):
                    raise _damaged(copy.shown, found.finding)
                flaws += [found.finding] if found.status == "fail" else []
    return tuple(flaws)


def _copy_bytes(file: str, place: Place, database: Path) -> None:
    named = quoted(file, limit=400)
    with suppress(OSError, ValueError):
        # Compare before the file is opened: closing it would release the locks of this process on the database.
        if os.path.samefile(file, database):
            raise InvalidInput(f"{named} is the database itself", hint="name a copy of it")
    try:
        source = open_regular(file)
    except Unreadable as error:
        raise InvalidInput(f"the file {named} cannot be read: {error}", hint="check the path of the backup") from None
    with open(source, "rb", buffering=0) as content:
        _require_no_log(file)
        try:
            target = durable.open_new(place.name, folder=place.folder)
        except OSError as error:
            raise durable.unusable(database.parent, OSError(error.errno, error.strerror)) from None
        try:
            while block := _read(content.fileno(), named):
                try:
                    write_all(target, block)
                except OSError as error:
                    raise durable.unusable(database.parent, OSError(error.errno, error.strerror)) from None
        finally:
            os.close(target)


def _read(descriptor: int, named: str) -> bytes:
    try:
        return os.read(descriptor, _BLOCK)
    except OSError as error:
        raise InvalidInput(f"the file {named} cannot be read: {error.strerror}", hint=_OTHER_BACKUP) from None


def _require_no_log(file: str) -> None:
    """Raise DatabaseUnusable for a file with a log: without it, the newest changes could be missing."""
    real = os.path.realpath(file)
    for suffix in ("-wal", "-journal"):
        with suppress(FileNotFoundError):
            if os.stat(f"{real}{suffix}").st_size:
                raise DatabaseUnusable(
                    f"{quoted(file, limit=400)} is not a finished copy: its newest changes may be in "
                    f"{quoted(f'{real}{suffix}', limit=400)}",
                    hint="remove that file if you do not trust it; otherwise set database.url to the copy and make a "
                    "finished one with '{backctl} db backup'",
                )


def _checked(path: Path, shown: str, keyring: "Keyring") -> GivenCopy:
    named = Path(shown)
    with mapped_faults(path), closing(connect(path, timeout_us=0, read_only=True)) as connection:
        connection.execute("PRAGMA cell_size_check = ON")
        stored = read_installation(connection, named)
        found = [str(text) for (text,) in connection.execute("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise _damaged(shown, "; ".join(found))
        if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise _damaged(shown, "rows refer to rows that do not exist")
        if connection.execute("PRAGMA encoding").fetchone() != ("UTF-8",):
            raise _damaged(shown, "its encoding is not UTF-8")
        try:
            require_current(stored, named)
        except SchemaOutdated:
            _require_known(stored.revision, named)
        _require_keys(connection, stored, keyring, shown)
        head = head_of(connection)
        if head is None:
            raise _damaged(shown, "its event log has no head")
        if connection.execute(_LAST).fetchone() != head:
            raise _damaged(shown, "the head of its event log does not match the last event")
        triggers = tuple(str(statement) for _, statement in connection.execute(_TRIGGERS))
        return GivenCopy(path, shown, stored, head, _time_of(connection, head), triggers)


def _remove_triggers(path: Path) -> None:
    """Remove all triggers, which would otherwise act while sessions are ended, and could undo it."""
    with mapped_faults(path), closing(connect(path, timeout_us=0, read_only=False)) as connection:
        for name, _ in connection.execute(_TRIGGERS).fetchall():
            connection.execute('DROP TRIGGER "{}"'.format(str(name).replace('"', '""')))


def _require_known(revision: str, named: Path) -> None:
    from backctl.infrastructure.sql.migrator import VERSIONS, require_known

    require_known(revision, named, (VERSIONS,))


def _require_keys(connection: sqlite3.Connection, stored: StoredInstallation, keyring: "Keyring", shown: str) -> None:
    """Raise KeyringMismatch for a key that rows need and the keyring lacks."""
    if not stored.audit_kids:
        raise _damaged(shown, "it names no audit keys")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    needed: list[str] = [*sorted(stored.audit_kids)]
    for table, statement in _KEYS:
        if table in tables:
            needed += sorted(str(kid) for (kid,) in connection.execute(statement))
    for kid in needed:
        try:
            keyring.get(kid)
        except KeyNotFound as error:
            raise KeyringMismatch(
                f"the copy {quoted(shown, limit=400)} needs a key that the keyring does not have: {error.message}",
                hint="restore the keyring that was used with this copy",
            ) from None


def head_of(connection: sqlite3.Connection) -> Head | None:
    """Return the end of the event log; None if the database has none."""
    match connection.execute(HEAD).fetchone():
        case (int(seq), bytes(mac)) if seq >= 0 and len(mac) == MAC_BYTES:
            return Head(seq, mac)
    return None


def _time_of(connection: sqlite3.Connection, head: Head) -> Instant | None:
    row = connection.execute("SELECT occurred_at FROM events WHERE seq = ?", (head.seq,)).fetchone()
    try:
        return None if row is None else Instant(row[0])
    except (ValueError, TypeError):
        return None


def _damaged(shown: str, why: str) -> DatabaseUnusable:
    return DatabaseUnusable(f"the copy {quoted(shown, limit=400)} cannot be used: {why}", hint=_OTHER_BACKUP)


@contextmanager
def _named(path: Path, shown: str) -> Iterator[None]:
    try:
        yield
    except DatabaseFull:  # the private file cannot grow
        raise DiskFull(str(path.parent.parent)) from None
    except DatabaseDamaged as error:
        raise _damaged(shown, error.message) from None
    except BackctlError as error:
        private, known = (quoted(text, limit=400) for text in (str(path), shown))
        error.message = error.message.replace(private, known)
        error.args = (error.message,)
        raise
    except Exception as error:
        cause = getattr(error, "orig", error)  # SQLAlchemy's errors contain the driver's
        if not isinstance(cause, sqlite3.Error):
            raise
        raise _damaged(shown, f"SQLite reports {quoted(str(cause))}") from error


@contextmanager
def _other_hint() -> Iterator[None]:
    """Replace the advice for an unusable database, to restore it from a backup."""
    try:
        yield
    except DatabaseUnusable as error:
        error.hint = Hint(_OTHER_BACKUP)
        raise
