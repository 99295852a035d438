"""`backctl doctor`: check the installation."""

from contextlib import suppress

from backctl.application.database_views import CheckView, Failure
from backctl.domain.errors import ResourcesExhausted, Unavailable, Unusable
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.errors import ExitCode
from backctl.presentation.parameters import WaitServer, duration

app = noun("doctor")

_MOST_SERIOUS_FIRST: dict[Failure, ExitCode] = {
    "unusable": ExitCode.UNUSABLE,
    "unavailable": ExitCode.UNAVAILABLE,
    "unhealthy": ExitCode.NO,
}


@leaf(
    app,
    kind="checks",
    view=CheckView,
    examples="""
    # Check everything
    backctl doctor
    # Wait for the servers first, for example while a container starts
    backctl doctor --wait-server 30s
    # Print only the state of each check
    backctl doctor --fields check,status --no-header
    """,
)
def doctor(call: Invocation, wait_server: WaitServer = None) -> None:
    """Check the configuration, the database, the keys and the files.

    Also checks the clock, Redis, the bcrypt cost and the selected profile. The exit code is 9 if something is unusable,
    5 if a server is unavailable, and 6 if another check failed. A warning is not a failure.
    """
    checks = _examined(call, None if wait_server is None else duration(wait_server))
    failures = {check.failure for check in checks}
    code = next((code for failure, code in _MOST_SERIOUS_FIRST.items() if failure in failures), ExitCode.OK)
    call.results.check_all(checks, CheckView, code is ExitCode.OK, no=code)


def _examined(call: Invocation, wait: int | None) -> tuple[CheckView, ...]:
    try:
        backend = call.backend
        if wait is not None:
            with suppress(Unusable):  # the checks report it
                backend.wait_for_servers(wait)
        service = backend.doctor
    except ResourcesExhausted:
        raise
    except (Unavailable, Unusable) as error:
        return (CheckView.failed("config.valid", error),)
    return tuple(service.examine())
