"""`backctl apply`: change the accounts so that they match seed files."""

from typing import Annotated

from typer import Option

from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.parameters import WaitServer, duration
from backctl.presentation.seed_options import Prune, SeedsOrPlan, named_files

app = noun("apply")


def _report() -> type:
    from backctl.application.seeding.applying import ApplyReport

    return ApplyReport


@leaf(
    app,
    changes="apply {files}",
    guard="name",
    view=_report,
    members=("secret_file",),
    examples="""
    # Show what would change, then change it
    backctl plan seed.yaml
    backctl apply seed.yaml
    # Also close the accounts that the file no longer lists
    backctl apply seed.yaml --prune --yes
    # Apply exactly the plan that was reviewed
    backctl plan seed.yaml --out reviewed.json
    backctl apply reviewed.json
    """,
)
def apply(
    call: Invocation,
    files: SeedsOrPlan = None,
    prune: Prune = None,
    all_or_nothing: Annotated[
        bool, Option("--all-or-nothing", help="Make all changes in one transaction, or none if one of them fails.")
    ] = False,
    max_changes: Annotated[
        str | None,
        Option(
            "--max-changes",
            metavar="LIMIT",
            help="Change nothing if more accounts would change than this number or percentage, for example 20 or 5%.",
        ),
    ] = None,
    secret_file: Annotated[
        str | None,
        Option(
            "--secret-file",
            metavar="FILE",
            help="Write the passwords that seeds generate to this file, as JSON lines; add to it if it exists.",
        ),
    ] = None,
    wait_server: WaitServer = None,
    schema: Annotated[
        bool, Option("--schema", help="Print the JSON Schema of seed files, for editors, and change nothing.")
    ] = False,
) -> None:
    """Create and change accounts so that they match seed files.

    The same files applied again change nothing. Accounts that no file lists stay as they are, except with --prune.
    Deleting accounts needs --confirm with their number, and pruning needs --yes. After an interruption, the same
    command makes the rest of the changes. A plan that was saved with 'backctl plan --out' is refused (exit code 4) if
    one of its accounts has changed since.
    """
    if schema:
        import json

        from backctl.domain.errors import UsageError

        if files:
            raise UsageError("--schema needs no file", hint="leave the file or --schema out")
        document = call.backend.seeding.schema()
        call.results.value(json.dumps(document, indent=2), document)
        return
    names = named_files(files, prune)
    from backctl.presentation.batch.seeds import Apply

    run = Apply(
        call, names, prune=prune, all_or_nothing=all_or_nothing, max_changes=max_changes, secret_file=secret_file
    )
    if wait_server is not None:
        call.backend.wait_for_servers(duration(wait_server))
    call.backend.require_installation()  # before the files are read
    run.run()
