"""Failed logins that still count."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# As in tables.py at the time: a revision must not change when the tables do.
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "login_failures",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("recent", sa.Text, nullable=False),
        sa.Column("locked_until", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_login_failures_expires_at", "login_failures", ["expires_at"])
