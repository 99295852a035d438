"""The SQL dialect of SQLite."""

from typing import Final

from backctl.infrastructure.sql.dialect import Dialect

SQLITE: Final = Dialect(placeholder="?", join="group_concat", as_id="{}", writes_in_queries=False)
