"""How `db check` examines an SQLite file."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine, inspect

from backctl.application.ports.storage import HealthProbe
from backctl.infrastructure.probes import Finding
from backctl.infrastructure.sql.checks import Examined, probes
from backctl.infrastructure.sql.comparison import KEPT, Schema, read_schema
from backctl.infrastructure.sql.engine import DIALECT
from backctl.infrastructure.sql.schema import require_current
from backctl.infrastructure.sql.tables import Row
from backctl.infrastructure.sqlite.connection import connect, read_installation
from backctl.infrastructure.sqlite.dialect import SQLITE
from backctl.infrastructure.sqlite.engine import driver_of
from backctl.infrastructure.sqlite.faults import mapped_faults
from backctl.infrastructure.sqlite.health import integrity


def file_probes(path: Path, *, timeout_us: int) -> tuple[HealthProbe, ...]:
    """Return the checks of one database."""
    examined = Examined(
        snapshot=partial(_snapshot, path, timeout_us),
        model=cache(_model),
        integrity=_pages,
        beside=_beside,
        others=_others,
    )
    return probes(examined)


@contextmanager
def _snapshot(path: Path, timeout_us: int) -> Iterator[Connection]:
    engine = create_engine(
        "sqlite://",
        creator=lambda: connect(path, timeout_us=timeout_us, read_only=True),
        poolclass=NullPool,
        execution_options={DIALECT: SQLITE},
    )
    with mapped_faults(path), engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        require_current(read_installation(driver_of(connection), path), path)
        yield connection


def _model() -> Schema:
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            Row.metadata.create_all(connection)
            return read_schema(inspect(connection))
    finally:
        engine.dispose()


def _pages(connection: Connection) -> Finding:
    return integrity(driver_of(connection))


def _beside(connection: Connection) -> Iterator[str]:
    listed = connection.exec_driver_sql(
        "SELECT type, name, lower(tbl_name) FROM sqlite_master WHERE type IN ('view', 'trigger') "
        "ORDER BY type DESC, name"
    )
    return (f"{kind} {name}" for kind, name, table in listed.fetchall() if kind == "view" or table in KEPT)


def _others(connection: Connection) -> list[str]:
    """Return the tables of services, which their writers of write-behind write to, for example."""
    listed = connection.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name"
    )
    return [name for (name,) in listed.fetchall() if name not in KEPT]
