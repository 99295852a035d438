"""Gives generated secrets to the user: in the result, or in a new file that only its owner can read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backctl.domain.errors import FolderUnusable, OutcomeUnknown, UsageError
from backctl.domain.quoting import quoted
from backctl.domain.values import Secret
from backctl.presentation.errors import signal_behind
from backctl.presentation.output import Format

if TYPE_CHECKING:
    from backctl.application.ports.environment import NewFile
    from backctl.presentation.context import Invocation


def require_place(call: "Invocation", secret_file: str | None, what: str, member: str) -> None:
    """Raise UsageError if the flags leave no place for a generated secret: no file, and no such member."""
    if secret_file == "-":
        raise UsageError(f"'-' is not a file for {what}", hint="omit --secret-file to print it")
    if secret_file is not None:
        return
    if call.results.form is Format.ID:
        raise UsageError(f"-o id leaves no place for {what}", hint="add --secret-file FILE")
    if call.results.renderer.leaves_out(member):
        raise UsageError(f"--fields leaves no place for {what}", hint=f"add {member} to it, or --secret-file FILE")


@contextmanager
def in_secret_file(
    call: "Invocation", secret: Secret, secret_file: str | None, *, dry_run: bool | None = None
) -> Iterator[None]:
    """Write a secret to `secret_file`, if there is one, before the block runs; remove the file if the block fails.

    The file stays after a signal or a broken connection, when the change may have been made. A dry run (by default
    that of `call`) writes nothing. Raises FileTaken if the file exists; FolderUnusable, DiskFull.
    """
    if secret_file is None:
        yield
    elif call.dry_run if dry_run is None else dry_run:
        call.backend.files.require_possible(secret_file)
        yield
    else:
        written = call.backend.files.write_new(secret_file, f"{secret.reveal()}\n".encode())
        try:
            yield
        except BaseException as error:
            if isinstance(error, OutcomeUnknown):
                call.messages.warn(f"{quoted(secret_file)} is kept: if the change was made, its secret is valid")
            elif isinstance(error, Exception) and signal_behind(error) is None:
                _remove(call, written)
            else:
                call.messages.warn(f"{quoted(secret_file)} is kept: the change may have been made before the signal")
            raise


def _remove(call: "Invocation", written: "NewFile") -> None:
    try:
        written.remove()
    except FolderUnusable as error:
        call.messages.warn(f"a file with an unused secret could not be removed: {error.message}")
