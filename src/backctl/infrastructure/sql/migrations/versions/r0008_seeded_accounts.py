"""The seeds that created accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_IDENTIFIER = sa.String(36).with_variant(sa.Uuid(as_uuid=False), "postgresql")


def upgrade() -> None:
    op.create_table(
        "seeded_accounts",
        sa.Column("user_id", _IDENTIFIER, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_seeded_accounts"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_seeded_accounts_user_id_users", ondelete="CASCADE"),
    )
    op.create_index("ix_seeded_accounts_name", "seeded_accounts", ["name"])
