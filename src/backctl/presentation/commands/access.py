"""`backctl access …`: check the permissions of accounts."""

from typing import Annotated

from typer import Argument, Option

from backctl.application.access_views import AccessExplanation, AccessView
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.parameters import Ident
from backctl.presentation.permissions import warnings

app = noun("access")


@leaf(
    app,
    kind="check",
    view=AccessView,
    others={"--explain": ("check", AccessExplanation)},
    examples="""
    # Check one permission
    backctl access check ada user:list
    # Show the reasons for the answer
    backctl access check ada user:delete --explain
    """,
)
def check(
    call: Invocation,
    ident: Ident,
    permission: Annotated[str, Argument(metavar="PERMISSION", help="Permission, for example user:deactivate.")],
    explain: Annotated[bool, Option("--explain", help="Show the reasons for the answer.")] = False,
) -> None:
    """Check whether an account has a permission now: exit code 0 or 6.

    Services can use any permission. Warns if the noun is one of backctl, but the verb does not exist.
    """
    access = call.backend.access
    answer = access.explain(ident, permission) if explain else access.check(ident, permission)
    for text in warnings([permission]):
        call.messages.warn(text)
    call.results.check(answer)
