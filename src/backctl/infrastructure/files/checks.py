"""The health probe of files: nobody else can read or change them."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from backctl.infrastructure.probes import Finding, fail, ok, warn


def are_private(paths: Sequence[Path], keyring: Sequence[Path], config_file: Path | None) -> Finding:
    """Folder 0700, files 0600, all of them this user's or root's, and the configuration in a folder nobody else writes.

    No folder on the way to them, links followed, lets everybody replace what is there. Whatever others can read or
    change is a failure, the rest of the excess a warning.
    """
    exposed: list[str] = []
    loose: list[str] = []
    for path, status in _present(paths):
        shared = status.st_mode & 0o077
        if path in keyring and not shared & 0o007:
            continue  # `keyring.valid` judges the rest, by the rule that every command follows
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
    hint = "chmod 700 the folder, chmod 600 its files, chmod go-w the configuration and its folder; chown them to"
    hint = f"{hint} user {os.geteuid()}"
    if exposed:
        return fail(f"others can read or change what is not theirs: {'; '.join(exposed + loose)}", hint)
    if loose:
        return warn(f"more open than need be: {'; '.join(loose)}", hint)
    return ok("nobody else can read or change anything")


def _on_the_way(paths: Iterable[Path]) -> list[Path]:
    """Every folder through which one of the paths leads in the end."""
    return sorted({folder for path in paths for folder in Path(os.path.realpath(path)).parents})


def _owned_by_a_stranger(path: Path, status: os.stat_result) -> str | None:
    return None if status.st_uid in (0, os.geteuid()) else f"{path} belongs to user {status.st_uid}"


def _is_writable_folder(status: os.stat_result) -> bool:
    """Whether others may replace what is in a folder."""
    mode = status.st_mode
    return stat.S_ISDIR(mode) and bool(mode & 0o022) and not mode & stat.S_ISVTX


def _with_mode(path: Path, status: os.stat_result) -> str:
    return f"{path} has mode {status.st_mode & 0o7777:04o}"


def _present(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Those that exist."""
    for path in paths:
        with suppress(FileNotFoundError):
            yield path, path.stat()
