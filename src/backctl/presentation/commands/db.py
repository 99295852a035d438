"""`backctl db …`: inspect, upgrade and back up the database."""

from typing import Annotated

from typer import Argument

from backctl.application.database_views import BackupView, CheckView, DatabaseStatus, UpgradeView
from backctl.domain.errors import UsageError
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("db")


@leaf(app, changes="upgrade the database", view=UpgradeView)
def upgrade(call: Invocation) -> None:
    """Upgrade the schema to the revision of this backctl.

    Does nothing if the schema is current. Before an upgrade, an SQLite database is copied to a file in the same folder.
    Several upgrades at the same time are safe.
    """
    call.results.changed(call.backend.database.upgrade(by=call.attribution, dry_run=call.dry_run))


@leaf(app, view=DatabaseStatus)
def status(call: Invocation) -> None:
    """Show the location of the database, its revision and its contents."""
    call.results.show(call.backend.database.status())


@leaf(app, kind="checks", view=CheckView)
def check(call: Invocation) -> None:
    """Check the database for damage: exit code 0 or 6.

    Checks every page, the schema, and that accounts and events agree. Changes nothing. Use 'backctl audit verify' to
    find forged events.
    """
    checks = tuple(call.backend.database.check())
    call.results.check_all(checks, CheckView, all(check.status != "fail" for check in checks))


@leaf(app, view=BackupView)
def backup(
    call: Invocation,
    file: Annotated[str, Argument(metavar="FILE", help="New file for the copy.")],
) -> None:
    """Copy the database to a new file while it is in use.

    The copy is consistent. It contains no keys: back up the keyring too, in another place.
    """
    if file == "-":
        raise UsageError("a copy cannot be written to standard output", hint="name a new file")
    call.results.wrote(call.backend.database.back_up(file))
