"""Every private or undocumented name of Typer that backctl uses.

Since 0.26, Typer bundles Click as `typer._click`. tests/unit/presentation/test_typer_internals.py checks that each name
works as backctl needs it, and reports what breaks with a later Typer.
"""

from typer._click.core import Command, Context, Parameter
from typer._click.exceptions import (
    BadOptionUsage,
    BadParameter,
    ClickException,
    MissingParameter,
    NoArgsIsHelpError,
    NoSuchOption,
)
from typer._click.exceptions import UsageError as ClickUsageError
from typer._click.formatting import HelpFormatter
from typer._types import TyperChoice
from typer.main import get_click_param, get_command
from typer.utils import get_params_from_function

__all__ = [
    "BadOptionUsage",
    "BadParameter",
    "ClickException",
    "ClickUsageError",
    "Command",
    "Context",
    "HelpFormatter",
    "MissingParameter",
    "NoArgsIsHelpError",
    "NoSuchOption",
    "Parameter",
    "TyperChoice",
    "get_click_param",
    "get_command",
    "get_params_from_function",
]
