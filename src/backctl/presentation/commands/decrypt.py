"""`backctl decrypt`: decrypt values, records and files."""

import base64
from dataclasses import replace
from typing import Annotated

from typer import Option

from backctl.application.content_views import CipherReport, DecryptedValue
from backctl.domain.errors import UsageError
from backctl.presentation import encryption_options as options
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("decrypt")


@leaf(
    app,
    secrets=("value",),
    kind="value",
    view=DecryptedValue,
    others={"--out": ("object", CipherReport)},
    examples="""
    # Decrypt a value
    backctl decrypt --context users.phone:1 --value-file phone.enc
    # Decrypt a column, with the id of each row in the context
    backctl decrypt --csv phone --context-template 'users.{}:{id}' < enc.csv
    # Decrypt a file
    backctl decrypt --context backup --file notes.enc --out notes.txt
    """,
)
def decrypt(
    call: Invocation,
    choices: options.Choices,
    stream: Annotated[
        bool,
        Option(
            "--stream",
            help="Write to standard output while the file is read, instead of after all of it was verified.",
            rich_help_panel=options.RECORDS,
        ),
    ] = False,
) -> None:
    """Decrypt a value, chosen fields of records, or a file.

    The output is exactly the bytes of the value. Exit code 6 if it does not decrypt, whatever the cause: another
    context, a missing key, or one changed byte.
    """
    if stream and (choices.is_records or choices.is_value or choices.out not in (None, "-")):
        raise UsageError("--stream is for a whole file to standard output", hint="leave --stream out, or add --file")
    service = call.backend.encryption
    call.backend.require_keyring()  # before a secret is read
    if not choices.is_value:
        from backctl.presentation.batch.records import transform

        transform(call, service, replace(options.DECRYPT, held_back=not stream), choices)
        return
    plaintext = service.decrypt(options.encrypted_value(call), context=choices.context or "")
    call.results.renderer.exactly(plaintext, DecryptedValue(_text(plaintext), base64.b64encode(plaintext).decode()))


def _text(plaintext: bytes) -> str | None:
    try:
        return plaintext.decode("utf-8")
    except UnicodeDecodeError:
        return None
