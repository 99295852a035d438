"""Accounts, the event log and its chain, the installation and its audit keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# As in tables.py at the time: a revision must not change when the tables do.
_IDENTIFIER = sa.String(36).with_variant(sa.Uuid(as_uuid=False), "postgresql")
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ROWID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_EARLIEST, _LATEST = -62135596800000000, 253402300799999999


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", _IDENTIFIER, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("email_key", _KEY, nullable=False),
        sa.Column("email_domain", _KEY, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("username_key", _KEY, nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("role", sa.String(50), nullable=False),
        sa.Column("is_active", sa.Boolean(create_constraint=True, name="is_active"), nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column(
            "must_change_password", sa.Boolean(create_constraint=True, name="must_change_password"), nullable=False
        ),
        sa.Column("mfa_state", sa.String(7), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("email_key"),
        sa.UniqueConstraint("username_key"),
        sa.CheckConstraint("length(email) BETWEEN 3 AND 254", "email_length"),
        sa.CheckConstraint("length(username) BETWEEN 3 AND 50", "username_length"),
        sa.CheckConstraint("mfa_state IN ('off', 'pending', 'on')", "mfa_state"),
        sa.CheckConstraint("version >= 1", "version"),
        sa.CheckConstraint(f"created_at >= {_EARLIEST} AND updated_at >= created_at", "times_ordered"),
        sa.CheckConstraint(f"updated_at <= {_LATEST}", "updated_at"),
        sa.CheckConstraint(f"expires_at BETWEEN {_EARLIEST} AND {_LATEST}", "expires_at"),
    )
    op.create_index("ix_users_created_at_id", "users", ["created_at", "id"])
    op.create_index("ix_users_role_created_at_id", "users", ["role", "created_at", "id"])
    op.create_index("ix_users_email_domain_created_at_id", "users", ["email_domain", "created_at", "id"])
    op.create_table(
        "events",
        sa.Column("seq", _ROWID, nullable=False, autoincrement=False),
        sa.Column("id", _IDENTIFIER, nullable=False),
        sa.Column("occurred_at", sa.BigInteger, nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("subject", _KEY, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("trace_id", sa.Text),
        sa.Column("audit_kid", sa.String(64), nullable=False),
        sa.Column("data", sa.Text),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("data_digest", sa.LargeBinary, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sa.CheckConstraint("seq >= 1", "seq"),
        sa.CheckConstraint("length(data_digest) = 32 AND length(mac) = 32", "digests"),
        sa.CheckConstraint("(data IS NULL) = (salt IS NULL)", "erased_together"),
    )
    op.create_index("ix_events_subject_seq", "events", ["subject", "seq"])
    op.create_index("ix_events_type_seq", "events", ["type", "seq"])
    op.create_table(
        "event_head",
        sa.Column("id", sa.SmallInteger, nullable=False, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("id = 1", "single"),
    )
    op.create_table(
        "installation",
        sa.Column("id", sa.SmallInteger, nullable=False, autoincrement=False),
        sa.Column("installation_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("id = 1", "single"),
    )
    op.create_table(
        "audit_keys",
        sa.Column("kid", sa.String(64), nullable=False),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("kid"),
    )
