"""The programs that tests use and that neither Python nor a Python package provides."""

import os
import shutil

PROGRAMS = {
    "bash": "completion in bash",
    "zsh": "completion in zsh",
    "fish": "completion in fish",
}
"""Program and Debian package, and what cannot be tested without it."""


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def notice(names: list[str]) -> str:
    """The line that ends a run without these programs."""
    return f"not tested: {', '.join(PROGRAMS[name] for name in names)}; to test it, install {', '.join(names)}"


def must_all_be_there() -> bool:
    """Whether the run must fail without them: `CI=true`."""
    return os.environ.get("CI") == "true"
