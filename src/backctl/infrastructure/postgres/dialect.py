"""The SQL dialect of PostgreSQL with psycopg."""

from typing import Final

from backctl.infrastructure.sql.dialect import Dialect

POSTGRES: Final = Dialect(
    placeholder="%s",
    join="string_agg",
    as_id="CAST({} AS uuid)",
    as_id_if_possible=(
        "CASE WHEN {0} ~ '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$' THEN CAST({0} AS uuid) END"
    ),
    has_arrays=True,
    writes_in_queries=True,
    has_loose_types=False,
    shown_key="CAST({} AS text)",
    wrong_json="{0} IS NOT JSON {1}",
)
