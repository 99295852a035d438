"""`backctl user mfa …`: second factors of accounts."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, cast

from typer import Argument, Option

from backctl.application.login_views import MfaStatus
from backctl.application.mfa import MfaReencryption
from backctl.application.views import Change
from backctl.domain.errors import PartialFailure, UsageError, quoted
from backctl.domain.values import Secret
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun
from backctl.presentation.new_password import handed_over, require_place
from backctl.presentation.output import Format

if TYPE_CHECKING:
    from backctl.domain.one_time_codes import Algorithm

app = noun("mfa", within="user")

Ident = Annotated[str, Argument(metavar="IDENT", help="An id, an e-mail address or a username.")]
SecretFile = Annotated[
    str | None, Option("--secret-file", metavar="FILE", help="Write the recovery codes to this new file instead.")
]


@leaf(app, mutation=True, view=MfaStatus, members=("secret", "uri"))
def enroll(
    call: Invocation,
    ident: Ident,
    algorithm: Annotated[
        str,
        Option("--algorithm", metavar="NAME", help="One of sha1, sha256, sha512; some authenticators know sha1 only."),
    ] = "sha1",
    digits: Annotated[int, Option("--digits", metavar="N", help="Digits of a code, 6 to 8.")] = 6,
    period: Annotated[int, Option("--period", metavar="SECONDS", help="How long a code counts, 10 to 300.")] = 30,
) -> None:
    """Make a secret for an authenticator, and show it once.

    A login asks for no code before one was confirmed with 'backctl user mfa confirm'. On a terminal the secret is
    shown as a QR code, too.
    """
    from backctl.domain.one_time_codes import TotpSettings

    settings = TotpSettings(cast("Algorithm", algorithm), digits, period)  # it checks that
    if call.output is Format.ID:
        raise UsageError("-o id leaves no place for the secret", hint="take another form, such as -o json")
    if call.renderer.leaves_out("secret", "uri"):
        raise UsageError("--fields leaves no place for the secret", hint="add secret to it, or uri")
    change = call.backend.mfa.enroll(ident, settings, by=call.attribution, dry_run=call.dry_run)
    enrolment = change.value
    if call.dry_run:  # there is no such secret
        call.changed(Change(enrolment.status, change.changed))
        return
    call.changed(Change(enrolment.status, change.changed), secret=enrolment.secret.reveal(), uri=enrolment.uri.reveal())
    call.picture(enrolment.uri.reveal())


@leaf(app, mutation=True, secrets=("code",), view=MfaStatus, members=("recovery_codes", "secret_file"))
def confirm(call: Invocation, ident: Ident, secret_file: SecretFile = None) -> None:
    """Turn the second factor on with a code of it.

    Ten recovery codes are shown, once. From then on a login takes a code. The account's sessions end at once.
    """
    require_place(call, secret_file, "the recovery codes", "recovery_codes")
    mfa = call.backend.mfa
    mfa.require_pending(ident)  # before anybody types a code in vain
    code = call.secret("code")
    _with_new_codes(
        call,
        secret_file,
        lambda codes: mfa.confirm(ident, code, codes, by=call.attribution, dry_run=call.dry_run),
    )


@leaf(app, view=MfaStatus)
def status(call: Invocation, ident: Ident) -> None:
    """Show the second factor of an account.

    Whether there is one, and how many recovery codes are left.
    """
    call.show(call.backend.mfa.status(ident))


@leaf(app, mutation=True, guard="yes", view=MfaStatus)
def disable(call: Invocation, ident: Ident) -> None:
    """Take the second factor away, with its recovery codes.

    The account's sessions end at once.
    """
    mfa = call.backend.mfa
    found = mfa.status(ident)
    if found.mfa == "on":
        call.confirm(f"let {quoted(found.username)} log in with a password alone?")
    call.changed(mfa.disable(found.id, by=call.attribution, dry_run=call.dry_run))


@leaf(app, name="recovery-codes", mutation=True, view=MfaStatus, members=("recovery_codes", "secret_file"))
def recovery_codes(call: Invocation, ident: Ident, secret_file: SecretFile = None) -> None:
    """Make ten new recovery codes; those before are void.

    They are shown once.
    """
    require_place(call, secret_file, "the recovery codes", "recovery_codes")
    mfa = call.backend.mfa
    _with_new_codes(
        call,
        secret_file,
        lambda codes: mfa.renew_recovery_codes(ident, codes, by=call.attribution, dry_run=call.dry_run),
    )


@leaf(app, mutation=True, view=MfaReencryption)
def reencrypt(call: Invocation) -> None:
    """Move all secrets to the primary key.

    As the next login of each account would, to the key of purpose encrypt: the one before can be destroyed then.
    Nobody notices: neither secret nor recovery codes change.
    """
    mfa = call.backend.mfa
    with call.progress("reencrypting") as progress:
        change = mfa.reencrypt(by=call.attribution, dry_run=call.dry_run, progress=progress.advance)
    call.changed(change)
    if failed := change.value.unusable:
        from backctl.presentation.bulk import first_of

        raise PartialFailure(
            f"the secrets of {len(failed)} accounts do not decrypt: {first_of(failed)}",
            hint="name the keyring that has their key, or take the factor away with 'backctl user mfa disable'",
        )


def _with_new_codes(
    call: Invocation, secret_file: str | None, change: Callable[[tuple[Secret, ...]], Change[MfaStatus]]
) -> None:
    """Make the change with new codes, which are in their file before it, or in its result."""
    codes = call.backend.mfa.new_recovery_codes()
    revealed = [code.reveal() for code in codes]
    with handed_over(call, Secret("\n".join(revealed)), secret_file):
        made = change(codes)
    if call.dry_run:  # there are no such codes
        call.changed(made)
    elif secret_file is None:
        call.changed(made, recovery_codes=revealed)
    else:
        call.changed(made, secret_file=secret_file)
