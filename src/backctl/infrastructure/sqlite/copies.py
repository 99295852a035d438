"""Copies an SQLite database while it is in use. Uses only the driver."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from backctl.application.database_views import BackupView
from backctl.domain.errors import FileTaken, FolderUnusable
from backctl.domain.quoting import quoted
from backctl.infrastructure.files import durable
from backctl.infrastructure.sqlite.connection import connect, read_installation
from backctl.infrastructure.sqlite.faults import fault_of, fault_of_copy
from backctl.trusted_paths import Place, opened

_PAGES = 4096
"""Pages per step: enough for speed, few enough to handle signals between steps."""


def back_up(database: Path, file: Path, *, timeout_us: int) -> BackupView:
    """Copy the database to the new file `file`, which appears complete, flushed and readable only by its owner.

    Other processes can read and write meanwhile; the copy is a snapshot. A failed copy leaves nothing behind. A killed
    process leaves a hidden folder, which the next copy in the same folder removes. Raises FileTaken, FolderUnusable,
    DiskFull, DatabaseMissing, DatabaseUnusable, DatabaseLocked.
    """
    try:
        file = file.absolute()
        with opened(file, follow_last=False) as place:
            if place.status() is not None:  # checked before the work; linking decides
                raise FileExistsError
            with copied(database, place, timeout_us=timeout_us) as copy:
                digest = hashlib.file_digest(copy.content, "sha256").hexdigest()
                length = copy.content.tell()
                copy.put_in_place()
    except FileExistsError:
        raise FileTaken(
            f"{quoted(str(file), limit=400)} already exists", hint="choose a file that does not exist"
        ) from None
    except OSError as error:
        raise durable.unusable(
            file,
            OSError(error.errno, error.strerror),  # omits the temporary name
            hint="choose a new file in a folder that this user can write to",
        ) from None
    return BackupView(str(file), length, digest)


@dataclass(frozen=True, slots=True)
class Copy:
    """A flushed copy of a database that has no final name yet."""

    content: BufferedReader
    _staged: Place
    _place: Place

    def put_in_place(self) -> None:
        """Give the copy its name, durably. Raises FileExistsError when the name exists, OSError."""
        there, here = self._place, self._staged
        os.link(here.name, there.name, src_dir_fd=here.folder, dst_dir_fd=there.folder, follow_symlinks=False)
        try:
            os.fsync(there.folder)
        except OSError:
            os.unlink(there.name, dir_fd=there.folder)
            raise


@contextmanager
def copied(database: Path, place: Place, *, timeout_us: int) -> Iterator[Copy]:
    """Provide a copy in a hidden folder next to its place until the block ends.

    First removes what killed processes have left there. Raises OSError, DiskFull, FolderUnusable, DatabaseMissing,
    DatabaseUnusable, DatabaseLocked.
    """
    with (
        durable.private_folder(place) as staged,
        open(durable.open_new(staged.name, folder=staged.folder), "rb") as content,
    ):
        _copy(database, staged.path, content.fileno(), place.path, timeout_us=timeout_us)
        os.fsync(content.fileno())
        yield Copy(content, staged, place)


def _copy(database: Path, staged: Path, descriptor: int, file: Path, *, timeout_us: int) -> None:
    with closing(connect(database, timeout_us=timeout_us, read_only=True)) as source:
        source.execute("BEGIN")
        # Take the snapshot with the timeout, because the copy itself would wait without limit.
        read_installation(source, database)
        with closing(connect(staged, timeout_us=0, read_only=False)) as target:
            _require_opened(descriptor, staged)
            try:
                # No other process opens the copy before it is complete and flushed.
                target.execute("PRAGMA journal_mode = OFF")
                target.execute("PRAGMA synchronous = OFF")
                source.backup(target, pages=_PAGES)
            except Exception as error:
                fault = fault_of_copy(error, staged, named=file) or fault_of(error, database)
                if fault is None:
                    raise
                raise fault from error


def _require_opened(descriptor: int, staged: Path) -> None:
    """Raise FolderUnusable if SQLite, which opens files by path, has opened another file than `descriptor`.

    The owner of a parent folder can replace the folder at any time.
    """
    wanted = os.fstat(descriptor)
    with suppress(FileNotFoundError):  # some systems do not list descriptors
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):  # the descriptor of the listing itself
                if int(name) != descriptor and os.path.samestat(os.fstat(int(name)), wanted):
                    return
        raise FolderUnusable(
            f"{quoted(str(staged.parent.parent), limit=400)} was replaced while a copy was being made in it",
            hint="choose a file in a folder that no other user can move",
        )
