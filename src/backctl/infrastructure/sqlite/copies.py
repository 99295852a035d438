"""Whole copies of an SQLite database that is in use. Speaks to the driver alone."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from backctl.application.database_views import BackupView
from backctl.domain.errors import FileTaken, FolderUnusable, quoted
from backctl.infrastructure.files import durable
from backctl.infrastructure.sqlite.connection import connect, read_installation
from backctl.infrastructure.sqlite.faults import fault_of, fault_of_copy
from backctl.trusted_paths import Place, opened

_PAGES = 4096
"""Pages copied at once: enough for speed, few enough for a signal to be heard between them."""


def back_up(database: Path, file: Path, *, timeout_us: int) -> BackupView:
    """Copy the database to `file`, which must not exist and then appears whole, flushed, its owner's alone.

    Others go on reading and writing meanwhile; the copy is the database of one moment. Nothing is left behind when it
    fails; a process that is killed leaves a hidden folder, which the next copy beside it removes. Raises FileTaken,
    FolderUnusable, DiskFull, DatabaseMissing, DatabaseUnusable, DatabaseLocked.
    """
    try:
        with opened(file, follow_last=False) as place:
            if place.status() is not None:  # before the work; linking decides
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
            OSError(error.errno, error.strerror),  # not the temporary name
            hint="choose a new file in a folder that this user can write to",
        ) from None
    return BackupView(str(file), length, digest)


@dataclass(frozen=True, slots=True)
class Copy:
    """A flushed copy of a database that has not got its name yet."""

    content: BufferedReader
    _staged: Place
    _place: Place

    def put_in_place(self) -> None:
        """Give the copy its name, durably. Raises FileExistsError when the name is taken, OSError."""
        there, here = self._place, self._staged
        os.link(here.name, there.name, src_dir_fd=here.folder, dst_dir_fd=there.folder, follow_symlinks=False)
        try:
            os.fsync(there.folder)
        except OSError:
            os.unlink(there.name, dir_fd=there.folder)
            raise


@contextmanager
def copied(database: Path, place: Place, *, timeout_us: int) -> Iterator[Copy]:
    """A copy in a hidden folder beside its place, for as long as the block runs.

    What killed processes have left there is removed first. Raises OSError, DiskFull, FolderUnusable, DatabaseMissing,
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
        # Takes the snapshot, and waits for it no longer than the timeout; the copying itself would wait for ever.
        read_installation(source, database)
        with closing(connect(staged, timeout_us=0, read_only=False)) as target:
            _require_opened(descriptor, staged)
            try:
                # Nobody looks at the copy before it is complete and flushed.
                target.execute("PRAGMA journal_mode = OFF")
                target.execute("PRAGMA synchronous = OFF")
                source.backup(target, pages=_PAGES)
            except Exception as error:
                fault = fault_of_copy(error, staged, named=file) or fault_of(error, database)
                if fault is None:
                    raise
                raise fault from error


def _require_opened(descriptor: int, staged: Path) -> None:
    """Raises FolderUnusable when SQLite, which knows the path only, has opened another file than the descriptor's.

    The owner of a folder above can put another folder in its place at any time.
    """
    wanted = os.fstat(descriptor)
    with suppress(FileNotFoundError):  # a system that does not list them
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):  # the one of the listing itself
                if int(name) != descriptor and os.path.samestat(os.fstat(int(name)), wanted):
                    return
        raise FolderUnusable(
            f"{quoted(str(staged.parent.parent), limit=400)} was replaced while a copy was being made in it",
            hint="choose a file in a folder that no other user can move",
        )
