"""Creates and migrates the tables of any database. Loads Alembic only to migrate."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert

from backctl.application.attribution import Attribution
from backctl.domain.audit import genesis
from backctl.domain.errors import DatabaseUnusable
from backctl.domain.events import InstallationCreated, SchemaUpgraded
from backctl.domain.keyring import Key, Keyring
from backctl.domain.quoting import quoted
from backctl.domain.values import EventId, Instant
from backctl.infrastructure.sql import event_log, tables
from backctl.infrastructure.sql.schema import REVISION

if TYPE_CHECKING:
    from alembic.config import Config

_alembic = Lock()
"""Alembic keeps the migration that is running in global variables."""

_SCRIPTS = Path(__file__).with_name("migrations")
VERSIONS = _SCRIPTS / "versions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """The data of a new database: installation id, keyring, and who creates it, why and when."""

    installation_id: str
    keyring: Keyring
    by: Attribution
    now: Instant
    event_id: EventId


@dataclass(frozen=True, slots=True)
class UpgradeRecord:
    """The data of an upgrade event apart from the revisions: which installation, who, why, when and which trace."""

    installation_id: str
    key: Key
    by: Attribution
    now: Instant
    event_id: EventId

    def append(self, connection: Connection, *, old: str, new: str) -> None:
        """Append SchemaUpgraded to the log, in the transaction that migrated the tables to `new`."""
        event_log.append(
            connection,
            [SchemaUpgraded(self.installation_id, old=old, new=new)],
            key=self.key,
            by=self.by,
            now=self.now,
            new_id=lambda: self.event_id,
        )


def require_known(revision: str, path: str | os.PathLike[str], versions: Sequence[Path]) -> None:
    """Raise DatabaseUnusable for an unknown revision: no migration starts from it."""
    from alembic.script import ScriptDirectory

    if revision not in {script.revision for script in ScriptDirectory.from_config(_config(versions)).walk_revisions()}:
        raise DatabaseUnusable(
            f"the database {quoted(os.fspath(path), limit=400)} has the unknown revision {quoted(revision)}",
            hint="restore it from a backup",
        )


def fill(connection: Connection, founding: Founding) -> None:
    """Create every table and start the chain with InstallationCreated, within the connection's transaction."""
    installation_id, start = founding.installation_id, genesis(founding.installation_id)
    migrate(connection, REVISION, (VERSIONS,))
    created_at = int(founding.now)
    connection.execute(insert(tables.installation).values(id=1, installation_id=installation_id, created_at=created_at))
    connection.execute(insert(tables.event_head).values(id=1, seq=start.seq, mac=start.mac))
    event_log.append(
        connection,
        [InstallationCreated(installation_id, keys=founding.keyring.kids())],
        key=founding.keyring.primary("audit"),
        by=founding.by,
        now=founding.now,
        new_id=lambda: founding.event_id,
    )


def migrate(connection: Connection, revision: str, versions: Sequence[Path]) -> None:
    """Run the missing migrations up to `revision`, within the connection's transaction."""
    import logging

    from alembic import command

    # Alembic logs each step at INFO, which a service may write to stderr.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("alembic").addHandler(logging.NullHandler())  # or Python would print its errors to stderr
    config = _config(versions)
    config.attributes["connection"] = connection
    with _alembic:
        command.upgrade(config, revision)


def _config(versions: Sequence[Path]) -> "Config":
    from alembic.config import Config

    config = Config()
    # ConfigParser reads these values and treats a percent sign specially.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(map(str, versions)).replace("%", "%%"))
    return config
