"""Waits for servers that are starting."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from backctl.domain.errors import BackctlError, ResourcesExhausted, Unavailable

_PAUSE_S = 0.5


class Server(NamedTuple):
    """A server that the configuration names. `ask` raises Unavailable while it does not answer."""

    label: str
    ask: Callable[[], object]


def wait_for(
    servers: Iterable[Server],
    *,
    up_to: int,
    monotonic: Callable[[], float],
    pause: Callable[[float], None],
    notice: Callable[[str], None],
) -> None:
    """Wait until each server answers, for at most `up_to` microseconds in total.

    Also returns when that time has passed, and as soon as waiting cannot help, for example after a wrong password; the
    next use of the server raises the error. `monotonic` returns seconds, `pause` waits for a number of seconds, and
    `notice` receives a line for each server that is not ready. Raises ResourcesExhausted.
    """
    give_up = monotonic() + up_to / 1_000_000
    for server in servers:
        announced = False
        while _is_away(server) and (left := give_up - monotonic()) > 0:
            if not announced:
                notice(f"waiting for {server.label}")
                announced = True
            pause(min(_PAUSE_S, left))


def _is_away(server: Server) -> bool:
    try:
        server.ask()
    except ResourcesExhausted:
        raise
    except BackctlError as error:
        return isinstance(error, Unavailable)
    return False
