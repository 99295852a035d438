"""Gets the password of an account: from flags, from the terminal, or generated."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backctl.domain.errors import UsageError
from backctl.domain.values import Secret
from backctl.presentation.secret_output import in_secret_file, require_place

if TYPE_CHECKING:
    from backctl.presentation.context import Invocation


@dataclass(frozen=True, slots=True)
class NewPassword:
    """`secret` None means that nobody can log in, unless `hashed` is the hash of a password.

    `shown` and `secret_file` are members of the result.
    """

    secret: Secret | None
    hashed: Secret | None = None
    shown: Secret | None = None
    secret_file: str | None = None

    def required(self) -> Secret:
        """Return the password, for a command that needs one. Raises UsageError."""
        if self.secret is None:
            raise UsageError("no password was given")
        return self.secret

    def members(self) -> dict[str, object]:
        return {
            "password": self.shown.reveal() if self.shown else None,
            "secret_file": self.secret_file,
        }


def require_one_source(
    call: "Invocation", *, generate: bool, secret_file: str | None, none: bool | None = None
) -> bool:
    """Return whether the flags give a password or a hash. Raises UsageError if they contradict each other.

    `none` is the flag `--no-password` of a command that has it and also accepts a hash; None for other commands.
    """
    given = call.secrets.is_given("password")
    hashed = none is not None and call.secrets.is_given("password-hash")
    if generate + bool(none) + given + hashed > 1:
        flags = ["--generate-password", "--password-…"]
        if none is not None:
            flags[1:1] = ["--no-password", "--password-hash-…"]
        raise UsageError(
            "the flags give more than one password", hint=f"choose one of {', '.join(flags[:-1])} and {flags[-1]}"
        )
    if generate or secret_file == "-":
        require_place(call, secret_file, "the password", "password")
    elif secret_file is not None:
        raise UsageError("--secret-file is for a generated password only", hint="add --generate-password")
    return given or generate or hashed


@contextmanager
def new_password(
    call: "Invocation",
    *,
    generate: bool,
    secret_file: str | None,
    none: bool | None = None,
    judge: Callable[[Secret], None],
) -> Iterator[NewPassword]:
    """Get the password before the account is created or changed.

    `judge` is called with a typed password before it is typed again, and may raise. A generated password is written to
    its file before the block runs; see `in_secret_file`. Raises UsageError for flags that contradict each other.
    """
    require_one_source(call, generate=generate, none=none, secret_file=secret_file)
    if none:
        yield NewPassword(None)
    elif none is not None and call.secrets.is_given("password-hash"):
        yield NewPassword(None, hashed=call.secrets.read("password-hash"))
    elif not generate:
        yield NewPassword(call.secrets.read("password", new=True, judge=judge, instead="--generate-password"))
    else:
        from backctl.application.accounts import generate_password

        generated = generate_password()
        with in_secret_file(call, generated, secret_file):
            if call.dry_run:
                yield NewPassword(generated)
            elif secret_file is None:
                yield NewPassword(generated, shown=generated)
            else:
                yield NewPassword(generated, secret_file=secret_file)
