"""Runs one leaf command: its own parameters, the shared options, and the function that it was declared with."""

import inspect
import sys
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import is_dataclass
from typing import Any

import typer
from typer.core import TyperCommand
from typer.exceptions import Exit

from backctl.domain.errors import PROGRAM, UsageError
from backctl.domain.quoting import quoted
from backctl.presentation import parameters, terminal
from backctl.presentation.colors import BOLD, RESET
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import LeafSpec
from backctl.presentation.errors import ExitCode
from backctl.presentation.typer_internals import (
    ClickUsageError,
    Context,
    HelpFormatter,
    Parameter,
    get_click_param,
    get_params_from_function,
)


def help_markup() -> typer.core.MarkupMode:
    """Use Rich for help on a terminal with colours. Elsewhere importing it would double the start-up time."""
    return "rich" if terminal.is_terminal(sys.stdout) and terminal.color_wanted(sys.stdout) else None


def write_section(formatter: HelpFormatter, title: str, lines: Sequence[str]) -> None:
    """Write lines that are not wrapped below the help, which Rich prints before this."""
    if lines:
        begin, end = (BOLD, RESET) if help_markup() else ("", "")
        formatter.write(
            "".join(f"{line}\n" for line in ("", f"{begin}{title}:{end}", *(f"  {line}" for line in lines)))
        )


_SEE_OPTIONS = f"See '{PROGRAM} help options' for options of every command, such as -o json."
_SHARED = "shared_"
_FROM_SETTINGS = ("shared_profile", "shared_config")
"""Options whose variables the settings read themselves, to know the origin of each value."""


class Leaf(TyperCommand):
    """A leaf command: its own parameters, then the shared ones."""

    def __init__(self, spec: LeafSpec) -> None:
        self._spec = spec
        self._convertors: dict[str, Callable[[Any], Any]] = {}
        self._groups: dict[str, tuple[Callable[..., Any], list[str]]] = {}
        own: list[Parameter] = []
        for position, (name, meta) in enumerate(get_params_from_function(spec.function).items()):
            if position == 0:  # the Invocation
                continue
            members = {name: meta}
            if _is_group(meta.annotation):
                members = get_params_from_function(meta.annotation)
                self._groups[name] = meta.annotation, list(members)
            for member, details in members.items():
                parameter, convertor = get_click_param(details)
                own.append(parameter)
                if convertor:
                    self._convertors[member] = convertor
        self._texts = {parameter.name for parameter in own if not parameters.may_be_bytes(parameter)}
        super().__init__(spec.name, params=[*own, *_shared(spec)], help=inspect.getdoc(spec.function))

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        args = parameters.with_values(args, self.get_params(ctx))
        if not ctx.resilient_parsing:
            _require_values(args, self.get_params(ctx), self.secrets)
        try:
            return super().parse_args(ctx, args)
        except ClickUsageError as error:
            error.ctx = error.ctx or ctx  # without it the hint would name the wrong help
            raise

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that the command reads."""
        return self._spec.secrets

    @property
    def fields(self) -> tuple[str, ...]:
        """The names that `--fields` accepts. Imports the classes of the results."""
        return self._spec.fields()

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write what belongs to this command. `backctl help options` explains the options of every command."""
        self.rich_markup_mode = help_markup()
        shown = copy(self)
        shown.params = [parameter for parameter in self.params if not self._is_elsewhere(parameter)]
        TyperCommand.format_help(shown, ctx, formatter)
        write_section(formatter, "Examples", inspect.cleandoc(self._spec.examples).splitlines())
        formatter.write(f"\n{_SEE_OPTIONS}\n")

    def _is_elsewhere(self, parameter: Parameter) -> bool:
        """Whether `backctl help options` explains an option. `--yes` matters here if the command itself asks."""
        common: tuple[Parameter, ...] = (*parameters.EVERYWHERE, *parameters.ATTRIBUTION)
        return parameter in common or (parameter is parameters.YES and self._spec.guard is None)

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
                if name in self._texts:
                    _require_text(name, value)
                convertor = self._convertors.get(name)
                own[name] = convertor(value) if convertor else value
        for name, (group, members) in self._groups.items():
            own[name] = group(**{member: own.pop(member) for member in members})
        call = Invocation(self._spec, _shared_values(ctx), own)
        try:
            self._spec.function(call, **own)
        finally:
            call.close()
        if call.results.exit_code is not ExitCode.OK:
            raise Exit(call.results.exit_code)


def _is_group(annotation: object) -> bool:
    """Whether the type of a parameter is a class whose fields are options: a dataclass or a named tuple."""
    return isinstance(annotation, type) and (is_dataclass(annotation) or hasattr(annotation, "_fields"))


def _require_values(args: Sequence[str], parameters: Sequence[Parameter], secrets: Sequence[str]) -> None:
    """Refuse an option that would take another option as its value, as in `--username --no-password`.

    Also refuse `-password` and the like, which the parser would read as `-p` with a value that its errors contain.
    """
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
            if len(word) > 3 and word[0] == "-" and word[1] != "-":
                from backctl.presentation.exposed_secrets import refuse_single_dash

                refuse_single_dash(word, secrets, args)
            continue
        value = next(words, "")
        if value.partition("=")[0] in spellings:
            raise UsageError(
                f"{word} needs a value, and {quoted(value)} is a flag",
                hint=f"if that is the value, write {word}{'=' if word[:2] == '--' else ''}{terminal.shell_word(value)}",
            )


def _shared_values(ctx: Context) -> dict[str, Any]:
    """Return the shared options by their plain names. Those before the noun apply unless they are repeated after it."""
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
    shared: list[Parameter] = [option for name in spec.secrets for option in parameters.secret_options(name)]
    if spec.bulk:
        shared += (parameters.FROM_FILE, parameters.MAX_CHANGES)
    if spec.mutation:
        shared += (parameters.DRY_RUN, parameters.YES)
    if spec.guard == "name":
        shared.append(parameters.CONFIRM)
    shared += parameters.EVERYWHERE
    return [*shared, *(parameters.ATTRIBUTION if spec.records else ())]


def _typed(ctx: Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _require_text(name: str, value: object) -> None:
    """Refuse arguments that are not UTF-8 text, because no stored value can hold them."""
    for text in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(text, str) and not text.isascii():
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise UsageError(f"{name.strip('_').replace('_', '-')} {quoted(text)} is not UTF-8 text") from None
