"""`backctl role …`: show and assign roles."""

from functools import partial
from typing import Annotated

from typer import Argument

from backctl.application.access_views import RoleView
from backctl.application.views import UserView
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.parameters import Idents

app = noun("role")


@leaf(
    app,
    name="list",
    kind="list",
    view=RoleView,
    examples="""
    # List all roles
    backctl role list
    # Print their names
    backctl role list -o id
    """,
)
def list_(call: Invocation) -> None:
    """List the roles: the built-in ones, then the configured ones."""
    call.results.show_all(call.backend.access.roles(), RoleView)


@leaf(
    app,
    view=RoleView,
    examples="""
    # Show the permissions of a role
    backctl role show admin
    # Print them as JSON
    backctl role show admin -o json
    """,
)
def show(call: Invocation, name: Annotated[str, Argument(metavar="NAME", help="Name of the role.")]) -> None:
    """Show a role and its permissions."""
    call.results.show(call.backend.access.role(name))


@leaf(
    app,
    changes="assign the role {role} to {idents}",
    bulk=True,
    view=UserView,
    members=("ident", "error"),
    examples="""
    # Make an account an administrator
    backctl role assign admin bob
    # Assign a role to several accounts
    backctl role assign moderator bob cleo --yes
    # Assign a role to the accounts in a file
    backctl role assign user --from-file accounts.txt --yes
    """,
)
def assign(
    call: Invocation,
    role: Annotated[str, Argument(metavar="ROLE", help="Name of the role.")],
    idents: Idents = None,
) -> None:
    """Assign a role to accounts, replacing their current one."""
    known, accounts = call.backend.access.assignable(role), call.backend.accounts
    call.backend.require_installation()  # before identities are read
    from backctl.presentation.batch.run import change_each

    change_each(
        call,
        idents,
        partial(accounts.change_each, step=partial(accounts.steps.assigning, known)),
        view=UserView,
        doing="assigning",
    )
