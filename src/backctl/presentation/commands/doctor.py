"""`backctl doctor`: what is well with the installation and what is not."""

from backctl.application.database_views import CheckView
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun

app = noun("doctor")


@leaf(app, view=CheckView)
def doctor(call: Invocation) -> None:
    """Check that everything backctl relies on is in order.

    That is database, keys, files, hash cost and clock. Exit code 6 when a check fails; a warning is no failure.
    """
    checks = tuple(call.backend.doctor.examine())
    call.check_all(checks, CheckView, all(check.status != "fail" for check in checks))
