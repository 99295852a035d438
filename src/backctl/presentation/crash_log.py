"""Writes the tracebacks of bugs to the log file."""

import os
import stat
from collections.abc import Iterator

from backctl.domain.errors import BackctlError, FolderUnusable


def unexpected(error: BaseException) -> BackctlError:
    """Write the traceback to the log file, and return the error to show instead.

    The log contains the class and the origin of each error. It omits the messages and notes of other libraries, because
    they can repeat their input: a URL with its password, or a token.
    """
    where = _append_to_log("".join(_traceback_without_words(error, set())))
    return BackctlError(
        f"unexpected {type(error).__name__}: this is a bug in backctl",
        hint=f"the traceback is in {where}" if where else "the traceback could not be written to the log",
    )


def _traceback_without_words(error: BaseException, seen: set[int]) -> Iterator[str]:
    """Like `traceback.format_exception`, causes first, with the messages of BackctlErrors only."""
    import traceback

    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _traceback_without_words(before, seen)
        yield f"\n{'raised from it' if error.__cause__ else 'while it was handled'}:\n\n"
    yield from traceback.format_tb(error.__traceback__)
    words = error.message if isinstance(error, BackctlError) else "(message omitted: it could repeat a secret)"
    yield f"{type(error).__module__}.{type(error).__qualname__}: {words}\n"
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        if id(inner) not in seen:
            yield "\none of the group:\n\n"
            yield from _traceback_without_words(inner, seen)


def _append_to_log(text: str) -> str | None:
    """Append an entry to the log, a 0600 file in a 0700 folder, and return its path. None if that fails."""
    from datetime import UTC, datetime

    from platformdirs import user_log_path

    from backctl import __version__
    from backctl.trusted_paths import opened, require_sound

    try:
        path = user_log_path("backctl", appauthor=False) / "backctl.log"
        with opened(path, follow_last=False, make_folders=True) as place:
            require_sound(place)
            how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(place.name, how, 0o600, dir_fd=place.folder)
            with open(descriptor, "a", encoding="utf-8", errors="backslashreplace") as log:
                if not is_private_log(os.fstat(descriptor), user=os.geteuid()):
                    return None
                log.write(f"{datetime.now(UTC).isoformat()} backctl {__version__}\n{text}\n")
    except (OSError, RuntimeError, FolderUnusable, OverflowError):  # no home folder; a clock beyond the year 2262
        return None
    return str(path)


def is_private_log(status: os.stat_result, *, user: int) -> bool:
    """Whether a file belongs to this user and has no other name."""
    return stat.S_ISREG(status.st_mode) and status.st_uid == user and status.st_nlink == 1
