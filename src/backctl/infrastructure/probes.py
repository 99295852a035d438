"""What `doctor` looks at. Nothing here changes anything, and a machine without an installation is healthy."""

import glob
import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from backctl.application.database_views import CheckView
from backctl.application.keys import ROTATING
from backctl.application.ports import HealthProbe
from backctl.domain.errors import BackctlError, quoted
from backctl.domain.values import Instant
from backctl.infrastructure.files import durable
from backctl.infrastructure.sql.installation import KeyedInstallation, check_match
from backctl.infrastructure.sqlite.installation import Installation

_LOWEST_COST = 10  # OWASP Password Storage Cheat Sheet: a work factor of 10 or more
_TOLERANCE_US = 5 * 60 * 1_000_000  # clocks of machines that share a database may differ by so much
_CRYPTOPERIOD_US = 365 * 86_400_000_000  # NIST SP 800-57 part 1 §5.3.6: one to two years for what signs or encrypts
_RELEASED = Instant.parse("2026-01-01")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check says."""

    status: Literal["ok", "warn", "fail"]
    text: str
    hint: str | None


_NOTHING = Finding("warn", "nothing was created yet", "the first account creates it, or run 'backctl init'")
UNOPENED = Finding("warn", "not checked, for the database does not open", None)


@dataclass(frozen=True, slots=True)
class Probe:
    """One check under its stable name."""

    check: str
    look: Callable[[], Finding]

    def examine(self) -> CheckView:
        """The finding. Raises BackctlError when the part is unusable; anything the system refuses is a failure."""
        try:
            found = self.look()
        except (OSError, OverflowError) as error:  # a time beyond the calendar is one that was never written
            return CheckView(self.check, "fail", _reason(error), None)
        return CheckView(self.check, found.status, found.text, found.hint)


def probes(
    installation: Installation, bcrypt_cost: int, leeway: int, config_file: Path | None
) -> tuple[HealthProbe, ...]:
    """The checks of one installation, in the order in which one explains the next.

    `leeway` is how far ahead a token may be dated, in microseconds.
    """
    database = _Database(installation)
    return (
        Probe("database.open", database.opens),
        Probe("database.writable", database.takes_changes),
        Probe("database.revision", database.is_current),
        Probe("database.integrity", database.is_whole),
        Probe("files.permissions", lambda: are_private(_files(installation), installation.keyring, config_file)),
        Probe("keyring.valid", lambda: has_keys(installation)),
        Probe("keyring.matches", database.has_its_keys),
        Probe("passwords.cost", lambda: is_costly(bcrypt_cost)),
        Probe("clock.sane", database.agrees_with_the_clock),
        Probe("tokens.issuable", lambda: database.issues_tokens(leeway)),
    )


def selected_profile(name: str, origin: str, database: str, protected: bool) -> HealthProbe:
    """Says what the other checks look at. `database` is shown as it is."""
    chosen = f"profile {quoted(name)} ({origin}{', protected' if protected else ''})" if name else "no profile"
    return Probe("profile.selected", lambda: ok(f"{chosen}: {quoted(database, limit=400)}"))


@dataclass(frozen=True, slots=True)
class _Database:
    installation: Installation

    def opens(self) -> Finding:
        if self.installation.is_fresh:
            return _NOTHING
        return ok(f"installation {self.installation.stored().installation_id}")

    def takes_changes(self) -> Finding:
        if self.installation.is_fresh:
            durable.require_writable(self.installation.database.parent)
            return _NOTHING
        if (unknown := self._nothing_to_check()) is not None:
            return unknown
        from backctl.infrastructure.sqlite.connection import connect

        writing = connect(self.installation.database, timeout_us=self.installation.timeout_us, read_only=False)
        with closing(writing) as connection, self._faults():
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        return ok("a change can begin")

    def _nothing_to_check(self) -> Finding | None:
        """What to say where there is no database to look at; `database.open` tells why."""
        if self.installation.is_fresh:
            return _NOTHING
        try:
            self.installation.stored()
        except BackctlError:
            return UNOPENED
        return None

    def is_current(self) -> Finding:
        from backctl.infrastructure.sql.schema import REVISION, require_current

        if (unknown := self._nothing_to_check()) is not None:
            return unknown
        stored = self.installation.stored()
        if stored.revision < REVISION:
            finding = f"revision {stored.revision} is older than the {REVISION} of this backctl"
            return warn(finding, "the next command that opens it makes a copy and migrates it")
        require_current(stored, self.installation.database)
        return ok(f"revision {stored.revision}")

    def is_whole(self) -> Finding:
        if (unknown := self._nothing_to_check()) is not None:
            return unknown
        restore = "restore it from a backup"
        with closing(self._connection()) as connection, self._faults():
            found = [str(text) for (text,) in connection.execute("PRAGMA integrity_check(10)")]
            if found != ["ok"]:
                return fail(f"the database is damaged: {'; '.join(found)}", restore)
            orphans = sum(1 for _ in connection.execute("PRAGMA foreign_key_check"))
        if orphans:
            return fail(f"{orphans} rows refer to rows that do not exist", restore)
        return ok("every page, index and reference is in order")

    def has_its_keys(self) -> Finding:
        if (unknown := self._nothing_to_check()) is not None:
            return unknown
        stored, keyring = self.installation.stored(), self.installation.keys.read()
        check_match(stored.audit_kids, keyring)
        return ok("it holds every audit key the database was written with")

    def agrees_with_the_clock(self) -> Finding:
        latest = self._latest() if self._nothing_to_check() is None else []
        return is_sane(self.installation.clock(), latest)

    def _latest(self) -> list[tuple[str, Instant]]:
        with closing(self._connection()) as connection, self._faults():
            row = connection.execute("SELECT occurred_at FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        found = [("the database file", Instant(self.installation.database.stat().st_mtime_ns // 1000))]
        if row is not None and isinstance(row[0], int):
            found.insert(0, ("the newest event", Instant(row[0])))
        return found

    def issues_tokens(self, leeway: int) -> Finding:
        if (unknown := self._nothing_to_check()) is not None:
            return unknown
        now = self.installation.clock()
        with closing(self._connection()) as connection, self._faults():
            barred, ahead = (connection.execute(question).fetchall() for question in dated_ahead(now, leeway))
        return is_issuable(barred, ahead)

    def _connection(self) -> sqlite3.Connection:
        from backctl.infrastructure.sqlite.connection import connect

        return connect(self.installation.database, timeout_us=self.installation.timeout_us, read_only=True)

    def _faults(self) -> AbstractContextManager[None]:
        from backctl.infrastructure.sqlite.faults import mapped_faults

        return mapped_faults(self.installation.database)


def are_private(paths: Sequence[Path], keyring: Path, config_file: Path | None) -> Finding:
    """Folder 0700, files 0600, all of them this user's or root's, and the configuration in a folder nobody else writes.

    No folder on the way to them, links followed, lets everybody replace what is there. Whatever others can read or
    change is a failure, the rest of the excess a warning.
    """
    exposed: list[str] = []
    loose: list[str] = []
    for path, status in _present(paths):
        shared = status.st_mode & 0o077
        if path == keyring and not shared & 0o007:
            continue  # `keyring.valid` judges the rest, by the rule that every command follows
        if stranger := _owned_by_a_stranger(path, status):
            exposed.append(stranger)
        if _is_writable_folder(status) or (not stat.S_ISDIR(status.st_mode) and shared & 0o027):
            exposed.append(_with_mode(path, status))
        elif shared:
            loose.append(_with_mode(path, status))
    if config_file is not None:
        for path, status in _present([config_file.parent, config_file]):
            if stranger := _owned_by_a_stranger(path, status):
                exposed.append(stranger)
            if _is_writable_folder(status) or (not stat.S_ISDIR(status.st_mode) and status.st_mode & 0o022):
                exposed.append(_with_mode(path, status))
    for path, status in _present(_on_the_way([*paths, config_file] if config_file else paths)):
        if _is_writable_folder(status) and status.st_mode & stat.S_IWOTH and _with_mode(path, status) not in exposed:
            exposed.append(_with_mode(path, status))
    hint = "chmod 700 the folder, chmod 600 its files, chmod go-w the configuration and its folder; chown them to"
    hint = f"{hint} user {os.geteuid()}"
    if exposed:
        return fail(f"others can read or change what is not theirs: {'; '.join(exposed + loose)}", hint)
    if loose:
        return warn(f"more open than need be: {'; '.join(loose)}", hint)
    return ok("nobody else can read or change anything")


def _on_the_way(paths: Iterable[Path]) -> list[Path]:
    """Every folder through which one of the paths leads in the end."""
    return sorted({folder for path in paths for folder in Path(os.path.realpath(path)).parents})


def _owned_by_a_stranger(path: Path, status: os.stat_result) -> str | None:
    return None if status.st_uid in (0, os.geteuid()) else f"{path} belongs to user {status.st_uid}"


def _is_writable_folder(status: os.stat_result) -> bool:
    """Whether others may replace what is in a folder."""
    mode = status.st_mode
    return stat.S_ISDIR(mode) and bool(mode & 0o022) and not mode & stat.S_ISVTX


def _with_mode(path: Path, status: os.stat_result) -> str:
    return f"{path} has mode {status.st_mode & 0o7777:04o}"


def _files(installation: Installation) -> list[Path]:
    database, keyring = installation.database, installation.keyring
    paths = [database.parent, database]
    paths += [database.with_name(database.name + suffix) for suffix in ("-wal", "-shm", "-journal")]
    paths += sorted(database.parent.glob(f"{glob.escape(database.name)}.*.bak"))
    return [*(() if installation.given is not None else (keyring.parent, keyring)), *paths]


def _present(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Those that exist."""
    for path in paths:
        with suppress(FileNotFoundError):
            yield path, path.stat()


