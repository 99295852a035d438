"""`backctl reencrypt`: encrypt values, records and files again, with the primary key."""

from backctl.application.content_views import CipherReport, EncryptedValue
from backctl.presentation import encryption_options as options
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("reencrypt")


@leaf(
    app,
    secrets=("value",),
    kind="value",
    view=EncryptedValue,
    others={"--out": ("object", CipherReport)},
    examples="""
    # Re-encrypt a value with the primary key
    backctl reencrypt --context users.phone:1 --value-file phone.enc
    # Re-encrypt a column
    backctl reencrypt --csv phone --context-template 'users.{}:{id}' < enc.csv
    """,
)
def reencrypt(
    call: Invocation,
    choices: options.Choices,
) -> None:
    """Re-encrypt a value, chosen fields of records, or a file.

    The result uses the primary key. Every value is verified with its context. Values that use the primary key
    already stay the same, byte for byte. The plaintext is never written anywhere.
    """
    service = call.backend.encryption
    call.backend.require_keyring()  # before a secret is read
    if not choices.is_value:
        from backctl.presentation.batch.records import transform

        transform(call, service, options.REENCRYPT, choices)
        return
    change = service.reencrypt(options.encrypted_value(call), context=choices.context or "")
    call.results.value(change.value, EncryptedValue(change.value, change.value.split(".")[1], change.changed))
