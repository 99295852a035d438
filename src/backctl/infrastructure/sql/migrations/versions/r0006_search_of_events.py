"""Indexes for the filters of the event log, and the names that accounts no longer have."""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

from backctl.domain.values import folded

revision = "0006"
down_revision = "0005"

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

# The events of accounts that lost a name.
_NAMES = """
SELECT subject, type, data FROM events
WHERE type IN ('UserCreated', 'UserEmailChanged', 'UserUsernameChanged', 'UserDeleted') AND subject IN (
    SELECT subject FROM events WHERE type IN ('UserEmailChanged', 'UserUsernameChanged', 'UserDeleted')
)
ORDER BY subject, seq
"""
_CHANGES = {"UserEmailChanged": "email", "UserUsernameChanged": "username"}
_BATCH = 1000


def upgrade() -> None:
    for member in ("label", "os_user"):
        op.add_column("events", sa.Column(f"actor_{member}", _KEY, _member(member)))
        op.create_index(f"ix_events_actor_{member}_seq", "events", [f"actor_{member}", "seq"])
    op.create_index("ix_events_occurred_at_seq", "events", ["occurred_at", "seq"])
    traced, reasoned = sa.text("trace_id IS NOT NULL"), sa.text("reason IS NOT NULL")
    trace = ("ix_events_trace_id_seq", "events", ["trace_id", "seq"])
    op.create_index(*trace, sqlite_where=traced, postgresql_where=traced)
    op.create_index("ix_events_with_reason", "events", ["seq"], sqlite_where=reasoned, postgresql_where=reasoned)
    former_names = op.create_table(
        "former_names",
        sa.Column("user_id", _KEY, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("key", _KEY, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at_deletion", sa.Boolean(create_constraint=True, name="at_deletion"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "kind", "key"),
        sa.CheckConstraint("kind IN ('username', 'email')", "kind"),
    )
    op.create_index("ix_former_names_key_kind", "former_names", ["key", "kind"])
    connection = op.get_bind()
    batch: list[dict[str, Any]] = []
    for row in _former_names(connection):
        batch.append(row)
        if len(batch) == _BATCH:
            connection.execute(former_names.insert(), batch)
            batch = []
    if batch:
        connection.execute(former_names.insert(), batch)


def _member(member: str) -> sa.Computed:
    if op.get_bind().dialect.name == "postgresql":
        text = f"CASE WHEN actor IS JSON OBJECT THEN CAST(actor AS json) ->> '{member}' END"
        return sa.Computed(text, persisted=True)
    text = f"CASE WHEN typeof(actor) = 'text' AND json_valid(actor) THEN json_extract(actor, '$.{member}') END"
    return sa.Computed(text)


def _former_names(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    """Yield the rows for the names in the log. The events of erased accounts contain none."""
    events = connection.execute(sa.text(_NAMES), execution_options={"yield_per": _BATCH})
    for user_id, rows in groupby(events, key=lambda row: row.subject):
        names: dict[tuple[str, str], tuple[str, bool]] = {}
        current: dict[str, str] = {}
        for _, type_, data in rows:
            for kind, name in _names_in(type_, data).items():
                if kind in current:
                    names[kind, _key(kind, current[kind])] = current[kind], False
                current[kind] = name
            if type_ == "UserDeleted":
                names.update({(kind, _key(kind, name)): (name, True) for kind, name in current.items()})
                current = {}
        for (kind, key), (name, at_deletion) in names.items():
            if at_deletion or key != _key(kind, current.get(kind, "")):
                yield {"user_id": user_id, "kind": kind, "key": key, "name": name, "at_deletion": at_deletion}


def _names_in(type_: str, data: str | None) -> dict[str, str]:
    """Return the names that this event gives an account; none if its data are damaged."""
    try:
        members = json.loads(data or "{}")
        names = {"email": members.get("email"), "username": members.get("username")}
        if type_ in _CHANGES:
            names = {_CHANGES[type_]: members.get("new")}
        return {kind: name for kind, name in names.items() if isinstance(name, str)}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}


def _key(kind: str, name: str) -> str:
    return folded(name, "NFC" if kind == "email" else "NFKC")
