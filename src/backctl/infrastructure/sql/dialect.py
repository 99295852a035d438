"""The differences between SQL databases in the statements that they share."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final, Literal, NamedTuple

Placeholder = Literal["?", "%s"]
Type = Literal["text", "uuid"]
ColumnType = Literal["uuid", "bytea", "bigint"]
IS_UTF8: Final = "is_utf8"
"""The function of databases with loose types that tells whether a blob is UTF-8."""

_INSTALLATION = (
    "SELECT (SELECT version_num FROM alembic_version), installation_id, (SELECT {join}(kid, ' ') FROM audit_keys) "
    "FROM installation WHERE id = 1"
)


class Dialect(NamedTuple):
    """The SQL dialect of one kind of database. The `dialect.py` of each database's folder defines its value."""

    placeholder: Placeholder
    """The driver's placeholder for a value."""
    join: str
    """The aggregate function that joins texts."""
    as_id: str
    """Casts the text in `{}` to the type of an id column."""
    as_id_if_possible: str
    """Like `as_id`, but null for a text that is not an id. The text is `{0}`."""
    has_arrays: bool
    """Whether a list can be passed as one value."""
    writes_in_queries: bool
    """Whether a WITH clause may hold an INSERT or UPDATE."""
    has_loose_types: bool
    """Whether a column can contain values of other types than its own."""
    shown_key: str
    """Converts the key in `{}` to text."""
    wrong_json: str
    """The condition that the text in `{0}` is not JSON of the kind `{1}`: `object` or `array`."""

    def among(
        self, column: str, kind: Literal["text", "uuid"], values: Sequence[str]
    ) -> tuple[str, tuple[str | list[str], ...]]:
        """Return the condition that a column is one of many values, and the values to pass."""
        if self.has_arrays:
            return f"{column} = ANY(CAST({self.placeholder} AS {kind}[]))", (list(values),)
        return f"{column} IN ({', '.join([self.placeholder] * len(values))})", tuple(values)

    def given(self, columns: Mapping[str, ColumnType], rows: Sequence[tuple[Any, ...]]) -> tuple[str, tuple[Any, ...]]:
        """Return the table `given` of rows with these columns, for a FROM clause, and the values to pass.

        A few thousand rows are possible.
        """
        if self.has_arrays:
            arrays = ", ".join(f"CAST({self.placeholder} AS {kind}[])" for kind in columns.values())
            values = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in columns]
            return f"unnest({arrays}) AS given ({', '.join(columns)})", tuple(values)
        names = ", ".join(f"column{number} AS {name}" for number, name in enumerate(columns, start=1))
        row = f"({', '.join([self.placeholder] * len(columns))})"
        text = f"(SELECT {names} FROM (VALUES {', '.join([row] * len(rows))})) AS given"  # noqa: S608 - constant names
        return text, tuple(chain.from_iterable(rows))

    @property
    def installation(self) -> str:
        """The query for the revision, the installation id and the kids of the audit keys."""
        return _INSTALLATION.format(join=self.join)
