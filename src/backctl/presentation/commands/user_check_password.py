"""`backctl user check-password`: check the password of an account, and its second factor."""

from typing import Annotated

from typer import Option

from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.parameters import Ident

app = noun("check-password", within="user")


def _password_check() -> type:
    from backctl.application.login_views import PasswordCheck

    return PasswordCheck


@leaf(
    app,
    name="check-password",
    records=True,
    secrets=("password", "mfa-code"),
    kind="check",
    view=_password_check,
    examples="""
    # Check a password from a file
    backctl user check-password ada --password-file password.txt
    # Count the attempt against the limit for an address
    backctl user check-password ada --password-file password.txt \\
        --source 192.0.2.7
    """,
)
def check_password(
    call: Invocation,
    ident: Ident,
    source: Annotated[
        str | None,
        Option("--source", metavar="ADDRESS", help="IP address of the client, for authentication.source_policy."),
    ] = None,
) -> None:
    """Check the password of an account: exit code 0 or 6.

    The check is a login attempt: ten failures within fifteen minutes lock the account for fifteen minutes. An account
    with a second factor also needs a one-time code or a recovery code, and each code works once. The answer does not
    reveal whether the account exists; the event log does.
    """
    call.backend.require_installation()  # before a password is typed
    authentication = call.backend.authentication
    password = call.secrets.read("password")
    code = call.secrets.read("mfa-code") if call.secrets.is_given("mfa-code") else None
    check = authentication.authenticate(ident, password, code, by=call.attribution, source=source)
    if check.outcome == "mfa_required" and call.interactive:
        code = call.secrets.read("mfa-code")
        check = authentication.authenticate(ident, password, code, by=call.attribution)
    call.results.check(check)
