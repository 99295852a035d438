"""Stores the names that accounts no longer have, so that the events of these accounts can be found by name.

`audit verify` does not depend on this table, because the log contains the names too.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Connection, delete, text

from backctl.infrastructure.sql import tables

# Another spelling of a name has the same key.
_KEEP: Final = text(
    "INSERT INTO former_names (user_id, kind, key, name, at_deletion) "
    "VALUES (:user_id, :kind, :key, :name, :at_deletion) "
    "ON CONFLICT (user_id, kind, key) DO UPDATE SET name = excluded.name, at_deletion = excluded.at_deletion"
)
# An import can create an account again under the id of a deleted one.
_FORGET_DELETION: Final = text("UPDATE former_names SET at_deletion = FALSE WHERE user_id = :user_id AND at_deletion")
_KINDS: Final = ("email", "username")


def keep_replaced(connection: Connection, user_id: str, before: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
    """Store the names in the row `before` whose keys are among the `changed` columns."""
    replaced = [row for row in _rows(user_id, before, at_deletion=False) if f"{row['kind']}_key" in changed]
    if replaced:
        connection.execute(_KEEP, replaced)


def keep_last(connection: Connection, user_id: str, row: Mapping[str, Any]) -> None:
    """Store the names of an account that is being deleted."""
    connection.execute(_FORGET_DELETION, {"user_id": user_id})
    connection.execute(_KEEP, list(_rows(user_id, row, at_deletion=True)))


def forget(connection: Connection, user_id: str) -> None:
    """Delete every name of an account."""
    connection.execute(delete(tables.former_names).where(tables.former_names.c.user_id == user_id))


def _rows(user_id: str, row: Mapping[str, Any], *, at_deletion: bool) -> Iterator[dict[str, Any]]:
    for kind in _KINDS:
        yield {
            "user_id": user_id,
            "kind": kind,
            "key": row[f"{kind}_key"],
            "name": row[kind],
            "at_deletion": at_deletion,
        }
