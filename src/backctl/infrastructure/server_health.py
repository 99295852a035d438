"""What `doctor` looks at where the database is a server's: the same checks under the same names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backctl.application.ports import HealthProbe
from backctl.domain.values import Instant
from backctl.infrastructure.database.schema import REVISION, require_current
from backctl.infrastructure.health import Finding, Probe, are_private, fail, has_keys, is_costly, is_sane, ok, warn
from backctl.infrastructure.keyed_installation import check_match
from backctl.infrastructure.server_installation import ServerInstallation

_INVALID_INDEXES = """
SELECT indexrelid::regclass::text FROM pg_index
WHERE NOT indisvalid AND indrelid IN ('users'::regclass, 'events'::regclass) ORDER BY 1
"""
_READ_ONLY = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean"
_MOMENTS = """
SELECT (SELECT occurred_at FROM events ORDER BY seq DESC LIMIT 1),
       CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)
"""


def server_probes(
    installation: ServerInstallation, bcrypt_cost: int, config_file: Path | None
) -> tuple[HealthProbe, ...]:
    """The checks of one installation, in the order in which one explains the next."""
    database = _Database(installation)
    keyring = installation.keyring
    return (
        Probe("database.open", database.opens),
        Probe("database.writable", database.takes_changes),
        Probe("database.revision", database.is_current),
        Probe("database.integrity", database.is_whole),
        Probe("files.permissions", lambda: are_private((keyring.parent, keyring), keyring, config_file)),
        Probe("keyring.valid", lambda: has_keys(installation)),
        Probe("keyring.matches", database.has_its_keys),
        Probe("passwords.cost", lambda: is_costly(bcrypt_cost)),
        Probe("clock.sane", database.agrees_with_the_clock),
    )


@dataclass(frozen=True, slots=True)
class _Database:
    installation: ServerInstallation

    def opens(self) -> Finding:
        return ok(f"installation {self.installation.stored().installation_id}")

    def takes_changes(self) -> Finding:
        ((read_only,),) = self._ask(_READ_ONLY)
        if read_only:
            return fail("the server takes no changes: it is a standby or set to read only", "name the primary server")
        return ok("a change can begin")

    def is_current(self) -> Finding:
        stored = self.installation.stored()
        if stored.revision < REVISION:
            finding = f"revision {stored.revision} is older than the {REVISION} of this backctl"
            return warn(finding, "run 'backctl db upgrade'")
        require_current(stored, self.installation.label)
        return ok(f"revision {stored.revision}")

    def is_whole(self) -> Finding:
        invalid = [str(name) for (name,) in self._ask(_INVALID_INDEXES)]
        if invalid:
            return fail(f"an index is invalid: {', '.join(invalid)}", "make it anew with REINDEX")
        return ok("every index is valid; the server itself watches over its pages")

    def has_its_keys(self) -> Finding:
        stored, keyring = self.installation.stored(), self.installation.keys.read()
        check_match(stored, keyring)
        return ok("it holds every audit key the database was written with")

    def agrees_with_the_clock(self) -> Finding:
        now = self.installation.clock()
        ((newest, server),) = self._ask(_MOMENTS)
        latest = [("the server's clock", Instant(server))]
        if newest is not None:
            latest.insert(0, ("the newest event", Instant(newest)))
        return is_sane(now, latest)

    def _ask(self, question: str) -> list[tuple[Any, ...]]:
        database = self.installation.database
        with database.mapped_faults(), database.connect(autocommit=True) as connection:
            database.begin(connection)
            return connection.execute(question).fetchall()
