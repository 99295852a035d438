"""How hints and errors name the program and the profile of the running command."""

import os

from backctl.domain.errors import PROGRAM, Hint
from backctl.presentation import terminal

_command = PROGRAM
_profile: str | None = None


def select(profile: str | None, config_file: str | None) -> None:
    """Remember the values of `--profile` and `--config`, so that a command in a hint means the same installation."""
    global _command  # noqa: PLW0603 - a property of the process, like its command line
    use_profile(profile or os.environ.get("BACKCTL_PROFILE"))
    given = (("-p", profile), ("--config", config_file))
    options = "".join(f" {flag} {terminal.shell_word(value)}" for flag, value in given if value is not None)
    _command = f"{PROGRAM}{options}"


def use_profile(name: str | None) -> None:
    """Remember the selected profile; empty and None mean none."""
    global _profile  # noqa: PLW0603 - a property of the process, like its command line
    _profile = name or None


def profile() -> str | None:
    """Return the selected profile; until the configuration is read, the one of the options and variables."""
    return _profile


def filled(hint: Hint) -> str:
    """Return a hint with the program and its options in place of `{backctl}`."""
    return hint.for_program(_command)
