"""Finds rows with impossible values: another program has written them, because backctl and the constraints would not.

The rules follow from the tables: text is text, times are in the years 1 to 9999, and so on. PostgreSQL enforces the
types itself, SQLite does not.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, SmallInteger, String, Table, Text

from backctl.domain.errors import DatabaseDamaged
from backctl.domain.quoting import quoted
from backctl.domain.values import EARLIEST, LATEST
from backctl.infrastructure.sql.dialect import IS_UTF8, Dialect
from backctl.infrastructure.sql.misread import ABOUT_VALUES, Misread
from backctl.infrastructure.sql.tables import Row

_TIMES = ("at", "not_before", "locked_until")  # and all names that end with `_at`
_JSON = {("events", "actor"): "object", ("events", "data"): "object", ("login_failures", "recent"): "array"}
_CHOICES = {
    ("users", "mfa_state"): ("off", "pending", "on"),
    ("mfa_secrets", "algorithm"): ("sha1", "sha256", "sha512"),
}
_LARGEST = 2**63 - 2  # a version must have a successor
_UUID_LENGTH = 36
_UUID = "-".join("[0-9a-f]" * length for length in (8, 4, 4, 4, 12))

Run = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a statement and returns its rows."""


class Damage(NamedTuple):
    """One row with an impossible value. `row` is its primary key, as text."""

    table: str
    row: str
    column: str

    def __str__(self) -> str:
        return f"table {self.table}, row {self.row}: {self.column}"


def find(run: Run, dialect: Dialect) -> Iterator[Damage]:
    """Yield the damaged rows of all tables, each with its first damaged column."""
    for table in Row.metadata.sorted_tables:
        statement = _statement(table, dialect)
        for row, column in run(statement) if statement else ():
            yield Damage(table.name, str(row), str(column))


def explanation(error: BaseException | None, run: Run, dialect: Dialect) -> DatabaseDamaged | None:
    """Return the error that names the damaged row behind `error`; None if no damage explains it.

    `error` is one of ABOUT_VALUES, or the DatabaseDamaged of a driver that cannot tell the row.
    """
    if isinstance(error, Misread):
        columns = (damage for damage in find(run, dialect) if (damage.table, damage.row) == (error.table, error.row))
        return error_of(next(columns, Damage(error.table, error.row, error.column)))
    first = next(find(run, dialect), None) if isinstance(error, (*ABOUT_VALUES, DatabaseDamaged)) else None
    return None if first is None else error_of(first)


def error_of(damage: Damage) -> DatabaseDamaged:
    where = f"the column {damage.column} contains" if damage.column else "it contains"
    return DatabaseDamaged(
        f"table {damage.table}, row {quoted(damage.row)}: {where} an impossible value",
        hint="run '{backctl} db check' to list all such rows; correct them, or restore the database from a backup",
    )


def _statement(table: Table, dialect: Dialect) -> str:
    """Return a query of the keys of damaged rows, each with the first damaged column.

    Empty if the database enforces the types of all columns.
    """
    rules = {column.name: _rule(table.name, column, dialect) for column in table.columns}
    rules = {name: rule for name, rule in rules.items() if rule}
    if not rules:
        return ""
    found = " ".join(f"WHEN {rule} THEN '{name}'" for name, rule in rules.items())
    key = " || '/' || ".join(dialect.shown_key.format(column.name) for column in table.primary_key.columns)
    anywhere = " OR ".join(rules.values())
    return f"SELECT {key}, CASE {found} END FROM {table.name} WHERE {anywhere}"  # noqa: S608 - constant names


def _rule(table: str, column: Column[Any], dialect: Dialect) -> str:
    """Return the condition for an impossible value of a column; empty if the database enforces all of it."""
    name = column.name
    parts = [_wrong_type(column)] if dialect.has_loose_types else []
    if isinstance(column.type, Boolean):
        parts += [f"{name} NOT IN (0, 1)"] if dialect.has_loose_types else []
    elif isinstance(column.type, BigInteger | SmallInteger):
        is_time = name.endswith("_at") or name in _TIMES
        low, high = (EARLIEST, LATEST) if is_time else (-1, _LARGEST)
        parts.append(f"{name} NOT BETWEEN {low} AND {high}")
    elif (table, name) in _CHOICES:
        parts.append(f"{name} NOT IN ({', '.join(map(repr, _CHOICES[table, name]))})")
    elif (table, name) in _JSON:
        parts.append(dialect.wrong_json.format(name, _JSON[table, name]))
    elif dialect.has_loose_types and isinstance(column.type, String) and column.type.length == _UUID_LENGTH:
        parts.append(f"{name} NOT GLOB '{_UUID}'")
    parts = [part for part in parts if part]
    if not parts:
        return ""
    wrong = f"{name} IS NOT NULL AND ({' OR '.join(parts)})"
    return f"({wrong})" if column.nullable else f"({name} IS NULL OR {wrong})"


def _wrong_type(column: Column[Any]) -> str:
    kinds = ((LargeBinary, "blob"), (String | Text, "text"), (Boolean | BigInteger | SmallInteger, "integer"))
    kind = next(kind for types, kind in kinds if isinstance(column.type, types))
    wrong = f"typeof({column.name}) <> '{kind}'"
    # Most text is ASCII, for which the first condition is enough; the function is a slow call into Python.
    broken = f"({column.name} GLOB '*[^ -~]*' AND NOT {IS_UTF8}(CAST({column.name} AS BLOB)))"
    return f"{wrong} OR {broken}" if kind == "text" else wrong
