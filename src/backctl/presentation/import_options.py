"""The options of `backctl user import`."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

from typer import Option

from backctl.domain.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from backctl.application.transfer.importing import ImportOptions
    from backctl.application.transfer.mapping import Mapping
    from backctl.application.transfer.raw_rows import ImportFormat
    from backctl.presentation.batch.bound import ChangeBound, ErrorBound

_FORMAT, _ROWS, _FILES, _LIMITS = "Format of the accounts", "Rows and accounts", "Files to write", "Limits"
_ENDINGS: "dict[str, ImportFormat]" = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv"}


class FormatName(StrEnum):
    JSONL = "jsonl"
    JSON = "json"
    CSV = "csv"
    DJANGO = "django"
    KRATOS = "kratos"


class ModeName(StrEnum):
    CREATE = "create"
    UPSERT = "upsert"
    SKIP = "skip"


class Reading(NamedTuple):
    """How the file is read."""

    form: Annotated[
        FormatName | None,
        Option(
            "--format",
            help="Format of the accounts; by default from the ending of the name, else jsonl.",
            rich_help_panel=_FORMAT,
        ),
    ] = None
    renamed: Annotated[
        list[str] | None,
        Option(
            "--map",
            metavar="MAPPING",
            help="Read a member from another column, such as mail=email; mail= ignores the column. May be repeated.",
            rich_help_panel=_FORMAT,
        ),
    ] = None

    def form_of(self, file: str) -> "ImportFormat":
        if self.form is not None:
            return self.form.value
        return next((form for ending, form in _ENDINGS.items() if file.lower().endswith(ending)), "jsonl")

    def mapping(self, form: "ImportFormat") -> "Mapping":
        """Raises UsageError."""
        from backctl.application.transfer.mapping import Mapping

        return Mapping.parse(self.renamed or (), nested=form != "csv")


class How(NamedTuple):
    """What happens to the rows."""

    mode: Annotated[
        ModeName,
        Option(
            "--mode",
            help="A row whose account exists fails (create), updates the account (upsert), or changes nothing (skip).",
            rich_help_panel=_ROWS,
        ),
    ] = ModeName.CREATE
    update_secrets: Annotated[
        bool,
        Option(
            "--update-secrets",
            help="With --mode upsert, replace passwords and second factors too.",
            rich_help_panel=_ROWS,
        ),
    ] = False
    generate_passwords: Annotated[
        bool,
        Option(
            "--generate-passwords",
            help="Generate a password for each new account without one; needs --secret-file.",
            rich_help_panel=_ROWS,
        ),
    ] = False
    all_or_nothing: Annotated[
        bool,
        Option(
            "--all-or-nothing",
            help="Import all rows in one transaction, or none if any of them fails.",
            rich_help_panel=_ROWS,
        ),
    ] = False
    batch_size: Annotated[
        int | None,
        Option(
            "--batch-size",
            metavar="N",
            help="Rows per transaction, 1 to 10000; by default 1000.",
            rich_help_panel=_ROWS,
        ),
    ] = None

    def require_usable(self, *, resumed: bool) -> None:
        """Raises UsageError, InvalidInput."""
        if self.update_secrets and self.mode is not ModeName.UPSERT:
            raise UsageError("--update-secrets needs --mode upsert", hint="add it, or leave --update-secrets out")
        if self.all_or_nothing and resumed:
            raise UsageError(
                "--all-or-nothing leaves nothing to resume", hint="leave --resume out, and repeat the whole import"
            )
        self.options()

    def options(self) -> "ImportOptions":
        """Raises InvalidInput."""
        from backctl.application.transfer.importing import BATCH_SIZE, BATCH_SIZE_MAX, ImportOptions

        size = BATCH_SIZE if self.batch_size is None else self.batch_size
        if not 1 <= size <= BATCH_SIZE_MAX:
            raise InvalidInput(f"--batch-size must be 1 to {BATCH_SIZE_MAX}, not {size}")
        return ImportOptions(self.mode.value, self.update_secrets, self.generate_passwords, self.all_or_nothing, size)


class Files(NamedTuple):
    """The files that an import writes."""

    results: Annotated[
        str | None,
        Option(
            "--results",
            metavar="FILE",
            help="Write what became of each row to this new file, as JSON lines.",
            rich_help_panel=_FILES,
        ),
    ] = None
    resume: Annotated[
        str | None,
        Option(
            "--resume",
            metavar="FILE",
            help="Continue an interrupted import, and the file that it wrote with --results.",
            rich_help_panel=_FILES,
        ),
    ] = None
    secrets: Annotated[
        str | None,
        Option(
            "--secret-file",
            metavar="FILE",
            help="Write the generated passwords to this new file, as JSON lines; with --resume it may exist.",
            rich_help_panel=_FILES,
        ),
    ] = None

    def require_usable(self, how: How) -> None:
        """Raises UsageError."""
        if self.results is not None and self.resume is not None:
            raise UsageError(
                "--results and --resume cannot be combined", hint="--resume FILE continues the file of --results"
            )
        for flag, path in (("--results", self.results), ("--resume", self.resume), ("--secret-file", self.secrets)):
            if path == "-":
                raise UsageError(f"'-' is not a file for {flag}", hint="give the name of a file")
        if self.secrets is not None and self.secrets in (self.results, self.resume):
            raise UsageError("the results and the passwords need two files", hint="give --secret-file another name")
        if how.generate_passwords and self.secrets is None:
            raise UsageError("--generate-passwords needs a file for the passwords", hint="add --secret-file FILE")
        if self.secrets is not None and not how.generate_passwords:
            raise UsageError("--secret-file is for --generate-passwords", hint="add that, or omit --secret-file")


class Limits(NamedTuple):
    """When an import stops, or does not begin."""

    errors: Annotated[
        str | None,
        Option(
            "--max-errors",
            metavar="LIMIT",
            help="Stop after more failed rows than this number, or percentage of the rows so far.",
            rich_help_panel=_LIMITS,
        ),
    ] = None
    changes: Annotated[
        str | None,
        Option(
            "--max-changes",
            metavar="LIMIT",
            help="Change nothing if more accounts would change than this number, or percentage of all accounts.",
            rich_help_panel=_LIMITS,
        ),
    ] = None

    def max_errors(self) -> "ErrorBound | None":
        """Raises UsageError."""
        from backctl.presentation.batch.bound import ErrorBound

        return None if self.errors is None else ErrorBound.parse(self.errors)

    def max_changes(self) -> "ChangeBound | None":
        """Raises UsageError."""
        from backctl.presentation.batch.bound import ChangeBound

        return None if self.changes is None else ChangeBound.parse(self.changes)
