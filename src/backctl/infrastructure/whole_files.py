"""Results of any size that appear whole or not at all.

A new file has no name until it is complete, where the system has such files (O_TMPFILE on Linux). Elsewhere it is
staged beside its place, readable by its owner only; when the process is killed it stays there, and the next one that
writes to the same place removes it.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EINVAL, EISDIR, EOPNOTSUPP
from pathlib import Path

from backctl.domain.errors import FileTaken, FolderUnusable, quoted
from backctl.infrastructure import durable_files
from backctl.trusted_paths import followed

_BLOCK = 64 << 10
_OR_REPLACE = "name a new file, or have it replaced with --overwrite"
_NO_UNNAMED_FILES = (EISDIR, EOPNOTSUPP, EINVAL)  # open(2): of the kernel, of the file system


class WholeFiles:
    """Writes them, 0600, flushed before they get their name."""

    def write(self, path: str, pieces: Iterable[bytes], *, replace: bool) -> int:
        """A new file of the pieces, once the last of them is there; answers its size in bytes.

        Raises FileTaken for a name that is taken, unless `replace`; FolderUnusable, DiskFull, and what the pieces
        raise. Then nothing is left.
        """
        with _told(path, _OR_REPLACE):
            place = _judged(path, replace=replace)
            staged = _Staged(place)
        size = 0
        try:
            for piece in pieces:
                with _told(path):
                    _write(staged.descriptor, piece)
                size += len(piece)
            with _told(path, _OR_REPLACE):
                staged.put_in_place(replace=replace)
        finally:
            staged.close()
        return size

    def write_new(self, path: str, content: bytes) -> "NewFile":
        """A new file, flushed before this returns. Raises FileTaken, FolderUnusable, DiskFull."""
        with _told(path):
            place = _judged(path, replace=False)
            staged = _Staged(place)
            try:
                _write(staged.descriptor, content)
                staged.put_in_place(replace=False)
                return NewFile(place, _identity(os.fstat(staged.descriptor)))
            finally:
                staged.close()

    def require_possible(self, path: str) -> None:
        """Raises what `write_new` would raise of a small file; nothing is left of the trial."""
        with _told(path):
            _Staged(_judged(path, replace=False)).close()

    def held_back(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces in other sizes, the first one only when the last one has come.

        Meanwhile they lie in a file without a name in the system's temporary folder (TMPDIR). Raises FolderUnusable,
        DiskFull, and what the pieces raise.
        """
        import tempfile

        folder = tempfile.gettempdir()
        with _told(folder):
            file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed below; opening fails in other ways
        with file:
            for piece in pieces:
                with _told(folder):
                    _write(file.fileno(), piece)
            file.seek(0)
            while block := file.read(_BLOCK):
                yield block


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that was just written under a name that was free."""

    place: Path
    _identity: tuple[int, ...]

    def remove(self) -> None:
        """Remove it, if the name is still its own: who took it meanwhile keeps what is there. Raises FolderUnusable."""
        with _told(str(self.place)), suppress(FileNotFoundError):
            if _identity(self.place.lstat()) == self._identity:
                self.place.unlink()


class _Staged:
    """A file on its way, without a name or under a temporary one. Close it in the end, whatever became of it."""

    def __init__(self, place: Path) -> None:
        self._place = place
        _sweep(place)
        self._name: Path | None = None
        descriptor = _unnamed(place.parent)
        if descriptor is None:
            self._name = durable_files.temporary_beside(place)
            descriptor = durable_files.open_new(self._name)
        self.descriptor = descriptor
        _lock(descriptor)

    def put_in_place(self, *, replace: bool) -> None:
        os.fsync(self.descriptor)
        if self._name is None:
            self._name = durable_files.temporary_beside(self._place) if replace else self._place
            # With a folder given, Python calls linkat(2), which follows the link in /proc to the file itself.
            folder = os.open(self._place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.link(_of_process(self.descriptor), self._name, src_dir_fd=folder)
            except BaseException:
                self._name = None
                raise
            finally:
                os.close(folder)
        if replace:
            os.replace(self._name, self._place)
        elif self._name != self._place:
            os.link(self._name, self._place)
            os.unlink(self._name)
        self._name = None
        durable_files.flush_folder(self._place.parent)

    def close(self) -> None:
        if self._name is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._name)
        os.close(self.descriptor)


def _unnamed(folder: Path) -> int | None:
    """A file without a name that can be given one; None where there are none. Raises OSError."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None:
        return None
    try:
        descriptor = os.open(folder, flag | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in _NO_UNNAMED_FILES:
            return None
        raise
    if not os.path.exists(_of_process(descriptor)):  # no /proc: it could never be given a name
        os.close(descriptor)
        return None
    os.fchmod(descriptor, 0o600)
    return descriptor


def _of_process(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _sweep(place: Path) -> None:
    """Remove what processes that were killed have staged for this place. One that still runs holds a lock."""
    for left in durable_files.left_over(place):
        with suppress(OSError):  # somebody else's, or gone
            descriptor = os.open(left, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                _lock(descriptor)
                os.unlink(left)
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError while another process has it."""
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _write(descriptor: int, piece: bytes) -> None:
    written = os.write(descriptor, piece)
    while written < len(piece):
        written += os.write(descriptor, memoryview(piece)[written:])


def _judged(path: str, *, replace: bool) -> Path:
    """Where the file is to appear. Raises FileTaken and FolderUnusable before any work; OSError."""
    if "\0" in path or not Path(path).name:
        raise FolderUnusable(f"{quoted(path)} is not the name of a file", hint="name the file that is to appear")
    named = Path(path)
    if not replace and os.path.lexists(named):  # before the work; linking decides
        raise FileExistsError
    place = followed(named) if replace else followed(named.parent) / named.name
    if os.path.lexists(place) and not stat.S_ISREG(place.lstat().st_mode):
        raise FolderUnusable(
            f"{quoted(path, limit=400)} is not a regular file, so it is not replaced", hint="name another file"
        )
    return place


@contextmanager
def _told(path: str, when_taken: str = "name a file that does not exist") -> Iterator[None]:
    """Errors of the system about a file or folder, in our words."""
    try:
        yield
    except FileExistsError:
        raise FileTaken(f"{quoted(path, limit=400)} exists already", hint=when_taken) from None
    except OSError as cause:
        raise durable_files.unusable(
            Path(path),
            OSError(cause.errno, cause.strerror),  # not the temporary name
            hint="name a file in a folder that this user can write",
        ) from None


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """What another file differs in, even one that got the number of a file that is gone."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
