"""`backctl key …`: list, rotate, publish and import keys."""

from enum import StrEnum
from typing import Annotated

from typer import Option

from backctl.application import key_views
from backctl.domain.errors import UsageError
from backctl.domain.keyring import Purpose
from backctl.domain.quoting import escaped, quoted
from backctl.domain.values import Secret
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.parameters import Kid, duration

app = noun("key")


class PurposeName(StrEnum):
    SIGN = "sign"
    ENCRYPT = "encrypt"
    AUDIT = "audit"
    INDEX = "index"


class AlgorithmName(StrEnum):
    EDDSA = "EdDSA"
    ES256 = "ES256"
    RS256 = "RS256"
    HS256 = "HS256"


class Verifier(StrEnum):
    JWKS = "jwks"
    ENVOY = "envoy"
    ISTIO = "istio"


NewKid = Annotated[str | None, Option("--kid", metavar="NAME", help="Name of the new key; generated unless given.")]
OnePurpose = Annotated[PurposeName, Option("--purpose", help="Purpose of the key.")]
Purposes = Annotated[
    list[PurposeName] | None,
    Option("--purpose", help="Only keys of this purpose, may be repeated; sign and encrypt unless given."),
]
Algorithm = Annotated[AlgorithmName | None, Option("--alg", help="Algorithm of a signing key; EdDSA unless given.")]
OlderThan = Annotated[
    str, Option("--if-older-than", metavar="DURATION", help="Rotate keys that have been in use for at least this long.")
]
Overlap = Annotated[
    str,
    Option(
        "--overlap",
        metavar="DURATION",
        help="How long a successor is published before its use, and how long a retired signing key still verifies.",
    ),
]
Ending = Annotated[
    str, Option("--overlap", metavar="DURATION", help="How long the retired signing key still verifies.")
]
_AGE, _OVERLAP = "30d", "7d"


@leaf(
    app,
    name="list",
    kind="list",
    view=key_views.KeyView,
    examples="""
    # List all keys
    backctl key list
    # Print the names of the signing keys
    backctl key list --purpose sign -o id
    """,
)
def list_(
    call: Invocation,
    purpose: Annotated[PurposeName | None, Option("--purpose", help="Only keys of this purpose.")] = None,
) -> None:
    """List the keys, oldest first."""
    call.results.show_all(call.backend.keys.all(None if purpose is None else _purpose(purpose)), key_views.KeyView)


@leaf(
    app,
    view=key_views.KeyView,
    examples="""
    # Show a key
    backctl key show s-2026
    # Print its state
    backctl key show s-2026 --fields state --no-header
    """,
)
def show(call: Invocation, kid: Kid) -> None:
    """Show a key, without its secret."""
    call.results.show(call.backend.keys.show(kid))


@leaf(
    app,
    changes="add a key for {purpose}",
    view=key_views.KeyView,
    examples="""
    # Create a standby key for signing
    backctl key add
    # Create a standby key for encryption, with a name
    backctl key add --purpose encrypt --kid e-2026
    """,
)
def add(call: Invocation, purpose: OnePurpose = PurposeName.SIGN, alg: Algorithm = None, kid: NewKid = None) -> None:
    """Create a standby key, which is used once it is promoted."""
    change = call.backend.keys.add(
        _purpose(purpose),
        alg=None if alg is None else alg.value,
        kid=kid,
        by=call.attribution,
        dry_run=call.dry_run,
    )
    call.results.changed(change)


@leaf(
    app,
    changes="promote the key {kid}",
    view=key_views.KeyView,
    examples="""
    # Use a standby key from now on
    backctl key promote s-2026
    # Let the previous signing key verify for one more day
    backctl key promote s-2027 --overlap 1d
    """,
)
def promote(call: Invocation, kid: Kid, overlap: Ending = _OVERLAP) -> None:
    """Make a key the primary key of its purpose.

    The previous primary key retires. A retired key still decrypts, and verifies until --overlap has passed.
    """
    change = call.backend.keys.promote(kid, overlap=duration(overlap), by=call.attribution, dry_run=call.dry_run)
    call.results.changed(change)


