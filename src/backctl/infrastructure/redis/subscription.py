"""Receives the messages of a channel in a separate thread."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from redis.connection import Connection

from backctl.domain.errors import Unavailable, Unusable
from backctl.infrastructure.forks import start_over_in_children
from backctl.infrastructure.redis.exchange import ERRORS

_PAUSE_S: Final = 1.0
"""The pause before reconnecting."""
_LONG_PAUSE_S: Final = 60.0
"""The pause after a problem that waiting does not solve, such as a missing permission."""
_SILENCE_S: Final = 15.0
"""How long to wait for a message before checking whether the connection still works."""

Received = Callable[[bytes | None], None]
"""Receives each message. None: the connection was interrupted, so messages may have been missed."""


class Subscription:
    """Listens between `start` and `stop`, and reconnects when the connection is lost.

    The thread ends with the process and with `stop`. A forked child does not inherit it, and must call `start` again.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        """`connect` returns a connection that has subscribed. It raises Unavailable and Unusable."""
        self._connect = connect
        self.start_over()
        start_over_in_children(self)

    def start_over(self) -> None:
        self._lock = threading.Lock()
        self._stopped: threading.Event | None = None
        self._connection: Connection | None = None

    def start(self, received: Received) -> None:
        """Start listening, unless already started. If no thread can be created, no messages arrive."""
        with self._lock:
            if self._stopped is None:
                stopped = threading.Event()
                with suppress(RuntimeError):
                    arguments = (received, stopped)
                    threading.Thread(target=self._run, args=arguments, name="backctl-cache", daemon=True).start()
                    self._stopped = stopped

    def stop(self) -> None:
        with self._lock:
            stopped, self._stopped = self._stopped, None
            connection, self._connection = self._connection, None
        if stopped is not None:
            stopped.set()
        if connection is not None:
            with suppress(OSError, *ERRORS):
                connection.disconnect()  # the thread stops waiting

    def _run(self, received: Received, stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                connection = self._connect()
            except Unavailable:
                stopped.wait(_PAUSE_S)
                continue
            except Unusable:
                stopped.wait(_LONG_PAUSE_S)
                continue
            with self._lock:
                self._connection = connection
            received(None)  # earlier messages may have been missed
            try:
                while not stopped.is_set():
                    if message := _next(connection):
                        received(message)
            except (OSError, ValueError, *ERRORS):
                pass  # reconnect below
            finally:
                with suppress(OSError, *ERRORS):
                    connection.disconnect()
            stopped.wait(_PAUSE_S)


def _next(connection: Connection) -> bytes | None:
    """Return the next message; None if none arrives for a while. Raises an error if the connection is lost."""
    if not connection.can_read(timeout=_SILENCE_S):
        connection.send_command("PING")
        if not connection.can_read(timeout=_SILENCE_S):
            raise OSError("the server does not answer")
    reply = connection.read_response()
    return reply[2] if isinstance(reply, list) and len(reply) == 3 and reply[0] == b"message" else None
