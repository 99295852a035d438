"""Stage new files: a file gets its name only after it is complete and flushed to disk.

A staged file has no name where the system supports that (O_TMPFILE on Linux), else a hidden name. The process that
stages a file holds a lock on it, so that files left by killed processes can be recognized.
"""

import os
import re
import stat
from contextlib import suppress
from errno import EINVAL, EISDIR, EOPNOTSUPP

from backctl.trusted_paths import Place

INSTALLATION_LOCK = "backctl.lock"
"""The lock file in the folder, locked while an installation is created or a keyring changes."""

COPY = "copy"
"""The name of a database copy inside its hidden folder."""

COPY_FILES = (COPY, f"{COPY}-wal", f"{COPY}-shm", f"{COPY}-journal")
"""The copy and the files that SQLite creates next to it while it is changed."""

_STAGED = re.compile(r"\..+\.[0-9a-f]{16}\.new")
_SHOWN = 50  # characters of the name, at most 200 bytes; a hidden name has room for 233
_NO_UNNAMED_FILES = (EISDIR, EOPNOTSUPP, EINVAL)  # open(2): not supported by the kernel or the file system


def hidden_name(name: str) -> str:
    """Return an unused hidden name for a file that will be called `name`. `sweep` recognizes it."""
    return f".{name[:_SHOWN]}.{os.urandom(8).hex()}.new"


class Staged:
    """A new file for a place, with mode 0600. Always close it. Raises OSError."""

    def __init__(self, place: Place) -> None:
        """Stages a file, after removing files left by killed processes in the folder."""
        self._place = place
        self._name: str | None = None
        sweep(place.folder)
        descriptor = _unnamed(place.folder)
        while descriptor is None:
            self._name = hidden_name(place.name)
            descriptor = _named(self._name, place.folder)
        self.descriptor = descriptor

    def write(self, piece: bytes) -> None:
        write_all(self.descriptor, piece)

    def put_in_place(self, *, replace: bool) -> None:
        """Give the file its name, durably. Raises FileExistsError if the name is taken, unless `replace`; OSError."""
        os.fsync(self.descriptor)
        folder, name = self._place.folder, self._place.name
        if self._name is None:
            staged = hidden_name(name) if replace else name
            # With dst_dir_fd, Python calls linkat(2), which follows the link in /proc to the file.
            os.link(_of_process(self.descriptor), staged, dst_dir_fd=folder)
            self._name = staged if replace else None
        else:
            staged = self._name
        if replace:
            os.replace(staged, name, src_dir_fd=folder, dst_dir_fd=folder)
            self._name = None
        elif staged != name:
            os.link(staged, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            os.unlink(staged, dir_fd=folder)
            self._name = None
        try:
            os.fsync(folder)
        except OSError:
            if not replace:
                os.unlink(name, dir_fd=folder)
            raise

    def close(self) -> None:
        if self._name is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._place.folder)
        os.close(self.descriptor)


def write_all(descriptor: int, piece: bytes) -> None:
    """Write every byte; a single os.write may write fewer."""
    written = os.write(descriptor, piece)
    while written < len(piece):
        written += os.write(descriptor, memoryview(piece)[written:])


def try_lock(descriptor: int) -> bool:
    """Lock a staged file until its descriptor is closed; False if another process holds the lock.

    Also True on a file system without locks, where `sweep` removes nothing because it needs the lock.
    """
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def sweep(folder: int) -> None:
    """Remove files that killed processes of this user left staged in an open folder.

    Removes only files and folders with a hidden name that belong to this user, that others cannot write to, and that
    are not locked. Removes nothing while INSTALLATION_LOCK is held, which protects the files staged meanwhile.
    """
    import fcntl

    left = [entry for entry in os.listdir(folder) if _STAGED.fullmatch(entry)]
    if not left:
        return
    with suppress(OSError):  # the lock belongs to another user or is held
        lock = None
        with suppress(FileNotFoundError):  # no installation was being created when the folder was listed
            lock = os.open(INSTALLATION_LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        try:
            if lock is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for entry in left:
                with suppress(OSError):  # in use, or already gone
                    _remove_abandoned(entry, folder)
        finally:
            if lock is not None:
                os.close(lock)


def _remove_abandoned(entry: str, folder: int) -> None:
    import fcntl

    status = os.stat(entry, dir_fd=folder, follow_symlinks=False)
    is_folder = stat.S_ISDIR(status.st_mode)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022 or not (is_folder or stat.S_ISREG(status.st_mode)):
        return
    how = os.O_RDONLY | os.O_DIRECTORY if is_folder else os.O_RDWR
    descriptor = os.open(entry, how | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), os.stat(entry, dir_fd=folder, follow_symlinks=False)):
            return
        if is_folder:
            remove_copy(descriptor)
            os.rmdir(entry, dir_fd=folder)  # fails if the folder contains anything else
        else:
            os.unlink(entry, dir_fd=folder)
    finally:
        os.close(descriptor)


def remove_copy(folder: int) -> None:
    """Remove a database copy from its hidden folder. Raises OSError."""
    for name in COPY_FILES:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)


def _unnamed(folder: int) -> int | None:
    """Create a file without a name; None if the system does not support that. Raises OSError."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None:
        return None
    try:
        descriptor = os.open(os.curdir, flag | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno in _NO_UNNAMED_FILES:
            return None
        raise
    if not os.path.exists(_of_process(descriptor)):  # without /proc it can never get a name
        os.close(descriptor)
        return None
    os.fchmod(descriptor, 0o600)
    try_lock(descriptor)
    return descriptor


def _named(name: str, folder: int) -> int | None:
    """Create a file with a hidden name; None if `sweep` removed it before it was locked. Raises OSError."""
    how = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(name, how, 0o600, dir_fd=folder)
    os.fchmod(descriptor, 0o600)
    if try_lock(descriptor) and os.fstat(descriptor).st_nlink:
        return descriptor
    os.close(descriptor)
    return None


def _of_process(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
