"""Finds out from which commit this program was built, and which versions of libraries are installed."""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # SHA-1 or SHA-256
_LONGEST = 1 << 20  # bytes


def commit() -> str | None:
    """Return the commit of the checkout, or of the repository from which pip installed the program; None if unknown."""
    if _ROOT.joinpath("src/backctl").is_dir() and _ROOT.joinpath("pyproject.toml").is_file():
        return commit_of_checkout(_ROOT)
    installed = _installed()
    return None if installed is None else commit_of_installation(installed.read_text("direct_url.json") or "")


def commit_of_checkout(root: Path) -> str | None:
    """Return the commit that is checked out in `root`, also in a worktree; None without one. Runs no program.

    See gitrepository-layout(5). Git itself may be missing, and refuses a repository that belongs to another user.
    """
    try:
        folder = root / ".git"
        if folder.is_file():
            folder = root / _read(folder).removeprefix("gitdir: ").strip()
        head = _read(folder / "HEAD").strip()
        if not head.startswith("ref: refs/"):
            return head if _COMMIT.fullmatch(head) else None
        name = head.removeprefix("ref: ")
        if ".." in name:
            return None
        common = folder / _read(folder / "commondir").strip() if (folder / "commondir").is_file() else folder
        return next((found for found in _named(common, name) if _COMMIT.fullmatch(found)), None)
    except (OSError, ValueError):
        return None


def _named(folder: Path, name: str) -> Iterator[str]:
    """Yield what a reference names: the content of its own file, and of its line in the file of packed ones."""
    if (folder / name).is_file():
        yield _read(folder / name).strip()
    if (folder / "packed-refs").is_file():
        for line in _read(folder / "packed-refs").splitlines():
            if line.endswith(f" {name}"):
                yield line.partition(" ")[0]


def commit_of_installation(direct_url: str) -> str | None:
    """Return the commit in a document of https://packaging.python.org/specifications/direct-url; None without one."""
    import json

    try:
        found = json.loads(direct_url)["vcs_info"]["commit_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) and _COMMIT.fullmatch(found) else None


def library_versions() -> dict[str, str]:
    """Return the versions of the installed libraries that this program requires; none if it is not installed."""
    installed = _installed()
    versions: dict[str, str] = {}
    for requirement in (installed.requires or ()) if installed is not None else ():
        name = re.split(r"[^A-Za-z0-9._-]", requirement)[0]
        try:
            versions[name] = distribution(name).version
        except PackageNotFoundError:  # only needed on other platforms
            continue
    return dict(sorted(versions.items()))


def _installed() -> Distribution | None:
    try:
        return distribution("backctl")
    except PackageNotFoundError:
        return None


def _read(file: Path) -> str:
    with file.open("rb") as content:
        return content.read(_LONGEST).decode()
