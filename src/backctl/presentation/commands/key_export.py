"""`backctl key export`: print the public half of a key, or the private key."""

import sys
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

from typer import Option

from backctl.application import key_views
from backctl.application.views import Change
from backctl.domain.errors import UsageError
from backctl.domain.values import Secret
from backctl.presentation import terminal
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.parameters import Kid, PrivateKeyFile

app = noun("export", within="key")


class FormName(StrEnum):
    JWK = "jwk"
    PEM = "pem"


@leaf(
    app,
    changes="export the key {kid}",
    view=key_views.KeyExport,
    members=("secret_file",),
    examples="""
    # Print the public half of a key
    backctl key export s-2026 --form pem
    # Write the private key to a new file
    backctl key export s-2026 --private --secret-file s-2026.jwk
    """,
)
def export(
    call: Invocation,
    kid: Kid,
    private: Annotated[bool, Option("--private", help="Export the private key; the event log records it.")] = False,
    form: Annotated[FormName, Option("--form", help="Format of the key.")] = FormName.JWK,
    secret_file: PrivateKeyFile = None,
) -> None:
    """Print the public half of a key, or the private key.

    A private key is written to a file that only its owner can read, or to a pipe, but never to a terminal.
    """
    written: key_views.Form = form.value
    if not private:
        if secret_file is not None:
            raise UsageError("--secret-file is for a private key", hint="add --private, or omit --secret-file")
        public = call.backend.keys.export_public(kid, written)
        call.results.value(str(public.document), public)
        return
    if secret_file is None and terminal.is_terminal(sys.stdout) and not call.dry_run:
        raise UsageError("a private key is not shown on a terminal", hint="add --secret-file FILE, or use a pipe")
    if secret_file == "-":
        raise UsageError("'-' is not a file for a key", hint="omit --secret-file to print it")
    from backctl.presentation.secret_output import in_secret_file

    made = call.backend.keys.export_private(
        kid,
        written,
        by=call.attribution,
        dry_run=call.dry_run,
        hand_over=lambda export, is_dry_run: in_secret_file(
            call, Secret(str(export.document)), secret_file, dry_run=is_dry_run
        ),
    )
    if call.dry_run:
        call.results.changed(Change(replace(made, document=None), changed=True))
    elif secret_file is None:
        call.results.value(str(made.document), made, changed=True)
    else:
        call.results.changed(Change(replace(made, document=None), changed=True), secret_file=secret_file)
