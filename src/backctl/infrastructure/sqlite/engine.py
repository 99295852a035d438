"""The SQLAlchemy engine of the write side on SQLite."""

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import URL, Connection, Engine, NullPool, Table, create_engine, event
from sqlalchemy.exc import IntegrityError

from backctl.infrastructure.sql.engine import DIALECT, INSERT_MANY, KNOWN_KIDS, OUTCOMES
from backctl.infrastructure.sql.pool import ConnectionPool
from backctl.infrastructure.sql.schema import REVISION, require_current
from backctl.infrastructure.sqlite.connection import connect, read_installation
from backctl.infrastructure.sqlite.dialect import SQLITE
from backctl.infrastructure.sqlite.faults import SqliteFaults

# If the service has no log handlers, Python would print what the pool logs: a traceback when a signal arrives while
# a connection is being closed, although the caller gets the error too.
logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())


class Turns:
    """Leaves the write lock free for a moment between long transactions of this process, for other processes.

    SQLite has no queue. A waiting process retries every 100 ms, and would rarely find the lock free if this process
    took it again immediately. `monotonic` and `sleep` use seconds.
    """

    SHORT: Final = 0.005
    """The next transaction follows a transaction of up to this duration without a pause."""
    SHARE: Final = 0.2
    """The pause after a longer transaction, as a fraction of its duration."""
    LONGEST: Final = 0.05

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._begun = self._ended = monotonic()

    def before(self) -> None:
        """Call before a transaction begins."""
        took = self._ended - self._begun
        if took > self.SHORT:
            free = self._monotonic() - self._ended
            left = min(took * self.SHARE, self.LONGEST) - free
            if left > 0:
                self._sleep(left)

    def begun(self) -> None:
        """Call after the lock was taken."""
        self._begun = self._ended = self._monotonic()

    def ended(self) -> None:
        """Call after the lock was released."""
        self._ended = self._monotonic()


class _PooledConnection(sqlite3.Connection):
    """A connection whose `close` returns it to its pool."""

    pool: "ConnectionPool[_PooledConnection] | None" = None

    def close(self) -> None:
        if self.pool is None:
            super().close()
        else:
            self.pool.give_back(self, sound=not self.in_transaction)

    def disconnect(self) -> None:
        """Close the connection instead of returning it to the pool."""
        self.pool = None
        super().close()


def sqlite_engine(
    path: Path,
    *,
    timeout_us: int,
    expected: str | None = REVISION,
    foreign_keys: bool = True,
    turns: Turns | None = None,
) -> Engine:
    """Create an engine whose transactions take the write lock when they begin, and are on disk when they end.

    A transaction that locks only at its first write can fail with SQLITE_BUSY_SNAPSHOT, which no timeout prevents.
    `expected` is the revision that the database must have, checked under the lock; None opens any database. Connecting
    raises DatabaseMissing, DatabaseUnusable, SchemaOutdated, SchemaTooNew.
    """

    turn = turns or Turns()

    def open_connection() -> _PooledConnection:
        opened = connect(
            path, timeout_us=timeout_us, read_only=False, check_same_thread=False, factory=_PooledConnection
        )
        connection = cast(_PooledConnection, opened)
        try:
            check(connection)  # before the next statement changes the header of a foreign database
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # flush the log at every commit
            connection.execute("PRAGMA secure_delete = ON")  # overwrite erased data in free space
            if not foreign_keys:
                connection.execute("PRAGMA foreign_keys = OFF")
        except BaseException:
            connection.close()
            raise
        connection.pool = pool
        return connection

    # Keep a connection open between transactions: closing the last one copies the log into the file, which costs two
    # fsyncs per command of a batch.
    pool = ConnectionPool(open_connection, close=_PooledConnection.disconnect, label=str(path), inheritable=False)

    def check(connection: sqlite3.Connection) -> tuple[str, ...]:
        if expected is None:
            return ()
        stored = read_installation(connection, path)
        require_current(stored, path, revision=expected)
        return stored.audit_kids

    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        creator=lambda: pool.take(timeout_s=timeout_us / 1_000_000),
        poolclass=NullPool,
        hide_parameters=True,  # a failed statement would print password hashes
        execution_options={DIALECT: SQLITE, OUTCOMES: SqliteFaults(path), INSERT_MANY: insert_directly},
    )

    @event.listens_for(engine, "begin")
    def begin_immediate(connection: Connection) -> None:
        driver = driver_of(connection)
        turn.before()
        driver.execute("BEGIN IMMEDIATE")
        turn.begun()
        connection.info[KNOWN_KIDS] = check(driver)

    @event.listens_for(engine, "engine_disposed")
    def close_connections(_: Engine) -> None:
        pool.clear()

    @event.listens_for(engine.pool, "checkin")
    def transaction_ended(*_: object) -> None:
        turn.ended()

    return engine


def insert_directly(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows without SQLAlchemy's work on each value, half of the time. Raises IntegrityError."""
    names = ", ".join(f'"{name}"' for name in columns)
    statement = f'INSERT INTO "{table.name}" ({names}) VALUES ({", ".join("?" * len(columns))})'  # noqa: S608 - no values
    try:
        driver_of(connection).executemany(statement, rows)
    except sqlite3.IntegrityError as error:
        raise IntegrityError(None, None, error, hide_parameters=True) from error


def driver_of(connection: Connection) -> sqlite3.Connection:
    """Return the driver's connection behind SQLAlchemy's."""
    return cast(sqlite3.Connection, connection.connection.driver_connection)
