"""Results of the services for the installation and its database."""

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True)
class InstallationView:
    """The location and properties of an installation. Paths are absolute; the URL contains no password."""

    database: str
    keyring: str
    installation_id: str
    revision: str
    bcrypt_cost: int


@dataclass(frozen=True, slots=True)
class CheckView:
    """One finding of `doctor`; `check` is a stable name."""

    BELOW: ClassVar = ("finding", "hint")

    check: str
    status: Literal["ok", "warn", "fail"]
    finding: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """The state of a database. Counts and revision are None if there is no database; a server reports no size."""

    database: str
    state: Literal["current", "outdated", "newer", "absent"]
    revision: str | None
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
