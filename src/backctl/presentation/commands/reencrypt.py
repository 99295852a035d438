"""`backctl reencrypt`: encrypt values, records and files again, with the primary key."""

from backctl.application.content_views import CipherReport, EncryptedValue
from backctl.presentation import encryption_options as options
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.output import members

app = noun("reencrypt")

_VERB = options.Verb(
    doing="re-encrypting",
    done="re-encrypted",
    replace=lambda service: service.move,
    stream=lambda service, read, context: service.reencrypt_stream(read, context=context),
)


@leaf(app, secrets=("value",), view=EncryptedValue, members=members(CipherReport))
def reencrypt(
    call: Invocation,
    context: options.Context = None,
    template: options.Template = None,
    lines: options.EachLine = False,
    jsonl: options.Jsonl = None,
    csv: options.Csv = None,
    file: options.File = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    all_or_nothing: options.AllOrNothing = False,
) -> None:
    """Re-encrypt a value, chosen fields of records, or a file with the primary key.

    Every value is verified with its context. Values that use the primary key already stay the same, byte for byte. The
    plaintext is never written anywhere.
    """
    choices = options.Choices(context, template, lines, jsonl, csv, file, out, overwrite, all_or_nothing)
    service = call.backend.encryption
    service.require_keyring()  # report a missing key before a secret is read
    if not choices.is_value:
        from backctl.presentation.batch.records import transform

        transform(call, service, _VERB, choices)
        return
    change = service.reencrypt(options.encrypted_value(call), context=context or "")
    call.results.value(change.value, EncryptedValue(change.value, change.value.split(".")[1], change.changed))
