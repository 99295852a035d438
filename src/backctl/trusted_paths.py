"""Where a command may write: which folders and which links other users cannot turn against it.

In a folder in which everybody may make names, such as /tmp, another user can plant a link under the name that a command
is about to write, and have it write somewhere else with the rights of whoever runs it. Where everybody may also replace
files, nothing is safe. What was judged is held open, so that nothing can be put in its place afterwards.
"""

import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EISDIR, ELOOP, ENOENT
from pathlib import Path

from backctl.domain.errors import FolderUnusable, quoted

_LINKS_MAX = 40  # path_resolution(7)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PASSAGE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
"""For folders on the way, which need not be readable."""


@dataclass(frozen=True, slots=True)
class Place:
    """A name in a folder that is held open, whatever becomes of the path that led there."""

    folder: int
    """The folder's descriptor."""
    path: Path
    """Absolute, and without links before its last name."""

    @property
    def name(self) -> str:
        return self.path.name

    def status(self) -> os.stat_result | None:
        """What has the name, itself and not what it leads to; None when nothing has."""
        try:
            return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None


@contextmanager
def opened(path: Path, *, follow_last: bool, make_folders: bool = False) -> Iterator[Place]:
    """The place of a file that a user has named, whether the file is there or not.

    Links on the way are followed if `may_follow` says so; one under the last name only with `follow_last`, else it is
    what has the name. `make_folders` makes missing folders, 0700. Raises FolderUnusable for other links, OSError.
    """
    with _walked(path, follow_last=follow_last, make_folders=make_folders) as (passage, folder, rest):
        if not rest:
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(path))
        if len(rest) > 1:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(folder / rest[0]))
        with _named(folder):
            descriptor = os.open(os.curdir, _FOLDER, dir_fd=passage)
        try:
            yield Place(descriptor, folder / rest[0])
        finally:
            os.close(descriptor)


def followed(path: Path) -> Path:
    """The absolute path without links; the last names of it need not exist. Raises FolderUnusable, OSError."""
    with _walked(path, follow_last=True, make_folders=False) as (_, folder, rest):
        return folder.joinpath(*rest)


def may_follow(link: os.stat_result, folder: os.stat_result, *, user: int) -> bool:
    """Whether only `user` and root can have made a link in `folder`, and given it this name.

    Everybody can give a link another name where everybody may rename files, the owner of a sticky folder too; and make
    a hard link to another user's symbolic one, where Linux does not forbid it (proc_sys_fs(5), protected_hardlinks).
    """
    if link.st_uid not in (0, user):
        return False
    if not folder.st_mode & stat.S_IWOTH:
        return True
    return bool(folder.st_mode & stat.S_ISVTX) and folder.st_uid in (0, user) and link.st_nlink == 1


@contextmanager
def _walked(path: Path, *, follow_last: bool, make_folders: bool) -> Iterator[tuple[int, Path, deque[str]]]:
    """The last folder on the way that is there: its descriptor and its path. And the names that are left.

    That is none where the path ends with a folder above, the last one, or those from the first that is missing.
    """
    rest = deque(path.parts)
    here, descriptor = Path(os.sep) if path.is_absolute() else Path.cwd(), -1
    if path.is_absolute():
        rest.popleft()
    try:
        descriptor = os.open(os.sep if path.is_absolute() else os.curdir, _PASSAGE)
        links = 0
        while rest:
            name = rest[0]
            with _named(here / name):
                status = _status(name, descriptor) if name != os.pardir else None
                if status is not None and stat.S_ISLNK(status.st_mode) and (follow_last or len(rest) > 1):
                    links += 1
                    if links > _LINKS_MAX:
                        raise OSError(ELOOP, os.strerror(ELOOP))
                    target = Path(_target(name, descriptor, status, here))
                    rest.popleft()
                    rest.extendleft(reversed(target.parts[1:] if target.is_absolute() else target.parts))
                    if target.is_absolute():
                        here, descriptor = Path(os.sep), _exchanged(descriptor, os.sep)
                    continue
                if name != os.pardir:
                    if len(rest) == 1 or (status is None and not make_folders):
                        break
                    if status is None:
                        _make(name, descriptor)
                descriptor = _exchanged(descriptor, name)
            here = here.parent if name == os.pardir else here / name
            rest.popleft()
        yield descriptor, here, rest
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of the system with the whole path: they know the last name of it only."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _status(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _exchanged(descriptor: int, name: str) -> int:
    """Another folder, in place of one that is closed."""
    other = os.open(name, _PASSAGE, dir_fd=descriptor)
    os.close(descriptor)
    return other


def _make(name: str, folder: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:  # another process was quicker
        return
    descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    try:
        os.fchmod(descriptor, 0o700)  # whatever the umask took away
    finally:
        os.close(descriptor)
    with suppress(PermissionError):  # above a folder that may be written and not read
        descriptor = os.open(os.curdir, _FOLDER, dir_fd=folder)
        try:
            os.fsync(descriptor)  # or a power failure takes the folder away with all that is in it
        finally:
            os.close(descriptor)


def _target(name: str, folder: int, link: os.stat_result, shown: Path) -> str:
    """Where a link leads. Raises FolderUnusable for one that may not be followed."""
    if not may_follow(link, os.fstat(folder), user=os.geteuid()):
        named = quoted(str(shown / name), limit=400)
        why = f"belongs to user {link.st_uid}" if link.st_uid not in (0, os.geteuid()) else "other users can move"
        raise FolderUnusable(f"{named} is a link that {why}", hint="use another path, or the target of the link")
    target = os.readlink(name, dir_fd=folder)
    now = _status(name, folder)
    if now is None or (now.st_dev, now.st_ino, now.st_ctime_ns) != (link.st_dev, link.st_ino, link.st_ctime_ns):
        raise FolderUnusable(
            f"the link {quoted(str(shown / name), limit=400)} was replaced while it was being followed",
            hint="try again",
        )
    return target


def require_sound_folder(path: Path) -> None:
    """Raises FolderUnusable for a path that is not a folder, or where everybody may replace files; OSError."""
    _require_sound(path.stat(), path)


def require_sound(place: Place) -> None:
    """Raises FolderUnusable for a place in a folder in which everybody may replace files."""
    _require_sound(os.fstat(place.folder), place.path.parent)


def _require_sound(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise FolderUnusable(f"{quoted(str(path), limit=400)} is not a folder")
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise FolderUnusable(
            f"every user can replace files in {quoted(str(path), limit=400)}",
            hint="remove that permission with 'chmod o-w', or configure another folder",
        )