def has_keys(installation: KeyedInstallation) -> Finding:
    if installation.is_fresh and not installation.has_keyring():
        return _NOTHING
    ring, now = installation.keys.read(), installation.clock()
    if installation.keys.has_unfinished_change():
        return warn(
            "a change of the keyring was interrupted", "the next change finishes it, such as: backctl key rotate"
        )
    for purpose in ROTATING:
        if ring.due(purpose, _CRYPTOPERIOD_US, now):
            finding = f"the key {ring.primary(purpose).kid} has been in use for more than a year"
            return warn(finding, "backctl key rotate replaces it; cron runs it every day")
    return ok(f"{len(ring.keys)} keys, one of each purpose in use")


def is_costly(bcrypt_cost: int) -> Finding:
    if bcrypt_cost < _LOWEST_COST:
        finding = f"passwords are hashed at bcrypt cost {bcrypt_cost}, below {_LOWEST_COST}"
        return warn(finding, "backctl init --calibrate finds the cost that suits this machine")
    return ok(f"bcrypt cost {bcrypt_cost}")


def is_sane(now: Instant, latest: Iterable[tuple[str, Instant]]) -> Finding:
    """Whether the clock is past this program's making, and past whatever was recorded last."""
    if now < _RELEASED:
        return fail(f"the clock says {now}, before this program was written", "set the clock")
    for what, moment in latest:
        if moment > now + _TOLERANCE_US:
            return warn(f"the clock says {now}, but {what} is from {moment}", "set the clock")
    return ok(f"the clock says {now}")


