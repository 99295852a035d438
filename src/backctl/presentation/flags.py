"""The flags that every leaf command understands, built once and shared by all of them.

Their names begin with `shared_` inside, so that a command may have a parameter called `reason` or `fields` of its own.
Every `BACKCTL_…` variable of a flag is named here; confirmations and dry runs have none, on purpose: a forgotten
variable must not confirm anything.
"""

from typing import Any

from typer.core import TyperOption

from backctl.presentation.typer_internals import TyperChoice

FORMATS = ("table", "json", "jsonl", "csv", "tsv", "id")

_COMMON = "Common options"
_SECRETS = "Secrets"


def _option(name: str, *spellings: str, panel: str = _COMMON, **details: Any) -> TyperOption:
    return TyperOption(
        param_decls=[f"shared_{name}", *spellings],
        rich_help_panel=panel,
        show_envvar="envvar" in details,
        required=False,
        **details,
    )


PROFILE = _option("profile", "-p", "--profile", metavar="NAME", envvar="BACKCTL_PROFILE", help="Profile to work with.")
CONFIG = _option(
    "config", "--config", metavar="FILE", envvar="BACKCTL_CONFIG", help="Configuration file instead of the usual ones."
)
VERBOSE = _option("verbose", "-v", "--verbose", is_flag=True, default=False, help="Say more on standard error.")

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
        help="Form of the result; a table on a terminal, tsv in a pipe.",
    ),
    _option("fields", "--fields", metavar="A,B", help="Members to print, in this order."),
    _option("no_header", "--no-header", is_flag=True, default=False, help="Leave the header line out."),
    _option(
        "quiet", "-q", "--quiet", is_flag=True, default=False, help="No notices, and no result of changes and checks."
    ),
    VERBOSE,
    _option("no_color", "--no-color", is_flag=True, default=False, envvar="BACKCTL_NO_COLOR", help="No colours, ever."),
    _option(
        "no_input",
        "--no-input",
        is_flag=True,
        default=False,
        envvar="BACKCTL_NO_INPUT",
        help="Never ask; fail where an answer is needed.",
    ),
    _option(
        "timeout",
        "--timeout",
        metavar="DURATION",
        envvar="BACKCTL_TIMEOUT",
        help="Longest wait for a lock or a server, such as 30s.",
    ),
    _option("actor", "--actor", metavar="NAME", envvar="BACKCTL_ACTOR", help="Name recorded beside the system's user."),
    _option("reason", "--reason", metavar="TEXT", help="Reason recorded with every change."),
)

DRY_RUN = _option("dry_run", "-n", "--dry-run", is_flag=True, default=False, help="Do everything, then undo it.")
YES = _option("yes", "-y", "--yes", is_flag=True, default=False, help="Confirm without being asked.")
CONFIRM = _option("confirm", "--confirm", metavar="NAME", help="Confirm by naming what is destroyed.")
FROM_FILE = _option(
    "from_file",
    "--from-file",
    metavar="FILE",
    help="Take identities from a file, one a line or JSON lines; '-' is standard input.",
)
MAX_CHANGES = _option(
    "max_changes",
    "--max-changes",
    metavar="BOUND",
    help="Change nothing if more accounts would change than this number, or than a percentage of all, such as 5%.",
)

SOURCES = ("stdin", "file", "fd", "env")


def secret_options(name: str) -> tuple[TyperOption, ...]:
    """The four ways in which the secret `name` comes in; the same for every secret of every command."""
    words = name.replace("-", " ")
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
            help=f"Read the {words} from a file; '-' is standard input.",
        ),
        _option(
            f"{member}_fd",
            f"--{name}-fd",
            panel=_SECRETS,
            metavar="N",
            help=f"Read the {words} from an open file descriptor.",
        ),
        _option(
            f"{member}_env",
            f"--{name}-env",
            panel=_SECRETS,
            metavar="VARIABLE",
            help=f"Take the {words} from an environment variable.",
        ),
    )
