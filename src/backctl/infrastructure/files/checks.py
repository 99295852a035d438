"""The health probe of files: no other user can read or change them."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from backctl.infrastructure.probes import Finding, fail, ok, warn


def are_private(paths: Sequence[Path], keyring: Sequence[Path], config_file: Path | None) -> Finding:
    """Check owners and modes of the installation's files and of the configuration.

    Expects folders of mode 0700 and files of mode 0600 that belong to this user or root, a configuration folder that
    other users cannot write to, and no world-writable folder above them, after resolving links. Anything that others
    can read or change is a failure; any other excess permission is a warning.
    """
    exposed: list[str] = []
    loose: list[str] = []
    for path, status in _present(paths):
        shared = status.st_mode & 0o077
        if path in keyring and not shared & 0o007:
            continue  # `keyring.valid` checks the rest, by the same rule as every command
        if stranger := _owned_by_a_stranger(path, status):
            exposed.append(stranger)
        if _is_writable_folder(status) or (not stat.S_ISDIR(status.st_mode) and shared & 0o027):
            exposed.append(_with_mode(path, status))
        elif shared:
            loose.append(_with_mode(path, status))
    if config_file is not None:
        for path, status in _present([config_file.parent, config_file]):
            if stranger := _owned_by_a_stranger(path, status):
                exposed.append(stranger)
            if _is_writable_folder(status) or (not stat.S_ISDIR(status.st_mode) and status.st_mode & 0o022):
                exposed.append(_with_mode(path, status))
    for path, status in _present(_on_the_way([*paths, config_file] if config_file else paths)):
        if _is_writable_folder(status) and status.st_mode & stat.S_IWOTH and _with_mode(path, status) not in exposed:
            exposed.append(_with_mode(path, status))
    hint = "chmod 700 the folder, chmod 600 its files, chmod go-w the configuration and its folder; run backctl as"
    hint = f"{hint} the user who owns them"
    if exposed:
        return fail(f"other users can read or change files of this installation: {'; '.join(exposed + loose)}", hint)
    if loose:
        return warn(f"permissions are wider than necessary: {'; '.join(loose)}", hint)
    return ok("no other user can read or change the files")


def _on_the_way(paths: Iterable[Path]) -> list[Path]:
    """Return every folder above the paths, after resolving links."""
    return sorted({folder for path in paths for folder in Path(os.path.realpath(path)).parents})


def _owned_by_a_stranger(path: Path, status: os.stat_result) -> str | None:
    return None if status.st_uid in (0, os.geteuid()) else f"{path} belongs to user {status.st_uid}"


def _is_writable_folder(status: os.stat_result) -> bool:
    """Whether this is a folder whose files other users can replace."""
    mode = status.st_mode
    return stat.S_ISDIR(mode) and bool(mode & 0o022) and not mode & stat.S_ISVTX


def _with_mode(path: Path, status: os.stat_result) -> str:
    return f"{path} has mode {status.st_mode & 0o7777:04o}"


def _present(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the paths that exist, with their status."""
    for path in paths:
        with suppress(FileNotFoundError):
            yield path, path.stat()
