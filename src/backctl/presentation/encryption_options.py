"""The options that `encrypt`, `decrypt` and `reencrypt` share, and the values that they read."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from typer import Option

from backctl.domain.errors import UsageError
from backctl.domain.plain_text import BYTE_ORDER_MARK
from backctl.domain.quoting import quoted

if TYPE_CHECKING:
    from backctl.application.encryption import EncryptionService
    from backctl.application.ports.security import Read
    from backctl.application.records.rewriting import Replace, Shape
    from backctl.presentation.context import Invocation

RECORDS = "Records and files"


@dataclass(frozen=True, slots=True)
class Verb:
    """What a command does to values and to whole files."""

    doing: str
    done: str
    replace: "Callable[[EncryptionService], Replace]"
    stream: "Callable[[EncryptionService, Read, str], tuple[bool, Iterator[bytes]]]"
    """Returns whether the file changes, and its new content."""
    reads_text: bool = True
    """Whether a value is text, namely an encrypted one, and not any bytes."""
    held_back: bool = False
    """Whether nothing of a file may be written before all of it was verified."""


ENCRYPT = Verb(
    "encrypting",
    "encrypted",
    lambda service: service.seal,
    lambda service, read, context: (True, service.encrypt_stream(read, context=context)),
    reads_text=False,
)
DECRYPT = Verb(
    "decrypting",
    "decrypted",
    lambda service: service.open,
    lambda service, read, context: (True, service.decrypt_stream(read, context=context)),
    held_back=True,
)
REENCRYPT = Verb(
    "re-encrypting",
    "re-encrypted",
    lambda service: service.move,
    lambda service, read, context: service.reencrypt_stream(read, context=context),
)


@dataclass(frozen=True, slots=True)
class Choices:
    """The context of the values, the input and its format, and where the output goes."""

    context: Annotated[
        str | None,
        Option(
            "--context", metavar="TEXT", help="Bind the value to this context, such as users.phone:1, or '' for none."
        ),
    ] = None
    template: Annotated[
        str | None,
        Option(
            "--context-template",
            metavar="TEXT",
            help="Context of a record: {id} is the value of its field `id`, {} the name of the encrypted field.",
            rich_help_panel=RECORDS,
        ),
    ] = None
    lines: Annotated[bool, Option("--lines", help="Treat every line as a value.", rich_help_panel=RECORDS)] = False
    jsonl: Annotated[
        str | None,
        Option(
            "--jsonl",
            metavar="A,B.C",
            help="Read JSON objects, one per line, and process these strings in them; a? may be missing.",
            rich_help_panel=RECORDS,
        ),
    ] = None
    csv: Annotated[
        str | None,
        Option(
            "--csv", metavar="A,B", help="Read CSV with a header, and process these columns.", rich_help_panel=RECORDS
        ),
    ] = None
    file: Annotated[
        str | None,
        Option(
            "--file",
            metavar="FILE",
            help="Read this file, whole or as records, of any size; '-' is standard input.",
            rich_help_panel=RECORDS,
        ),
    ] = None
    out: Annotated[
        str | None,
        Option(
            "--out",
            metavar="FILE",
            help="Write to this new file, which appears when it is complete, and print a report.",
            rich_help_panel=RECORDS,
        ),
    ] = None
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace the file of --out if it exists.", rich_help_panel=RECORDS)
    ] = False
    all_or_nothing: Annotated[
        bool, Option("--all-or-nothing", help="Write nothing if a record fails.", rich_help_panel=RECORDS)
    ] = False

    def __post_init__(self) -> None:
        """Raises UsageError for flags that contradict each other."""
        shapes = (("--lines", self.lines), ("--jsonl", self.jsonl is not None), ("--csv", self.csv is not None))
        given = [flag for flag, wanted in shapes if wanted]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} cannot be combined", hint="use the one that describes the input")
        if self.template is not None and given not in (["--jsonl"], ["--csv"]):
            raise UsageError(
                "--context-template needs fields to fill it", hint="add --jsonl or --csv, or use --context"
            )
        if self.context is not None and self.template is not None:
            raise UsageError(
                "--context and --context-template cannot be combined",
                hint="a template without placeholders is the same context for all records",
            )
        if self.context is None and self.template is None:
            raise UsageError(
                "no context was given",
                hint="use --context users.phone:1 to bind a value to its place, or --context '' for no context",
            )
        if self.all_or_nothing and not given:
            raise UsageError(
                "--all-or-nothing is for records", hint="leave it out: a value or a whole file is never written in part"
            )
        if self.out is not None and self.is_value:
            raise UsageError("--out is for records and files", hint="add --file -, or redirect standard output")
        if self.overwrite and (self.out is None or self.out == "-"):
            raise UsageError("--overwrite needs --out FILE", hint="add --out FILE, or leave --overwrite out")

    def require_another_file(self, descriptor: int) -> None:
        """Raise UsageError if the output replaces the input, because records that fail would be lost."""
        if not self.is_records or not self.overwrite or self.all_or_nothing or self.out is None:
            return
        with suppress(OSError, ValueError):  # there is no such file, so nothing can be lost
            if os.path.samestat(os.fstat(descriptor), os.stat(self.out)):
                raise UsageError(
                    f"--out {quoted(self.out)} is the input file, so records that fail would be lost",
                    hint="add --all-or-nothing, or write another file",
                )

    @property
    def is_value(self) -> bool:
        """Whether the input is one value."""
        return not self.is_records and self.file is None

    @property
    def is_records(self) -> bool:
        return self.lines or self.jsonl is not None or self.csv is not None

    def shape(self, verb: Verb) -> "Shape":
        """Return how the records are written. Raises UsageError for invalid fields or an invalid template."""
        from backctl.application.records.fields import ContextTemplate, parse_fields

        if self.lines:
            from backctl.application.records.rewriting import Lines

            return Lines((self.context or "").encode(), text=verb.reads_text)
        template = ContextTemplate.constant(self.context or "")
        if self.template is not None:
            template = ContextTemplate.parse(self.template)
        if self.jsonl is not None:
            from backctl.application.records.json_lines import JsonLines

            return JsonLines(parse_fields(self.jsonl, nested=True), template)
        from backctl.application.records.csv import CsvRecords

        return CsvRecords(parse_fields(self.csv or "", nested=False), template)


def value_to_encrypt(call: "Invocation", *, trim_newline: bool) -> bytes:
    """Read one value to encrypt. Raises UsageError and InvalidInput."""
    from backctl.application.encryption import LONGEST_VALUE

    value = call.secrets.read_bytes("value", limit=LONGEST_VALUE)
    return without_line_end(value) if trim_newline else value


def encrypted_value(call: "Invocation") -> bytes:
    """Read one encrypted value, which is text, without the line end that `encrypt` adds and without a byte order mark.

    Raises UsageError and InvalidInput.
    """
    from backctl.application.encryption import LONGEST_VALUE

    value = call.secrets.read_bytes("value", limit=LONGEST_VALUE * 3 // 2)
    return without_line_end(value.removeprefix(BYTE_ORDER_MARK))


def without_line_end(value: bytes) -> bytes:
    return value[: -2 if value.endswith(b"\r\n") else -1] if value.endswith(b"\n") else value
