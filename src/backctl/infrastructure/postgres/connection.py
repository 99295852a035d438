"""Connects to a PostgreSQL database, reads its stored installation, and finds the outcome of a lost COMMIT.

Uses only the driver, so that the read side loads nothing else.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.string import TextLoader

from backctl.domain.errors import (
    BackctlError,
    ConnectionLost,
    DatabaseUnavailable,
    DatabaseUnusable,
    OutcomeUnknown,
)
from backctl.domain.quoting import quoted
from backctl.infrastructure.postgres import faults as postgres_faults
from backctl.infrastructure.postgres.dialect import POSTGRES
from backctl.infrastructure.postgres.driver import PooledConnection
from backctl.infrastructure.postgres.timeouts import Timeouts
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

Driver = PooledConnection

_RECONNECT_S = 0.1
_GRACE_S = 1.0
"""The time that the server has beyond its statement timeout, before the client gives up."""
_LONG_STATEMENT_S = 3600.0
# Detects within half a minute that a server has vanished, even during a statement.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}


class PostgresDatabase:
    """One database on a server, for all threads of a process. `label` is its displayable URL.

    Opens at most `connections` connections. `sleep` and `monotonic` use seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        label: str,
        limits: Timeouts,
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
            connection.patience_s = self.limits.statement_us / 1_000_000 + _GRACE_S
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
        parameters, within_s = self._parameters()
        give_up = self._monotonic() + self.limits.connect_us / 1_000_000
        while True:
            try:
                connection = PooledConnection.opened(parameters, within_s=within_s)
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
        """Read the stored installation, at any revision. Raises InstallationMissing, DatabaseUnusable."""
        with self.mapped_faults(), self.connect(autocommit=True) as connection:
            return self.begin(connection)

    def begin(self, connection: Driver, *, expected: str | None = None) -> StoredInstallation:
        """Begin a read-only transaction with one snapshot, on a connection with autocommit."""
        try:
            return self._ask(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ", expected)
        except psycopg.errors.UndefinedTable:
            self.require_place(connection)
            raise

    def require_place(self, connection: Driver) -> None:
        """Roll back, and raise DatabaseUnusable if the database could not contain an installation."""
        connection.execute("ROLLBACK")
        self.require_unicode(connection)
        self.require_schema(connection)

    def require_unicode(self, connection: Driver) -> None:
        """Raise DatabaseUnusable if the database cannot store every name."""
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise DatabaseUnusable(
                f"the database {quoted(self.label, limit=400)} has the encoding {quoted(str(encoding))}, "
                "which cannot store every name",
                hint="create one with 'createdb --encoding UTF8 --template template0'",
            )

    def require_schema(self, connection: Driver) -> None:
        """Raise DatabaseUnusable if no schema of the search path exists, so that there is no place for tables."""
        row = connection.execute("SELECT current_schema(), current_setting('search_path')").fetchone()
        if row is not None and row[0] is None:
            raise DatabaseUnusable(
                f"the database {quoted(self.label, limit=400)} has no schema of its search path {quoted(row[1])}",
                hint="create the schema with CREATE SCHEMA, or change search_path in database.url or of the user",
            )

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
            raise postgres_faults.no_installation(f"the database {quoted(self.label, limit=400)}")
        stored = stored_installation(row, self.label)
        if expected is not None:
            require_current(stored, self.label, revision=expected)
        return stored

    def allow_long_statements(self, connection: Driver) -> None:
        """Lift the statement timeout of the current transaction. The client then waits for at most an hour."""
        connection.execute(self.limits.local(statements=False))
        connection.patience_s = _LONG_STATEMENT_S

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

    def _parameters(self) -> tuple[dict[str, Any], float]:
        """Return the connection parameters, and the time to connect in seconds. Raises DatabaseUnusable."""
        try:
            given = conninfo_to_dict(self._url)
        except psycopg.ProgrammingError:  # its message may contain a password
            raise DatabaseUnusable(
                "database.url is not a valid PostgreSQL URL: a parameter is unknown, or a part is misplaced",
                hint="percent-encode special characters in the password, for example '@' as %40",
            ) from None
        within_s = self.limits.connect_us / 1_000_000
        own = str(given.pop("connect_timeout", None) or 0)
        if re.fullmatch("-?[0-9]{1,9}", own) is None:
            raise DatabaseUnusable(
                f"database.url: connect_timeout is {quoted(own)}; it must be a whole number of seconds",
                hint="remove it, or set database.connect_timeout",
            )
        if int(own) > 0:  # libpq takes the others for no limit
            within_s = min(within_s, int(own))
        parameters: dict[str, Any] = {**_KEEPALIVE, **given, "client_encoding": "UTF8"}
        return {"fallback_application_name": "backctl", **parameters}, within_s
