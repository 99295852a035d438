"""A connection of psycopg whose waits for the server always end, and which belongs to a pool."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg
from psycopg import generators, waiting
from psycopg.conninfo import conninfo_attempts, make_conninfo
from psycopg.errors import _WaitTimeout  # raised by `Connection.wait`, which documents it
from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    from psycopg.abc import PQGen

    from backctl.infrastructure.sql.pool import ConnectionPool

_R = TypeVar("_R")

_INTERVAL_S = 0.1
"""How often a wait looks for signals."""


class NoAnswer(psycopg.OperationalError):
    """The server did not answer although it had more time than its own timeouts allow. The connection is closed."""


class PooledConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose `close` returns it to its pool.

    `patience_s` limits each wait for the server, in seconds; None for no limit. The timeouts of the server do not
    suffice: a server process that is stopped, or whose host is frozen, does not enforce them.
    """

    pool: "ConnectionPool[PooledConnection] | None" = None
    patience_s: float | None = None

    @classmethod
    def opened(cls, parameters: Mapping[str, Any], *, within_s: float) -> Self:
        """Connect to the first address that answers; all of them together get `within_s` seconds.

        `Connection.connect` would give each address that time, and at least two seconds. Raises OperationalError with
        the last reason.
        """
        give_up = time.monotonic() + within_s
        attempts = conninfo_attempts(dict(parameters))
        for left, attempt in zip(range(len(attempts), 0, -1), attempts, strict=True):
            share = max(0.0, give_up - time.monotonic()) / left
            try:
                generator = generators.connect(make_conninfo("", **attempt))
                connection = cls(waiting.wait_conn(generator, interval=_INTERVAL_S, timeout=share))
            except _WaitTimeout:
                failure: psycopg.Error = psycopg.errors.ConnectionTimeout("connection timeout expired")
            except psycopg.Error as error:
                failure = error
            else:
                connection.prepare_threshold = None  # a pooler gives each transaction another server connection
                return connection
        raise failure

    def wait(self, gen: "PQGen[_R]", interval: float = _INTERVAL_S, timeout: float | None = None) -> _R:
        """Wait like the inherited method, for at most `patience_s`. Raises NoAnswer, and closes the connection then."""
        patience = self.patience_s if timeout is None else timeout
        try:
            return super().wait(gen, interval, patience)
        except _WaitTimeout:
            if timeout is not None:
                raise
            self.pgconn.finish()
            raise NoAnswer(f"the server did not answer within {patience:g} s") from None

    def close(self) -> None:
        if self.pool is None:
            super().close()
        else:
            self.pool.give_back(self, sound=self.info.transaction_status == TransactionStatus.IDLE)

    def disconnect(self) -> None:
        """Close the connection instead of returning it to the pool."""
        self.pool = None
        super().close()
