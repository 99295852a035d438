"""`backctl help …`: what every command shares."""

from dataclasses import dataclass

from backctl.presentation.context import Invocation
from backctl.presentation.errors import ExitCode
from backctl.presentation.grammar import leaf, noun

app = noun("help")


@dataclass(frozen=True, slots=True)
class ExitCodeView:
    """One line of the table."""

    code: int
    meaning: str


@leaf(app, view=ExitCodeView)
def exit_codes(call: Invocation) -> None:
    """List the exit codes and what they mean."""
    call.show_all((ExitCodeView(int(code), code.meaning) for code in ExitCode), ExitCodeView)
