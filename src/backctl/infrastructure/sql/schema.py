"""Checks before a database is used: whether it belongs to backctl, to which installation, and its revision.

Uses no driver and loads no heavy modules.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backctl.domain.errors import DatabaseUnusable, KeyringMismatch, SchemaOutdated, SchemaTooNew
from backctl.domain.quoting import quoted
from backctl.infrastructure.sql import revision as stored_revision

if TYPE_CHECKING:
    from backctl.domain.keyring import Keyring

REVISION = stored_revision.REVISION


@dataclass(frozen=True, slots=True)
class StoredInstallation:
    """The identity and revision stored in a database. `audit_kids` are the kids of its audit keys."""

    installation_id: str
    revision: str
    audit_kids: tuple[str, ...]


def stored_installation(row: object, path: str | os.PathLike[str]) -> StoredInstallation:
    """Parse the row that `Dialect.installation` selects. Raises DatabaseUnusable when the row is incomplete."""
    match row:
        case (str(revision), str(installation_id), str() | None as kids):
            return StoredInstallation(installation_id, revision, tuple((kids or "").split()))
    raise DatabaseUnusable(
        f"the database {quoted(os.fspath(path), limit=400)} does not say which installation it belongs to",
        hint="restore it from a backup",
    )


def require_current(stored: StoredInstallation, path: str | os.PathLike[str], *, revision: str = REVISION) -> None:
    """Raise SchemaOutdated or SchemaTooNew unless the database has the revision that this program requires."""
    if stored.revision == revision:
        return
    described = f"the database {quoted(os.fspath(path), limit=400)} has revision {quoted(stored.revision)}"
    if stored.revision > revision:
        raise SchemaTooNew(
            f"{described}, newer than revision {quoted(revision)} of this backctl", hint="install a newer backctl"
        )
    raise SchemaOutdated(
        f"{described}, older than revision {quoted(revision)} of this backctl", hint="run '{backctl} db upgrade'"
    )


def check_match(kids: Sequence[str], keyring: "Keyring") -> None:
    """Raise KeyringMismatch if the keyring lacks an audit key that the database names.

    Raises DatabaseUnusable if it names none: every database is created with one, so it was tampered with.
    """
    if not kids:
        raise DatabaseUnusable("the database names no audit keys", hint="restore it from a backup")
    lacking = sorted(set(kids) - set(keyring.secrets("audit")))
    if lacking:
        raise KeyringMismatch(
            f"the keyring belongs to another installation: it lacks the audit key {quoted(lacking[0])}",
            hint="configure the keyring that was created with this database, or restore it from a backup",
        )
