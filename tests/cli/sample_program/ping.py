"""A command without a noun."""

from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("ping", "Answer.")


@leaf(app)
def ping(call: Invocation) -> None:
    """Answer."""
    call.results.value("pong", {"answer": "pong"})
