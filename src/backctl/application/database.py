"""The use cases of the database as a whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backctl.application.attribution import Attribution
from backctl.application.database_views import (
    BackupView,
    CheckView,
    DatabaseStatus,
    RestoredView,
    RestoreView,
    UpgradeView,
)
from backctl.application.guard import Guard, guarded
from backctl.application.views import Change, is_change
from backctl.domain.errors import BackctlError, InstallationMissing, Unavailable
from backctl.domain.events import DatabaseRestored

if TYPE_CHECKING:
    from backctl.application.ports.environment import Clock
    from backctl.application.ports.storage import DatabaseCare, UnitOfWork
    from backctl.application.transactions import Transactions
    from backctl.domain.audit import Head


@dataclass(frozen=True, slots=True)
class DatabaseService:
    """Show the status of the database, upgrade it, check it, back it up and restore it.

    `issuer` is the configured issuer of tokens. `leeway` is how long services may accept an expired access token, in
    microseconds.
    """

    care: "DatabaseCare"
    guard: Guard
    transactions: "Callable[[], Transactions]"
    installation_id: Callable[[], str]
    clock: "Clock"
    issuer: str
    leeway: int

    def status(self) -> DatabaseStatus:
        return self.care.status()

    def upgrade(self, *, by: Attribution, dry_run: bool = False) -> Change[UpgradeView]:
        """Upgrade the schema and record SchemaUpgraded; do nothing if the schema is current.

        Raises the errors of `DatabaseCare.upgrade`.
        """
        return guarded(
            lambda dry_run: self.care.upgrade(by=by, dry_run=dry_run),
            guard=self.guard,
            changes=is_change,
            dry_run=dry_run,
        )

    def check(self) -> Iterator[CheckView]:
        """Run every probe. An unusable part is reported as a failed check.

        Raises Unavailable and InstallationMissing.
        """
        for probe in self.care.probes():
            try:
                yield probe.examine()
            except (Unavailable, InstallationMissing):
                raise
            except BackctlError as error:
                yield CheckView.failed(probe.check, error)

    def back_up(self, file: str) -> BackupView:
        """Back up the database to `file`. Raises the errors of `DatabaseCare.back_up`."""
        return self.care.back_up(file)

    def restore(self, file: str, *, by: Attribution, dry_run: bool = False) -> Change[RestoreView]:
        """Replace the database by the copy `file`, which is not changed, and record DatabaseRestored.

        Afterwards no token that was issued before is valid, no one-time code that was used before, and no cached value.
        The result lists the accounts that have access again. Raises the errors of `DatabaseCare.restore`.
        """

        def attempt(dry_run: bool) -> Change[RestoreView]:
            restored = self.care.restore(file, self._settling, by=by, dry_run=dry_run)
            self.transactions().react(restored.events)
            return restored.change

        return guarded(attempt, guard=self.guard, changes=is_change, dry_run=dry_run)

    def restored(self, *, by: Attribution, dry_run: bool = False) -> Change[RestoredView]:
        """Do what must follow when another program has replaced the database by a copy. Always a change.

        Ends all sessions, marks the one-time codes of this moment as used, and records DatabaseRestored.
        """

        def step(work: "UnitOfWork") -> Change[RestoredView]:
            sessions = self._settling(work, installation_id, copy=work.log_head(), replaced=None)
            return Change(RestoredView(installation_id, sessions), changed=True)

        installation_id = self.installation_id()
        return self.transactions().run(step, by=by, dry_run=dry_run)

    def _settling(self, work: "UnitOfWork", installation_id: str, *, copy: "Head", replaced: "Head | None") -> int:
        """The step of both; see `Settle`."""
        now = self.clock()
        sessions = work.sessions.end_all(self.issuer, leeway=self.leeway, now=now)
        work.second_factors.use_steps_until(now)
        work.record(
            DatabaseRestored(
                installation_id,
                copy_seq=copy.seq,
                copy_mac=copy.mac.hex(),
                replaced_seq=None if replaced is None else replaced.seq,
                replaced_mac=None if replaced is None else replaced.mac.hex(),
                at=now,
            )
        )
        work.write()
        return sessions
