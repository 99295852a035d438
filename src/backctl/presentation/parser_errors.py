"""Turns the errors of the command-line parser into errors of backctl."""

from backctl.domain.errors import PROGRAM, UsageError
from backctl.domain.quoting import escaped, masked, quoted
from backctl.presentation.typer_internals import (
    BadOptionUsage,
    BadParameter,
    ClickException,
    ClickUsageError,
    Command,
    MissingParameter,
    NoSuchOption,
)


def reworded(error: ClickException) -> UsageError:
    """Return an error of the parser as a UsageError: lower case, no full stop, the argument quoted, with a hint."""
    context = error.ctx if isinstance(error, ClickUsageError) else None
    command = context.command_path.removeprefix(PROGRAM) if context is not None else ""
    help_hint = f"see '{{backctl}}{command} --help'"
    match error:
        case NoSuchOption():
            option = quoted(error.option_name)
            return UsageError(f"there is no option {option}", hint=_option_hint(error) or help_hint)
        case MissingParameter(param=parameter) if parameter is not None:
            if parameter.param_type_name == "argument":
                name = parameter.human_readable_name
            else:
                name = max(parameter.opts, key=len)
            return UsageError(f"{name} is missing", hint=help_hint)
        case BadOptionUsage() if "argument" in error.message:
            return UsageError(f"option {quoted(error.option_name)} needs a value", hint=help_hint)
        case BadOptionUsage():
            return UsageError(f"option {quoted(error.option_name)} takes no value", hint=help_hint)
        case BadParameter(param=parameter) if parameter is not None:
            name = (
                parameter.human_readable_name
                if parameter.param_type_name == "argument"
                else max(parameter.opts, key=len)
            )
            return UsageError(f"{name}: {_lowered(error.message)}", hint=help_hint)
        case _:
            message = error.format_message()
            if masked(message) != message:
                help_hint = (
                    "do not pass a token as an argument: pipe it, or use --token-file, --token-fd or --token-env"
                )
            return UsageError(_lowered(message), hint=help_hint)


_FILTERS = {"--actor": ("--by", "actor"), "--reason": ("--reason-contains", "reason")}
"""Options that are easily taken for a filter of recorded events, the filter, and what it selects by."""


def _option_hint(error: NoSuchOption) -> str | None:
    """Where to put the option, or which one was probably meant."""
    from backctl.presentation import parameters

    if error.option_name in ("--json", "--format"):
        return "use -o json for JSON"
    takes_commands = hasattr(getattr(error.ctx, "command", None), "commands")
    everywhere = {
        spelling for option in (*parameters.EVERYWHERE, parameters.DRY_RUN, parameters.YES) for spelling in option.opts
    }
    if takes_commands and error.option_name in everywhere:
        return f"put {error.option_name} after the command"
    if any(error.option_name in option.opts for option in parameters.ATTRIBUTION):
        return _attribution_hint(error.option_name, error.ctx.command if error.ctx else None)
    from difflib import get_close_matches

    near = get_close_matches(error.option_name, error.possibilities or (), n=2, cutoff=0.75)
    return "did you mean " + " or ".join(map(quoted, near)) + "?" if near else None


def _attribution_hint(option: str, command: Command | None) -> str:
    """What to write instead of an option that only commands which record events have."""
    known = {spelling for parameter in getattr(command, "params", ()) for spelling in parameter.opts}
    name, member = _FILTERS[option]
    if hasattr(command, "commands"):
        return f"put {option} after a command that records events"
    return f"use {name} to filter by {member}" if name in known else f"omit {option}: this command records no events"


def _lowered(text: str) -> str:
    text = escaped(masked(" ".join(text.split()))).rstrip(".")
    if len(text) > 200:  # the argument is at the beginning, and what is wrong with it at the end
        text = f"{text[:80]}…{text[-100:]}"
    if text.startswith("Got unexpected extra argument"):
        return "unexpected argument " + quoted(text.partition("(s) (")[2].removesuffix(")"))
    return text[:1].lower() + text[1:]
