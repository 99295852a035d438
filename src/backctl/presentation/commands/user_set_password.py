"""`backctl user set-password`: set the password of an account."""

from backctl.application.views import UserView
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.parameters import GeneratePassword, Ident, MustChangePassword, PasswordFile

app = noun("set-password", within="user")


@leaf(
    app,
    name="set-password",
    changes="set the password of {ident}",
    secrets=("password",),
    view=UserView,
    members=("password", "secret_file"),
    examples="""
    # Generate a password that must be changed at the next login
    backctl user set-password ada --generate-password --must-change-password
    # Use a password from a file
    backctl user set-password ada --password-file password.txt
    """,
)
def set_password(
    call: Invocation,
    ident: Ident,
    generate_password: GeneratePassword = False,
    secret_file: PasswordFile = None,
    must_change_password: MustChangePassword = False,
) -> None:
    """Set the password of an account.

    This revokes the sessions of the account and ends a lock after failed logins.
    """
    accounts = call.backend.accounts
    account = accounts.show(ident)  # report a missing account before a password is typed
    from backctl.presentation.password_input import new_password

    with new_password(
        call,
        generate=generate_password,
        secret_file=secret_file,
        judge=lambda typed: accounts.require_acceptable(typed, email=account.email, username=account.username),
    ) as password:
        change = accounts.set_password(
            ident,
            password.required(),
            must_change_password=must_change_password,
            by=call.attribution,
            dry_run=call.dry_run,
        )
    call.results.changed(change, **password.members())
