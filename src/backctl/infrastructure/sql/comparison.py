"""Compares the schema of a database with the one that the tables define, both as the same dialect reads them back.

Never compares the SQL that created a table, because migrations and models generate different SQL.
"""

import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sqlalchemy import Inspector
from sqlalchemy.engine.interfaces import ReflectedForeignKeyConstraint, ReflectedIndex

from backctl.infrastructure.sql.tables import Row

Part = Literal["columns", "indices", "constraints"]
PARTS: tuple[Part, ...] = ("columns", "indices", "constraints")

TABLES = tuple(table.name for table in Row.metadata.sorted_tables)
"""The names of the tables of this program."""

_CASTS = re.compile(r"::(?:character varying|text)(?:\[\])?")
"""Casts between types of text. PostgreSQL adds them, in other places when a dump is restored."""

KEPT = (*TABLES, "alembic_version")


class Difference(NamedTuple):
    """A difference. `missing` is True if this program needs the object, False if someone added it."""

    text: str
    missing: bool


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns, indices and constraints of every table, each with a name and a description."""

    columns: Mapping[str, Mapping[str, str]]
    indices: Mapping[str, Mapping[str, str]]
    constraints: Mapping[str, Mapping[str, str]]


def read_schema(inspector: Inspector, schema: str | None = None, known: Collection[str] | None = None) -> Schema:
    """Read the tables of this program from `schema`, or from the connection's default schema.

    `known` are the existing tables, for an inspector that does not list them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about added objects that SQLAlchemy cannot describe
        names = inspector.get_table_names(schema) if known is None else known
        present = [table for table in TABLES if table in names]
        return Schema(
            {table: _columns(inspector, table, schema) for table in present},
            {table: _indices(inspector, table, schema) for table in present},
            {table: dict(_constraints(inspector, table, schema)) for table in present},
        )


def missing_tables(found: Schema) -> Iterator[Difference]:
    for table in TABLES:
        if table not in found.columns:
            yield Difference(f"table {table} is missing", missing=True)


def added(described: Iterable[str]) -> Iterator[Difference]:
    """Yield a difference for each object that someone added, such as `trigger x`."""
    for text in described:
        yield Difference(f"{text} does not belong to backctl", missing=False)


def differences(part: Part, expected: Schema, found: Schema) -> Iterator[Difference]:
    """Yield the differences in the tables that exist."""
    for table, present in getattr(found, part).items():
        yield from _differences(table, getattr(expected, part)[table], present)


def _differences(table: str, expected: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Difference]:
    for name, description in expected.items():
        if name not in found:
            yield Difference(f"{table}: {name} is missing", missing=True)
        elif found[name] != description:
            yield Difference(f"{table}: {name} is {found[name]} instead of {description}", missing=True)
    for name in found:
        if name not in expected:
            yield Difference(f"{table}: {name} does not belong to backctl", missing=False)


def _columns(inspector: Inspector, table: str, schema: str | None) -> dict[str, str]:
    described = {}
    for column in inspector.get_columns(table, schema):
        words = [str(column["type"]), "NULL" if column["nullable"] else "NOT NULL"]
        if column.get("computed") is not None:
            words.append("GENERATED")
        elif column.get("default") is not None:
            words.append(f"DEFAULT {column['default']}")
        described[column["name"]] = " ".join(words)
    return described


def _indices(inspector: Inspector, table: str, schema: str | None) -> dict[str, str]:
    # On PostgreSQL, a unique constraint is an index too; report it only as a constraint.
    return {
        str(index["name"]): _index(index)
        for index in inspector.get_indexes(table, schema)
        if not index.get("duplicates_constraint")
    }


def _index(index: ReflectedIndex) -> str:
    columns = ", ".join(name or "an expression" for name in index["column_names"])
    condition = next((text for key, text in index.get("dialect_options", {}).items() if key.endswith("_where")), None)
    return f"{'unique ' if index['unique'] else ''}({columns})" + (
        f" where {condition}" if condition is not None else ""
    )


def _constraints(inspector: Inspector, table: str, schema: str | None) -> Iterator[tuple[str, str]]:
    """Yield constraints by name, or by description if they have no name."""
    primary = inspector.get_pk_constraint(table, schema)
    yield "primary key", f"({', '.join(primary['constrained_columns'])})"
    for unique in inspector.get_unique_constraints(table, schema):
        text = f"unique ({', '.join(unique['column_names'])})"
        yield unique["name"] or text, text
    for check in inspector.get_check_constraints(table, schema):
        text = f"check ({_CASTS.sub('', ' '.join(check['sqltext'].split()))})"
        yield check["name"] or text, text
    for reference in inspector.get_foreign_keys(table, schema):
        text = _reference(reference)
        yield reference["name"] or text, text


def _reference(reference: ReflectedForeignKeyConstraint) -> str:
    options = "".join(f" {key} {value}" for key, value in sorted(reference.get("options", {}).items()))
    return (
        f"({', '.join(reference['constrained_columns'])}) references "
        f"{reference['referred_table']} ({', '.join(reference['referred_columns'])}){options}"
    )
