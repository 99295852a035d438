"""`backctl user export`: export accounts, with or without their secrets."""

import sys
from enum import StrEnum
from typing import Annotated

from typer import Option

from backctl.application.transfer.exporting import AccountExport, Secrets
from backctl.application.transfer.formats import FORMATS, ExportFormat
from backctl.application.views import Change
from backctl.domain.errors import UsageError
from backctl.domain.repositories import UserCriteria
from backctl.presentation import terminal
from backctl.presentation.account_filters import Filters
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("export", within="user")

_PANEL = "Format and output"


class FormatName(StrEnum):
    JSONL = "jsonl"
    JSON = "json"
    CSV = "csv"


@leaf(
    app,
    changes="export accounts",
    guard="yes",
    view=AccountExport,
    examples="""
    # Export all accounts as JSON lines
    backctl user export > accounts.jsonl
    # Export the closed accounts as CSV
    backctl user export --status closed --format csv --out closed.csv
    # Export everything that another installation needs
    backctl user export --include-hashes --include-mfa --out all.jsonl --yes
    """,
)
def export(
    call: Invocation,
    filters: Filters,
    form: Annotated[
        FormatName | None,
        Option("--format", help="Format of the accounts; jsonl unless -o selects another.", rich_help_panel=_PANEL),
    ] = None,
    include_hashes: Annotated[
        bool,
        Option(
            "--include-hashes", help="Include the password hashes; the event log records it.", rich_help_panel=_PANEL
        ),
    ] = False,
    include_mfa: Annotated[
        bool,
        Option(
            "--include-mfa",
            help="Include the secrets of second factors; the event log records it.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    spreadsheet_safe: Annotated[
        bool,
        Option(
            "--spreadsheet-safe",
            help="Put ' before cells of CSV that a spreadsheet would run; they do not import unchanged.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    out: Annotated[
        str | None,
        Option(
            "--out",
            metavar="FILE",
            help="Write to this new file, which appears when it is complete, and print a report.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace the file of --out if it exists.", rich_help_panel=_PANEL)
    ] = False,
) -> None:
    """Export accounts as JSON lines, JSON or CSV.

    'backctl user import' reads all three. The accounts are in the order of their ids, from one snapshot of the
    database. An export with password hashes or second factors needs a confirmation and the keyring, and is never
    written to a terminal. A file of --out is readable only by its owner.
    """
    file = None if out == "-" else out
    secrets = Secrets(hashes=include_hashes, mfa=include_mfa)
    chosen = _format(call, form, to_file=file is not None)
    if spreadsheet_safe and chosen != "csv":
        raise UsageError("--spreadsheet-safe is for CSV", hint="add --format csv, or leave it out")
    if overwrite and file is None:
        raise UsageError("--overwrite needs --out FILE", hint="add --out FILE, or leave --overwrite out")
    if file is None and not call.dry_run:
        if call.results.renderer.fields is not None:
            raise UsageError(
                "--fields selects members of the report about --out FILE",
                hint="use 'user list --all' for some members of accounts",
            )
        if any(secrets) and terminal.is_terminal(sys.stdout):
            raise UsageError(f"{_named(secrets)} are not shown on a terminal", hint="add --out FILE, or use a pipe")
    criteria = filters.criteria(call.now)
    if any(secrets):
        call.guard.confirm(f"export accounts with their {_named(secrets)}")
    if call.dry_run:
        if file is not None and not overwrite:
            call.backend.files.require_possible(file)
        _say_what_would_happen(call, criteria, secrets, file)
        return
    with call.messages.progress("exporting") as progress:
        pieces = call.backend.exports.stream(
            criteria,
            chosen,
            secrets=secrets,
            header=not call.flags["no_header"],
            spreadsheet_safe=spreadsheet_safe,
            by=call.attribution if any(secrets) else None,
            progress=progress.advance,
        )
        if file is None:
            for piece in pieces:
                call.results.renderer.data(piece)
            return
        size = call.backend.files.write(file, pieces, replace=overwrite)
    if not call.results.quiet:
        report = AccountExport(file, size, progress.done, secrets.hashes, secrets.mfa)
        call.results.changed(Change(report, changed=any(secrets)))


def _format(call: Invocation, form: FormatName | None, *, to_file: bool) -> ExportFormat:
    """Return the format of the accounts. Without a file they are the result, and `-o` selects its format."""
    if form is not None:
        return form.value
    selected = None if to_file else call.results.form
    return next((each for each in FORMATS if each == selected), "jsonl")


def _say_what_would_happen(call: Invocation, criteria: UserCriteria, secrets: Secrets, file: str | None) -> None:
    change = call.backend.exports.record(secrets, by=call.attribution, dry_run=True)
    accounts = call.backend.accounts.count(criteria)
    report = AccountExport(file, None, accounts, secrets.hashes, secrets.mfa)
    call.results.changed(Change(report, change.changed))


def _named(secrets: Secrets) -> str:
    """Name the secrets, for messages."""
    names = {"password hashes": secrets.hashes, "second factors": secrets.mfa}
    return " and ".join(name for name, included in names.items() if included)
