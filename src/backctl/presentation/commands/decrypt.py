"""`backctl decrypt`: what `backctl encrypt` has made."""

import base64
from dataclasses import replace
from typing import Annotated

from typer import Option

from backctl.application.content_views import CipherReport, DecryptedValue
from backctl.domain.errors import UsageError
from backctl.presentation import ciphering
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun
from backctl.presentation.output import members

app = noun("decrypt")

_VERB = ciphering.Verb(
    doing="decrypting",
    done="decrypted",
    replace=lambda service: service.open,
    stream=lambda service, read, context: (True, service.decrypt_stream(read, context=context)),
    held_back=True,
)


@leaf(app, secrets=("value",), view=DecryptedValue, members=members(CipherReport))
def decrypt(
    call: Invocation,
    context: ciphering.Context = None,
    template: ciphering.Template = None,
    lines: ciphering.EachLine = False,
    jsonl: ciphering.Jsonl = None,
    csv: ciphering.Csv = None,
    file: ciphering.File = None,
    out: ciphering.Out = None,
    overwrite: ciphering.Overwrite = False,
    all_or_nothing: ciphering.AllOrNothing = False,
    stream: Annotated[
        bool,
        Option(
            "--stream",
            help="Write a file to standard output as it is read; without it, when all of it is known to be genuine.",
            rich_help_panel="Records and files",
        ),
    ] = False,
) -> None:
    """Decrypt a value, chosen fields of records, or a file.

    Exactly the bytes of the value are written and nothing is added. Exit code 6 when it does not decrypt, whatever the
    cause: another context, a key that is gone, or one changed byte.
    """
    choices = ciphering.Choices(context, template, lines, jsonl, csv, file, out, overwrite, all_or_nothing)
    if stream and (choices.is_records or choices.is_value or out not in (None, "-")):
        raise UsageError("--stream is for a whole file to standard output", hint="leave it out, or add --file")
    service = call.backend.encryption
    service.require_keyring()  # what is wrong with it is told before a secret is asked for
    if not choices.is_value:
        ciphering.transform(call, service, replace(_VERB, held_back=not stream), choices)
        return
    plaintext = service.decrypt(ciphering.encrypted_value(call), context=context or "")
    call.renderer.exactly(plaintext, DecryptedValue(_text(plaintext), base64.b64encode(plaintext).decode()))


def _text(plaintext: bytes) -> str | None:
    try:
        return plaintext.decode("utf-8")
    except UnicodeDecodeError:
        return None
