"""`backctl cache drain`: write queued updates to the database."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from backctl.application.write_behind_views import DrainReport
from backctl.domain.errors import BackctlError, InvalidInput, UsageError
from backctl.domain.quoting import escaped, masked, quoted
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.errors import ExitCode

if TYPE_CHECKING:
    from backctl.application.caching import CacheService

app = noun("drain", within="cache")

_BATCH_MAX = 10_000


@leaf(
    app,
    changes="write queued updates to the database",
    view=DrainReport,
    examples="""
    # Write the updates that are due now
    backctl cache drain
    # Give up the updates of writers that no longer exist
    backctl cache drain --set-aside-unknown
    """,
)
def drain(
    call: Invocation,
    once: Annotated[bool, Option("--once", help="Write the updates that are due, then exit; the default.")] = False,
    follow: Annotated[bool, Option("--follow", help="Keep running, and write updates as they are queued.")] = False,
    batch_size: Annotated[
        int | None,
        Option("--batch-size", metavar="N", help="Updates per transaction, 1 to 10000; 1000 unless given."),
    ] = None,
    register: Annotated[
        list[str] | None,
        Option(
            "--register",
            metavar="FUNCTION",
            help="Register the writers of a service: call MODULE:NAME(cache); may be repeated.",
        ),
    ] = None,
    set_aside_unknown: Annotated[
        bool,
        Option("--set-aside-unknown", help="Move updates to the dead-letter list if their writer is not registered."),
    ] = False,
) -> None:
    """Write queued updates to the database.

    Several workers can share a queue. SIGTERM and SIGINT end the worker after its batch, with exit code 0. A failed
    update is tried again later, and after cache.queue_attempts failures it is dead; see 'cache dead list'. With --once,
    exit code 7 means that updates failed. Modules of --register are also imported from the current folder.
    """
    from backctl.application.draining import BATCH_SIZE
    from backctl.presentation.batch.signals import Interruption

    if once and follow:
        raise UsageError("--once and --follow cannot be combined", hint="use one of them")
    if batch_size is not None and not 1 <= batch_size <= _BATCH_MAX:
        raise UsageError(f"--batch-size {batch_size} is out of range", hint=f"use 1 to {_BATCH_MAX}")
    functions = [_imported(text) for text in register or ()]
    updates, cache = call.backend.queued_updates, call.backend.cache
    for text, function in zip(register or (), functions, strict=True):
        _called(text, function, cache)
    interruption = Interruption(announce=not call.results.quiet)
    with call.messages.progress("writing") as progress, interruption.watched():
        change = updates.drain(
            follow=follow,
            batch_size=BATCH_SIZE if batch_size is None else batch_size,
            set_aside_unknown=set_aside_unknown,
            stop=lambda: interruption.has_come,
            progress=progress.advance,
            dry_run=call.dry_run,
        )
    report = change.value
    call.results.changed(change)
    if report.unknown_writers:
        call.messages.notice(
            f"updates wait for writers that are not registered here: {', '.join(report.unknown_writers)}"
        )
    if not follow and (report.retried or report.dead):
        call.messages.warn(f"updates failed: {report.retried} are tried again later, {report.dead} are dead")
        call.results.exit_code = ExitCode.PARTIAL


def _imported(text: str) -> Callable[..., Any]:
    """Import a function that is named as MODULE:NAME. Raises UsageError, InvalidInput."""
    module_name, _, name = text.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), name)):
        raise UsageError(f"--register {quoted(text)} is not MODULE:NAME", hint="for example, 'app.writers:register'")
    with suppress(OSError):
        sys.path.append(os.getcwd())  # last, so that files there replace no module of a package
    try:
        function = getattr(import_module(module_name), name, None)
    except (Exception, SystemExit) as error:  # an exit would look like one of this command
        raise InvalidInput(
            f"{quoted(module_name)} cannot be imported: {_described(error)}",
            hint="run the command in the folder of the module, or set PYTHONPATH",
        ) from error
    if not callable(function):
        raise UsageError(f"{quoted(module_name)} has no function {quoted(name)}", hint="name a function of the module")
    found: Callable[..., Any] = function
    return found


def _called(text: str, function: Callable[..., Any], cache: "CacheService") -> None:
    try:
        function(cache)
    except BackctlError:
        raise
    except (Exception, SystemExit) as error:
        raise InvalidInput(f"{quoted(text)} failed: {_described(error)}", hint=None) from error


def _described(error: BaseException) -> str:
    return escaped(masked(f"{type(error).__name__}: {error}")[:300])
