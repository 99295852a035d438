"""What write-behind has written, and when accounts and sessions were last seen."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_IDENTIFIER = sa.String(36).with_variant(sa.Uuid(as_uuid=False), "postgresql")
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "written_updates",
        sa.Column("queue", _KEY, nullable=False),
        sa.Column("writer", _KEY, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("written_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("queue", "writer", "key", name="pk_written_updates"),
    )
    op.create_index("ix_written_updates_written_at", "written_updates", ["written_at"])
    op.create_table(
        "written_queues",
        sa.Column("queue", _KEY, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("queue", name="pk_written_queues"),
    )
    for table, column, parent in (("seen_accounts", "user_id", "users"), ("seen_sessions", "session_id", "sessions")):
        op.create_table(
            table,
            sa.Column(column, _IDENTIFIER, nullable=False),
            sa.Column("at", sa.BigInteger, nullable=False),
            sa.PrimaryKeyConstraint(column, name=f"pk_{table}"),
            sa.ForeignKeyConstraint(
                [column], [f"{parent}.id"], name=f"fk_{table}_{column}_{parent}", ondelete="CASCADE"
            ),
        )
