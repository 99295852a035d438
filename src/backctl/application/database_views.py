"""What the services answer that look after an installation and its database."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class InstallationView:
    """Where an installation lives and what is there. Paths are absolute; the URL carries no password."""

    database: str
    keyring: str
    installation_id: str
    revision: str
    bcrypt_cost: int


@dataclass(frozen=True, slots=True)
class CheckView:
    """One finding of `doctor`; `check` is a stable name."""

    check: str
    status: Literal["ok", "warn", "fail"]
    finding: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """What a database is and holds. Counts and revision are None where there is none; a server says no size."""

    database: str
    state: Literal["current", "outdated", "newer", "absent"]
    revision: str | None
    expected_revision: str
    accounts: int | None
    events: int | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class UpgradeView:
    """The revision before and after; `copy` is the file that keeps the database as it was, where one was made."""

    database: str
    previous_revision: str
    revision: str
    copy: str | None


@dataclass(frozen=True, slots=True)
class BackupView:
    """A finished copy: its absolute path, its length in bytes and its SHA-256 in hexadecimal."""

    path: str
    size_bytes: int
    sha256: str
