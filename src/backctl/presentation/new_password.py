"""A password to be stored: given, made, or none; and where a made one is handed over."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backctl.domain.errors import FolderUnusable, OutcomeUnknown, UsageError, quoted
from backctl.domain.values import Secret
from backctl.presentation.errors import signal_behind
from backctl.presentation.output import Format

if TYPE_CHECKING:
    from backctl.application.ports.environment import NewFile
    from backctl.presentation.context import Invocation


@dataclass(frozen=True, slots=True)
class NewPassword:
    """`secret` None means that nobody can log in, unless with a hash made elsewhere is `hashed`.

    `shown` and `secret_file` are members of the result.
    """

    secret: Secret | None
    hashed: Secret | None = None
    shown: Secret | None = None
    secret_file: str | None = None

    def required(self) -> Secret:
        """The password, for a command without a flag to do without. Raises UsageError."""
        if self.secret is None:
            raise UsageError("no password was given")
        return self.secret

    def members(self) -> dict[str, object]:
        return {
            "password": self.shown.reveal() if self.shown else None,
            "secret_file": self.secret_file,
        }


def require_one_way(call: "Invocation", *, generate: bool, secret_file: str | None, none: bool | None = None) -> bool:
    """Whether the flags name a password or the hash of one. Raises UsageError when they contradict each other.

    `none` is the flag of a command whose account may go without a password, or have the hash of one; None elsewhere.
    """
    given = call.secret_given("password")
    hashed = none is not None and call.secret_given("password-hash")
    if generate + bool(none) + given + hashed > 1:
        ways = ["--generate-password", "--password-…"]
        if none is not None:
            ways[1:1] = ["--no-password", "--password-hash-…"]
        raise UsageError("more than one way to a password", hint=f"choose one of {', '.join(ways[:-1])} and {ways[-1]}")
    if generate or secret_file == "-":
        require_place(call, secret_file, "the password", "password")
    elif secret_file is not None:
        raise UsageError("--secret-file takes a made password only", hint="add --generate-password")
    return given or generate or hashed


def require_place(call: "Invocation", secret_file: str | None, what: str, member: str) -> None:
    """Raises UsageError when `what` is made and there is no place to hand it over: no file, and no such member."""
    if secret_file == "-":
        raise UsageError(f"'-' is no file for {what}", hint="leave --secret-file out to have it printed")
    if secret_file is not None:
        return
    if call.output is Format.ID:
        raise UsageError(f"-o id leaves no place for {what}", hint="add --secret-file FILE")
    if call.renderer.leaves_out(member):
        raise UsageError(f"--fields leaves no place for {what}", hint=f"add {member} to it, or --secret-file FILE")


@contextmanager
def new_password(
    call: "Invocation",
    *,
    generate: bool,
    secret_file: str | None,
    none: bool | None = None,
    judge: Callable[[Secret], None],
) -> Iterator[NewPassword]:
    """Settle the password before the account is made or changed, from the flags, a terminal or by making one.

    `judge` raises for what will not do; on a terminal that is told before it is typed again.
    A made password is in its file, durably, before the block runs; the file is removed again when the block fails, so
    neither an account without its password nor a password without its account is left. A signal may come, and a
    connection break, when the account is already made: then the file stays. Raises UsageError for flags that
    contradict each other, FileTaken when the file exists.
    """
    require_one_way(call, generate=generate, none=none, secret_file=secret_file)
    if none:
        yield NewPassword(None)
    elif none is not None and call.secret_given("password-hash"):
        yield NewPassword(None, hashed=call.secret("password-hash"))
    elif not generate:
        yield NewPassword(call.secret("password", new=True, judge=judge, instead="--generate-password"))
    else:
        from backctl.application.accounts import generate_password

        made = generate_password()
        with handed_over(call, made, secret_file):
            if call.dry_run:
                yield NewPassword(made)
            elif secret_file is None:
                yield NewPassword(made, shown=made)
            else:
                yield NewPassword(made, secret_file=secret_file)


@contextmanager
def handed_over(call: "Invocation", secret: Secret, secret_file: str | None) -> Iterator[None]:
    """Have a made secret in its file, if it is to have one, before the block runs; removed when the block fails.

    A dry run writes none. Raises FileTaken when the file exists, FolderUnusable, DiskFull.
    """
    if secret_file is None:
        yield
    elif call.dry_run:
        call.backend.files.require_possible(secret_file)
        yield
    else:
        written = call.backend.files.write_new(secret_file, _content(secret))
        try:
            yield
        except BaseException as error:
            if isinstance(error, OutcomeUnknown):
                call.warn(f"{quoted(secret_file)} is kept: its secret is the one in use if the change was made")
            elif isinstance(error, Exception) and signal_behind(error) is None:
                _remove(call, written)
            else:
                call.warn(f"{quoted(secret_file)} is kept: it holds what was made if the command came that far")
            raise


def _content(secret: Secret) -> bytes:
    return f"{secret.reveal()}\n".encode()


def _remove(call: "Invocation", written: "NewFile") -> None:
    try:
        written.remove()
    except FolderUnusable as error:
        call.warn(f"a file whose secret is of no use could not be removed: {error.message}")
