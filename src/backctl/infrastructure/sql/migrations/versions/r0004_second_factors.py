"""Secrets of one-time codes, and recovery codes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# As in tables.py at the time: a revision must not change when the tables do.
_IDENTIFIER = sa.String(36).with_variant(sa.Uuid(as_uuid=False), "postgresql")


def upgrade() -> None:
    op.create_table(
        "mfa_secrets",
        sa.Column("user_id", _IDENTIFIER, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("kid", sa.String(64), nullable=False),
        sa.Column("algorithm", sa.String(6), nullable=False),
        sa.Column("digits", sa.SmallInteger, nullable=False),
        sa.Column("period", sa.SmallInteger, nullable=False),
        sa.Column("enrolled_at", sa.BigInteger, nullable=False),
        sa.Column("confirmed_at", sa.BigInteger),
        sa.Column("last_used_step", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
        sa.CheckConstraint("algorithm IN ('sha1', 'sha256', 'sha512')", "algorithm"),
        sa.CheckConstraint("digits BETWEEN 6 AND 8", "digits"),
        sa.CheckConstraint("period BETWEEN 10 AND 300", "period"),
        sa.CheckConstraint("last_used_step >= -1", "last_used_step"),
    )
    op.create_index("ix_mfa_secrets_kid", "mfa_secrets", ["kid"])
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", _IDENTIFIER, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("kid", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("user_id", "digest"),
        sa.CheckConstraint("length(digest) = 64", "digest"),
    )
    op.create_index("ix_recovery_codes_kid", "recovery_codes", ["kid"])
