"""`backctl help …`: explain what all commands have in common."""

from dataclasses import dataclass

from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.errors import ExitCode

app = noun("help")


@dataclass(frozen=True, slots=True)
class ExitCodeView:
    """One exit code."""

    code: int
    meaning: str


@leaf(app, kind="list", view=ExitCodeView)
def exit_codes(call: Invocation) -> None:
    """List the exit codes and their meanings."""
    call.results.show_all((ExitCodeView(int(code), code.meaning) for code in ExitCode), ExitCodeView)
