"""How `db check` examines a database on a PostgreSQL server."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial

from sqlalchemy import URL, Connection, NullPool, create_engine, inspect

from backctl.application.ports.storage import HealthProbe
from backctl.infrastructure.postgres.connection import Driver, PostgresDatabase
from backctl.infrastructure.postgres.dialect import POSTGRES
from backctl.infrastructure.postgres.engine import bare_engine, driver_of
from backctl.infrastructure.probes import Finding, fail, ok
from backctl.infrastructure.sql.checks import Examined, probes
from backctl.infrastructure.sql.comparison import TABLES, Schema, read_schema
from backctl.infrastructure.sql.engine import DIALECT
from backctl.infrastructure.sql.schema import REVISION
from backctl.infrastructure.sql.tables import Row

_INVALID = """
WITH ours AS (SELECT oid FROM pg_class WHERE relname = ANY(%(tables)s) AND pg_table_is_visible(oid))
SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid IN (SELECT oid FROM ours) AND NOT indisvalid
UNION ALL
SELECT conname FROM pg_constraint WHERE conrelid IN (SELECT oid FROM ours) AND NOT convalidated
ORDER BY 1
"""
_TRIGGERS = """
SELECT tgname FROM pg_trigger JOIN pg_class ON tgrelid = pg_class.oid
WHERE NOT tgisinternal AND relname = ANY(%(tables)s) AND pg_table_is_visible(tgrelid) ORDER BY 1
"""


def server_probes(database: PostgresDatabase) -> tuple[HealthProbe, ...]:
    """Return the checks of one database."""
    return probes(
        Examined(
            snapshot=partial(_snapshot, database),
            model=cache(partial(_model, database)),
            integrity=lambda connection: validity(driver_of(connection)),
            beside=_triggers,
        )
    )


@contextmanager
def _snapshot(database: PostgresDatabase) -> Iterator[Connection]:
    engine = create_engine(
        URL.create("postgresql+psycopg"),
        creator=partial(database.connect, autocommit=True),
        use_native_hstore=False,
        poolclass=NullPool,
        execution_options={DIALECT: POSTGRES},
    )
    with database.mapped_faults(), engine.connect() as connection:
        driver = driver_of(connection)
        database.begin(driver, expected=REVISION)
        database.allow_long_statements(driver)  # checking a large log is slow
        yield connection


def _model(database: PostgresDatabase) -> Schema:
    """Create the tables as temporary ones, read how the server describes them, and roll back."""
    engine = bare_engine(database)
    try:
        with database.mapped_faults(), engine.connect() as connection, connection.begin() as transaction:
            driver_of(connection).execute(database.limits.local())
            temporary = connection.execution_options(schema_translate_map={None: "pg_temp"})
            Row.metadata.create_all(temporary, checkfirst=False)
            name = connection.exec_driver_sql("SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()")
            found = read_schema(inspect(connection), name.scalar_one(), TABLES)
            transaction.rollback()
            return found
    finally:
        engine.dispose()


def validity(connection: Driver) -> Finding:
    """Check that every index and constraint of backctl's tables is valid."""
    invalid = [str(name) for (name,) in connection.execute(_INVALID, {"tables": list(TABLES)})]
    if invalid:
        return fail(
            f"invalid indexes or constraints: {', '.join(invalid)}",
            "run REINDEX for an index, or ALTER TABLE ... VALIDATE CONSTRAINT for a constraint",
        )
    return ok("every index and constraint is valid; the server checks its pages itself")


def _triggers(connection: Connection) -> list[str]:
    return [f"trigger {name}" for (name,) in connection.exec_driver_sql(_TRIGGERS, {"tables": list(TABLES)})]
