"""A future release: this program with one additional schema revision."""

import shutil
from pathlib import Path

import backctl
from backctl.infrastructure.sql.schema import REVISION

NEXT = f"{int(REVISION) + 1:04}"

_ADD_A_TABLE = f"""
import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{REVISION}"

def upgrade():
    op.create_table("badges", sa.Column("id", sa.Integer, primary_key=True))
"""


def make_next_release(folder: Path) -> Path:
    """Create the package in `folder`. Return the value for PYTHONPATH."""
    package = folder / "backctl"
    shutil.copytree(Path(backctl.__file__).parent, package)
    schema = package / "infrastructure" / "sql" / "revision.py"
    schema.write_text(schema.read_text().replace(f'REVISION = "{REVISION}"', f'REVISION = "{NEXT}"'))
    (package / "infrastructure" / "sql" / "migrations" / "versions" / f"r{NEXT}.py").write_text(_ADD_A_TABLE)
    return folder
