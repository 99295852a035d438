"""The connections of one process to a PostgreSQL database, shared by its threads.

psycopg_pool connects in threads of its own, so that whoever waits for a connection learns that there is none but not
why; a command has to tell a wrong password from a server that is down.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from backctl.domain.errors import DatabaseUnavailable, quoted


class PooledConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose `close` gives it back to the pool that opened it."""

    pool: "ConnectionPool | None" = None
    generation = 0
    is_taken = False

    def close(self) -> None:
        if self.pool is None:
            super().close()
        else:
            self.pool.give_back(self)

    def disconnect(self) -> None:
        """Close it for good."""
        self.pool = None
        super().close()


class ConnectionPool:
    """At most `size` connections, opened by `open_` when no idle one is left. The one used last is given out first.

    A thread that holds one must not ask for another: with `size` threads doing so none would ever get it. After a fork
    the child begins with an empty pool and leaves the parent's connections alone.
    """

    def __init__(self, open_: Callable[[], PooledConnection], *, size: int, label: str) -> None:
        self._open = open_
        self._size = size
        self._label = label
        self._inherited: list[PooledConnection] = []
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()  # one that another thread held at the fork would never be released
        self._idle: list[PooledConnection] = []
        self._count = 0
        self._generation = 0

    def take(self, *, timeout_s: float) -> PooledConnection:
        """An idle connection or a new one. It may be idle for so long that the server has closed it.

        Raises what `open_` raises; DatabaseUnavailable when all are in use for `timeout_s` seconds.
        """
        if self._pid != os.getpid():
            self._inherited += self._idle  # collecting them as garbage must not end the parent's sessions
            self._reset()
        with self._changed:
            if not self._changed.wait_for(lambda: self._idle or self._count < self._size, timeout_s):
                raise DatabaseUnavailable(
                    f"all {self._size} connections to the database {quoted(self._label, limit=400)} are in use",
                    hint="try again later, or use fewer threads",
                )
            generation = self._generation
            connection = self._idle.pop() if self._idle else None
            self._count += connection is None
        if connection is None:
            try:
                connection = self._open()
            except BaseException:
                self._forget_one()
                raise
            connection.pool, connection.generation = self, generation
        connection.is_taken = True
        return connection

    def give_back(self, connection: PooledConnection) -> None:
        """Keep a connection for the next one, unless it is broken, in a transaction, or older than `clear`."""
        if self._pid != os.getpid():
            self._inherited.append(connection)
            return
        if not connection.is_taken:  # closed twice
            return
        connection.is_taken = False
        with self._changed:
            sound = connection.info.transaction_status == TransactionStatus.IDLE
            if sound and connection.generation == self._generation:
                self._idle.append(connection)
                self._changed.notify()
                return
        connection.disconnect()
        self._forget_one()

    def clear(self) -> None:
        """Close every idle connection now, and those in use when they are given back."""
        if self._pid != os.getpid():
            return
        with self._changed:
            self._generation += 1
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.disconnect()
            self._forget_one()

    def _forget_one(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify()
