"""Results of the services for the installation and its database."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from backctl.domain.errors import BackctlError, Unavailable, Unusable


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