@leaf(
    app,
    changes="retire the key {kid}",
    view=key_views.KeyView,
    examples="""
    # Retire a key that is not the primary key
    backctl key retire s-2026
    # End it at once, for example after it leaked
    backctl key retire s-2027 --overlap 0s
    """,
)
def retire(call: Invocation, kid: Kid, overlap: Ending = _OVERLAP) -> None:
    """Retire a key that is not the primary key.

    A retired key only verifies and decrypts. A signing key verifies until --overlap has passed. Retiring it again
    can shorten this time, but not extend it; 0s ends it at once.
    """
    change = call.backend.keys.retire(kid, overlap=duration(overlap), by=call.attribution, dry_run=call.dry_run)
    call.results.changed(change)


@leaf(
    app,
    changes="permanently destroy the key {kid}",
    guard="name",
    view=key_views.DestroyedKey,
    examples="""
    # Destroy a key that nothing uses any more
    backctl key destroy s-old --confirm s-old
    # Check whether a key can be destroyed
    backctl key destroy s-2026 --dry-run --confirm s-2026
    """,
)
def destroy(call: Invocation, kid: Kid) -> None:
    """Permanently destroy a key.

    Its name cannot be used again. Fails if the key is in use or the database refers to it. backctl cannot see data
    that was encrypted with it elsewhere: that data is lost.
    """
    keys = call.backend.keys
    call.guard.confirm_name(kid, f"permanently destroy the key {escaped(kid)}")
    call.results.changed(keys.destroy(kid, by=call.attribution, dry_run=call.dry_run))


@leaf(
    app,
    changes="replace the lost keyring",
    guard="name",
    view=key_views.ReplacementView,
    examples="""
    # Show what would change
    backctl key replace-lost --dry-run
    # Replace the keyring of the installation with this id
    backctl key replace-lost --confirm 01997d9c-1d5f-7c4e-9d43-5b0d5c1f0a11
    """,
)
def replace_lost(call: Invocation) -> None:
    """Replace a keyring file that is lost and has no backup.

    Give the id of the installation with --confirm. Creates a new keyring, ends all sessions, and disables all second
    factors, because nobody can read them without the lost keys. Passwords stay valid. Data that services have encrypted
    cannot be decrypted any more. 'audit verify' reports all events so far as unverified from then on.

    Does nothing if the file exists. If it is damaged or wrong, restore it from a backup instead.
    """
    replacement = call.backend.keyring_replacement
    installation_id = replacement.installation_id()
    call.guard.confirm_name(installation_id, f"replace the lost keyring of the installation {installation_id}")
    change = replacement.replace(by=call.attribution, dry_run=call.dry_run)
    view = change.value
    if not change.changed:
        call.messages.notice(f"the keyring {quoted(view.file, limit=400)} exists, so it was not replaced")
    elif not view.replaced:
        call.messages.notice("an interrupted change of the keyring was completed; no key was lost")
    elif not call.dry_run:
        call.messages.notice("data that services encrypted with the lost keys cannot be decrypted any more")
        call.messages.notice(f"back up the new keyring {quoted(view.file, limit=400)}")
    call.results.changed(change)


@leaf(
    app,
    changes="rotate keys",
    view=key_views.RotationView,
    examples="""
    # Rotate the keys that are older than 30 days
    backctl key rotate
    # Show what would change
    backctl key rotate --if-older-than 90d --dry-run
    # Rotate the signing key now
    backctl key rotate --purpose sign --if-older-than 0s --overlap 0s
    """,
)
def rotate(
    call: Invocation, purpose: Purposes = None, if_older_than: OlderThan = _AGE, overlap: Overlap = _OVERLAP
) -> None:
    """Rotate keys that are older than a given age.

    Run it daily from cron. A successor is published --overlap before a key reaches the age --if-older-than. At that
    age the successor becomes the primary key and the old key retires. A retired key still decrypts, and verifies
    until --overlap has passed.
    """
    change = call.backend.keys.rotate(
        _purposes(purpose),
        older_than=duration(if_older_than),
        overlap=duration(overlap),
        by=call.attribution,
        dry_run=call.dry_run,
    )
    call.results.changed(change)


@leaf(
    app,
    kind="checks",
    view=key_views.DueView,
    examples="""
    # Show which keys are due
    backctl key due --if-older-than 90d
    # Print nothing, only return the exit code
    backctl key due --purpose sign -q
    """,
)
def due(
    call: Invocation, purpose: Purposes = None, if_older_than: OlderThan = _AGE, overlap: Overlap = _OVERLAP
) -> None:
    """Show what 'rotate' with the same options would do.

    Exit code 0, or 6 if it would do nothing.
    """
    found = call.backend.keys.due(_purposes(purpose), older_than=duration(if_older_than), overlap=duration(overlap))
    call.results.check_all(found, key_views.DueView, any(view.ok for view in found))


