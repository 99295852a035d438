"""Collects the versions of what this program consists of and uses."""

import sys
from typing import NamedTuple


class Build(NamedTuple):
    """The versions of a program, except its own. `commit` is None if it is unknown."""

    commit: str | None
    python: str
    sqlite: str
    schema_revision: str
    libraries: dict[str, str]


def build() -> Build:
    """Return the versions of this program. Reads no configuration."""
    import sqlite3

    from backctl.infrastructure.build import commit, library_versions
    from backctl.infrastructure.sql.revision import REVISION

    python = ".".join(map(str, sys.version_info[:3]))
    return Build(commit(), python, sqlite3.sqlite_version, REVISION, library_versions())
