"""The SQLAlchemy engine of the write side on PostgreSQL."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL, Connection, Engine, NullPool, Table, create_engine, event
from sqlalchemy.exc import IntegrityError

from backctl.infrastructure.postgres.connection import Driver, PostgresDatabase
from backctl.infrastructure.postgres.dialect import POSTGRES
from backctl.infrastructure.sql.engine import DIALECT, INSERT_MANY, KNOWN_KIDS, OUTCOMES
from backctl.infrastructure.sql.schema import StoredInstallation


def postgres_engine(
    database: PostgresDatabase, check: Callable[[StoredInstallation], None] = lambda stored: None
) -> Engine:
    """Create an engine whose transactions are READ COMMITTED, have timeouts, and first check the schema revision.

    `check` receives the stored installation at the start of each transaction, and raises to reject it. Beginning a
    transaction raises the errors of `PostgresDatabase.connect`, SchemaOutdated and SchemaTooNew.
    """
    engine = bare_engine(database)

    @event.listens_for(engine, "begin")
    def look_first(connection: Connection) -> None:
        try:
            stored = database.settle(driver_of(connection))
            check(stored)
        except psycopg.errors.UndefinedTable:
            database.require_place(driver_of(connection))
            raise
        except psycopg.Error:
            if driver_of(connection).closed:
                connection.invalidate()  # or the pool would try to roll it back and log the failure
            raise
        connection.info[KNOWN_KIDS] = stored.audit_kids

    return engine


def bare_engine(database: PostgresDatabase) -> Engine:
    """Create an engine that does not check the schema, for creating and migrating it."""
    return create_engine(
        URL.create("postgresql+psycopg"),
        creator=database.connect,
        isolation_level="READ COMMITTED",  # whatever the server's default, because the locks rely on it
        use_native_hstore=False,  # or every first connection queries a type that no table uses
        poolclass=NullPool,  # the database has its own pool, shared with the read side
        hide_parameters=True,  # a failed statement would print password hashes
        execution_options={DIALECT: POSTGRES, OUTCOMES: database, INSERT_MANY: copy_many},
    )


def copy_many(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows with COPY, which takes half the time of an INSERT for each. Raises IntegrityError."""
    statement = SQL("COPY {} ({}) FROM STDIN").format(Identifier(table.name), SQL(", ").join(map(Identifier, columns)))
    try:
        with driver_of(connection).cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.IntegrityError as error:
        raise IntegrityError(None, None, error, hide_parameters=True) from error


def driver_of(connection: Connection) -> Driver:
    """Return the driver's connection behind SQLAlchemy's."""
    return cast(Driver, connection.connection.driver_connection)
