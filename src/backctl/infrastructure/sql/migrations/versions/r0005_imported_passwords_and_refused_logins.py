"""Marks of imported password hashes, and the number of logins refused during a lock."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # The origin of earlier hashes is unknown. They stay unmarked, so that none of them opens with a cut password.
    op.add_column("users", sa.Column("password_imported", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("login_failures", sa.Column("refused", sa.BigInteger, nullable=False, server_default="0"))
