"""`backctl db …`: inspect, upgrade, back up and restore the database."""

from typing import Annotated

from typer import Argument

from backctl.application.database_views import (
    BackupView,
    CheckView,
    DatabaseStatus,
    RestoredAccount,
    RestoredView,
    RestoreView,
    UpgradeView,
)
from backctl.domain.errors import UsageError
from backctl.domain.quoting import escaped
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("db")


@leaf(
    app,
    changes="upgrade the database",
    view=UpgradeView,
    examples="""
    # Show whether an upgrade is needed
    backctl db upgrade --dry-run
    # Upgrade the schema
    backctl db upgrade
    """,
)
def upgrade(call: Invocation) -> None:
    """Upgrade the schema to the revision of this backctl.

    Does nothing if the schema is current. Before an upgrade, an SQLite database is copied to a file in the same folder.
    Several upgrades at the same time are safe.
    """
    call.results.changed(call.backend.database.upgrade(by=call.attribution, dry_run=call.dry_run))


@leaf(
    app,
    view=DatabaseStatus,
    examples="""
    # Show the database
    backctl db status
    # Print the number of accounts and events
    backctl db status --fields accounts,events --no-header
    """,
)
def status(call: Invocation) -> None:
    """Show the location, revision and contents of the database."""
    call.results.show(call.backend.database.status())


@leaf(
    app,
    kind="checks",
    view=CheckView,
    examples="""
    # Check the database
    backctl db check
    # Print nothing, only return the exit code
    backctl db check -q
    """,
)
def check(call: Invocation) -> None:
    """Check the database for damage: exit code 0 or 6.

    Checks every page, the schema, and that accounts and events agree. Changes nothing. Use 'backctl audit verify' to
    find forged events.
    """
    checks = tuple(call.backend.database.check())
    call.results.check_all(checks, CheckView, all(check.status != "fail" for check in checks))


@leaf(
    app,
    view=BackupView,
    examples="""
    # Copy the database to a new file
    backctl db backup backctl-2026-11-28.db
    # Print the checksum of the copy
    backctl db backup copy.db --fields sha256 --no-header
    """,
)
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


@leaf(
    app,
    changes="replace the database with {file}",
    guard="yes",
    view=RestoreView,
    examples="""
    # See which changes of accounts would be undone
    backctl db restore copy.db --dry-run
    # Replace the database without a question
    backctl db restore copy.db --yes --reason "bad import"
    """,
)
def restore(
    call: Invocation,
    file: Annotated[str, Argument(metavar="FILE", help="A copy that 'db backup' made.")],
) -> None:
    """Replace the database with a copy while it is in use.

    Keeps a dated copy of the replaced database next to it, ends all sessions, and lists the accounts that regain
    access. Asks for confirmation. On PostgreSQL, prints the commands to run instead and changes nothing.
    """
    if file == "-":
        raise UsageError("a copy cannot be read from standard input", hint="name its file")
    database = call.backend.database
    call.guard.confirm(f"replace all accounts and events with those of {escaped(file)}")
    change = database.restore(file, by=call.attribution, dry_run=call.dry_run)
    if change.value.commands:
        call.results.instead(change, change.value.commands)
    else:
        call.results.changed_with_list(change, "accounts", RestoredAccount)


@leaf(
    app,
    changes="end all sessions",
    guard="yes",
    view=RestoredView,
    examples="""
    # End all sessions after pg_restore
    backctl db restored --yes
    # Count the sessions that would end
    backctl db restored --dry-run --fields revoked_sessions
    """,
)
def restored(call: Invocation) -> None:
    """End all sessions after another program has restored a copy.

    Run it after pg_restore. It also rejects one-time codes that may have been used, and records the restore.
    """
    database = call.backend.database
    call.guard.confirm("end all sessions of all accounts")
    call.results.changed(database.restored(by=call.attribution, dry_run=call.dry_run))
