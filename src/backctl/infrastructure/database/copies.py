"""Whole copies of an SQLite database that is in use. Speaks to the driver alone."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from backctl.application.database_views import BackupView
from backctl.domain.errors import DatabaseFull, DiskFull, FileTaken, quoted
from backctl.infrastructure import durable_files
from backctl.infrastructure.database.faults import fault_of
from backctl.infrastructure.database.schema import connect, read_installation
from backctl.trusted_paths import followed

_PAGES = 4096
"""Pages copied at once: enough for speed, few enough for a signal to be heard between them."""


def back_up(database: Path, file: Path, *, timeout_us: int) -> BackupView:
    """Copy the database to `file`, which must not exist and then appears whole, flushed, its owner's alone.

    Others go on reading and writing meanwhile; the copy is the database of one moment. Nothing is left behind when it
    fails; a process that is killed leaves a hidden folder, which the next copy beside it removes. Raises FileTaken,
    FolderUnusable, DiskFull, DatabaseMissing, DatabaseUnusable, DatabaseLocked.
    """
    try:
        if os.path.lexists(file):  # before the work; linking decides
            raise _taken(file)
        file = followed(file.parent) / file.name
        with staged_copy(database, file, timeout_us=timeout_us) as staged:
            with staged.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
                length = content.tell()
            durable_files.link_staged(staged, file)
    except FileExistsError:
        raise _taken(file) from None
    except OSError as error:
        raise durable_files.unusable(
            file,
            OSError(error.errno, error.strerror),  # not the temporary name
            hint="name a new file in a folder that this user can write",
        ) from None
    return BackupView(str(file), length, digest)


@contextmanager
def staged_copy(database: Path, file: Path, *, timeout_us: int) -> Iterator[Path]:
    """A flushed copy in a hidden folder beside `file`, for as long as the block runs; link it to `file`.

    What processes that were killed have left beside `file` is removed first. Raises OSError, DiskFull, DatabaseMissing,
    DatabaseUnusable, DatabaseLocked.
    """
    with durable_files.private_folder(file) as folder:
        staged = folder / "copy"
        descriptor = durable_files.open_new(staged)
        try:
            _copy(database, staged, file, timeout_us=timeout_us)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        yield staged


def _copy(database: Path, staged: Path, file: Path, *, timeout_us: int) -> None:
    with closing(connect(database, timeout_us=timeout_us, read_only=True)) as source:
        source.execute("BEGIN")
        # Takes the snapshot, and waits for it no longer than the timeout; the copying itself would wait for ever.
        read_installation(source, database)
        with closing(connect(staged, timeout_us=0, read_only=False)) as target:
            try:
                # Nobody looks at the copy before it is complete and flushed.
                target.execute("PRAGMA journal_mode = OFF")
                target.execute("PRAGMA synchronous = OFF")
                source.backup(target, pages=_PAGES)
            except Exception as error:
                fault = fault_of(error, database)
                if isinstance(fault, DatabaseFull):  # the copy is what could not grow
                    fault = DiskFull(str(file))
                if fault is None:
                    raise
                raise fault from error


def _taken(file: Path) -> FileTaken:
    return FileTaken(f"{quoted(str(file), limit=400)} exists already", hint="name a file that does not exist")
