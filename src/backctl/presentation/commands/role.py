"""`backctl role …`: the roles and what they may do."""

from functools import partial
from typing import Annotated

from typer import Argument

from backctl.application.access_views import RoleView
from backctl.application.views import UserView
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import Idents, leaf, noun

app = noun("role")


@leaf(app, name="list", view=RoleView)
def list_(call: Invocation) -> None:
    """List the roles: the built-in ones, then the configured ones."""
    call.show_all(call.backend.access.roles(), RoleView)


@leaf(app, view=RoleView)
def show(call: Invocation, name: Annotated[str, Argument(metavar="NAME", help="The role's name.")]) -> None:
    """Show a role and what it may do."""
    call.show(call.backend.access.role(name))


@leaf(app, mutation=True, bulk=True, view=UserView, members=("ident", "error"))
def assign(
    call: Invocation,
    role: Annotated[str, Argument(metavar="ROLE", help="The role's name.")],
    idents: Idents = None,
) -> None:
    """Give accounts a role instead of the one they have."""
    known, accounts = call.backend.access.assignable(role), call.backend.accounts
    call.each(
        idents,
        partial(accounts.change_each, step=partial(accounts.steps.assigning, known)),
        view=UserView,
        doing="assigning",
    )
