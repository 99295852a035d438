"""Sessions, their refresh tokens, revoked access tokens, and what each issuer revoked at once."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# As in tables.py at the time: a revision must not change when the tables do.
_IDENTIFIER = sa.String(36).with_variant(sa.Uuid(as_uuid=False), "postgresql")
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_EARLIEST, _LATEST = -62135596800000000, 253402300799999999


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", _IDENTIFIER, nullable=False),
        sa.Column("user_id", _IDENTIFIER, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("issuer", _KEY, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("audience", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("access_ttl", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("issued_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("not_before", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("revoked_because", sa.String(32)),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint(f"created_at >= {_EARLIEST} AND issued_at >= created_at", "begin_ordered"),
        sa.CheckConstraint(f"expires_at >= created_at AND ends_at <= {_LATEST}", "end_ordered"),
        sa.CheckConstraint("(revoked_at IS NULL) = (revoked_because IS NULL)", "revoked_because"),
    )
    op.create_index("ix_sessions_user_id_id", "sessions", ["user_id", "id"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("session_id", _IDENTIFIER, sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
        sa.Column("issued_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
        sa.Column("successor", sa.LargeBinary),
        sa.PrimaryKeyConstraint("digest"),
        sa.CheckConstraint("length(digest) = 32", "digest"),
        sa.CheckConstraint("successor IS NULL OR (used_at IS NOT NULL AND length(successor) = 32)", "successor"),
    )
    op.create_index("ix_refresh_tokens_session_id", "refresh_tokens", ["session_id"])
    op.create_index("ix_refresh_tokens_expires_at", "refresh_tokens", ["expires_at"])
    op.create_table(
        "revoked_tokens",
        sa.Column("jti", _KEY, nullable=False),
        sa.Column("revoked_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("jti"),
    )
    op.create_index("ix_revoked_tokens_expires_at", "revoked_tokens", ["expires_at"])
    op.create_table(
        "token_issuers",
        sa.Column("issuer", _KEY, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("issuer"),
    )