@leaf(
    app,
    kind="value",
    examples="""
    # Print the public keys as a JWK Set
    backctl key jwks > jwks.json
    # Print the configuration of Envoy that contains them
    backctl key jwks --format envoy
    """,
)
def jwks(
    call: Invocation,
    form: Annotated[
        Verifier, Option("--format", help="Format: a JWK Set, or the configuration of a proxy that contains it.")
    ] = Verifier.JWKS,
) -> None:
    """Print the public keys of the signing keys, as a JWK Set.

    Services verify tokens with it. It contains the public half of every signing key that still verifies. Symmetric
    keys have none and never appear. For a proxy it also contains the configured issuer and audience.
    """
    import json

    document = call.backend.keys.jwks()
    if form is not Verifier.JWKS:
        from backctl.application import verifier_configuration as verifiers

        tokens = call.settings.settings.tokens
        expected = verifiers.Expected(tokens.issuer, tokens.audience, tokens.leeway)
        made = {Verifier.ENVOY: verifiers.for_envoy, Verifier.ISTIO: verifiers.for_istio}[form]
        document = made(document, expected)
    call.results.value(json.dumps(document), document)


@leaf(
    app,
    changes="change how the keyring is stored",
    secrets=("passphrase",),
    view=key_views.Wrapping,
    examples="""
    # Show what would change
    backctl key wrap --passphrase-file passphrase.txt --dry-run
    # Encrypt the keyring with a passphrase from a file
    backctl key wrap --passphrase-file passphrase.txt
    """,
)
def wrap(
    call: Invocation,
    none: Annotated[bool, Option("--none", help="Store the keyring unencrypted again.")] = False,
) -> None:
    """Encrypt the keyring file with a passphrase.

    Uses the passphrase of an option, or else the configured one. All commands need it afterwards: set
    keyring.passphrase, keyring.passphrase_file or keyring.passphrase_command. Later changes of keys use the configured
    passphrase.
    """
    given = call.secrets.is_given("passphrase")
    if none and given:
        raise UsageError("--none and a passphrase cannot be combined", hint="use one of them")
    call.backend.require_installation()  # before a passphrase is typed
    keys, configured = call.backend.keys, call.settings.settings.keyring.passphrase
    passphrase = None
    if not none:
        known = configured.is_given and not given
        passphrase = (
            Secret(configured.reveal()) if known else call.secrets.read("passphrase", new=True, instead="--none")
        )
    change = keys.wrap(
        passphrase,
        rewrap=passphrase is not None and not (configured.is_given and not given),
        by=call.attribution,
        dry_run=call.dry_run,
    )
    call.results.changed(change)


@leaf(
    app,
    name="import",
    changes="import a key for {purpose}",
    secrets=("key",),
    view=key_views.ImportedKey,
    examples="""
    # Import a private key
    backctl key import --key-file signing.pem
    # Give it a name, and use it
    backctl key import --key-file other.pem --kid s-2027
    backctl key promote s-2027
    """,
)
def import_(
    call: Invocation, purpose: OnePurpose = PurposeName.SIGN, alg: Algorithm = None, kid: NewKid = None
) -> None:
    """Import a private key in JWK or PEM form as a standby key.

    It is published at once, and used once it is promoted. It keeps its kid if that is a valid name and not yet used.
    """
    call.backend.require_installation()  # before a key is read
    keys = call.backend.keys
    change = keys.take_in(
        call.secrets.read("key"),
        _purpose(purpose),
        alg=None if alg is None else alg.value,
        kid=kid,
        by=call.attribution,
        dry_run=call.dry_run,
    )
    if change.value.original_id is not None:
        call.messages.notice(
            f"the key has the name {change.value.id} here, instead of {quoted(change.value.original_id)}"
        )
    call.results.changed(change)


def _purpose(name: PurposeName) -> Purpose:
    return name.value


def _purposes(names: list[PurposeName] | None) -> tuple[Purpose, ...]:
    from backctl.application.keys import ROTATING

    return tuple(dict.fromkeys(map(_purpose, names))) if names else ROTATING
