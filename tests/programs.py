"""The programs that tests use and that neither Python nor a Python package provides."""

import os
import shutil

PROGRAMS = {
    "bash": "completion in bash",
    "zsh": "completion in zsh",
    "fish": "completion in fish",
    "pgbouncer": "TLS and PgBouncer",
    "git": "whether git names the same commit of a checkout",
    "jq": "how docs/ci.md stores secrets",
    "redis-server": "Redis (Valkey stands in for it)",
}
"""Program and Debian package, and what cannot be tested without it."""


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in PROGRAMS if path_of(name) is None]


def path_of(name: str) -> str | None:
    """The path of a program; None if it is not installed. Programs for administrators may be in /usr/sbin."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(name, path=f"{path}:/usr/sbin" if "/usr/bin" in path else path)


def notice(names: list[str]) -> str:
    """The line that ends a run without these programs."""
    return f"not tested: {', '.join(PROGRAMS[name] for name in names)}; to test it, install {', '.join(names)}"


def must_all_be_there() -> bool:
    """Whether the run must fail without them: `CI=true`."""
    return os.environ.get("CI") == "true"
