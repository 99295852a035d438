"""The SQLAlchemy engine of the write side."""

import sqlite3
from pathlib import Path
from typing import cast

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event

from backctl.infrastructure.database.schema import REVISION, connect, read_installation, require_current


def sqlite_engine(path: Path, *, timeout_us: int, expected: str | None = REVISION, foreign_keys: bool = True) -> Engine:
    """An engine whose transactions take the write lock when they begin, and are on the disk when they end.

    A transaction that would only lock at its first write loses against another's snapshot, and no timeout helps
    (SQLITE_BUSY_SNAPSHOT). `expected` is the revision the database must have, checked under the lock; None opens
    whatever is there. Raises DatabaseMissing, DatabaseUnusable, SchemaOutdated, SchemaTooNew when it connects.
    """

    def open_connection() -> sqlite3.Connection:
        connection = connect(path, timeout_us=timeout_us, read_only=False, check_same_thread=False)
        try:
            check(connection)  # before the next statement changes the header of a database that is not ours
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # the log is synchronised at every commit
            connection.execute("PRAGMA secure_delete = ON")  # what is erased is not to be found in free space
            if not foreign_keys:
                connection.execute("PRAGMA foreign_keys = OFF")
        except BaseException:
            connection.close()
            raise
        return connection

    def check(connection: sqlite3.Connection) -> None:
        if expected is not None:
            require_current(read_installation(connection, path), path, revision=expected)

    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        creator=open_connection,
        # One connection stays open, for closing the last one copies the log into the file: two fsyncs per command of
        # a batch. More are opened when threads ask at once.
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=-1,
        hide_parameters=True,  # a failed statement would print password hashes
    )

    @event.listens_for(engine, "begin")
    def begin_immediate(connection: Connection) -> None:
        driver = driver_of(connection)
        driver.execute("BEGIN IMMEDIATE")
        check(driver)

    return engine


def driver_of(connection: Connection) -> sqlite3.Connection:
    """The driver's own connection behind SQLAlchemy's."""
    return cast(sqlite3.Connection, connection.connection.driver_connection)
