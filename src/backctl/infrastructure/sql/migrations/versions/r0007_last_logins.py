"""The time of the last login, and an index for accounts that expire soon."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("users", sa.Column("last_login_at", sa.BigInteger))
    op.execute(
        "UPDATE users SET last_login_at = (SELECT e.occurred_at FROM events e WHERE e.subject = CAST(users.id AS TEXT) "
        "AND e.type = 'LoginSucceeded' ORDER BY e.seq DESC LIMIT 1)"
    )
    op.create_index("ix_users_expires_at", "users", ["expires_at"])
