"""`backctl reencrypt`: what is encrypted moves to the primary key, and nobody sees it."""

from backctl.application.content_views import CipherReport, EncryptedValue
from backctl.presentation import ciphering
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun
from backctl.presentation.output import members

app = noun("reencrypt")

_VERB = ciphering.Verb(
    doing="reencrypting",
    done="moved",
    replace=lambda service: service.move,
    stream=lambda service, read, context: service.reencrypt_stream(read, context=context),
)


@leaf(app, secrets=("value",), view=EncryptedValue, members=members(CipherReport))
def reencrypt(
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
) -> None:
    """Move what is encrypted to the primary key.

    Every value is verified in its context; what is under the primary key already stays as it is, byte for byte. The
    plaintext is never written anywhere.
    """
    choices = ciphering.Choices(context, template, lines, jsonl, csv, file, out, overwrite, all_or_nothing)
    service = call.backend.encryption
    service.require_keyring()  # what is wrong with it is told before a secret is asked for
    if not choices.is_value:
        ciphering.transform(call, service, _VERB, choices)
        return
    change = service.reencrypt(ciphering.encrypted_value(call), context=context or "")
    call.value(change.value, EncryptedValue(change.value, change.value.split(".")[1], change.changed))
