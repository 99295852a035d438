"""`backctl access …`: what an account may do, and why."""

from typing import Annotated

from typer import Argument, Option

from backctl.application.access_views import AccessExplanation
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun

app = noun("access")


@leaf(app, view=AccessExplanation)
def check(
    call: Invocation,
    ident: Annotated[str, Argument(metavar="IDENT", help="An id, an e-mail address or a username.")],
    permission: Annotated[str, Argument(metavar="PERMISSION", help="Such as user:deactivate.")],
    explain: Annotated[bool, Option("--explain", help="Show everything that decides it.")] = False,
) -> None:
    """Say whether an account may do something now: exit code 0 or 6."""
    access = call.backend.access
    answer = access.explain(ident, permission) if explain else access.check(ident, permission)
    call.check(answer, answer.allowed)
