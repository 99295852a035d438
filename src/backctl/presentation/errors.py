"""Exit codes, the single table from kinds of errors to them, and how an error is told."""

import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from enum import IntEnum

from backctl.domain import errors as domain
from backctl.presentation import terminal
from backctl.presentation.typer_internals import (
    BadOptionUsage,
    BadParameter,
    ClickException,
    ClickUsageError,
    MissingParameter,
    NoSuchOption,
)


class ExitCode(IntEnum):
    """What the process ends with, and what that means. Scripts depend on it: codes are never reused."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "ExitCode":
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, 'success, including "already so"'
    BUG = 1, "unexpected failure: a bug; the traceback is in the log, not on the screen"
    USAGE = 2, "usage error or invalid input"
    NOT_FOUND = 3, "not found"
    CONFLICT = 4, "conflict: exists already, changed meanwhile, stale plan"
    UNAVAILABLE = 5, "backend unavailable: server down, locked, timed out, disk full; worth retrying"
    NO = (
        6,
        (
            "the answer is no: token invalid, password wrong, does not decrypt, access denied, limit reached, "
            "chain broken, not due, unhealthy"
        ),
    )
    PARTIAL = 7, "partial failure of a batch; the report says which items"
    REFUSED = (
        8,
        "refused: not confirmed, over `--max-changes`, still in use, last administrator, protected profile",
    )
    UNUSABLE = (
        9,
        (
            "configuration, schema, storage or key material unusable (unwritable folder, read-only or corrupt "
            "database, wrong revision, bad keyring); nothing was touched"
        ),
    )
    PENDING = 10, "changes pending (`plan --detailed-exitcode`)"
    HUNG_UP = 129, "SIGHUP"
    INTERRUPTED = 130, "SIGINT"
    TERMINATED = 143, "SIGTERM"


_KINDS: tuple[tuple[type[domain.BackctlError], ExitCode], ...] = (
    (domain.InvalidInput, ExitCode.USAGE),
    (domain.NotFound, ExitCode.NOT_FOUND),
    (domain.Conflict, ExitCode.CONFLICT),
    (domain.Unavailable, ExitCode.UNAVAILABLE),
    (domain.AnswerIsNo, ExitCode.NO),
    (domain.PartialFailure, ExitCode.PARTIAL),
    (domain.Refused, ExitCode.REFUSED),
    (domain.Unusable, ExitCode.UNUSABLE),
)


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived. Not an Exception: nothing but `finally` may hold it up."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.exit_code = next(code for code in ExitCode if code == 128 + number)


def signal_behind(error: BaseException) -> Terminated | KeyboardInterrupt | None:
    """The signal that an error is or comes from: what it broke off may stumble over that while it cleans up."""
    before: BaseException | None = error
    while before is not None and not isinstance(before, (Terminated, KeyboardInterrupt)):
        before = before.__context__
    return before


def exit_code_of(error: domain.BackctlError) -> ExitCode:
    """The one mapping. A class outside every kind is a bug and says so."""
    return next((code for kind, code in _KINDS if isinstance(error, kind)), ExitCode.BUG)


def document(error: domain.BackctlError) -> dict[str, object]:
    """The members of an error in JSON."""
    return {
        "code": error.code,
        "exit": int(exit_code_of(error)),
        "message": error.message,
        "hint": error.hint,
        "retryable": error.retryable,
    }


_place = ""


def remember_place(profile: str | None, config_file: str | None) -> None:
    """Keep the flags that say which installation is meant: a command that a hint suggests must mean the same one."""
    global _place  # noqa: PLW0603 - of the process, like the command line it comes from
    given = (("-p", profile), ("--config", config_file))
    _place = "".join(f"{flag} {terminal.shell_word(value)} " for flag, value in given if value is not None)


def report(error: domain.BackctlError, *, as_json: bool) -> ExitCode:
    """Tell the error once, on standard error, and answer with its exit code."""
    if error.hint and _place:
        error.hint = re.sub(r"(?<=['`])backctl (?=[a-z])", lambda _: f"backctl {_place}", error.hint)
    if as_json:
        import json

        terminal.say_raw(json.dumps({"error": document(error)}, ensure_ascii=not _plain_stderr()) + "\n")
    else:
        terminal.say(error.message, "error")
        if error.hint:
            terminal.say(error.hint, "hint")
    return exit_code_of(error)


def _plain_stderr() -> bool:
    return not terminal.is_terminal(sys.stderr)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether errors are due in JSON, read from the bare words: parsing itself may be what failed."""
    wanted = os.environ.get("BACKCTL_OUTPUT", "")
    words = iter(arguments)
    for word in words:
        if word == "--":
            break
        if word == "--output":
            wanted = next(words, "")
        elif word.startswith("--output="):
            wanted = word.removeprefix("--output=")
        elif word.startswith("-") and (cluster := word[1:].lstrip("qvny")).startswith("o"):
            wanted = cluster[1:] or next(words, "")
    return wanted in ("json", "jsonl")


