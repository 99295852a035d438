"""How hints name the program: with the options that select the same profile and configuration."""

from backctl.domain.errors import PROGRAM, Hint
from backctl.presentation import terminal

_command = PROGRAM


def select(profile: str | None, config_file: str | None) -> None:
    """Remember the values of `--profile` and `--config`, so that a command in a hint means the same installation."""
    global _command  # noqa: PLW0603 - a property of the process, like its command line
    given = (("-p", profile), ("--config", config_file))
    options = "".join(f" {flag} {terminal.shell_word(value)}" for flag, value in given if value is not None)
    _command = f"{PROGRAM}{options}"


def filled(hint: Hint) -> str:
    """Return a hint with the program and its options in place of `{backctl}`."""
    return hint.for_program(_command)
