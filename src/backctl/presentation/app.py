"""The root of the command line: loads a noun when its name is typed, and turns every end into one exit code."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import FrameType
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import Abort, Exit

from backctl.domain.errors import BackctlError, UsageError, exhaustion_of, quoted
from backctl.presentation import errors, flags, terminal
from backctl.presentation.commands import NOUNS, Entry
from backctl.presentation.context import Invocation
from backctl.presentation.errors import ExitCode, Terminated
from backctl.presentation.grammar import LeafSpec, Noun
from backctl.presentation.typer_internals import (
    ClickException,
    ClickUsageError,
    Command,
    Context,
    HelpFormatter,
    NoArgsIsHelpError,
    Parameter,
    get_click_param,
    get_command,
    get_params_from_function,
)

PROGRAM = "backctl"
HELP_FLAGS = ["-h", "--help"]


def _help_markup() -> typer.core.MarkupMode:
    """Rich help where it can be seen; in a pipe importing it would double the start-up time."""
    return "rich" if terminal.is_terminal(sys.stdout) and terminal.color_wanted(sys.stdout) else None


_SHARED = "shared_"
_FROM_SETTINGS = ("shared_profile", "shared_config")
"""Whose variables the settings read themselves, so that they know where a value came from."""


class Leaf(TyperCommand):
    """A command that does something: its own parameters, then the shared ones."""

    def __init__(self, spec: LeafSpec) -> None:
        self._spec = spec
        self._convertors: dict[str, Callable[[Any], Any]] = {}
        own: list[Parameter] = []
        for position, (name, meta) in enumerate(get_params_from_function(spec.function).items()):
            if position == 0:  # the Invocation
                continue
            parameter, convertor = get_click_param(meta)
            own.append(parameter)
            if convertor:
                self._convertors[name] = convertor
        super().__init__(spec.name, params=[*own, *_shared(spec)], help=inspect.getdoc(spec.function))

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            _require_values(args, self.get_params(ctx))
        try:
            return super().parse_args(ctx, args)
        except ClickUsageError as error:
            error.ctx = error.ctx or ctx  # some are raised without it, and the hint would name the wrong help
            raise

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        self.rich_markup_mode = _help_markup()
        super().format_help(ctx, formatter)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                plain = "Arguments" if parameter.param_type_name == "argument" else "Options"
                panels.setdefault(getattr(parameter, "rich_help_panel", None) or plain, []).append(record)
        for title, records in panels.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def invoke(self, ctx: Context) -> None:
        own: dict[str, Any] = {}
        for name, value in ctx.params.items():
            if not name.startswith(_SHARED):
                _require_text(name, value)
                convertor = self._convertors.get(name)
                own[name] = convertor(value) if convertor else value
        call = Invocation(self._spec, _shared_values(ctx))
        try:
            self._spec.function(call, **own)
        finally:
            call.close()
        if call.exit_code is not ExitCode.OK:
            raise Exit(call.exit_code)


def _require_values(args: Sequence[str], parameters: Sequence[Parameter]) -> None:
    """Refuse a flag that would take the next one for its value: `--username --no-password` forgot the name."""
    spellings, taking = set[str](), set[str]()
    for parameter in parameters:
        if isinstance(parameter, typer.core.TyperOption):
            spellings.update(parameter.opts, parameter.secondary_opts)
            if not (parameter.is_flag or parameter.count):
                taking.update(parameter.opts)
    words = iter(args)
    for word in words:
        if word == "--":
            return
        if word not in taking:
            continue
        value = next(words, "")
        if value.partition("=")[0] in spellings:
            raise UsageError(
                f"{word} needs a value, and {quoted(value)} is a flag",
                hint=f"if that is the value, write {word}{'=' if word[:2] == '--' else ''}{terminal.shell_word(value)}",
            )


def _shared_values(ctx: Context) -> dict[str, Any]:
    """The shared flags by their plain names. What stood before the noun counts where the leaf says nothing itself."""
    values = {name.removeprefix(_SHARED): value for name, value in ctx.params.items() if name.startswith(_SHARED)}
    root = ctx.find_root()
    for name in root.params:
        if not _typed(ctx, name):
            if _typed(root, name):
                values[name.removeprefix(_SHARED)] = root.params[name]
            elif name in _FROM_SETTINGS:
                values[name.removeprefix(_SHARED)] = None
    return values


def _shared(spec: LeafSpec) -> list[Parameter]:
    parameters: list[Parameter] = [option for name in spec.secrets for option in flags.secret_options(name)]
    if spec.bulk:
        parameters += (flags.FROM_FILE, flags.MAX_CHANGES)
    if spec.mutation:
        parameters.append(flags.DRY_RUN)
    if spec.mutation or spec.guard is not None:
        parameters.append(flags.YES)
    if spec.guard == "name":
        parameters.append(flags.CONFIRM)
    return [*parameters, *flags.EVERYWHERE]


def _typed(ctx: Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _require_text(name: str, value: object) -> None:
    """Refuse words that are no UTF-8 text: no value of ours can hold them. Paths may, and come as Path."""
    for text in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(text, str) and not text.isascii():
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise UsageError(f"{name.replace('_', '-')} {quoted(text)} is not UTF-8 text") from None


class Group(TyperGroup):
    """A noun: its leaves are made when they are called, or listed."""

    def __init__(self, noun: Noun) -> None:
        super().__init__(name=noun.name, help=noun.help, no_args_is_help=True)
        self._noun = noun

    def list_commands(self, ctx: Context) -> list[str]:
        return [*self._noun.leaves, *self._noun.nouns]

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """What the help shows; of a noun without importing it."""
        entry = self._noun.nouns.get(cmd_name)
        return TyperCommand(cmd_name, help=entry.help) if entry else self.load(cmd_name)

    def load(self, name: str) -> Command | None:
        """The command itself."""
        made = self.commands.get(name)
        if made is None:
            if name in self._noun.leaves:
                made = Leaf(self._noun.leaves[name])
            elif name in self._noun.nouns:
                made = Group(import_module(self._noun.nouns[name].module).app)
            else:
                return None
            self.commands[name] = made
        return made

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        command = self.load(args[0])
        if command is None:
            raise _unknown_command(ctx, args[0], self.list_commands(ctx))
        return args[0], command, args[1:]

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        self.rich_markup_mode = _help_markup()
        super().format_help(ctx, formatter)


# What other programs call it.
_SYNONYMS = {
    "add": "create",
    "new": "create",
    "disable": "deactivate",
    "lock": "deactivate",
    "enable": "activate",
    "unlock": "activate",
    "get": "show",
    "info": "show",
    "ls": "list",
    "users": "user",
    "roles": "role",
}


def _unknown_command(ctx: Context, word: str, known: Sequence[str]) -> UsageError:
    from difflib import get_close_matches

    synonym = _SYNONYMS.get(word, "")
    near = [synonym] if synonym in known else get_close_matches(word[:50], known)
    if word in ("version", "-V"):
        hint = f"see '{PROGRAM} --version'"
    elif near:
        hint = "did you mean " + " or ".join(quoted(name) for name in near) + "?"
    else:
        hint = f"see '{ctx.command_path} --help'"
    return UsageError(f"'{ctx.command_path}' has no command {quoted(word)}", hint=hint)


class Root(TyperGroup):
    """`backctl` itself. Its nouns stand in a table; help and typing errors are answered from that alone."""

    nouns: ClassVar[Mapping[str, Entry]] = NOUNS

    def __init__(self, **details: Any) -> None:
        super().__init__(
            **{
                **details,
                "callback": None,
                "no_args_is_help": True,
                "context_settings": {"help_option_names": HELP_FLAGS},
            }
        )
        self.params = [flags.PROFILE, flags.CONFIG, flags.VERBOSE, _version_option()]
        self._loaded: dict[str, Command] = {}

    def list_commands(self, ctx: Context) -> list[str]:
        return list(self.nouns)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """What the help shows of a noun, without importing it; `load` gives the real one."""
        entry = self.nouns.get(cmd_name)
        return TyperCommand(cmd_name, help=entry.help) if entry else None

    def load(self, name: str) -> Command:
        """Import a noun and build its command. Raises KeyError for a name outside the table."""
        if name not in self._loaded:
            entry = self.nouns[name]
            app: Noun = import_module(entry.module).app
            self._loaded[name] = Leaf(next(iter(app.leaves.values()))) if entry.verb else Group(app)
        return self._loaded[name]

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        if args[0] not in self.nouns:
            raise _unknown_command(ctx, args[0], self.list_commands(ctx))
        return args[0], self.load(args[0]), args[1:]

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        self.rich_markup_mode = _help_markup()
        super().format_help(ctx, formatter)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run one command. Exits with its code, or answers it when `standalone_mode` is off. Nothing is raised past it.

        Here every failure is told once and mapped once, for the real program and for tests that call in.
        """
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            code = self._run(arguments)
        except Exception as error:  # while another was being told: what Python would print repeats that one's words
            told = exhaustion_of(error) or errors.unexpected(error)
            code = errors.report(told, as_json=errors.wants_json(arguments))
        if standalone_mode:
            sys.exit(code)
        return code

    def _run(self, arguments: list[str]) -> int:
        as_json = errors.wants_json(arguments)
        terminal.refuse_color("--no-color" in arguments)
        try:
            code = self._ended(arguments)
            terminal.Sink(sys.stdout).flush()
            return code
        except NoArgsIsHelpError as error:
            if not as_json:
                terminal.say_raw(error.message + "\n")
                return ExitCode.USAGE
            return errors.report(UsageError("a command is missing"), as_json=True)
        except ClickException as error:
            return errors.report(errors.reworded(error), as_json=as_json)
        except BackctlError as error:
            return errors.report(error, as_json=as_json)
        except terminal.ClosedOutput:
            return ExitCode.OK
        except (KeyboardInterrupt, Abort):
            return ExitCode.INTERRUPTED
        except Terminated as end:
            return end.exit_code
        except Exception as error:
            if isinstance(error, BrokenPipeError) and terminal.reader_left():
                terminal.discard(sys.stdout)
                return ExitCode.OK
            if isinstance(error, OSError) and (failure := terminal.output_failure()):  # help is written by others
                terminal.discard(sys.stdout)
                return errors.report(terminal.output_failed(failure), as_json=as_json)
            return errors.report(exhaustion_of(error) or errors.unexpected(error), as_json=as_json)

    def _ended(self, arguments: list[str]) -> int:
        try:
            with self.make_context(PROGRAM, list(arguments)) as ctx:
                self.invoke(ctx)
        except Exit as end:
            return end.exit_code
        except Exception as error:
            end_by_signal = errors.signal_behind(error)
            if end_by_signal is not None:
                raise end_by_signal from None
            raise
        return ExitCode.OK


