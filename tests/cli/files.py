"""Looks at the files of a machine and changes its database directly."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.cli.machines import Machine


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return each path below `folder` with its bytes or link target; None for folders. Omits SQLite's shared memory."""
    return {
        str(path.relative_to(folder)): os.readlink(path).encode()
        if path.is_symlink()
        else None
        if path.is_dir()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.name != "backctl.db-shm"
    }


def execute(machine: Machine, *statements: str) -> None:
    """Change the database file without its constraints, as an attacker could."""
    with closing(sqlite3.connect(machine.data / "backctl.db")) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)


def revision(path: Path) -> str:
    """Return the schema revision of a database file."""
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])
