"""`backctl key …`: look at the keys, let one follow another, publish them, and move them in and out."""

import sys
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

from typer import Argument, Option

from backctl.application.key_views import (
    DestroyedKey,
    DueView,
    Form,
    ImportedKey,
    KeyExport,
    KeyView,
    RotationView,
    Wrapping,
)
from backctl.application.views import Change
from backctl.domain.errors import UsageError, quoted
from backctl.domain.keyring import Purpose
from backctl.domain.values import Secret
from backctl.presentation import terminal
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun

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


class FormName(StrEnum):
    JWK = "jwk"
    PEM = "pem"


Kid = Annotated[str, Argument(metavar="KID", help="The name of the key.")]
NewKid = Annotated[str | None, Option("--kid", metavar="NAME", help="Name of the key; made up unless given.")]
OnePurpose = Annotated[PurposeName, Option("--purpose", help="What the key is for.")]
Purposes = Annotated[
    list[PurposeName] | None, Option("--purpose", help="Only this purpose; may be repeated. Else sign and encrypt.")
]
Algorithm = Annotated[AlgorithmName | None, Option("--alg", help="Algorithm of a signing key; EdDSA unless given.")]
OlderThan = Annotated[
    str, Option("--if-older-than", metavar="DURATION", help="Replace a key that has been in use for so long.")
]
Overlap = Annotated[
    str,
    Option(
        "--overlap",
        metavar="DURATION",
        help="How long a retired signing key still verifies, and a successor is published before its use.",
    ),
]
Ending = Annotated[
    str, Option("--overlap", metavar="DURATION", help="How long a retired signing key still verifies from now on.")
]
_AGE, _OVERLAP = "30d", "7d"


@leaf(app, name="list", view=KeyView)
def list_(
    call: Invocation,
    purpose: Annotated[PurposeName | None, Option("--purpose", help="Of this purpose only.")] = None,
) -> None:
    """List the keys, in the order in which they came."""
    call.show_all(call.backend.keys.all(None if purpose is None else _purpose(purpose)), KeyView)


@leaf(app, view=KeyView)
def show(call: Invocation, kid: Kid) -> None:
    """Show one key; never the secret in it."""
    call.show(call.backend.keys.show(kid))


@leaf(app, mutation=True, view=KeyView)
def add(call: Invocation, purpose: OnePurpose = PurposeName.SIGN, alg: Algorithm = None, kid: NewKid = None) -> None:
    """Make a key and publish it; it is used once it is promoted."""
    change = call.backend.keys.add(
        _purpose(purpose),
        alg=None if alg is None else alg.value,
        kid=kid,
        by=call.attribution,
        dry_run=call.dry_run,
    )
    call.changed(change)


@leaf(app, mutation=True, view=KeyView)
def promote(call: Invocation, kid: Kid, overlap: Ending = _OVERLAP) -> None:
    """Use a key from now on; the one in use retires.

    A retired key still decrypts, and still verifies until --overlap has passed.
    """
    change = call.backend.keys.promote(kid, overlap=_duration(overlap), by=call.attribution, dry_run=call.dry_run)
    call.changed(change)


@leaf(app, mutation=True, view=KeyView)
def retire(call: Invocation, kid: Kid, overlap: Ending = _OVERLAP) -> None:
    """Let a key that is not in use verify and decrypt only.

    A signing key verifies until --overlap has passed; said again, its end moves nearer, never further away. 0s ends it
    at once.
    """
    change = call.backend.keys.retire(kid, overlap=_duration(overlap), by=call.attribution, dry_run=call.dry_run)
    call.changed(change)


@leaf(app, mutation=True, guard="name", view=DestroyedKey)
def destroy(call: Invocation, kid: Kid) -> None:
    """Give a key up for good; its name stays taken.

    Refused while the key is in use or rows of the database refer to it. What was encrypted with it elsewhere cannot be
    seen from here, and is lost.
    """
    keys = call.backend.keys
    keys.show(kid)
    call.confirm_name(kid, f"the key {quoted(kid)} is gone for good, and all that only it can decrypt or verify")
    call.changed(keys.destroy(kid, by=call.attribution, dry_run=call.dry_run))


@leaf(app, mutation=True, view=RotationView)
def rotate(
    call: Invocation, purpose: Purposes = None, if_older_than: OlderThan = _AGE, overlap: Overlap = _OVERLAP
) -> None:
    """Publish a successor, or let it take over, when that is due.

    The verb for cron. --overlap before a key is --if-older-than, its successor is published; then it is used and the
    old one retires. A retired key still decrypts, and still verifies until --overlap has passed.
    """
    change = call.backend.keys.rotate(
        _purposes(purpose),
        older_than=_duration(if_older_than),
        overlap=_duration(overlap),
        by=call.attribution,
        dry_run=call.dry_run,
    )
    call.changed(change)


