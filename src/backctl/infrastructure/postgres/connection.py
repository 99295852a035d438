"""Connects to a PostgreSQL database, reads its stored installation, and finds the outcome of a lost COMMIT.

Uses only the driver, so that the read side loads nothing else.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.types.string import TextLoader

from backctl.domain.errors import (
    BackctlError,
    ConnectionLost,
    DatabaseMissing,
    DatabaseUnavailable,
    DatabaseUnusable,
    OutcomeUnknown,
)
from backctl.domain.quoting import quoted
from backctl.infrastructure.postgres import faults as postgres_faults
from backctl.infrastructure.postgres.dialect import POSTGRES
from backctl.infrastructure.postgres.limits import Limits
from backctl.infrastructure.sql.pool import CONNECTIONS, ConnectionPool
from backctl.infrastructure.sql.schema import (
    REVISION,
    StoredInstallation,
    require_current,
    stored_installation,
)

if TYPE_CHECKING:
    from backctl.domain.values import EventId

logging.getLogger("psycopg").addHandler(logging.NullHandler())  # or Python would print its log messages

Driver = psycopg.Connection[tuple[Any, ...]]

_LEAST_CONNECT_S = 2  # libpq treats less as 2
_RECONNECT_S = 0.1
# Detects within half a minute that a server has vanished, even during a statement.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}


class PooledConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose `close` returns it to its pool."""

    pool: "ConnectionPool[PooledConnection] | None" = None

    def close(self) -> None:
        if self.pool is None:
            super().close()
        else:
            self.pool.give_back(self, sound=self.info.transaction_status == TransactionStatus.IDLE)

    def disconnect(self) -> None:
        """Close the connection instead of returning it to the pool."""
        self.pool = None
        super().close()


class PostgresDatabase:
    """One database on a server, for all threads of a process. `label` is its displayable URL.

    Opens at most `connections` connections. `sleep` and `monotonic` use seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        label: str,
        limits: Limits,
        connections: int = CONNECTIONS,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self.label = label
        self.limits = limits
        self._sleep = sleep
        self._monotonic = monotonic
        self._was_lost = False
        self._pool = ConnectionPool(self._connected, close=PooledConnection.disconnect, size=connections, label=label)

    def connect(self, *, autocommit: bool = False) -> Driver:
        """Return an idle connection or a new one. Closing it returns it to the pool.

        A thread must not take a second connection while it holds one. Raises DatabaseUnavailable; DatabaseUnusable and
        DatabaseMissing for problems that do not go away by waiting.
        """
        connection = self._pool.take(timeout_s=self.limits.connect_us / 1_000_000)
        try:
            connection.autocommit = autocommit
        except BaseException:
            self._pool.give_back(connection, sound=False)
            raise
        return connection

    def close(self) -> None:
        """Close the connections; the next use reconnects."""
        self._pool.clear()

    def _connected(self) -> PooledConnection:
        """Open a connection. After a lost connection, retry until the connect timeout ends."""
        parameters = self._parameters()
        give_up = self._monotonic() + self.limits.connect_us / 1_000_000
        while True:
            try:
                connection = PooledConnection.connect(self._url, prepare_threshold=None, **parameters)
            except psycopg.OperationalError as error:
                fault = postgres_faults.connecting_fault(error, self.label)
                waits = self._was_lost or postgres_faults.sqlstate_of(error) == "57P03"
                if not waits or not isinstance(fault, DatabaseUnavailable) or self._monotonic() >= give_up:
                    raise fault from error
                self._sleep(_RECONNECT_S)
            else:
                self._was_lost = False
                connection.pool = self._pool
                connection.adapters.register_loader("uuid", TextLoader)  # ids are text in all other code
                return connection

    def stored(self) -> StoredInstallation:
        """Read the stored installation, at any revision. Raises DatabaseMissing, DatabaseUnusable."""
        with self.mapped_faults(), self.connect(autocommit=True) as connection:
            return self.begin(connection)

    def begin(self, connection: Driver, *, expected: str | None = None) -> StoredInstallation:
        """Begin a read-only transaction with one snapshot, on a connection with autocommit."""
        return self._ask(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ", expected)

    def settle(self, connection: Driver, *, expected: str | None = REVISION) -> StoredInstallation:
        """Set the timeouts of a transaction that has begun, and check that its schema has the `expected` revision."""
        return self._ask(connection, "", expected)

    def _ask(self, connection: Driver, beginning: str, expected: str | None) -> StoredInstallation:
        # Use one round trip for everything.
        cursor = connection.execute(beginning + self.limits.local() + POSTGRES.installation)
        while cursor.nextset():
            continue
        row = cursor.fetchone()
        if row is None:
            raise DatabaseMissing(
                f"the database {quoted(self.label, limit=400)} does not contain a backctl installation",
                hint="run '{backctl} init', or check database.url",
            )
        stored = stored_installation(row, self.label)
        if expected is not None:
            require_current(stored, self.label, revision=expected)
        return stored

    @contextmanager
    def mapped_faults(self) -> Iterator[None]:
        """Convert the driver's errors to BackctlErrors. Errors that the database does not cause pass unchanged."""
        try:
            yield
        except Exception as error:
            fault = self.fault_of(error)
            if fault is None:
                raise
            raise fault from error

    def fault_of(self, error: Exception) -> BackctlError | None:
        fault = postgres_faults.fault_of(error, self.label)
        if isinstance(fault, ConnectionLost):  # the idle connections are probably broken too
            self._was_lost = True
            self._pool.clear()
        return fault

    def is_lost(self, error: Exception) -> bool:
        return postgres_faults.is_lost(error)

    def was_committed(self, event_id: "EventId | None") -> bool:
        """Whether the transaction with this first event was committed, although its connection broke at COMMIT.

        The old server process locks the head of the chain until its transaction ends, so the next holder of that lock
        sees the outcome. Raises OutcomeUnknown when there is no event or the lock is not free in time.
        """
        self._was_lost = True
        unknown = OutcomeUnknown(
            f"the connection to the database {quoted(self.label, limit=400)} was lost during the change; "
            "it is unknown whether the change was made",
            hint="check with '{backctl} audit list' before you repeat the change",
        )
        if event_id is None:
            raise unknown
        try:
            with self.connect() as connection:
                connection.execute(self.limits.local())
                connection.execute("SELECT seq FROM event_head WHERE id = 1 FOR UPDATE")
                found = connection.execute("SELECT 1 FROM events WHERE id = %s", (event_id,)).fetchone()
                connection.rollback()
        except (psycopg.Error, BackctlError) as error:
            raise unknown from error
        return found is not None

    def _parameters(self) -> dict[str, Any]:
        try:
            given = conninfo_to_dict(self._url)
        except psycopg.ProgrammingError:  # its message may contain a password
            raise DatabaseUnusable(
                "database.url is not a valid PostgreSQL URL: a parameter is unknown, or a part is misplaced",
                hint="percent-encode special characters in the password, for example '@' as %40",
            ) from None
        seconds = max(_LEAST_CONNECT_S, -(-self.limits.connect_us // 1_000_000))
        parameters: dict[str, Any] = {name: value for name, value in _KEEPALIVE.items() if name not in given}
        parameters["connect_timeout"] = min(seconds, int(given.get("connect_timeout") or seconds))
        return parameters | {"fallback_application_name": "backctl", "client_encoding": "UTF8"}
