"""`backctl plan`: show what applying seed files would change."""

from typing import Annotated

from typer import Option

from backctl.domain.errors import UsageError
from backctl.domain.quoting import quoted
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.errors import ExitCode
from backctl.presentation.seed_options import Prune, SeedFiles, named_files, saved_plan

app = noun("plan")


def _view() -> type:
    from backctl.presentation.planned_changes import PlannedAccount

    return PlannedAccount


@leaf(
    app,
    kind="plan",
    view=_view,
    examples="""
    # Show what would change
    backctl plan seed.yaml
    # Fail in CI if something would change: exit code 10
    backctl plan seed.yaml --detailed-exitcode
    # Save the plan for 'backctl apply'
    backctl plan seed.yaml --prune --out reviewed.json
    """,
)
def plan(
    call: Invocation,
    files: SeedFiles = None,
    prune: Prune = None,
    out: Annotated[
        str | None,
        Option("--out", metavar="FILE", help="Save the plan, without secrets, in this new file for 'backctl apply'."),
    ] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the file of --out if it exists.")] = False,
    detailed: Annotated[
        bool, Option("--detailed-exitcode", help="Exit with 10 instead of 0 if anything would change.")
    ] = False,
) -> None:
    """Show what applying seed files would change.

    Nothing is changed. Secrets are not read: the plan only checks that they exist. On a terminal, + marks a new
    account, ~ an update, x an account that is closed, o one that is reopened, and - one that is deleted.
    """
    names = named_files(files, prune)
    if out == "-":
        raise UsageError("'-' is not a file for --out", hint="give the name of a file")
    if overwrite and out is None:
        raise UsageError("--overwrite needs --out FILE", hint="add --out FILE, or leave --overwrite out")
    call.backend.require_installation()  # before the files are read
    if saved_plan(names) is not None:
        raise UsageError(f"{quoted(names[0])} is a plan already", hint="name seed files, or use 'apply'")
    if out is not None and not overwrite:
        call.backend.files.require_possible(out)
    from backctl.presentation.planned_changes import PlannedAccount, compared, differences, planned_accounts, replaced

    seeding = call.backend.seeding
    made = seeding.plan(seeding.read(names), prune=None if prune is None else prune.value)
    if out is not None:
        call.backend.files.write(out, seeding.saved(made), replace=overwrite)
    call.results.plan(
        planned_accounts(made), PlannedAccount, made.summary._asdict(), lambda color: differences(made, color=color)
    )
    if notice := replaced(made):
        call.messages.notice(notice)
    if secrets := compared(made):
        call.messages.notice(f"accounts whose secrets only 'apply' can compare with the stored ones: {secrets}")
    if detailed and made.summary.changes:
        call.results.exit_code = ExitCode.PENDING
