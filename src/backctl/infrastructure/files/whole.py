"""Writes files of any size completely or not at all.

A new file is staged in its folder, readable only by its owner, until it is complete. The next write to the folder
removes what a killed process has left there.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backctl.domain.errors import FileTaken, FolderUnusable
from backctl.domain.quoting import quoted
from backctl.infrastructure.files import durable
from backctl.staged_files import Staged, write_all
from backctl.trusted_paths import Place, opened

if TYPE_CHECKING:
    from backctl.infrastructure.files.growing import GrowingFile

_BLOCK = 64 << 10
_OR_REPLACE = "choose a new file name, or replace the file with --overwrite"
_ANOTHER_NAME = "choose a file that does not exist"


class WholeFiles:
    """Writes files with mode 0600 and flushes them before they get their names."""

    def write(self, path: str, pieces: Iterable[bytes], *, replace: bool) -> int:
        """Write the pieces to a new file, which appears after the last piece. Return its size in bytes.

        Raises FileTaken when the file exists and `replace` is False; FolderUnusable, DiskFull, and the errors of
        `pieces`. On an error it leaves nothing behind.
        """
        size = 0
        with _staged(path, replace=replace, when_taken=_OR_REPLACE) as staged:
            for piece in pieces:
                with _told(path):
                    staged.write(piece)
                size += len(piece)
            with _told(path, _OR_REPLACE):
                staged.put_in_place(replace=replace)
        return size

    def write_new(self, path: str, content: bytes) -> "NewFile":
        """Write and flush a new file. Raises FileTaken, FolderUnusable, DiskFull."""
        with _staged(path, replace=False) as staged, _told(path):
            staged.write(content)
            staged.put_in_place(replace=False)
            return NewFile(str(Path(path).absolute()), _identity(os.fstat(staged.descriptor)))

    def grow(self, path: str, *, new: bool, secret: bool = False) -> "GrowingFile":
        """Open a file to append lines to; see the port."""
        from backctl.infrastructure.files.growing import GrowingFile

        if new:
            self.require_possible(path)
        return GrowingFile(path, new=new, secret=secret)

    def require_possible(self, path: str) -> None:
        """Check that `write_new` can write a small file. Raises its errors and leaves nothing behind."""
        with _staged(path, replace=False):
            return

    def held_back(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the same bytes in other sizes, but only after the last piece has arrived.

        Buffers them in an unnamed file in the folder for temporary files (TMPDIR). Raises TemporaryFolderUnusable,
        FolderUnusable, DiskFull, and the errors of `pieces`.
        """
        import tempfile

        from backctl.infrastructure.files.temporary import temporary_folder

        folder = temporary_folder()
        with _told(folder):
            file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115 - closed below
        with file:
            for piece in pieces:
                with _told(folder):
                    write_all(file.fileno(), piece)
            file.seek(0)
            while block := file.read(_BLOCK):
                yield block


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that was just created."""

    path: str
    _identity: tuple[int, ...]

    def remove(self) -> None:
        """Remove the file, unless another process has replaced it meanwhile. Raises FolderUnusable."""
        with _told(self.path), suppress(FileNotFoundError), _opened(self.path, follow_last=False) as place:
            status = place.status()
            if status is not None and _identity(status) == self._identity:
                os.unlink(place.name, dir_fd=place.folder)


@contextmanager
def _staged(path: str, *, replace: bool, when_taken: str = _ANOTHER_NAME) -> Iterator[Staged]:
    """Provide a staged file for `path` and keep its folder open. Raises FileTaken, FolderUnusable before any work."""
    with ExitStack() as held:
        with _told(path, when_taken):
            place = held.enter_context(_opened(path, follow_last=replace))
            status = place.status()
            if status is not None and not replace:  # checked before the work; linking decides
                raise FileExistsError
            if status is not None and not stat.S_ISREG(status.st_mode):
                raise FolderUnusable(
                    f"{quoted(path, limit=400)} is not a regular file, so it is not replaced",
                    hint="choose another file",
                )
            staged = held.enter_context(closing(Staged(place)))
        yield staged


@contextmanager
def _opened(path: str, *, follow_last: bool) -> Iterator[Place]:
    if "\0" in path or not Path(path).name:
        raise FolderUnusable(f"{quoted(path)} is not a file name", hint="give the name of the file to create")
    with opened(Path(path), follow_last=follow_last) as place:
        yield place


@contextmanager
def _told(path: str, when_taken: str = _ANOTHER_NAME) -> Iterator[None]:
    """Convert operating-system errors about a file or folder."""
    try:
        yield
    except FileExistsError:
        raise FileTaken(f"{quoted(path, limit=400)} already exists", hint=when_taken) from None
    except OSError as cause:
        raise durable.unusable(
            Path(path),
            OSError(cause.errno, cause.strerror),  # omits the temporary name
            hint="choose a file in a folder that this user can write to",
        ) from None


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Return what identifies a file, even if another file reuses the inode number."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
