"""Exit codes, the table that maps errors to them, and the output of errors."""

import os
import sys
from collections.abc import Sequence
from enum import IntEnum

from backctl.domain import errors as domain
from backctl.domain.quoting import escaped, quoted
from backctl.presentation import program, terminal


class ExitCode(IntEnum):
    """The exit codes and their meanings. Scripts depend on them: a code is never used for anything else."""

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
    """SIGTERM or SIGHUP arrived. Not an Exception, so that no handler for errors catches it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.exit_code = next(code for code in ExitCode if code == 128 + number)


def signal_behind(error: BaseException) -> Terminated | KeyboardInterrupt | None:
    """Return the signal that caused an error, if any: interrupted code can raise other errors while it cleans up."""
    before: BaseException | None = error
    while before is not None and not isinstance(before, (Terminated, KeyboardInterrupt)):
        before = before.__context__
    return before


def exit_code_of(error: domain.BackctlError) -> ExitCode:
    """Return the exit code for an error. An error of no known kind is a bug."""
    return next((code for kind, code in _KINDS if isinstance(error, kind)), ExitCode.BUG)


def document(error: domain.BackctlError) -> dict[str, object]:
    """The members of an error in JSON."""
    return {
        "code": error.code,
        "exit": int(exit_code_of(error)),
        "message": error.message,
        "hint": error.hint and program.filled(error.hint),
        "retryable": error.retryable,
    }


def report(error: domain.BackctlError, *, as_json: bool) -> ExitCode:
    """Print an error on standard error, with the profile in which it happened, and return its exit code."""
    if as_json:
        import json

        members = {**document(error), "profile": program.profile()}
        terminal.say_raw(json.dumps({"error": members}, ensure_ascii=not _plain_stderr()) + "\n")
    else:
        terminal.say(error.message + _where(error), "error")
        if error.hint:
            terminal.say(program.filled(error.hint), "hint")
    return exit_code_of(error)


def _where(error: domain.BackctlError) -> str:
    """Return the end of a message, which names the profile; empty for invalid input, which no profile can change."""
    name = program.profile()
    if name is None or isinstance(error, domain.InvalidInput):
        return ""
    if quoted(name) in error.message or f"profile {escaped(name)}" in error.message:
        return ""
    return f" (profile {escaped(name)})"


def _plain_stderr() -> bool:
    return not terminal.is_terminal(sys.stderr)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether errors must be JSON. Reads the arguments itself, because the parser may have failed."""
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
