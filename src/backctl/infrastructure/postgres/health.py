"""What `doctor` looks at where the database is a server's: the same checks under the same names."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backctl.application.ports import HealthProbe
from backctl.domain.errors import BackctlError
from backctl.domain.values import Instant
from backctl.infrastructure.postgres.installation import ServerInstallation
from backctl.infrastructure.probes import (
    UNOPENED,
    Finding,
    Probe,
    are_private,
    dated_ahead,
    fail,
    has_keys,
    is_costly,
    is_issuable,
    is_sane,
    ok,
    warn,
)
from backctl.infrastructure.sql.installation import check_match
from backctl.infrastructure.sql.schema import REVISION, require_current

if TYPE_CHECKING:
    from backctl.infrastructure.postgres.connection import Driver

_MOMENTS = """
SELECT (SELECT occurred_at FROM events ORDER BY seq DESC LIMIT 1),
       CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)
"""


def server_probes(
    installation: ServerInstallation, bcrypt_cost: int, leeway: int, config_file: Path | None
) -> tuple[HealthProbe, ...]:
    """The checks of one installation, in the order in which one explains the next."""
    database = _Database(installation)
    keyring = installation.keyring
    files = (keyring.parent, keyring) if installation.given is None else ()
    return (
        Probe("database.open", database.opens),
        Probe("database.writable", database.takes_changes),
        Probe("database.revision", database.is_current),
        Probe("database.integrity", database.is_whole),
        Probe("files.permissions", lambda: are_private(files, keyring, config_file)),
        Probe("keyring.valid", lambda: has_keys(installation)),
        Probe("keyring.matches", database.has_its_keys),
        Probe("passwords.cost", lambda: is_costly(bcrypt_cost)),
        Probe("clock.sane", database.agrees_with_the_clock),
        Probe("tokens.issuable", lambda: database.issues_tokens(leeway)),
    )


@dataclass(frozen=True, slots=True)
class _Database:
    installation: ServerInstallation

    def opens(self) -> Finding:
        return ok(f"installation {self.installation.stored().installation_id}")

    def takes_changes(self) -> Finding:
        if self._does_not_open():
            return UNOPENED
        database = self.installation.database
        with database.mapped_faults(), database.connect() as connection:
            database.settle(connection, expected=None)
            connection.execute("SELECT seq FROM event_head WHERE id = 1 FOR UPDATE")
            connection.rollback()
        return ok("a change can begin")

    def is_current(self) -> Finding:
        if self._does_not_open():
            return UNOPENED
        stored = self.installation.stored()
        if stored.revision < REVISION:
            finding = f"revision {stored.revision} is older than the {REVISION} of this backctl"
            return warn(finding, "run 'backctl db upgrade'")
        require_current(stored, self.installation.label)
        return ok(f"revision {stored.revision}")

    def is_whole(self) -> Finding:
        if self._does_not_open():
            return UNOPENED
        from backctl.infrastructure.postgres.checks import invalid_parts

        with self._snapshot() as connection:
            invalid = invalid_parts(connection)
        if invalid:
            hint = "REINDEX an index, VALIDATE CONSTRAINT a constraint"
            return fail(f"not valid: {', '.join(invalid)}", hint)
        return ok("every index and constraint is valid; the server itself watches over its pages")

    def has_its_keys(self) -> Finding:
        if self._does_not_open():
            return UNOPENED
        stored, keyring = self.installation.stored(), self.installation.keys.read()
        check_match(stored.audit_kids, keyring)
        return ok("it holds every audit key the database was written with")

    def agrees_with_the_clock(self) -> Finding:
        now = self.installation.clock()
        if self._does_not_open():
            return is_sane(now, [])
        ((newest, server),) = self._ask(_MOMENTS)
        latest = [("the server's clock", Instant(server))]
        if newest is not None:
            latest.insert(0, ("the newest event", Instant(newest)))
        return is_sane(now, latest)

    def issues_tokens(self, leeway: int) -> Finding:
        if self._does_not_open():
            return UNOPENED
        barred, ahead = map(self._ask, dated_ahead(self.installation.clock(), leeway))
        return is_issuable(barred, ahead)

    def _does_not_open(self) -> bool:
        """Whether there is nothing to look at; `database.open` tells why."""
        try:
            self.installation.stored()
        except BackctlError:
            return True
        return False

    def _ask(self, question: str) -> list[tuple[Any, ...]]:
        with self._snapshot() as connection:
            return connection.execute(question).fetchall()

    @contextmanager
    def _snapshot(self) -> "Iterator[Driver]":
        database = self.installation.database
        with database.mapped_faults(), database.connect(autocommit=True) as connection:
            database.begin(connection)
            yield connection