def _version_option() -> typer.core.TyperOption:
    def say_version(ctx: Context, _parameter: Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            from backctl import __version__

            terminal.Sink(sys.stdout).write(f"{PROGRAM} {__version__}\n")
            raise Exit(ExitCode.OK)

    return typer.core.TyperOption(
        param_decls=["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=say_version,
        help="Show the version and exit.",
    )


def _root() -> None:
    """Administer the accounts and the security core of a backend."""


app = typer.Typer(cls=Root, callback=_root, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def run(arguments: Sequence[str], root: typer.Typer = app) -> int:
    """Run the program on real streams and answer its exit code.

    SIGTERM and SIGHUP end it like an exception, from here on, unless the program was started to ignore them.
    """
    code = int(ExitCode.TERMINATED)
    try:
        terminal.prepare_streams()
        _heed_signals()
        code = int(get_command(root).main(args=arguments, standalone_mode=False))
        terminal.Sink(sys.stdout).flush()
    except (terminal.ClosedOutput, terminal.OutputFailed):
        return code  # its failure was told already, or nobody reads
    except Terminated as end:  # before or after the run
        return end.exit_code
    return code


def _heed_signals() -> None:
    import signal

    def terminate(number: int, _frame: FrameType | None) -> None:
        raise Terminated(number)

    def overlooked(unraisable: "sys.UnraisableHookArgs") -> None:
        # It arrived where Python lets no exception out, such as in a finalizer: a moment later it gets another chance.
        if not isinstance(unraisable.exc_value, (Terminated, KeyboardInterrupt)):
            sys.__unraisablehook__(unraisable)
            return
        error = unraisable.exc_value
        number = error.number if isinstance(error, Terminated) else signal.SIGINT
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
        signal.setitimer(signal.ITIMER_REAL, 0.001)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, terminate)
    sys.unraisablehook = overlooked
