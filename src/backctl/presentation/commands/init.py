"""`backctl init`: create the keyring and the database."""

from dataclasses import replace
from typing import Annotated

from typer import Option

from backctl.application.database_views import InstallationView
from backctl.presentation.configuration_file import write_setting
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.parameters import WaitServer, duration

app = noun("init")

_COST = "passwords.bcrypt_cost"


@leaf(
    app,
    changes="create the keyring and the database",
    view=InstallationView,
    examples="""
    # Create the keyring and the database
    backctl init
    # Also measure a suitable bcrypt cost
    backctl init --calibrate
    """,
)
def init(
    call: Invocation,
    calibrate: Annotated[
        bool,
        Option(
            "--calibrate",
            help="Measure this machine and set the bcrypt cost (10–15) whose hashing time is closest to 250 ms.",
        ),
    ] = False,
    wait_server: WaitServer = None,
) -> None:
    """Create the keyring and the database, if they do not exist.

    Does not replace anything that exists. The exit code is then 0 too.
    """
    if wait_server is not None:
        call.backend.wait_for_servers(duration(wait_server))
    written = calibrate and _calibrate(call)  # first: if the file is not writable, nothing is created
    change = call.backend.initialise(by=call.attribution, dry_run=call.dry_run)
    call.results.changed(replace(change, changed=change.changed or written))


def _calibrate(call: Invocation) -> bool:
    cost = str(call.backend.calibrated_cost())
    changed = write_setting(call, _COST, cost)
    call.messages.notice(f"bcrypt cost {cost}: its hashing time is closest to 250 ms on this machine")
    return changed
