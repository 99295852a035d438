"""`backctl user import`: import accounts from a file, or from another program."""

from typing import Annotated

from typer import Argument

from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.import_options import Files, How, Limits, Reading

app = noun("import", within="user")


def _report() -> type:
    from backctl.application.transfer.import_report import ImportReport

    return ImportReport


@leaf(
    app,
    name="import",
    changes="import accounts from {file}",
    view=_report,
    members=("secret_file",),
    examples="""
    # Show what would change
    backctl user import accounts.jsonl --dry-run
    # Import accounts, and update those that exist
    backctl user import accounts.jsonl --mode upsert
    # Generate passwords for the new accounts
    backctl user import new.csv --generate-passwords --secret-file passwords.jsonl
    """,
)
def import_(
    call: Invocation,
    file: Annotated[str, Argument(metavar="FILE", help="The accounts; '-' is standard input.")],
    reading: Reading,
    how: How,
    files: Files,
    limits: Limits,
) -> None:
    """Import accounts from JSON, CSV, Django or Ory Kratos.

    The formats are those of 'backctl user export', the output of 'manage.py dumpdata auth.User' of Django, and the
    identities of Ory Kratos. A row matches the account with its id, otherwise the account with its e-mail address. Rows
    that fail are reported and left out (exit code 7). --dry-run shows what would change, which rows are invalid, and
    how the passwords are hashed.
    """
    files.require_usable(how)
    how.require_usable(resumed=files.resume is not None)
    form = reading.form_of(file)
    mapping = reading.mapping(form)
    from backctl.presentation.batch.imports import Import

    call.backend.require_installation()  # before the file is read
    Import(call, file, form, mapping, how, files, limits).run()
