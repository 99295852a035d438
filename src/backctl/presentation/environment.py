"""Describes the options of every command and the environment variables, for `backctl help`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from typer.core import TyperOption

from backctl.presentation import parameters

OTHER_VARIABLES = {
    "NO_COLOR": "Use no colours, if not empty.",
    "FORCE_COLOR": "Use colours even if the output is not a terminal; 0 for none.",
    "TERM": "Use no colours if it is 'dumb'.",
    "COLUMNS": "Width of tables, instead of the width of the terminal.",
    "LINES": "Height of the terminal.",
    "HOME": "Folder that contains the folders below, unless they are set.",
    "XDG_CONFIG_HOME": "Folder of the user's configuration file.",
    "XDG_CONFIG_DIRS": "Folders of the site's configuration file.",
    "XDG_DATA_HOME": "Folder of the database and the keyring.",
    "XDG_STATE_HOME": "Folder of the log with the tracebacks of bugs.",
    "TMPDIR": "Folder of temporary files.",
    "TRACEPARENT": "Trace that is recorded with every event (W3C Trace Context).",
}
"""Variables that backctl shares with other programs. A test compares them with those that the code reads."""


@dataclass(frozen=True, slots=True)
class VariableView:
    """An environment variable: the key of the setting or the option that it stands for, if there is one."""

    TABLE: ClassVar = ("variable", "meaning", "setting")
    BELOW: ClassVar = ("meaning", "setting")

    variable: str
    setting: str | None
    option: str | None
    meaning: str


def variables() -> Iterator[VariableView]:
    """Yield those of options, those of settings, and those that other programs read too."""
    from backctl.settings.loading import variables as of_settings

    for option in (*parameters.EVERYWHERE, *parameters.ATTRIBUTION):
        if isinstance(option.envvar, str):
            spelling = max(option.opts, key=len)
            yield VariableView(option.envvar, None, spelling, f"{option.help} Same as {spelling}.")
    for name, (setting, suffix) in of_settings().items():
        meaning = f"File that contains the value of {setting.key}." if suffix else setting.meaning
        yield VariableView(name, setting.key + suffix, None, meaning)
    for name, meaning in OTHER_VARIABLES.items():
        yield VariableView(name, None, None, meaning)


@dataclass(frozen=True, slots=True)
class OptionView:
    """An option that several commands have: its spellings, its value and the commands that have it."""

    TABLE: ClassVar = ("option", "commands", "meaning")

    option: str
    value: str | None
    variable: str | None
    commands: str
    meaning: str


def options() -> Iterator[OptionView]:
    """Yield the options that several commands share. SECRET stands for the name of a secret, such as password."""
    groups: tuple[tuple[str, tuple[TyperOption, ...]], ...] = (
        ("all", parameters.EVERYWHERE),
        ("that record events", parameters.ATTRIBUTION),
        ("that change something", (parameters.DRY_RUN, parameters.YES)),
        ("that destroy something", (parameters.CONFIRM,)),
        ("that take many accounts", (parameters.FROM_FILE, parameters.MAX_CHANGES)),
        ("that read a secret", parameters.secret_options("SECRET")),
    )
    for commands, members in groups:
        for option in members:
            yield OptionView(
                ", ".join(sorted(option.opts, key=len)),
                None if option.is_flag else option.metavar,
                option.envvar if isinstance(option.envvar, str) else None,
                commands,
                option.help or "",
            )
    yield OptionView("-h, --help", None, None, "all", "Show the help of a command.")