# The parser's errors in our words.


def reworded(error: ClickException) -> domain.UsageError:
    """A parser's error in our form: lower case, no full stop, the offending word quoted and cut, a next step."""
    context = error.ctx if isinstance(error, ClickUsageError) else None
    help_hint = f"see '{context.command_path} --help'" if context is not None else "see 'backctl --help'"
    match error:
        case NoSuchOption():
            option = domain.quoted(error.option_name)
            return domain.UsageError(f"there is no option {option}", hint=_option_hint(error) or help_hint)
        case MissingParameter(param=parameter) if parameter is not None:
            if parameter.param_type_name == "argument":
                name = parameter.human_readable_name
            else:
                name = max(parameter.opts, key=len)
            return domain.UsageError(f"{name} is missing", hint=help_hint)
        case BadOptionUsage() if "argument" in error.message:
            return domain.UsageError(f"option {domain.quoted(error.option_name)} needs a value", hint=help_hint)
        case BadOptionUsage():
            return domain.UsageError(f"option {domain.quoted(error.option_name)} takes no value", hint=help_hint)
        case BadParameter(param=parameter) if parameter is not None:
            name = (
                parameter.human_readable_name
                if parameter.param_type_name == "argument"
                else max(parameter.opts, key=len)
            )
            return domain.UsageError(f"{name}: {_lowered(error.message)}", hint=help_hint)
        case _:
            message = error.format_message()
            if domain.masked(message) != message:
                help_hint = "a token is no argument: pipe it in, or use --token-file, --token-fd or --token-env"
            return domain.UsageError(_lowered(message), hint=help_hint)


def _option_hint(error: NoSuchOption) -> str | None:
    """Where the option belongs, or the one that was meant."""
    from backctl.presentation import parameters

    if error.option_name in ("--json", "--format"):
        return "-o json is the way to JSON"
    takes_commands = hasattr(getattr(error.ctx, "command", None), "commands")
    everywhere = {
        spelling for option in (*parameters.EVERYWHERE, parameters.DRY_RUN, parameters.YES) for spelling in option.opts
    }
    if takes_commands and error.option_name in everywhere:
        return f"put {error.option_name} after the command"
    from difflib import get_close_matches

    near = get_close_matches(error.option_name, error.possibilities or (), n=2, cutoff=0.75)
    return "did you mean " + " or ".join(map(domain.quoted, near)) + "?" if near else None


def _lowered(text: str) -> str:
    text = domain.escaped(domain.masked(" ".join(text.split()))).rstrip(".")
    if len(text) > 200:  # the offending value stands first, what is wrong with it last
        text = f"{text[:80]}…{text[-100:]}"
    if text.startswith("Got unexpected extra argument"):
        return "unexpected argument " + domain.quoted(text.partition("(s) (")[2].removesuffix(")"))
    return text[:1].lower() + text[1:]


# Bugs.


def unexpected(error: BaseException) -> domain.BackctlError:
    """Keep the traceback in the log file, and answer what to show instead of it.

    The log tells where each error came from and of which class it is. What other libraries say in their errors, and the
    notes on them, are left out: they repeat what they were given, a URL with its password or a whole token.
    """
    where = _append_to_log("".join(_traceback_without_words(error, set())))
    return domain.BackctlError(
        f"unexpected {type(error).__name__}, a fault of backctl itself",
        hint=f"the traceback is in {where}" if where else "the traceback could not be written to the log",
    )


def _traceback_without_words(error: BaseException, seen: set[int]) -> Iterator[str]:
    """As `traceback.format_exception` has it, the causes first, with the messages of our own errors only."""
    import traceback

    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _traceback_without_words(before, seen)
        yield f"\n{'raised from it' if error.__cause__ else 'while it was handled'}:\n\n"
    yield from traceback.format_tb(error.__traceback__)
    words = error.message if isinstance(error, domain.BackctlError) else "(its message could repeat a secret)"
    yield f"{type(error).__module__}.{type(error).__qualname__}: {words}\n"
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        if id(inner) not in seen:
            yield "\none of the group:\n\n"
            yield from _traceback_without_words(inner, seen)


def _append_to_log(text: str) -> str | None:
    """Add an entry to the log, 0600 in a 0700 folder. None when that is impossible: a bug report must not be a bug."""
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
    except (OSError, RuntimeError, domain.FolderUnusable):  # RuntimeError: no home folder
        return None
    return str(path)


def is_private_log(status: os.stat_result, *, user: int) -> bool:
    """Whether a file is the log of this user alone: not another user's, and not another name of another file."""
    return stat.S_ISREG(status.st_mode) and status.st_uid == user and status.st_nlink == 1
