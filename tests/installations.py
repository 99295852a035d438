"""Installations for tests that use no configuration, and the checks of an installation."""

from collections.abc import Callable
from pathlib import Path

from backctl.application.ports.environment import Clock
from backctl.infrastructure.addresses import EmailValidatorParser
from backctl.infrastructure.host import new_id, now
from backctl.infrastructure.installation import Dependencies
from backctl.infrastructure.keyring.file import KeyFile
from backctl.infrastructure.keyring.store import KeyringStore
from backctl.infrastructure.sqlite.installation import SqliteInstallation

HEALTH_CHECKS = [
    "database.open",
    "database.writable",
    "database.revision",
    "database.integrity",
    "files.permissions",
    "keyring.valid",
    "keyring.matches",
    "passwords.cost",
    "clock.sane",
    "tokens.issuable",
]
"""What an installation contributes to `doctor`, in this order."""


def sqlite_installation(
    database: Path,
    keyring: Path | KeyringStore,
    *,
    fresh_allowed: bool = True,
    timeout_us: int = 0,
    notice: Callable[[str], None] = lambda text: None,
    clock: Clock = now,
    bcrypt_cost: int = 4,
) -> SqliteInstallation:
    """Return an embedded installation. `keyring` is the path of the keyring file, or the keyring source itself."""
    keys = KeyFile(keyring) if isinstance(keyring, Path) else keyring
    dependencies = Dependencies(
        keys=lambda: keys,
        notice=notice,
        clock=clock,
        new_id=new_id,
        addresses=EmailValidatorParser(),
        bcrypt_cost=bcrypt_cost,
    )
    return SqliteInstallation(database, dependencies, fresh_allowed=fresh_allowed, timeout_us=timeout_us)
