"""`backctl user mfa …`: manage the second factors of accounts."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, cast

from typer import Option

from backctl.application.login_views import MfaStatus
from backctl.application.mfa import MfaReencryption
from backctl.application.views import Change
from backctl.domain.errors import PartialFailure, UsageError
from backctl.domain.quoting import escaped, quoted
from backctl.domain.values import Secret
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.output import Format
from backctl.presentation.parameters import Ident, RecoveryCodesFile
from backctl.presentation.secret_output import in_secret_file, require_place

if TYPE_CHECKING:
    from backctl.domain.one_time_codes import Algorithm

app = noun("mfa", within="user")


@leaf(
    app,
    changes="create a second factor for {ident}",
    view=MfaStatus,
    members=("secret", "uri"),
    examples="""
    # Create a secret, and show it as a QR code on a terminal
    backctl user mfa enroll ada
    # Print only the URI for an authenticator
    backctl user mfa enroll bob --fields uri --no-header
    """,
)
def enroll(
    call: Invocation,
    ident: Ident,
    algorithm: Annotated[
        str,
        Option("--algorithm", metavar="NAME", help="Hash: sha1, sha256, sha512; some authenticators know sha1 only."),
    ] = "sha1",
    digits: Annotated[int, Option("--digits", metavar="N", help="Number of digits of a code, 6 to 8.")] = 6,
    period: Annotated[int, Option("--period", metavar="SECONDS", help="How long a code is valid, 10 to 300.")] = 30,
) -> None:
    """Create a secret for an authenticator and show it once.

    Logins need no code until the second factor is turned on with 'backctl user mfa confirm'. A terminal also shows the
    secret as a QR code.
    """
    from backctl.domain.one_time_codes import TotpSettings

    settings = TotpSettings(cast("Algorithm", algorithm), digits, period)  # it checks the values
    if call.results.form is Format.ID:
        raise UsageError("-o id leaves no place for the secret", hint="use another format, such as -o json")
    if call.results.renderer.leaves_out("secret", "uri"):
        raise UsageError("--fields leaves no place for the secret", hint="add secret or uri to it")
    change = call.backend.mfa.enroll(ident, settings, by=call.attribution, dry_run=call.dry_run)
    enrolment = change.value
    if call.dry_run:  # no secret was stored
        call.results.changed(Change(enrolment.status, change.changed))
        return
    secret, uri = enrolment.secret.reveal(), enrolment.uri.reveal()
    call.results.changed(Change(enrolment.status, change.changed), secret=secret, uri=uri)
    call.results.qr_code(uri)


@leaf(
    app,
    changes="turn on the second factor of {ident}",
    secrets=("code",),
    view=MfaStatus,
    members=("recovery_codes", "secret_file"),
    examples="""
    # Turn the second factor on with a code from a file
    backctl user mfa confirm ada --code-file code.txt
    # Write the recovery codes to a new file
    backctl user mfa confirm bob --code-file bob.txt --secret-file codes.txt
    """,
)
def confirm(call: Invocation, ident: Ident, secret_file: RecoveryCodesFile = None) -> None:
    """Turn the second factor on with a code.

    Prints ten recovery codes, once. Logins need a code from now on. This revokes the sessions of the account.
    """
    require_place(call, secret_file, "the recovery codes", "recovery_codes")
    mfa = call.backend.mfa
    mfa.require_pending(ident)  # report it before a code is typed
    code = call.secrets.read("code")
    _with_new_codes(
        call,
        secret_file,
        lambda codes: mfa.confirm(ident, code, codes, by=call.attribution, dry_run=call.dry_run),
    )


@leaf(
    app,
    view=MfaStatus,
    examples="""
    # Show the second factor of an account
    backctl user mfa status ada
    # Print its state
    backctl user mfa status ada --fields mfa --no-header
    """,
)
def status(call: Invocation, ident: Ident) -> None:
    """Show the second factor of an account."""
    call.results.show(call.backend.mfa.status(ident))


@leaf(
    app,
    changes="remove the second factor of {ident}",
    guard="yes",
    view=MfaStatus,
    examples="""
    # Remove a lost second factor
    backctl user mfa disable ada --reason "lost phone, identity checked" --yes
    # Show what would change
    backctl user mfa disable ada --dry-run
    """,
)
def disable(call: Invocation, ident: Ident) -> None:
    """Remove the second factor of an account.

    Its recovery codes are removed too. This revokes the sessions of the account.
    """
    mfa = call.backend.mfa
    account = mfa.status(ident)
    if account.mfa == "on":
        call.guard.confirm(f"let {escaped(account.username)} log in with only a password")
    call.results.changed(mfa.disable(account.user_id, by=call.attribution, dry_run=call.dry_run))


@leaf(
    app,
    name="recovery-codes",
    changes="replace the recovery codes of {ident}",
    view=MfaStatus,
    members=("recovery_codes", "secret_file"),
    examples="""
    # Replace the recovery codes
    backctl user mfa recovery-codes ada
    # Print them as JSON
    backctl user mfa recovery-codes ada -o json
    """,
)
def recovery_codes(call: Invocation, ident: Ident, secret_file: RecoveryCodesFile = None) -> None:
    """Replace the recovery codes with ten new ones, shown once."""
    require_place(call, secret_file, "the recovery codes", "recovery_codes")
    mfa = call.backend.mfa
    _with_new_codes(
        call,
        secret_file,
        lambda codes: mfa.renew_recovery_codes(ident, codes, by=call.attribution, dry_run=call.dry_run),
    )


@leaf(
    app,
    changes="re-encrypt the secrets of all second factors",
    view=MfaReencryption,
    examples="""
    # Show how many secrets would be re-encrypted
    backctl user mfa reencrypt --dry-run
    # Re-encrypt them
    backctl user mfa reencrypt
    """,
)
def reencrypt(call: Invocation) -> None:
    """Re-encrypt all secrets with the primary key.

    The previous encryption keys can then be destroyed. Secrets and recovery codes stay valid.
    """
    mfa = call.backend.mfa
    with call.messages.progress("re-encrypting") as progress:
        change = mfa.reencrypt(by=call.attribution, dry_run=call.dry_run, progress=progress.advance)
    call.results.changed(change)
    if failed := change.value.unusable:
        from backctl.presentation.batch.report import named

        raise PartialFailure(
            f"the secrets of {len(failed)} accounts do not decrypt: {named([quoted(name) for name in failed])}",
            hint="use a keyring that has their key, or remove the second factor with '{backctl} user mfa disable'",
        )


def _with_new_codes(
    call: Invocation, secret_file: str | None, change: Callable[[tuple[Secret, ...]], Change[MfaStatus]]
) -> None:
    """Make a change with new recovery codes, and put them in their file before it, or in the result after it."""
    codes = call.backend.mfa.new_recovery_codes()
    revealed = [code.reveal() for code in codes]
    with in_secret_file(call, Secret("\n".join(revealed)), secret_file):
        made = change(codes)
    if call.dry_run:  # no codes were stored
        call.results.changed(made)
    elif secret_file is None:
        call.results.changed(made, recovery_codes=revealed)
    else:
        call.results.changed(made, secret_file=secret_file)
