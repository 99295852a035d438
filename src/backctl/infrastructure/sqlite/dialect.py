"""The SQL dialect of SQLite."""

from typing import Final

from backctl.infrastructure.sql.dialect import Dialect

SQLITE: Final = Dialect(
    placeholder="?",
    join="group_concat",
    as_id="{}",
    as_id_if_possible="{0}",
    has_arrays=False,
    writes_in_queries=False,
    has_loose_types=True,
    shown_key="CASE typeof({0}) WHEN 'blob' THEN quote({0}) ELSE CAST({0} AS TEXT) END",
    wrong_json="CASE WHEN json_valid({0}) THEN json_type({0}) <> '{1}' ELSE 1 END",
)
