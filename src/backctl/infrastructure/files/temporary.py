"""Chooses the folder for temporary files."""

import os
import tempfile

from backctl.domain.errors import DiskFull, TemporaryFolderUnusable, exhaustion_of
from backctl.domain.quoting import quoted

SYSTEM_FOLDERS = ("/tmp", "/var/tmp")  # noqa: S108 - files here have unpredictable names or none
"""The folders for temporary files if TMPDIR is not set."""


def temporary_folder() -> str:
    """Return TMPDIR if it is set, else the first of /tmp and /var/tmp where a file can be created.

    Unlike `tempfile.gettempdir`, never replaces an unusable TMPDIR with another folder, and never uses the working
    directory: temporary files can contain plaintext. Raises TemporaryFolderUnusable, DiskFull.
    """
    chosen = os.environ.get("TMPDIR")
    for folder in (chosen,) if chosen else SYSTEM_FOLDERS:
        try:
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError as error:
            last, cause = folder, error
    if exhausted := exhaustion_of(cause):
        raise exhausted from None
    if DiskFull.is_meant_by(cause):
        raise DiskFull(last) from None
    reason = (cause.strerror or str(cause)).lower()
    shown = quoted(last, limit=400)
    raise TemporaryFolderUnusable(
        f"no temporary file can be created in {'TMPDIR ' if chosen else ''}{shown}: {reason}",
        hint="set TMPDIR to a folder that this user can write to",
    ) from None
