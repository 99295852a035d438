"""Decide which folders a command may write to and which links it may follow, so that other users cannot misuse it.

In a folder where every user can create files, such as /tmp, another user can create a link under the name that a
command will write, so that it writes elsewhere with its own rights. Where every user can also replace files, nothing is
safe. Checked folders are kept open, so that nobody can replace them after the check.
"""

import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EISDIR, ELOOP, ENOENT
from pathlib import Path

from backctl.domain.errors import FolderUnusable
from backctl.domain.quoting import quoted

_LINKS_MAX = 40  # path_resolution(7)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PASSAGE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
"""For the folders on a path, which need not be readable."""


@dataclass(frozen=True, slots=True)
class Place:
    """A name in an open folder. It stays valid when the path to the folder changes."""

    folder: int
    """The folder's descriptor."""
    path: Path
    """Absolute, with no links before the last name."""

    @property
    def name(self) -> str:
        return self.path.name

    def status(self) -> os.stat_result | None:
        """Return the status of the file with this name, without following a link; None if there is none."""
        try:
            return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None


@contextmanager
def opened(path: Path, *, follow_last: bool, make_folders: bool = False) -> Iterator[Place]:
    """Open the folder of a file that a user named; the file need not exist.

    Links on the path are followed if `may_follow` allows it; a link under the last name only with `follow_last`.
    `make_folders` creates missing folders with mode 0700. Raises FolderUnusable for other links, and OSError.
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
    """Return the absolute path without links; its last names need not exist. Raises FolderUnusable, OSError."""
    with _walked(path, follow_last=True, make_folders=False) as (_, folder, rest):
        return folder.joinpath(*rest)


def may_follow(link: os.stat_result, folder: os.stat_result, *, user: int) -> bool:
    """Whether only `user` and root can have created a link in `folder` under this name.

    In a folder that every user can write to, others can rename a link, unless the sticky bit is set; the owner of a
    sticky folder still can. Others can also create a hard link to another user's symbolic link, unless Linux forbids it
    (proc_sys_fs(5), protected_hardlinks).
    """
    if link.st_uid not in (0, user):
        return False
    if not folder.st_mode & stat.S_IWOTH:
        return True
    return bool(folder.st_mode & stat.S_ISVTX) and folder.st_uid in (0, user) and link.st_nlink == 1


@contextmanager
def _walked(path: Path, *, follow_last: bool, make_folders: bool) -> Iterator[tuple[int, Path, deque[str]]]:
    """Yield the descriptor and path of the last existing folder on the path, and the remaining names.

    No name remains if the path ends with `..` or at the root; else the last name, or all from the first missing one on.
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
    """Put the whole path into system errors, which contain only the last name."""
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
    """Open another folder and close this one."""
    other = os.open(name, _PASSAGE, dir_fd=descriptor)
    os.close(descriptor)
    return other


def _make(name: str, folder: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:  # another process created it first
        return
    descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    try:
        os.fchmod(descriptor, 0o700)  # independent of the umask
    finally:
        os.close(descriptor)
    with suppress(PermissionError):  # a folder may be writable but not readable
        descriptor = os.open(os.curdir, _FOLDER, dir_fd=folder)
        try:
            os.fsync(descriptor)  # or a power failure can lose the folder with its contents
        finally:
            os.close(descriptor)


def _target(name: str, folder: int, link: os.stat_result, shown: Path) -> str:
    """Return the target of a link. Raises FolderUnusable for a link that must not be followed."""
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
    """Raises FolderUnusable if the path is not a folder or every user can replace files in it; OSError."""
    _require_sound(path.stat(), path)


def require_sound(place: Place) -> None:
    """Raises FolderUnusable if every user can replace files in the folder of the place."""
    _require_sound(os.fstat(place.folder), place.path.parent)


def _require_sound(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise FolderUnusable(f"{quoted(str(path), limit=400)} is not a folder")
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise FolderUnusable(
            f"every user can replace files in {quoted(str(path), limit=400)}",
            hint="remove that permission with 'chmod o-w', or configure another folder",
        )


def may_change_mode(descriptor: int) -> bool:
    """Whether this user can change the mode of an open file: not on a read-only mount, nor of another user's file."""
    owner, user = os.fstat(descriptor).st_uid, os.geteuid()
    return user in (0, owner) and not os.fstatvfs(descriptor).f_flag & os.ST_RDONLY


def owner_hint(owner: int) -> str:
    """Return what to do about a file of another user. Never to take it from a service that needs it."""
    import pwd

    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    return f"run backctl as its owner, for example with 'sudo -u {name}', or use a file of your own"
