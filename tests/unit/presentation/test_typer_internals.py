"""The private parts of Typer that backctl uses. A failure names what stops working with the installed Typer."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from backctl.presentation import typer_internals as internals

SOURCE = Path(__file__).parents[3] / "src" / "backctl"
HOME = SOURCE / "presentation" / "typer_internals.py"
PUBLIC = {"typer", "typer.core", "typer.exceptions", "typer.testing"}


def context(command: internals.Command | None = None) -> internals.Context:
    return internals.Context(command or TyperCommand("leaf"), info_name="leaf")


def an_option(**details: object) -> TyperOption:
    return TyperOption(param_decls=["--size", "-s"], **details)  # type: ignore[arg-type]  # set by each test


def commands() -> None:
    option = an_option(default=None, type=int)
    command = TyperCommand("leaf", params=[option])
    assert isinstance(command, internals.Command)
    assert isinstance(option, internals.Parameter)
    assert (option.opts, option.secondary_opts, option.is_flag, option.count) == (["--size", "-s"], [], False, False)
    assert option.param_type_name == "option"


def contexts() -> None:
    command = TyperCommand("leaf", params=[an_option(default=1, type=int)])
    with command.make_context("leaf", ["--size", "3"]) as found:
        assert isinstance(found, internals.Context)
        source = found.get_parameter_source("size")
        assert source is not None
        assert (found.params["size"], source.name, found.command_path) == (3, "COMMANDLINE", "leaf")
        assert (found.find_root() is found, found.resilient_parsing) == (True, False)


def groups() -> None:
    class Group(TyperGroup):
        def resolve_command(
            self, ctx: internals.Context, args: list[str]
        ) -> tuple[str | None, internals.Command | None, list[str]]:
            return "made", TyperCommand("made", callback=lambda: seen.append(args)), args[1:]

    seen: list[list[str]] = []
    group = Group(name="group")
    with group.make_context("group", ["made"]) as found:
        group.invoke(found)
    assert seen == [["made"]]


def raised_by(arguments: list[str], *parameters: TyperOption) -> internals.ClickUsageError:
    command = TyperCommand("leaf", params=list(parameters))
    with pytest.raises(internals.ClickUsageError) as caught:
        command.make_context("leaf", arguments)
    assert isinstance(caught.value, internals.ClickException)
    return caught.value


def missing() -> None:
    error = raised_by([], an_option(required=True))
    assert isinstance(error, internals.MissingParameter)
    assert error.param is not None
    assert (error.param.opts, error.ctx is not None) == (["--size", "-s"], True)


def unknown() -> None:
    error = raised_by(["--siez", "3"], an_option(default=None))
    assert isinstance(error, internals.NoSuchOption)
    assert (error.option_name, error.possibilities) == ("--siez", ["--size"])


def wrong_value() -> None:
    error = raised_by(["--size", "x"], an_option(default=None, type=int))
    assert isinstance(error, internals.BadParameter)
    assert error.param is not None


def wrong_use() -> None:
    error = raised_by(["--size"], an_option(default=None, type=int))
    assert isinstance(error, internals.BadOptionUsage)
    assert error.option_name == "--size"


def bare_groups() -> None:
    group = TyperGroup(name="group", help="Do things.", no_args_is_help=True, rich_markup_mode=None)
    with pytest.raises(internals.NoArgsIsHelpError) as caught:
        group.make_context("group", [])
    assert "Do things." in caught.value.message


def help_texts() -> None:
    formatter = internals.HelpFormatter(width=60)
    with formatter.section("Options"):
        formatter.write_dl([("--size N", "How large.")])
    assert "Options" in formatter.getvalue()
    assert "--size N" in formatter.getvalue()


def choices() -> None:
    kind = internals.TyperChoice(("json", "tsv"))
    assert tuple(kind.choices) == ("json", "tsv")
    assert kind.convert("tsv", None, context()) == "tsv"
    with pytest.raises(internals.BadParameter):
        kind.convert("xml", None, context())


def parameters() -> None:
    def function(first: str, size: int = 3) -> None: ...

    found = internals.get_params_from_function(function)
    assert list(found) == ["first", "size"]
    parameter, convertor = internals.get_click_param(found["size"])
    assert isinstance(parameter, internals.Parameter)
    assert (parameter.name, parameter.default, convertor) == ("size", 3, None)


def roots() -> None:
    class Root(TyperGroup):
        """A root group."""

    assert isinstance(internals.get_command(typer.Typer(cls=Root, callback=roots, add_completion=False)), Root)


CHECKS: dict[Callable[[], None], str] = {
    commands: "the leaves of the command line are no commands any more (presentation/app.py)",
    contexts: "flags before the noun no longer reach the leaf (presentation/app.py)",
    groups: "nouns are no longer imported when they are typed (presentation/app.py)",
    missing: "a missing argument is no longer named (presentation/errors.py)",
    unknown: "a misspelt flag no longer gets its hint (presentation/errors.py)",
    wrong_value: "a wrong value no longer names its flag (presentation/errors.py)",
    wrong_use: "a flag without its value is no longer named (presentation/errors.py)",
    bare_groups: "a noun without a verb no longer prints its help (presentation/app.py)",
    help_texts: "--help loses its sections (presentation/app.py)",
    choices: "-o no longer refuses unknown formats (presentation/flags.py)",
    parameters: "commands lose their own parameters (presentation/app.py)",
    roots: "the program no longer starts at its own root (presentation/app.py)",
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_typer_has_what_backctl_needs(check: Callable[[], None]) -> None:
    try:
        check()
    except (AssertionError, AttributeError, TypeError, pytest.fail.Exception) as error:
        pytest.fail(f"with Typer {typer.__version__} {CHECKS[check]}: {error}")


def imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.partition(".")[0] in ("typer", "click")}


def test_only_one_file_imports_what_typer_keeps_to_itself() -> None:
    elsewhere = {file.name: imported(file) - PUBLIC for file in SOURCE.rglob("*.py") if file != HOME}
    assert {name: found for name, found in elsewhere.items() if found} == {}
    assert imported(HOME) - PUBLIC
