"""Where a command may write: which folders and which links other users cannot turn against it.

In a folder in which everybody may make names, such as /tmp, another user can plant a link under the name that a command
is about to write, and have it write somewhere else with the rights of whoever runs it. Where everybody may also replace
files, nothing is safe.
"""

import os
import stat
from collections import deque
from errno import ELOOP
from pathlib import Path

from backctl.domain.errors import FolderUnusable, quoted

_LINKS_MAX = 40  # path_resolution(7)


def followed(path: Path) -> Path:
    """The absolute path without links; the last names of it need not exist.

    The last name may be a link of this user or of root. A link on the way may be a stranger's too, unless it lies in a
    sticky folder that everybody may write, where Linux itself refuses it (proc_sys_fs(5), protected_symlinks). Raises
    FolderUnusable for other links, OSError.
    """
    here = Path(os.sep)
    parts, links = deque(Path(os.getcwd(), path).parts[1:]), 0
    while parts:
        name = parts.popleft()
        if name == os.pardir:
            here = here.parent
            continue
        there = here / name
        try:
            status = there.lstat()
        except FileNotFoundError:
            return there.joinpath(*parts)
        if not stat.S_ISLNK(status.st_mode):
            here = there
            continue
        links += 1
        if links > _LINKS_MAX:
            raise OSError(ELOOP, os.strerror(ELOOP), str(path))
        if status.st_uid not in (0, os.geteuid()) and (not parts or _is_everybodys(here)):
            raise FolderUnusable(
                f"{quoted(str(there), limit=400)} is a link that belongs to user {status.st_uid}",
                hint="name another file, or the one that the link leads to",
            )
        target = Path(os.readlink(there))
        if target.is_absolute():
            here = Path(os.sep)
        parts.extendleft(reversed(target.parts[1:] if target.is_absolute() else target.parts))
    return here


def require_sound_folder(path: Path) -> None:
    """Raises FolderUnusable for what is no folder, or one in which everybody may replace files; OSError."""
    mode = path.stat().st_mode
    if not stat.S_ISDIR(mode):
        raise FolderUnusable(f"{quoted(str(path), limit=400)} is not a folder")
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise FolderUnusable(
            f"everybody may replace files in {quoted(str(path), limit=400)}",
            hint="take that right away with chmod o-w, or name another folder in the configuration",
        )


def _is_everybodys(folder: Path) -> bool:
    mode = folder.stat().st_mode
    return bool(mode & stat.S_IWOTH and mode & stat.S_ISVTX)