@leaf(app, view=DueView)
def due(
    call: Invocation, purpose: Purposes = None, if_older_than: OlderThan = _AGE, overlap: Overlap = _OVERLAP
) -> None:
    """Say what 'rotate' with the same flags would do.

    Exit code 0, or 6 when that is nothing.
    """
    found = call.backend.keys.due(_purposes(purpose), older_than=_duration(if_older_than), overlap=_duration(overlap))
    call.check_all(found, DueView, any(view.due for view in found))


@leaf(app)
def jwks(call: Invocation) -> None:
    """Print what verifiers need: the public keys, as a JWK Set.

    It holds the public half of every signing key that still verifies. A symmetric key has no public half: it never
    appears.
    """
    import json

    document = call.backend.keys.jwks()
    call.value(json.dumps(document), document)


@leaf(app, mutation=True, secrets=("passphrase",), view=Wrapping)
def wrap(
    call: Invocation,
    none: Annotated[bool, Option("--none", help="Store the keyring in plain again.")] = False,
) -> None:
    """Store the keyring under a passphrase.

    The one given by a flag, else the configured one. Every command needs it from then on: put a new one into
    keyring.passphrase_file or alike. Every change of a key wraps the keyring under the configured one, too.
    """
    given = call.secret_given("passphrase")
    if none and given:
        raise UsageError("--none and a passphrase exclude each other", hint="give one of them")
    keys, configured = call.backend.keys, call.settings.settings.keyring.passphrase
    passphrase = None
    if not none:
        known = configured.is_given and not given
        passphrase = Secret(configured.reveal()) if known else call.secret("passphrase", new=True, instead="--none")
    change = keys.wrap(
        passphrase,
        rewrap=passphrase is not None and not (configured.is_given and not given),
        by=call.attribution,
        dry_run=call.dry_run,
    )
    call.changed(change)


@leaf(app, name="import", mutation=True, secrets=("key",), view=ImportedKey)
def import_(
    call: Invocation, purpose: OnePurpose = PurposeName.SIGN, alg: Algorithm = None, kid: NewKid = None
) -> None:
    """Take in a private key that was made elsewhere, JWK or PEM.

    It is published at once, and used once it is promoted. It keeps its kid where that can be a name here and is free.
    """
    keys = call.backend.keys
    change = keys.take_in(
        call.secret("key"),
        _purpose(purpose),
        alg=None if alg is None else alg.value,
        kid=kid,
        by=call.attribution,
        dry_run=call.dry_run,
    )
    if change.value.foreign_kid is not None:
        call.notice(f"the key is called {change.value.kid} here, not {quoted(change.value.foreign_kid)}")
    call.changed(change)


@leaf(app, mutation=True, view=KeyExport, members=("secret_file",))
def export(
    call: Invocation,
    kid: Kid,
    private: Annotated[bool, Option("--private", help="The key itself, not its public half; the log is told.")] = False,
    form: Annotated[FormName, Option("--form", help="How it is written.")] = FormName.JWK,
    secret_file: Annotated[
        str | None, Option("--secret-file", metavar="FILE", help="Write the private key to this new file instead.")
    ] = None,
) -> None:
    """Print the public half of a key, or with --private all of it.

    A private key goes into a file that only its owner can read, or into a pipe; never onto a terminal.
    """
    written: Form = form.value
    if not private:
        if secret_file is not None:
            raise UsageError("--secret-file takes a private key only", hint="add --private, or leave it out")
        public = call.backend.keys.export_public(kid, written)
        call.value(str(public.document), public)
        return
    if secret_file is None and terminal.is_terminal(sys.stdout) and not call.dry_run:
        raise UsageError("a private key is not shown on a terminal", hint="add --secret-file FILE, or pipe it on")
    if secret_file == "-":
        raise UsageError("'-' is no file for a key", hint="leave --secret-file out to have it printed")
    from backctl.presentation.new_password import handed_over

    made = call.backend.keys.export_private(
        kid,
        written,
        by=call.attribution,
        dry_run=call.dry_run,
        hand_over=lambda export: handed_over(call, Secret(str(export.document)), secret_file),
    )
    if call.dry_run:
        call.changed(Change(replace(made, document=None), changed=True))
    elif secret_file is None:
        call.value(str(made.document), made, changed=True)
    else:
        call.changed(Change(replace(made, document=None), changed=True), secret_file=secret_file)


def _purpose(name: PurposeName) -> Purpose:
    return name.value


def _purposes(names: list[PurposeName] | None) -> tuple[Purpose, ...]:
    from backctl.application.keys import ROTATING

    return tuple(dict.fromkeys(map(_purpose, names))) if names else ROTATING


def _duration(text: str) -> int:
    from backctl.settings.durations import parse_duration

    return parse_duration(text)
