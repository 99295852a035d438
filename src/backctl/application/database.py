"""The use cases of the database as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backctl.application.attribution import Attribution
from backctl.application.database_views import BackupView, CheckView, DatabaseStatus, UpgradeView
from backctl.application.guard import Guard, guarded
from backctl.application.views import Change, is_change
from backctl.domain.errors import BackctlError, InstallationMissing, Unavailable

if TYPE_CHECKING:
    from backctl.application.ports.storage import DatabaseCare


@dataclass(frozen=True, slots=True)
class DatabaseService:
    """Show the status of the database, upgrade it, check it and back it up."""

    care: "DatabaseCare"
    guard: Guard

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
