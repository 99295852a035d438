"""`backctl encrypt`: values, records and files under the primary key."""

from typing import Annotated

from typer import Option

from backctl.application.content_views import CipherReport, EncryptedValue
from backctl.domain.errors import UsageError
from backctl.presentation import ciphering
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun
from backctl.presentation.output import members

app = noun("encrypt")

_VERB = ciphering.Verb(
    doing="encrypting",
    done="encrypted",
    replace=lambda service: service.seal,
    stream=lambda service, read, context: (True, service.encrypt_stream(read, context=context)),
)


@leaf(app, secrets=("value",), view=EncryptedValue, members=members(CipherReport))
def encrypt(
    call: Invocation,
    context: ciphering.Context = None,
    trim_newline: Annotated[
        bool, Option("--trim-newline", help="Drop one line end at the end of the value, as echo writes it.")
    ] = False,
    template: ciphering.Template = None,
    lines: ciphering.EachLine = False,
    jsonl: ciphering.Jsonl = None,
    csv: ciphering.Csv = None,
    file: ciphering.File = None,
    out: ciphering.Out = None,
    overwrite: ciphering.Overwrite = False,
    all_or_nothing: ciphering.AllOrNothing = False,
) -> None:
    """Encrypt a value, chosen fields of records, or a file.

    The value comes from standard input byte for byte. It only decrypts with the same context, so it cannot be moved to
    another row or column unnoticed. With --lines, --jsonl or --csv everything but the values passes through as it is;
    records that fail are left out and named on standard error (exit code 7).
    """
    choices = ciphering.Choices(context, template, lines, jsonl, csv, file, out, overwrite, all_or_nothing)
    if trim_newline and not choices.is_value:
        raise UsageError(
            "--trim-newline is for one value", hint="lines go without their ends anyway, and files as they are"
        )
    service = call.backend.encryption
    service.require_keyring()  # what is wrong with it is told before a secret is asked for
    if not choices.is_value:
        ciphering.transform(call, service, _VERB, choices)
        return
    value = ciphering.value_to_encrypt(call, trim_newline=trim_newline)
    encrypted = service.encrypt(value, context=context or "")
    call.value(encrypted, EncryptedValue(encrypted, encrypted.split(".")[1], changed=True))
