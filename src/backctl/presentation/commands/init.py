"""`backctl init`: make the keyring and the database on purpose."""

from dataclasses import replace
from typing import Annotated

from typer import Option

from backctl.application.database_views import InstallationView
from backctl.presentation.configuring import write_setting
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun

app = noun("init")

_COST = "passwords.bcrypt_cost"


@leaf(app, mutation=True, view=InstallationView)
def init(
    call: Invocation,
    calibrate: Annotated[
        bool, Option("--calibrate", help="Measure this machine and set the hash cost that takes nearest 250 ms.")
    ] = False,
) -> None:
    """Create the keyring and the database, or say that they exist.

    Nothing that exists is replaced; the exit code is 0 either way.
    """
    written = calibrate and _calibrate(call)  # first: where it cannot be written, nothing is made
    change = call.backend.initialise(by=call.attribution, dry_run=call.dry_run)
    call.changed(replace(change, changed=change.changed or written))


def _calibrate(call: Invocation) -> bool:
    cost = str(call.backend.calibrated_cost())
    changed = write_setting(call, _COST, cost)
    call.notice(f"bcrypt cost {cost} takes nearest 250 ms on this machine")
    return changed
