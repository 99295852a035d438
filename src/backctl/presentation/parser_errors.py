"""Turns the errors of the command-line parser into errors of backctl."""

from collections.abc import Sequence

from backctl.domain.errors import PROGRAM, UsageError
from backctl.domain.quoting import escaped, masked, quoted
from backctl.presentation.typer_internals import (
    BadOptionUsage,
    BadParameter,
    ClickException,
    ClickUsageError,
    Command,
    Context,
    MissingParameter,
    NoSuchOption,
)


def reworded(error: ClickException, arguments: Sequence[str]) -> UsageError:
    """Return an error of the parser as a UsageError: lower case, no full stop, the argument quoted, with a hint.

    `arguments` are those of the program. The error never repeats an argument that may be a secret.
    """
    context = error.ctx if isinstance(error, ClickUsageError) else None
    command = context.command_path.removeprefix(PROGRAM) if context is not None else ""
    help_hint = f"see '{{backctl}}{command} --help'"
    match error:
        case NoSuchOption() | BadOptionUsage() if (exposed := _exposed(error, arguments)) is not None:
            return exposed
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
            if message.startswith(_UNEXPECTED) and (secrets := _secret_arguments(context)):
                from backctl.presentation.exposed_secrets import exposed_argument

                return exposed_argument(secrets)
            if any(prefix in masked(message) for prefix in ("eyJ…", "bkr_…")):
                help_hint = (
                    "do not pass a token as an argument: pipe it, or use --token-file, --token-fd or --token-env"
                )
            return UsageError(_lowered(message), hint=help_hint)


_UNEXPECTED = "Got unexpected extra argument"
_FILTERS = {"--actor": ("--by", "actor"), "--reason": ("--reason-contains", "reason")}
"""Options that look like filters of events, with the real filter and the member that it compares."""


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
    from backctl.presentation.nearest import nearest_option

    known = _spellings(error)
    if "--dry-run" in known:  # a hint must not make a mutation change more
        known = [spelling for spelling in known if spelling != "--all"]
    near = nearest_option(error.option_name, known)
    return "did you mean " + " or ".join(map(quoted, near)) + "?" if near else None


def _spellings(error: NoSuchOption | BadOptionUsage) -> list[str]:
    """Return the options that the command has."""
    parameters = error.ctx.command.get_params(error.ctx) if error.ctx is not None else ()
    return [spelling for parameter in parameters for spelling in parameter.opts if spelling.startswith("-")]


def _exposed(error: NoSuchOption | BadOptionUsage, arguments: Sequence[str]) -> UsageError | None:
    """Return the error for a secret in an option that does not exist or takes no value; see `exposed_secrets`."""
    from backctl.presentation.exposed_secrets import exposed_option

    option, words = error.option_name, list(arguments)
    start = next((i for i, word in enumerate(words) if word == option or word.startswith(f"{option}=")), None)
    if start is None:
        return None
    secrets = getattr(error.ctx and error.ctx.command, "secrets", ())
    return exposed_option(
        option,
        secrets,
        words[start:],
        _spellings(error),
        takes_plaintext=bool(secrets) and secrets == _secret_arguments(error.ctx) == ("value",),
    )


def _secret_arguments(context: Context | None) -> tuple[str, ...]:
    """Return the secrets that the command reads, except those that can be arguments, as in 'config set'."""
    command = context.command if context is not None else None
    arguments = {parameter.name for parameter in getattr(command, "params", ())}
    return tuple(name for name in getattr(command, "secrets", ()) if name not in arguments)


def _attribution_hint(option: str, command: Command | None) -> str:
    """Return a hint for `--actor` or `--reason` in a command without them."""
    known = {spelling for parameter in getattr(command, "params", ()) for spelling in parameter.opts}
    name, member = _FILTERS[option]
    if hasattr(command, "commands"):
        return f"put {option} after a command that records events"
    return f"use {name} to filter by {member}" if name in known else f"omit {option}: this command records no events"


def _lowered(text: str) -> str:
    text = escaped(masked(" ".join(text.split()))).rstrip(".")
    if len(text) > 200:  # the argument is at the beginning, and what is wrong with it at the end
        text = f"{text[:80]}…{text[-100:]}"
    if text.startswith(_UNEXPECTED):
        return "unexpected argument " + quoted(text.partition("(s) (")[2].removesuffix(")"))
    return text[:1].lower() + text[1:]
