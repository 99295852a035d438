"""`backctl ratelimit policy …`: show the configured rate limit policies."""

from typing import Annotated

from typer import Argument

from backctl.application.limit_policy_views import PolicyView
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("policy", within="ratelimit")


@leaf(
    app,
    name="list",
    kind="list",
    view=PolicyView,
    examples="""
    # List the configured policies
    backctl ratelimit policy list
    # Print them as JSON
    backctl ratelimit policy list -o json
    """,
)
def list_(call: Invocation) -> None:
    """List the configured policies."""
    call.results.show_all(call.backend.limits.all_policies(), PolicyView)


@leaf(
    app,
    view=PolicyView,
    examples="""
    # Explain a policy
    backctl ratelimit policy show login
    # Print it as JSON
    backctl ratelimit policy show login -o json
    """,
)
def show(call: Invocation, name: Annotated[str, Argument(metavar="NAME", help="Name of the policy.")]) -> None:
    """Show a policy and what it admits at worst."""
    call.results.show(PolicyView.of(call.backend.limits.policy(name)))
