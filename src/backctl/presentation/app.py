"""The root of the command line: loads a noun when its name is typed, and turns every outcome into one exit code."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import FrameType
from typing import Any, ClassVar, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import Abort, Exit

from backctl.domain.errors import PROGRAM, BackctlError, UsageError, clock_fault_of, exhaustion_of
from backctl.domain.quoting import quoted
from backctl.presentation import errors, parameters, program, terminal
from backctl.presentation.commands import NOUNS, Entry
from backctl.presentation.declaration import Noun
from backctl.presentation.errors import ExitCode, Terminated
from backctl.presentation.leaf import Leaf, help_markup
from backctl.presentation.typer_internals import (
    ClickException,
    Command,
    Context,
    HelpFormatter,
    NoArgsIsHelpError,
    Parameter,
    get_command,
)

HELP = "help"
HELP_FLAGS = ["-h", "--help"]


class Group(TyperGroup):
    """A noun. Its commands are built when they are called or listed."""

    def __init__(self, noun: Noun) -> None:
        super().__init__(name=noun.name, help=noun.help, no_args_is_help=True)
        self._noun = noun

    def list_commands(self, ctx: Context) -> list[str]:
        return [*self._noun.leaves, *self._noun.nouns]

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Return what the help shows, without importing a noun."""
        entry = self._noun.nouns.get(cmd_name)
        return TyperCommand(cmd_name, help=entry.help) if entry else self.load(cmd_name)

    def load(self, name: str) -> Command | None:
        """Build the command."""
        made = self.commands.get(name)
        if made is None:
            if name in self._noun.leaves:
                made = Leaf(self._noun.leaves[name])
            elif name in self._noun.nouns:
                made = _loaded(self._noun.nouns[name])
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
        self.rich_markup_mode = help_markup()
        super().format_help(ctx, formatter)


class Help(Group):
    """`backctl help`: the help of the program, of a command, or of a topic, which is a command of this noun."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            self._show(ctx, ())
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        if args[0] not in self._noun.leaves:
            self._show(ctx, args)
        return super().resolve_command(ctx, args)

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        return ["[COMMAND... | TOPIC]"]

    def _show(self, ctx: Context, words: Sequence[str]) -> NoReturn:
        """Print what `--help` prints after these words, and end. Raises UsageError."""
        root = command = ctx.find_root().command
        at = Context(root, info_name=PROGRAM, help_option_names=HELP_FLAGS)
        for word in words:
            if word in HELP_FLAGS:
                continue
            if word.startswith("-"):
                raise UsageError("'help' takes the words of a command, without options", hint=_SEE_TOPICS)
            if not isinstance(command, (Root, Group)):
                raise UsageError(f"'{at.command_path}' has no command {quoted(word)}", hint=f"omit {quoted(word)}")
            known = command.list_commands(at)
            inner = command.load(word) if word in known else None
            if inner is None:
                raise self._unknown(word, known) if command is root else _unknown_command(at, word, known)
            command, at = inner, Context(inner, info_name=word, parent=at)
        typer.echo(at.get_help(), color=at.color)
        raise Exit(ExitCode.OK)

    def _unknown(self, word: str, nouns: Sequence[str]) -> UsageError:
        hint = _meant("", word, [*self._noun.leaves, *nouns]) or _SEE_TOPICS
        return UsageError(f"there is no command or topic {quoted(word)}", hint=hint)


_SEE_TOPICS = "see '{backctl} help help' for the topics"


def _loaded(entry: Entry) -> Command:
    """Import the module of a noun or command and build it."""
    app = _app(entry)
    return Leaf(next(iter(app.leaves.values()))) if entry.verb else Group(app)


def _app(entry: Entry) -> Noun:
    app: Noun = import_module(entry.module).app
    return app


def _unknown_command(ctx: Context, word: str, known: Sequence[str]) -> UsageError:
    noun = ctx.command_path.removeprefix(PROGRAM)
    hint = _meant(noun.strip(), word, known) or f"see '{{backctl}}{noun} --help'"
    return UsageError(f"'{ctx.command_path}' has no command {quoted(word)}", hint=hint)


def _meant(noun: str, word: str, known: Sequence[str]) -> str | None:
    """Return the hint that names what was probably meant; None if nothing is similar."""
    from backctl.presentation.nearest import elsewhere, nearest

    near = nearest(word, known)
    if other := elsewhere(noun, word):
        return other
    return "did you mean " + " or ".join(quoted(name) for name in near) + "?" if near else None


class Root(TyperGroup):
    """`backctl` itself. Help and unknown commands need only the table of nouns."""

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
        self.params = [parameters.PROFILE, parameters.CONFIG, parameters.VERBOSE, _version_option()]
        self._loaded: dict[str, Command] = {}

    def list_commands(self, ctx: Context) -> list[str]:
        return list(self.nouns)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Return what the help shows, without importing the noun."""
        entry = self.nouns.get(cmd_name)
        return TyperCommand(cmd_name, help=entry.help) if entry else None

    def load(self, name: str) -> Command:
        """Import a noun and build its command. Raises KeyError for a name outside the table."""
        if name not in self._loaded:
            self._loaded[name] = Help(_app(self.nouns[name])) if name == HELP else _loaded(self.nouns[name])
        return self._loaded[name]

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        if args[0] not in self.nouns:
            raise _unknown_command(ctx, args[0], self.list_commands(ctx))
        return args[0], self.load(args[0]), args[1:]

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        self.rich_markup_mode = help_markup()
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
        """Run one command and exit with its code, or return the code if `standalone_mode` is off. Raises nothing else.

        Every error is reported once here, for the real program and for tests that call this method.
        """
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            code = self._run(arguments)
        except Exception as error:  # while reporting another error, whose message Python would print
            code = _reported(error, as_json=errors.wants_json(arguments))
        if standalone_mode:
            sys.exit(code)
        return code

    def _run(self, arguments: list[str]) -> int:
        as_json = errors.wants_json(arguments)
        program.select(None, None)
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
            from backctl.presentation.parser_errors import reworded

            return errors.report(reworded(error, arguments), as_json=as_json)
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
            if isinstance(error, OSError) and (failure := terminal.output_failure()):  # Typer writes the help
                terminal.discard(sys.stdout)
                return errors.report(terminal.output_failed(failure), as_json=as_json)
            return _reported(error, as_json=as_json)

    def _ended(self, arguments: list[str]) -> int:
        _refuse_single_dash(arguments)
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