def dated_ahead(now: Instant, leeway: int) -> tuple[str, str]:
    """Two statements: the issuers whose tokens were all revoked as of a later moment, and how many sessions are from
    such a moment. Both databases read them."""
    limit = now + leeway
    return (
        f"SELECT issuer, not_before FROM token_issuers WHERE not_before > {limit}",  # noqa: S608 - a number
        f"""
        SELECT count(*) FROM sessions
        WHERE revoked_at IS NULL AND expires_at > {int(now)} AND (created_at > {limit} OR not_before > {limit})
        """,  # noqa: S608 - numbers
    )


def is_issuable(barred: Sequence[Sequence[Any]], ahead: Sequence[Sequence[Any]]) -> Finding:
    """Whether a token issued now would be valid now, from the answers to `dated_ahead`."""
    if barred:
        issuer, moment = barred[0]
        return fail(
            f"all tokens of {quoted(issuer)} were revoked under a clock that was ahead: none is issued before "
            f"{Instant(moment)}",
            "check the clock, then run 'backctl token revoke --all' again",
        )
    if count := ahead[0][0]:
        return warn(
            f"a clock was ahead when {count} sessions were opened or their accounts' roles changed: they get no tokens",
            "let their owners log in again, or end all sessions with 'backctl token revoke --all'",
        )
    return ok("tokens issued now are valid now")


def _reason(error: OSError | OverflowError) -> str:
    if isinstance(error, OverflowError):
        return "a recorded time is out of range"
    reason = (error.strerror or str(error)).lower()
    return f"{quoted(error.filename, limit=400)}: {reason}" if isinstance(error.filename, str) else reason


def ok(finding: str) -> Finding:
    return Finding("ok", finding, None)


def warn(finding: str, hint: str) -> Finding:
    return Finding("warn", finding, hint)


def fail(finding: str, hint: str) -> Finding:
    return Finding("fail", finding, hint)
