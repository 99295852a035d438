"""A pool of the connections of one process to a database, shared by its threads.

Does not use SQLAlchemy's pool, because commands that only read must not load SQLAlchemy. Does not use psycopg_pool,
because it connects in background threads and a waiting caller cannot see why a connection failed.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from backctl.domain.errors import DatabaseUnavailable, DatabaseUnusable
from backctl.domain.quoting import quoted
from backctl.infrastructure.forks import close_before_forks, start_over_in_children

_C = TypeVar("_C")

CONNECTIONS = 8
"""The default size of a pool. Further threads wait for a free connection."""


_inherited_in_use: set[str] = set()
"""The labels of databases that this process cannot use, because it inherited open connections to them."""


class ConnectionPool(Generic[_C]):
    """A pool of at most `size` connections, opened by `open_` when none is idle. Reuses the last used one first.

    In a `strict` pool, a thread must not take a second connection: if `size` threads did so, all would wait for each
    other. In other pools, a thread that already holds a connection may exceed `size`. After a fork, the child begins
    with an empty pool and does not touch the parent's connections. `label` names the database in errors.

    Connections that are not `inheritable` are closed before a fork. A child that inherits a connection that was in use
    cannot use the database, in any pool with that label: https://www.sqlite.org/howtocorrupt.html §2.6.
    """

    def __init__(
        self,
        open_: Callable[[], _C],
        *,
        close: Callable[[_C], None],
        label: str,
        size: int = CONNECTIONS,
        inheritable: bool = True,
        strict: bool = True,
    ) -> None:
        self._open = open_
        self._close = close
        self._size = size
        self._label = label
        self._inherited: list[_C] = []
        self._reset()
        self._inheritable = inheritable
        self._strict = strict
        start_over_in_children(self)
        if not inheritable:
            close_before_forks(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[_C] = []
        self._taken: dict[int, tuple[_C, int, int]] = {}
        """By the identity of the connection: the connection, its generation and the thread that took it."""
        self._count = 0
        self._generation = 0

    def before_fork(self) -> None:
        self.clear()

    def start_over(self) -> None:
        if not self._inheritable and (self._idle or self._taken):
            _inherited_in_use.add(self._label)
        # Keep references: garbage collection would close the parent's sessions.
        self._inherited += [*self._idle, *(connection for connection, _, _ in self._taken.values())]
        self._reset()

    def take(self, *, timeout_s: float) -> _C:
        """Return an idle connection or a new one. The server may have closed an idle connection.

        Raises the errors of `open_`; DatabaseUnusable in a child that inherited a connection in use;
        DatabaseUnavailable when all connections are in use for `timeout_s` seconds.
        """
        if self._label in _inherited_in_use:
            raise DatabaseUnusable(
                f"this process was forked while its parent used the database {quoted(self._label, limit=400)}",
                hint="fork before the database is used, or when no thread uses it",
            )
        with self._changed:
            if not self._changed.wait_for(lambda: self._idle or self._may_open(), timeout_s):
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
        with self._changed:
            self._taken[id(connection)] = connection, generation, threading.get_ident()
        return connection

    def _may_open(self) -> bool:
        """Whether another connection may be opened. Always, if this thread holds one and the pool is not `strict`."""
        if self._count < self._size:
            return True
        thread = threading.get_ident()
        return not self._strict and any(holder == thread for _, _, holder in self._taken.values())

    def give_back(self, connection: _C, *, sound: bool) -> None:
        """Keep a connection for the next caller; close it if it is not `sound` or was taken before `clear`.

        Does nothing if it was given back already, or was taken before a fork.
        """
        with self._changed:
            _, generation, _ = self._taken.pop(id(connection), (connection, None, 0))
            if generation is None:
                return
            if sound and generation == self._generation:
                self._idle.append(connection)
                self._changed.notify()
                return
        self._close(connection)
        self._forget_one()

    def clear(self) -> None:
        """Close every idle connection now, and those in use when they are given back."""
        with self._changed:
            self._generation += 1
            idle, self._idle = self._idle, []
        for connection in idle:
            self._close(connection)
            self._forget_one()

    def _forget_one(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify()
