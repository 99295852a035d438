"""`backctl encrypt`: encrypt values, records and files with the primary key."""

from typing import Annotated

from typer import Option

from backctl.application.content_views import CipherReport, EncryptedValue
from backctl.domain.errors import UsageError
from backctl.presentation import encryption_options as options
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("encrypt")


@leaf(
    app,
    secrets=("value",),
    kind="value",
    view=EncryptedValue,
    others={"--out": ("object", CipherReport)},
    examples="""
    # Encrypt a value from a file
    backctl encrypt --context users.phone:1 --value-file phone.txt
    # Encrypt a column, with the id of each row in the context
    backctl encrypt --csv phone --context-template 'users.{}:{id}' < users.csv
    # Encrypt a file
    backctl encrypt --context backup --file notes.txt --out notes.enc
    """,
)
def encrypt(
    call: Invocation,
    choices: options.Choices,
    trim_newline: Annotated[
        bool, Option("--trim-newline", help="Remove one line end from the end of the value, such as echo adds.")
    ] = False,
) -> None:
    """Encrypt a value, chosen fields of records, or a file.

    The value is read from standard input byte for byte. It decrypts only with the same context, so nobody can move it
    to another row or column unnoticed. With --lines, --jsonl or --csv, everything except the values stays as it is;
    records that fail are left out and reported on standard error (exit code 7).
    """
    if trim_newline and not choices.is_value:
        raise UsageError(
            "--trim-newline is for one value",
            hint="leave it out: lines have no ends, and files stay as they are",
        )
    service = call.backend.encryption
    call.backend.require_keyring()  # before a secret is read
    if not choices.is_value:
        from backctl.presentation.batch.records import transform

        transform(call, service, options.ENCRYPT, choices)
        return
    value = options.value_to_encrypt(call, trim_newline=trim_newline)
    encrypted = service.encrypt(value, context=choices.context or "")
    call.results.value(encrypted, EncryptedValue(encrypted, encrypted.split(".")[1], changed=True))
