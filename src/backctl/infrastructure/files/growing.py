"""Files that grow line by line, and of which the last lines can be taken back."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backctl.domain.errors import FileTaken, FolderUnusable
from backctl.domain.quoting import quoted
from backctl.infrastructure.files import durable
from backctl.staged_files import try_lock, write_all
from backctl.trusted_paths import Place, opened

_BLOCK = 64 << 10
_LONGEST = 16 << 20
"""Bytes of a line. `lines` yields a longer one, which is not the line of an import, in pieces."""


class GrowingFile:
    """A file to append to, which no other process can grow at the same time. See the port."""

    def __init__(self, path: str, *, new: bool, secret: bool = False) -> None:
        """Open a file that exists, or prepare a `new` one. Raises FileTaken, FolderUnusable, DiskFull."""
        self._path = path
        self._new = new
        self._denied = 0o077 if secret else 0o022
        """The permissions that a file may not give to others."""
        self._descriptor = -1
        self._size = self._kept = 0
        self._unended: int | None = None
        with self._told(), opened(Path(path), follow_last=not new) as place:
            if not new:
                self._descriptor = self._existing(place)
            elif place.status() is not None:
                raise FileExistsError
        if not new:
            self._begin()

    def append(self, lines: bytes) -> None:
        if self._size == self._unended:
            lines = b"\n" + lines
        with self._told():
            if self._descriptor < 0:
                with opened(Path(self._path), follow_last=False) as place:
                    self._descriptor = _created(place)
                self._begin()
            os.ftruncate(self._descriptor, self._size)  # removes a line that a killed process has begun
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            self._size += len(lines)
            write_all(self._descriptor, lines)
            os.fsync(self._descriptor)

    def keep(self) -> None:
        self._kept = self._size

    def undo(self) -> None:
        if self._size != self._kept:
            with self._told():
                os.ftruncate(self._descriptor, self._kept)
            self._size = self._kept

    def lines(self) -> Iterator[bytes]:
        if self._descriptor >= 0:
            with open(self._descriptor, "rb", closefd=False) as file:
                left = self._size
                file.seek(0)
                while left and (line := file.readline(min(left, _LONGEST))):
                    left -= len(line)
                    yield line

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin(self) -> None:
        """Lock the file, and find the end of its last complete line, where the next lines begin."""
        try:
            if not try_lock(self._descriptor):
                raise FolderUnusable(
                    f"{quoted(self._path)} is in use by another process", hint="wait until it has finished"
                )
            with self._told():
                self._size = self._kept = self._end_of_lines()
                self._unended = self._end_of_last_object()
        except BaseException:
            self.close()
            raise

    def _existing(self, place: Place) -> int:
        """Raises FolderUnusable for a file that is not regular, or that gives others too many permissions."""
        descriptor = os.open(place.name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place.folder)
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid in (0, os.geteuid()) and not status.st_mode & self._denied:
            return descriptor
        os.close(descriptor)
        use = "write to" if self._denied == 0o022 else "read and write"
        raise FolderUnusable(
            f"{quoted(self._path)} is not a regular file that only its owner can {use}", hint="choose another file"
        )

    def _end_of_lines(self) -> int:
        """Return the size of the file without an incomplete last line."""
        end = os.fstat(self._descriptor).st_size
        while end:
            start = max(0, end - _BLOCK)
            line_end = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if line_end >= 0:
                return start + line_end + 1
            end = start
        return 0

    def _end_of_last_object(self) -> int | None:
        """Return the size of a file whose last line is complete but for its end, as some editors leave it.

        An incomplete line of another kind is not the trace of a killed process. Raises FolderUnusable.
        """
        last = os.pread(self._descriptor, _LONGEST, self._size)
        if not last:
            return None
        if not last.startswith(b"{"):
            raise FolderUnusable(f"{quoted(self._path)} does not contain JSON lines", hint="choose another file")
        try:
            json.loads(last)
        except (ValueError, RecursionError):
            return None
        self._size = self._kept = self._size + len(last)
        return self._size

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Convert operating-system errors about the file."""
        try:
            yield
        except FileExistsError:
            raise FileTaken(f"{quoted(self._path)} already exists", hint="choose a file that does not exist") from None
        except OSError as cause:
            if cause.filename == Path(self._path).name:  # relative to the folder that is open
                cause.filename = self._path
            hint = "choose a file in a folder that this user can write to"
            if not self._new and isinstance(cause, FileNotFoundError):
                hint = "check the name of the file"
            raise durable.unusable(Path(self._path), cause, hint=hint) from None


def _created(place: Place) -> int:
    descriptor = durable.open_new(place.name, folder=place.folder)
    os.fsync(place.folder)
    return descriptor
