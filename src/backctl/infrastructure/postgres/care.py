"""Maintains a PostgreSQL database: statistics, checks, upgrades."""

import re
import shlex
from typing import TYPE_CHECKING

from backctl.application.attribution import Attribution
from backctl.application.database_views import BackupView, DatabaseStatus, RestoreView, UpgradeView
from backctl.application.views import Change
from backctl.domain.errors import Hint, UsageError
from backctl.infrastructure.installation import Installation
from backctl.infrastructure.postgres.connection import Driver, PostgresDatabase
from backctl.infrastructure.sql.schema import REVISION

if TYPE_CHECKING:
    from backctl.application.ports.storage import HealthProbe, Restored, Settle


class PostgresCare:
    """Maintains the database of one installation. Connects for each operation and keeps no connection."""

    def __init__(self, installation: Installation, database: PostgresDatabase) -> None:
        self._installation = installation
        self._database = database

    def status(self) -> DatabaseStatus:
        label = self._database.label
        with self._database.mapped_faults(), self._database.connect(autocommit=True) as connection:
            self._database.require_unicode(connection)
            revision = self._database.begin(connection).revision
            return DatabaseStatus(
                label,
                "current" if revision == REVISION else "outdated" if revision < REVISION else "newer",
                revision,
                REVISION,
                _count(connection, "users"),
                _count(connection, "events"),
                None,
            )

    def upgrade(self, *, by: Attribution, dry_run: bool) -> Change[UpgradeView]:
        from backctl.infrastructure.postgres.migrator import upgrade_schema
        from backctl.infrastructure.sql.schema import check_match

        stored, record = self._installation.stored(), None
        if stored.revision < REVISION:
            check_match(stored.audit_kids, self._installation.open_keyring())
            record = self._installation.upgrade_record(stored, by)
        done = upgrade_schema(self._database, record=record, dry_run=dry_run)
        before = REVISION if done is None else done[0]
        return Change(UpgradeView(self._database.label, before, REVISION, None), changed=done is not None)

    def probes(self) -> "tuple[HealthProbe, ...]":
        from backctl.infrastructure.postgres.checks import server_probes

        return server_probes(self._database)

    def back_up(self, file: str) -> BackupView:
        """Raise UsageError, which names the pg_dump command that backs up the database."""
        raise UsageError(
            "a database on a PostgreSQL server is backed up with pg_dump",
            hint=f"{pg_dump(self._database.label, file)}; it reads the password from ~/.pgpass or PGPASSWORD",
        )

    def restore(self, file: str, settle: "Settle", *, by: Attribution, dry_run: bool) -> "Restored":
        from backctl.application.ports.storage import Restored

        self._installation.notice(
            "pg_restore keeps tables that the copy does not have: restore a copy from before an upgrade into a new, "
            "empty database"
        )
        label = self._database.label
        commands = (pg_restore(label, file), Hint("{backctl} db restored"))
        return Restored(Change(RestoreView(label, file, commands=commands), changed=False), ())


def pg_restore(label: str, file: str) -> str:
    """Return the shell command that replaces the database of a redacted URL by the copy `file`. Contains no secrets."""
    options = ("--clean", "--if-exists", "--no-owner", "--single-transaction")
    return shlex.join(("pg_restore", *options, f"--dbname={_without_secrets(label)}", "--", file))


def pg_dump(label: str, file: str) -> str:
    """Return the shell command that backs up the database of a redacted URL to `file`. Contains no secrets."""
    return shlex.join(("pg_dump", "--format=custom", f"--file={file}", f"--dbname={_without_secrets(label)}"))


def _without_secrets(label: str) -> str:
    """Return a redacted URL without its placeholders."""
    location, _, parameters = label.partition("?")
    url = re.sub(r":\*\*\*@", "@", location, count=1)
    shown = "&".join(parameter for parameter in parameters.split("&") if not parameter.endswith("=***"))
    return f"{url}{'?' if shown else ''}{shown}"


def _count(connection: Driver, table: str) -> int | None:
    """Count the rows of a table; None if another schema revision has no such table."""
    row = connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()
    if row is None or row[0] is None:
        return None
    found = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608 - a constant name
    return None if found is None else int(found[0])
