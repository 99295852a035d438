"""Options and arguments that several commands share, each declared once.

The options of every command have names that begin with `shared_`, so that a command can have parameters of its own
called `reason` or `fields`. Each `BACKCTL_…` variable of an option is named here. Confirmations and dry runs have none
on purpose: a forgotten variable must not confirm anything.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from typer import Argument, Option
from typer.core import TyperOption

from backctl.presentation.typer_internals import Parameter, TyperChoice

FORMATS = ("table", "wide", "json", "jsonl", "csv", "tsv", "id", "headers")

_COMMON = "Common options"
_SECRETS = "Secrets"


def _option(name: str, *spellings: str, panel: str | None = _COMMON, **details: Any) -> TyperOption:
    return TyperOption(
        param_decls=[f"shared_{name}", *spellings],
        rich_help_panel=panel,
        show_envvar="envvar" in details,
        required=False,
        **details,
    )


PROFILE = _option("profile", "-p", "--profile", metavar="NAME", envvar="BACKCTL_PROFILE", help="Use this profile.")
CONFIG = _option("config", "--config", metavar="FILE", envvar="BACKCTL_CONFIG", help="Use this configuration file.")
VERBOSE = _option("verbose", "-v", "--verbose", is_flag=True, default=False, help="Print details on standard error.")

EVERYWHERE: tuple[TyperOption, ...] = (
    PROFILE,
    CONFIG,
    _option(
        "output",
        "-o",
        "--output",
        metavar="|".join(FORMATS),
        type=TyperChoice(FORMATS),
        envvar="BACKCTL_OUTPUT",
        help="Output format; by default a table on a terminal and TSV elsewhere. 'wide' is a table with all fields.",
    ),
    _option("fields", "--fields", metavar="A,B", help="Print only these fields, in this order."),
    _option("no_header", "--no-header", is_flag=True, default=False, help="Omit the header line."),
    _option("empty", "--empty", metavar="TEXT", help="Print this text in empty cells of tables, TSV and CSV."),
    _option(
        "quiet",
        "-q",
        "--quiet",
        is_flag=True,
        default=False,
        help="Suppress notices and the output of mutations and checks.",
    ),
    VERBOSE,
    _option("no_color", "--no-color", is_flag=True, default=False, envvar="BACKCTL_NO_COLOR", help="Use no colours."),
    _option(
        "no_input",
        "--no-input",
        is_flag=True,
        default=False,
        envvar="BACKCTL_NO_INPUT",
        help="Never prompt; fail if an answer is needed.",
    ),
    _option(
        "timeout",
        "--timeout",
        metavar="DURATION",
        envvar="BACKCTL_TIMEOUT",
        help="Wait at most this long for a lock or a server, for example 30s.",
    ),
)

ATTRIBUTION: tuple[TyperOption, ...] = (
    _option(
        "actor",
        "--actor",
        metavar="NAME",
        envvar="BACKCTL_ACTOR",
        help="Record this name with the system user.",
    ),
    _option("reason", "--reason", metavar="TEXT", help="Record this reason with every change."),
)
"""Options of the commands that record events."""

DRY_RUN = _option(
    "dry_run",
    "-n",
    "--dry-run",
    panel=None,
    is_flag=True,
    default=False,
    help="Change nothing; show what would change.",
)
YES = _option("yes", "-y", "--yes", panel=None, is_flag=True, default=False, help="Confirm without a prompt.")
CONFIRM = _option(
    "confirm",
    "--confirm",
    panel=None,
    metavar="NAME",
    help="Confirm with the name, number or id that the prompt asks for.",
)
FROM_FILE = _option(
    "from_file",
    "--from-file",
    panel=None,
    metavar="FILE",
    help="Read accounts from a file, one per line or as JSON lines; '-' is standard input.",
)
MAX_CHANGES = _option(
    "max_changes",
    "--max-changes",
    panel=None,
    metavar="LIMIT",
    help="Change nothing if more accounts would change than this number or percentage, for example 20 or 5%.",
)

SOURCES = ("stdin", "file", "fd", "env")


def secret_options(name: str) -> tuple[TyperOption, ...]:
    """Return the four options that give the secret `name`, the same for every secret of every command."""
    words = name.replace("-", " ").replace("mfa", "MFA")
    member = name.replace("-", "_")
    return (
        _option(
            f"{member}_stdin",
            f"--{name}-stdin",
            panel=_SECRETS,
            is_flag=True,
            default=False,
            help=f"Read the {words} from standard input.",
        ),
        _option(
            f"{member}_file",
            f"--{name}-file",
            panel=_SECRETS,
            metavar="FILE",
            help=f"Read the {words} from a file, or '-'.",
        ),
        _option(
            f"{member}_fd",
            f"--{name}-fd",
            panel=_SECRETS,
            metavar="N",
            help=f"Read the {words} from this descriptor.",
        ),
        _option(
            f"{member}_env",
            f"--{name}-env",
            panel=_SECRETS,
            metavar="VARIABLE",
            help=f"Read the {words} from this variable.",
        ),
    )


# Accounts.

Ident = Annotated[str, Argument(metavar="IDENT", help="Id, e-mail address or username of an account.")]
Idents = Annotated[
    list[str] | None,
    Argument(metavar="IDENT...", help="Ids, e-mail addresses or usernames; a single '-' is standard input."),
]
"""The positional of a bulk command (`leaf(…, bulk=True)`), for `batch.run.change_each`."""
WaitServer = Annotated[
    str | None,
    Option("--wait-server", metavar="DURATION", help="Wait up to this long for PostgreSQL and Redis, for example 30s."),
]
PasswordFile = Annotated[
    str | None,
    Option(
        "--secret-file", metavar="FILE", help="Write the generated password to this new file instead of printing it."
    ),
]
RecoveryCodesFile = Annotated[
    str | None,
    Option("--secret-file", metavar="FILE", help="Write the recovery codes to this new file instead of printing them."),
]
PrivateKeyFile = Annotated[
    str | None,
    Option("--secret-file", metavar="FILE", help="Write the private key to this new file instead of printing it."),
]
GeneratePassword = Annotated[bool, Option("--generate-password", help="Generate a password and print it once.")]
MustChangePassword = Annotated[bool, Option("--must-change-password", help="Require a new password at the next login.")]

# Keys.

Kid = Annotated[str, Argument(metavar="KID", help="Name of the key.")]

# Files.


def is_file(parameter: Parameter) -> bool:
    """Whether a parameter is a path, which may be any bytes: its metavar is FILE, or FILE... for several."""
    return (parameter.metavar or "").strip("[].") == "FILE"


def may_be_bytes(parameter: Parameter) -> bool:
    """Whether a parameter need not be UTF-8: a path, an identifier of a rate limit, or what names cache entries."""
    return is_file(parameter) or (parameter.metavar or "").strip("[]") in ("IDENTIFIER", "KEY", "PATTERN", "TAG")


# Options whose value is optional.

VALUES_WITHOUT = {"--prune": "close"}
"""The values of options that are given without one. A value follows after `=` only: `--prune=delete FILE`."""


def with_values(args: Sequence[str], parameters: Sequence[Parameter]) -> list[str]:
    """Return the words of a command, with a value for each option that may be given without one."""
    options = {spelling for parameter in parameters for spelling in parameter.opts if spelling in VALUES_WITHOUT}
    end = args.index("--") if "--" in args else len(args)
    return [f"{word}={VALUES_WITHOUT[word]}" if word in options else word for word in args[:end]] + [*args[end:]]


# Durations.


def duration(text: str) -> int:
    """Parse a duration such as `30d`, in microseconds. Raises InvalidDuration."""
    from backctl.settings.durations import parse_duration

    return parse_duration(text)
