"""`backctl help …`: explain what all commands have in common."""

from dataclasses import dataclass

from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.environment import OptionView, VariableView, options, variables
from backctl.presentation.errors import ExitCode

app = noun("help")


@dataclass(frozen=True, slots=True)
class ExitCodeView:
    """One exit code."""

    code: int
    meaning: str


@dataclass(frozen=True, slots=True)
class TopicView:
    """The text of a topic."""

    topic: str
    text: str


@leaf(
    app,
    kind="list",
    view=VariableView,
    examples="""
    # List the variables with their settings
    backctl help environment
    # Find the variable of a setting
    backctl help environment --fields variable,setting | grep database.timeout
    """,
)
def environment(call: Invocation) -> None:
    """List the environment variables and their settings.

    A variable overrides the configuration file, and an option overrides a variable.
    """
    call.results.show_all(variables(), VariableView)


@leaf(
    app,
    name="exit-codes",
    kind="list",
    view=ExitCodeView,
    examples="""
    # List the exit codes
    backctl help exit-codes
    # Print them as JSON
    backctl help exit-codes -o json
    """,
)
def exit_codes(call: Invocation) -> None:
    """List the exit codes and their meanings."""
    call.results.show_all((ExitCodeView(int(code), code.meaning) for code in ExitCode), ExitCodeView)


@leaf(
    app,
    kind="value",
    view=TopicView,
    examples="""
    # Read about tables, JSON, CSV and TSV
    backctl help formatting
    # Read it page by page
    backctl help formatting | more
    """,
)
def formatting(call: Invocation) -> None:
    """Explain the formats of results: tables, JSON, CSV and TSV."""
    from backctl.presentation.topics import FORMATTING

    _print(call, "formatting", FORMATTING)


@leaf(
    app,
    kind="value",
    view=TopicView,
    examples="""
    # Read how to name accounts
    backctl help identities
    # Read it page by page
    backctl help identities | more
    """,
)
def identities(call: Invocation) -> None:
    """Explain how to name accounts."""
    from backctl.presentation.topics import IDENTITIES

    _print(call, "identities", IDENTITIES)


@leaf(
    app,
    name="options",
    kind="list",
    view=OptionView,
    examples="""
    # List the options that commands share
    backctl help options
    # List the options that have a variable
    backctl help options --fields variable,option --no-header | grep ^BACKCTL
    """,
)
def options_(call: Invocation) -> None:
    """List the options that commands share.

    The options --profile, --config and --verbose also work before the command.
    """
    call.results.show_all(options(), OptionView)


@leaf(
    app,
    kind="value",
    view=TopicView,
    examples="""
    # Read how to write times and durations
    backctl help time
    # Read it page by page
    backctl help time | more
    """,
)
def time(call: Invocation) -> None:
    """Explain how to write times and durations."""
    from backctl.presentation.topics import TIME

    _print(call, "time", TIME)


def _print(call: Invocation, topic: str, text: str) -> None:
    call.results.value(text.removesuffix("\n"), TopicView(topic, text))
