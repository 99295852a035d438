"""`backctl doctor`: check the installation."""

from backctl.application.database_views import CheckView
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("doctor")


@leaf(app, view=CheckView)
def doctor(call: Invocation) -> None:
    """Check the database, the keys, the files and the clock.

    Also checks Redis, the bcrypt cost and the selected profile. Exit code 6 if a check fails; a warning is not a
    failure.
    """
    checks = tuple(call.backend.doctor.examine())
    call.results.check_all(checks, CheckView, all(check.status != "fail" for check in checks))
