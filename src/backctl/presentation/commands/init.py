"""`backctl init`: make the keyring and the database on purpose."""

from typing import Annotated

from typer import Option

from backctl.application.views import InstallationView
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun

app = noun("init")


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
    change = call.container.initialise(call.actor, dry_run=call.dry_run, calibrate=calibrate)
    call.changed(change)
