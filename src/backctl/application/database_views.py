"""Results of the services for the installation and its database."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from backctl.domain.errors import BackctlError, Unavailable, Unusable
from backctl.domain.values import Instant, UserId


@dataclass(frozen=True, slots=True)
class InstallationView:
    """The location and properties of an installation. Paths are absolute; the URL contains no password."""

    database: str
    keyring: str
    installation_id: str
    revision: str
    bcrypt_cost: int


Failure = Literal["unusable", "unavailable", "unhealthy"]
"""How serious a failed check is: commands cannot work; they may work later; they work, but something is wrong."""


@dataclass(frozen=True, slots=True)
class CheckView:
    """One finding of `doctor`; `check` is a stable name, and `failure` says how serious a failed check is."""

    TABLE: ClassVar = ("check", "status", "finding", "hint")
    BELOW: ClassVar = ("finding", "hint")

    check: str
    status: Literal["ok", "warn", "fail"]
    finding: str
    hint: str | None
    failure: Failure | None

    @classmethod
    def failed(cls, check: str, error: BackctlError) -> "CheckView":
        """Return the finding of a check that raised `error`."""
        return cls(check, "fail", error.message, error.hint, failure_of(error))


def failure_of(error: BackctlError) -> Failure:
    if isinstance(error, Unavailable):
        return "unavailable"
    return "unusable" if isinstance(error, Unusable) else "unhealthy"


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """The state of a database. A count is None at a revision without its table; a server reports no size."""

    database: str
    state: Literal["current", "outdated", "newer"]
    revision: str
    expected_revision: str
    accounts: int | None
    events: int | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class UpgradeView:
    """The revision before and after; `copy_file` is a copy of the old database, if one was made."""

    database: str
    previous_revision: str
    revision: str
    copy_file: str | None


@dataclass(frozen=True, slots=True)
class BackupView:
    """A finished backup: its file as an absolute path, its size, and SHA-256 in hexadecimal."""

    file: str
    size_bytes: int
    sha256: str


Lost = Literal["deleted", "deactivated", "expiry", "role", "password", "second_factor", "recovery_codes"]
"""What a restore has undone for an account: its deletion, its deactivation, an earlier expiry, another role, another
password, a second factor, or that recovery codes were used or replaced."""


@dataclass(frozen=True, slots=True)
class RestoredAccount:
    """An account for which a restore has undone a change of its access that was made since the copy.

    `previous_…` are the values in the replaced database; None for an account that was deleted there. Recovery codes
    that were used or replaced there stay invalid.
    """

    PLURAL: ClassVar = "accounts"
    TABLE: ClassVar = ("username", "undone", "previous_role", "role")
    SPARE: ClassVar = ("role", "previous_role")

    id: UserId
    username: str
    email: str
    undone: tuple[Lost, ...]
    role: str
    is_active: bool
    expires_at: Instant | None
    previous_role: str | None
    previously_active: bool | None
    previous_expires_at: Instant | None


@dataclass(frozen=True, slots=True)
class RestoreView:
    """A database that was replaced by the copy `file`, whose last event is from `last_event_at`.

    `backup_file` is a copy of the replaced database; None if there was none, and in a dry run. `accounts` are those
    whose access has changed back; `lost_accounts` is the number of accounts that only the replaced database had, and
    `lost_usernames` are the first of them. All three are None if the replaced database cannot be compared.

    `commands` are what must be run instead, for a database that has its own tools; the other members are then None.
    """

    database: str
    file: str
    revision: str | None = None
    previous_revision: str | None = None
    last_event_at: Instant | None = None
    revoked_sessions: int | None = None
    backup_file: str | None = None
    lost_accounts: int | None = None
    lost_usernames: tuple[str, ...] | None = None
    accounts: tuple[RestoredAccount, ...] | None = None
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoredView:
    """How many open sessions of an installation ended because its database was replaced by a copy."""

    installation_id: str
    revoked_sessions: int
