"""A verb that is a command by itself."""

from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("ping", "Answer.")


@leaf(app)
def ping(call: Invocation) -> None:
    """Answer."""
    call.results.value("pong", {"answer": "pong"})
