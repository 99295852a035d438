"""Results of any size that appear whole or not at all.

A new file is staged in its folder, readable by its owner only, until it is complete. What a killed process has left
there is removed by the next one that writes to the folder.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from backctl.domain.errors import FileTaken, FolderUnusable, quoted
from backctl.infrastructure.files import durable
from backctl.staged_files import Staged, write_all
from backctl.trusted_paths import Place, opened

_BLOCK = 64 << 10
_OR_REPLACE = "choose a new file name, or replace the file with --overwrite"
_ANOTHER_NAME = "choose a file that does not exist"


class WholeFiles:
    """Writes them, 0600, flushed before they get their name."""

    def write(self, path: str, pieces: Iterable[bytes], *, replace: bool) -> int:
        """A new file of the pieces, once the last of them is there; answers its size in bytes.

        Raises FileTaken for a name that is taken, unless `replace`; FolderUnusable, DiskFull, and what the pieces
        raise. Then nothing is left.
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
        """A new file, flushed before this returns. Raises FileTaken, FolderUnusable, DiskFull."""
        with _staged(path, replace=False) as staged, _told(path):
            staged.write(content)
            staged.put_in_place(replace=False)
            return NewFile(os.path.join(os.getcwd(), path), _identity(os.fstat(staged.descriptor)))

    def require_possible(self, path: str) -> None:
        """Raises what `write_new` would raise of a small file; nothing is left of the trial."""
        with _staged(path, replace=False):
            return

    def held_back(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces in other sizes, the first one only when the last one has come.

        Meanwhile they lie in a file without a name in the system's temporary folder (TMPDIR). Raises FolderUnusable,
        DiskFull, and what the pieces raise.
        """
        import tempfile

        with _told(os.environ.get("TMPDIR", "/tmp")):  # noqa: S108 - for the error where no folder can be written
            folder = tempfile.gettempdir()
        with _told(folder):
            file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed below; opening fails in other ways
        with file:
            for piece in pieces:
                with _told(folder):
                    write_all(file.fileno(), piece)
            file.seek(0)
            while block := file.read(_BLOCK):
                yield block


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that was just written under a name that was free."""

    path: str
    _identity: tuple[int, ...]

    def remove(self) -> None:
        """Remove it, if the name is still its own: who took it meanwhile keeps what is there. Raises FolderUnusable."""
        with _told(self.path), suppress(FileNotFoundError), _opened(self.path, follow_last=False) as place:
            status = place.status()
            if status is not None and _identity(status) == self._identity:
                os.unlink(place.name, dir_fd=place.folder)


@contextmanager
def _staged(path: str, *, replace: bool, when_taken: str = _ANOTHER_NAME) -> Iterator[Staged]:
    """A staged file for this place, whose folder is held open. Raises FileTaken and FolderUnusable before any work."""
    with ExitStack() as held:
        with _told(path, when_taken):
            place = held.enter_context(_opened(path, follow_last=replace))
            status = place.status()
            if status is not None and not replace:  # before the work; linking decides
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
    """Errors of the system about a file or folder, in our words."""
    try:
        yield
    except FileExistsError:
        raise FileTaken(f"{quoted(path, limit=400)} already exists", hint=when_taken) from None
    except OSError as cause:
        raise durable.unusable(
            Path(path),
            OSError(cause.errno, cause.strerror),  # not the temporary name
            hint="choose a file in a folder that this user can write to",
        ) from None


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """What another file differs in, even one that got the number of a file that is gone."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
