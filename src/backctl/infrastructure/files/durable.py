"""Writes files completely or not at all, and so that they survive a power failure.

A file is staged under a temporary name in its folder, flushed, and then linked to its name: a link never replaces a
file of another process. The names of staged files show which ones a killed process left behind.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from errno import EACCES, EIO, ELOOP
from pathlib import Path

from backctl.domain.errors import BackctlError, DiskFull, FolderUnusable, InstallationLocked, exhaustion_of
from backctl.domain.quoting import quoted
from backctl.staged_files import COPY, INSTALLATION_LOCK, hidden_name, remove_copy, sweep, try_lock
from backctl.trusted_paths import Place, opened, require_sound, require_sound_folder


def temporary_beside(path: Path) -> Path:
    """Return an unused name in the same folder that `left_over` recognises."""
    return path.with_name(f".{path.name}.{os.urandom(8).hex()}.new")


def open_new(path: Path | str, *, folder: int | None = None) -> int:
    """Create a file that only its owner can read and write, whatever the umask. Return its descriptor.

    `folder` is the descriptor of the folder for a relative name. Raises FileExistsError when the name exists, even as a
    link; OSError.
    """
    how = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, how, 0o600, dir_fd=folder)
    os.fchmod(descriptor, 0o600)
    return descriptor


def stage(path: Path, content: bytes, *, name: Path | None = None) -> Path:
    """Write a new file in the folder of `path`, readable only by its owner, and flush it. Return its temporary name.

    `name` replaces the temporary name that `left_over` recognises. Raises OSError and leaves nothing behind then.
    """
    temporary = temporary_beside(path) if name is None else name
    descriptor = open_new(temporary)
    try:
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        temporary.unlink()
        raise
    return temporary


def link_staged(temporary: Path, path: Path) -> None:
    """Give a staged file its name, durably. Raises FileExistsError when the name exists, even as a link."""
    os.link(temporary, path)
    flush_folder(path.parent)


def flush_folder(path: Path) -> None:
    """Flush a folder, so that the names in it survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path, *, timeout_us: int, busy: BackctlError | None = None) -> Iterator[None]:
    """Lock a folder, so that no other process creates an installation in it. The lock ends with the process.

    Raises `busy`, or InstallationLocked by default, when another process holds the lock for longer than `timeout_us`
    microseconds; OSError.
    """
    import fcntl
    import time

    path = folder / INSTALLATION_LOCK
    try:
        descriptor = open_new(path)
    except FileExistsError:
        descriptor = _open_lock(path)
    try:
        give_up = time.monotonic_ns() + timeout_us * 1000
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic_ns() >= give_up:
                    raise busy or InstallationLocked(
                        f"another process is creating an installation in {quoted(str(folder), limit=400)}",
                        hint="wait until it has finished, and try again",
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    """Open the lock file. Raises FolderUnusable if another user created it and could hold it indefinitely."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != ELOOP:
            raise
    else:
        if may_be_lock(os.fstat(descriptor), path.parent.stat(), user=os.geteuid()):
            return descriptor
        os.close(descriptor)
    raise FolderUnusable(
        f"{quoted(str(path), limit=400)} is not a lock file of backctl", hint="find out who created it, then remove it"
    )


def may_be_lock(lock: os.stat_result, folder: os.stat_result, *, user: int) -> bool:
    """Whether this user, root or the owner of the folder can have created the file as a lock."""
    return stat.S_ISREG(lock.st_mode) and lock.st_uid in (0, user, folder.st_uid)


def left_over(path: Path) -> list[Path]:
    """Return the staged files for `path` that are still there, as far as this user can see. Raises OSError."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.new(?:-journal|-wal|-shm)?")
    try:
        entries = os.listdir(path.parent)
    except (FileNotFoundError, PermissionError):
        return []
    return [path.with_name(entry) for entry in entries if name.fullmatch(entry)]


@contextmanager
def private_folder(place: Place) -> Iterator[Place]:
    """Provide a place in a hidden folder next to `place`, removed at the end. Only the owner can enter the folder.

    First removes what killed processes of this user have left there. Raises OSError.
    """
    sweep(place.folder)
    name, descriptor = _locked_folder(place)
    try:
        yield Place(descriptor, place.path.with_name(name) / COPY)
    finally:
        remove_copy(descriptor)
        os.close(descriptor)
        os.rmdir(name, dir_fd=place.folder)


def _locked_folder(place: Place) -> tuple[str, int]:
    """Create a folder that no clean-up removes until it is closed. Return its name and descriptor."""
    how = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        name = hidden_name(place.name)
        os.mkdir(name, 0o700, dir_fd=place.folder)
        with ExitStack() as held, suppress(FileNotFoundError):  # removed by another process before it was locked
            descriptor = os.open(name, how, dir_fd=place.folder)
            held.callback(os.close, descriptor)
            os.fchmod(descriptor, 0o700)  # the umask may have removed bits
            there = os.stat(name, dir_fd=place.folder, follow_symlinks=False)
            if try_lock(descriptor) and os.path.samestat(os.fstat(descriptor), there):
                held.pop_all()
                return name, descriptor


def exists(path: Path) -> bool:
    """Whether the name exists, even as a dangling link. Raises FolderUnusable when that cannot be determined."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unusable(path, error) from None
    return True


def make_folder(path: Path) -> None:
    """Create a folder and the missing ones above it with mode 0700. An existing folder keeps its mode.

    Raises FolderUnusable for a folder in which any user can replace files, and for a link of another user in the path;
    OSError.
    """
    with opened(path / INSTALLATION_LOCK, follow_last=False, make_folders=True) as place:
        require_sound(place)


def require_writable(path: Path) -> None:
    """Check that `make_folder` would succeed and that files can be created there. Raises the errors of both."""
    while not path.exists():
        path = path.parent
    require_sound_folder(path)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(EACCES, os.strerror(EACCES), str(path))


def unusable(
    folder: Path,
    error: OSError,
    *,
    hint: str = "make the folder writable for this user, or configure another folder",
) -> BackctlError:
    """Convert an operating-system error about a file or folder. `hint` is for a folder that is not writable."""
    where = quoted(error.filename if isinstance(error.filename, str) else str(folder), limit=400)
    if exhausted := exhaustion_of(error):
        return exhausted
    if DiskFull.is_meant_by(error):
        return DiskFull(error.filename if isinstance(error.filename, str) else str(folder))
    reason = (error.strerror or str(error)).lower()
    return FolderUnusable(f"{where} cannot be used: {reason}", hint="check the disk" if error.errno == EIO else hint)
