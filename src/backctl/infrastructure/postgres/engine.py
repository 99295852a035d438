"""The SQLAlchemy engine of the write side on PostgreSQL."""

from collections.abc import Callable
from typing import cast

import psycopg
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from backctl.infrastructure.postgres.connection import Driver, PostgresDatabase
from backctl.infrastructure.postgres.dialect import POSTGRES
from backctl.infrastructure.sql.engine import DIALECT, KNOWN_KIDS, OUTCOMES
from backctl.infrastructure.sql.schema import StoredInstallation


def postgres_engine(
    database: PostgresDatabase, check: Callable[[StoredInstallation], None] = lambda stored: None
) -> Engine:
    """An engine whose transactions are READ COMMITTED, have their limits set, and begin with a look at the schema.

    `check` is told at the same time what the database says about itself, and raises when that does not suit. Raises
    what `PostgresDatabase.connect` raises, SchemaOutdated and SchemaTooNew when a transaction begins.
    """
    engine = bare_engine(database)

    @event.listens_for(engine, "begin")
    def look_first(connection: Connection) -> None:
        try:
            stored = database.settle(driver_of(connection))
            check(stored)
        except psycopg.Error:
            if driver_of(connection).closed:
                connection.invalidate()  # or the pool would try to roll it back, and tell the world that it cannot
            raise
        connection.info[KNOWN_KIDS] = stored.audit_kids

    return engine


def bare_engine(database: PostgresDatabase) -> Engine:
    """The same without a look at what is there: for making and migrating it."""
    return create_engine(
        URL.create("postgresql+psycopg"),
        creator=database.connect,
        isolation_level="READ COMMITTED",  # whatever the server's default: the locks are made for it
        use_native_hstore=False,  # or every first connection asks for a type that no table has
        poolclass=NullPool,  # the database has its own, which reading shares
        hide_parameters=True,  # a failed statement would print password hashes
        execution_options={DIALECT: POSTGRES, OUTCOMES: database},
    )


def driver_of(connection: Connection) -> Driver:
    """The driver's own connection behind SQLAlchemy's."""
    return cast(Driver, connection.connection.driver_connection)
