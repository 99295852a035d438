"""`backctl db …`: the database as a whole."""

from typing import Annotated

from typer import Argument

from backctl.application.database_views import BackupView, CheckView, DatabaseStatus, UpgradeView
from backctl.domain.errors import UsageError
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun

app = noun("db")


@leaf(app, mutation=True, view=UpgradeView)
def upgrade(call: Invocation) -> None:
    """Bring the schema to the revision of this backctl.

    Nothing is changed when it is there. An SQLite database is copied beside itself before. Several upgrades at once are
    safe.
    """
    call.changed(call.backend.database.upgrade(by=call.attribution, dry_run=call.dry_run))


@leaf(app, view=DatabaseStatus)
def status(call: Invocation) -> None:
    """Say where the database is, its revision, and what it holds."""
    call.show(call.backend.database.status())


@leaf(app, view=CheckView)
def check(call: Invocation) -> None:
    """Compare the database with what it should be: exit code 0 or 6.

    That is every page, the schema, and whether accounts and events agree. The database is not changed. Whether events
    were forged is for 'backctl audit verify' to say.
    """
    checks = tuple(call.backend.database.check())
    call.check_all(checks, CheckView, all(check.status != "fail" for check in checks))


@leaf(app, view=BackupView)
def backup(
    call: Invocation,
    file: Annotated[str, Argument(metavar="FILE", help="A file that does not exist yet.")],
) -> None:
    """Copy the database to a new file while others work with it.

    The copy is the database as it is at this moment. It holds no keys: keep a copy of the keyring too, in another
    place.
    """
    if file == "-":
        raise UsageError("a copy cannot be written to standard output", hint="name a file that does not exist")
    call.wrote(call.backend.database.back_up(file))
