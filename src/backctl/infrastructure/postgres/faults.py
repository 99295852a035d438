"""Converts errors of PostgreSQL and its driver to BackctlErrors. The only module that knows SQLSTATEs.

Unwraps SQLAlchemy's errors without importing SQLAlchemy, so that the read side does not load it.
"""

import os
import re
from errno import EMFILE
from typing import Final

import psycopg

from backctl.domain.errors import (
    BackctlError,
    ConnectionLost,
    DatabaseFull,
    DatabaseLocked,
    DatabaseMissing,
    DatabaseUnavailable,
    DatabaseUnusable,
    InstallationMissing,
    TransactionAborted,
    exhaustion_of,
)
from backctl.domain.quoting import quoted
from backctl.infrastructure.postgres.driver import NoAnswer

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_GIVEN_UP: Final = ("40001", "40P01")  # serialization failure, deadlock
_ENDED: Final = ("57P01", "57P02", "57P05", "25P03", "25P04", "40003")  # by an administrator, a crash, or idle time
_NOT_YET: Final = "57P03"
_LOCKED: Final = "55P03"
_TIMED_OUT: Final = "57014"
_FULL: Final = "53100"
_READ_ONLY: Final = "25006"
_NO_DATABASE: Final = "3D000"
_NO_SCHEMA: Final = ("42P01", "3F000")
_FOREIGN_SCHEMA: Final = ("42703", "42P07", "42710", "42804", "42883")
_NO_RIGHT: Final = "42501"

# While connecting, libpq reports the server's message but not its SQLSTATE. A message in another language matches
# nothing here, and the error is treated as temporary.
_REFUSALS: Final = (
    (r"the database system is (starting up|shutting down|in recovery mode|not (yet )?accepting connections)", _NOT_YET),
    (r"(password|\w+) authentication failed for user|no password supplied|no pg_hba\.conf entry", "28P01"),
    (r"SASL authentication failed", "28P01"),  # PgBouncer
    (r'role ".*" (does not exist|is not permitted to log in)|no such user', "28000"),
    (r'database ".*" does not exist|no such database', _NO_DATABASE),
    (r'permission denied for database "', _NO_RIGHT),
    (r"too many (clients|connections)|remaining connection slots", "53300"),
    (r"session is (not )?read-only|server is (not )?in hot standby mode", _READ_ONLY),
)
_CREATE: Final = "create it with 'createdb', then run '{backctl} init'"

