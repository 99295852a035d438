"""`backctl role …`: the roles and what they may do."""

from typing import Annotated

from typer import Argument

from backctl.application.views import RoleView
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun

app = noun("role")


@leaf(app, name="list", view=RoleView)
def list_(call: Invocation) -> None:
    """List the roles: the built-in ones, then those of the configuration."""
    call.show_all(call.container.access.roles(), RoleView)


@leaf(app, view=RoleView)
def show(call: Invocation, name: Annotated[str, Argument(metavar="NAME", help="The role's name.")]) -> None:
    """Show a role and what it may do."""
    call.show(call.container.access.role(name))