def _refuse_single_dash(arguments: Sequence[str]) -> None:
    """Refuse `-password` and the like before the noun. Raises UsageError."""
    words = iter(arguments)
    for word in words:
        if word in (*parameters.PROFILE.opts, *parameters.CONFIG.opts):
            next(words, None)
        elif not word.startswith("-"):
            return
        elif len(word) > 3:
            from backctl.presentation.exposed_secrets import refuse_single_dash

            refuse_single_dash(word, (), arguments)


def _reported(error: Exception, *, as_json: bool) -> ExitCode:
    """Report an error that is not a BackctlError: a fault of the machine, or a bug."""
    fault = exhaustion_of(error) or clock_fault_of(error)
    if fault is not None:
        return errors.report(fault, as_json=as_json)
    from backctl.presentation.crash_log import unexpected

    return errors.report(unexpected(error), as_json=as_json)


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
        help="Print the version and exit.",
    )


def _root() -> None:
    """Administer the accounts and the security core of a backend."""


app = typer.Typer(cls=Root, callback=_root, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def run(arguments: Sequence[str], root: typer.Typer = app) -> int:
    """Run the program on the standard streams and return its exit code.

    From here on, SIGTERM and SIGHUP raise an exception, unless they were ignored when the program started.
    """
    code = int(ExitCode.TERMINATED)
    try:
        terminal.prepare_streams()
        _handle_signals()
        code = int(get_command(root).main(args=arguments, standalone_mode=False))
        terminal.Sink(sys.stdout).flush()
    except (terminal.ClosedOutput, terminal.OutputFailed):
        return code  # the failure was reported already, or nobody reads
    except Terminated as end:  # before or after the run
        return end.exit_code
    return code


def _handle_signals() -> None:
    import signal

    def terminate(number: int, _frame: FrameType | None) -> None:
        raise Terminated(number)

    def discarded(unraisable: "sys.UnraisableHookArgs") -> None:
        # The signal arrived where Python discards exceptions, such as in a finalizer. Send it again a moment later.
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
    sys.unraisablehook = discarded