# What libpq, the server or PgBouncer say of parameters and files that stay wrong however often one tries.
_MISCONFIGURED: Final = (
    r"certificate|private key|\bSSL\b|\bTLS\b|GSSAPI|channel binding|definition of service|service file|\binvalid\b"
    r"|unrecognized|unsupported|not supported|authentication|could not match \d+ port|parameter"
)
_BROKEN_TLS: Final = r"SSL SYSCALL|closed unexpectedly|unexpected eof|Connection reset|Broken pipe"


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of a driver error, wrapped by SQLAlchemy or not; None without one."""
    cause = getattr(error, "orig", error)
    if not isinstance(cause, psycopg.Error):
        return None
    if cause.sqlstate is None and isinstance(cause, psycopg.OperationalError):
        text = str(cause)
        return next((state for pattern, state in _REFUSALS if re.search(pattern, text)), None)
    return cause.sqlstate


def is_lost(error: BaseException) -> bool:
    """Whether the connection broke, so that the outcome of the last statement is unknown."""
    cause = getattr(error, "orig", error)
    if not isinstance(cause, psycopg.Error):
        return False
    if isinstance(cause, NoAnswer):
        return True
    state = sqlstate_of(error)
    if state is None:
        return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
    return state[:2] == "08" or state in _ENDED


def connecting_fault(error: psycopg.Error, label: str) -> BackctlError:
    """Convert the error of a failed connection attempt."""
    state = sqlstate_of(error)
    reason = "it did not answer in time" if isinstance(error, psycopg.errors.ConnectionTimeout) else _reason(error)
    if state is not None and state[:2] == "28":
        return DatabaseUnusable(
            f"{_named(label)} rejected the login: {reason}",
            hint="check the user in database.url, the password and pg_hba.conf",
        )
    if state == _NO_DATABASE:
        return DatabaseMissing(f"{_named(label)} does not exist: {reason}", hint=_CREATE)
    if state is not None and (fault := _fault_of_state(state, _named(label))) is not None:
        return fault
    if os.strerror(EMFILE) in str(error) and (exhausted := exhaustion_of(OSError(EMFILE, ""))):
        return exhausted
    unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", str(error))  # without names of hosts, which can be any words
    if re.search(_MISCONFIGURED, unquoted) and not re.search(_BROKEN_TLS, unquoted):
        return DatabaseUnusable(
            f"{_named(label)} cannot be used: {reason}",
            hint="check the parameters of database.url, and the files that they name",
        )
    return DatabaseUnavailable(
        f"{_named(label)} cannot be reached: {reason}",
        hint="check that the server is running and that database.url is correct",
    )


def fault_of(error: BaseException, label: str) -> BackctlError | None:
    """Convert `error` to a BackctlError; None when the database is not the cause."""
    if isinstance(getattr(error, "orig", error), NoAnswer):
        return DatabaseUnavailable(
            f"{_named(label)} stopped answering during the transaction",
            hint="nothing was changed; check the server before you try again",
        )
    if is_lost(error):
        return ConnectionLost(
            f"the connection to {_named(label)} was lost",
            hint="nothing was changed; try again when the server is back",
        )
    state = sqlstate_of(error)
    return None if state is None else _fault_of_state(state, _named(label))


def _fault_of_state(state: str, database: str) -> BackctlError | None:
    if state in _GIVEN_UP:
        return TransactionAborted(
            f"{database} aborted the transaction because another one changed the same rows",
            hint="nothing was changed; try again",
        )
    if state == _LOCKED:
        return DatabaseLocked(
            f"{database} is locked by another transaction",
            hint="wait until the other command has finished, and try again",
        )
    if state == _TIMED_OUT:
        return DatabaseUnavailable(
            f"{database} did not finish a statement in time",
            hint="nothing was changed; try again, or raise database.statement_timeout and --timeout",
        )
    if state == _FULL:
        return DatabaseFull(
            f"the disk of {database} is full", hint="free some space and try again; nothing was changed"
        )
    if state == _NOT_YET or state[:2] in ("08", "53", "57"):
        return DatabaseUnavailable(f"{database} is temporarily unavailable ({state})", hint="try again later")
    return _configuration_fault(state, database)


def no_installation(database: str) -> InstallationMissing:
    return InstallationMissing(
        f"there is no installation in {database}",
        hint="check --profile, --config and database.url, or run '{backctl} init' to create one",
    )


def _configuration_fault(state: str, database: str) -> BackctlError | None:
    """Return the error for a state that does not go away by waiting; None for other states."""
    if state[:2] == "28":
        return DatabaseUnusable(
            f"{database} rejected the login", hint="check the user in database.url, the password and pg_hba.conf"
        )
    if state == _NO_DATABASE:
        return DatabaseMissing(f"{database} does not exist", hint=_CREATE)
    if state in _NO_SCHEMA:
        return no_installation(database)
    if state in _FOREIGN_SCHEMA:
        return DatabaseUnusable(
            f"{database} contains tables of another application with the same names",
            hint="set database.url to a separate database or schema; if pg_restore has restored a copy from before an "
            "upgrade, restore that copy into an empty database instead",
        )
    if state == _NO_RIGHT:
        return DatabaseUnusable(
            f"{database} denies this user the required permission",
            hint="make the user the owner of the tables and their schema",
        )
    if state == _READ_ONLY:
        return DatabaseUnusable(
            f"{database} is read-only",
            hint="set database.url to the primary server, or add target_session_attrs=read-write",
        )
    if state[:2] == "XX" or state == "58030":
        return DatabaseUnusable(f"{database} is damaged ({state})", hint="restore it from a backup")
    return None


def _named(label: str) -> str:
    return f"the database {quoted(label, limit=400)}"


def _reason(error: psycopg.Error) -> str:
    """Return the first line of the last reason, without the server's address. It reveals a host, a user or a file."""
    text = str(error).partition("Multiple connection attempts failed")[0].strip()
    lines = [line for line in text.splitlines() if line.strip()]
    line = next((line for line in reversed(lines) if "failed: " in line), lines[0] if lines else "no reason was given")
    reason = line.rpartition("failed: ")[2].strip()
    for prefix in ("connection is bad: ", "FATAL:"):
        reason = reason.removeprefix(prefix).strip()
    return quoted(reason, limit=400)
