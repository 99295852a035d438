"""`backctl help`: the same text as `--help`, and topics that are complete and fit the terminal."""

import ast
import os
import re
from pathlib import Path

import pytest
from tests.cli.conftest import Machine
from tests.json_table import leaves
from typer.main import get_command
from typer.testing import CliRunner

import backctl
from backctl.presentation import environment, parameters
from backctl.presentation.app import app
from backctl.presentation.completion.tree import read_tree
from backctl.presentation.output import Format
from backctl.settings import INVOCATION_VARIABLES, SETTINGS
from backctl.settings.schema import NAMED_TABLES

SOURCE = Path(backctl.__file__).parent
TOPICS = sorted(path[1] for path in leaves() if path[0] == "help")
WORDS = [node.path[1:] for node in read_tree(get_command(app)).walk()]


@pytest.fixture(scope="module")
def runner() -> CliRunner:
    return CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"})


@pytest.mark.parametrize("words", [words for words in WORDS if not (words[:1] == ("help",) and len(words) > 1)])
def test_help_before_the_words_is_the_flag_after_them(runner: CliRunner, words: tuple[str, ...]) -> None:
    flag = runner.invoke(app, [*words, "--help"])
    for arguments in (["help", *words], ["help", *words, "--help"])[: 2 if words else 1]:
        shown = runner.invoke(app, arguments)
        assert (shown.exit_code, shown.stdout, shown.stderr) == (0, flag.stdout, "")


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_help_fits_the_terminal_and_can_be_read_at_a_glance(runner: CliRunner, words: tuple[str, ...]) -> None:
    lines = runner.invoke(app, [*words, "--help"]).stdout.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert len(lines) <= 66


def test_help_is_the_same_in_the_program_and_on_a_terminal(machine: Machine) -> None:
    assert machine.run("help", "user", "create").succeeded().out == machine.run("user", "create", "--help").out
    drawn = machine.at_terminal("help", "user", "create").succeeded().out
    assert drawn == machine.at_terminal("user", "create", "--help").out
    assert drawn.index("╭") < drawn.index("Examples:") < drawn.index("backctl help options")
    assert machine.run("help", env={"BACKCTL_OUTPUT": "json"}).succeeded().out.startswith("Usage: backctl")


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_fits_80_columns(machine: Machine, topic: str) -> None:
    shown = machine.run("help", topic, "-o", "table", env={"COLUMNS": "80"}).succeeded().out
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    assert "…" not in shown.replace("[…]", "").replace(": …", "")


def test_the_topics_are_named_by_the_help_of_help(runner: CliRunner) -> None:
    assert TOPICS == ["environment", "exit-codes", "formatting", "identities", "options", "time"]
    for arguments in (["help", "--help"], ["help", "help"]):
        shown = runner.invoke(app, arguments).stdout
        assert all(f"\n  {topic} " in shown for topic in TOPICS)


# The topics are complete.


def variables_in_the_code() -> set[str]:
    """The names of variables that the code looks up itself."""
    found = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        value=ast.Attribute(attr="environ") | ast.Name(id="environ"), attr="get" | "pop"
                    ),
                    args=[ast.Constant(value=str(name)), *_],
                ):
                    found.add(name)
                case ast.Subscript(
                    value=ast.Attribute(attr="environ") | ast.Name(id="environ"), slice=ast.Constant(value=str(name))
                ):
                    found.add(name)
    return found


def test_the_environment_has_every_variable(machine: Machine) -> None:
    items = machine.run("help", "environment", "-o", "json").succeeded().json["items"]
    listed = {item["variable"]: item for item in items}
    assert len(listed) == len(items)
    assert variables_in_the_code() <= set(listed)
    assert {name for name, item in listed.items() if item["option"]} == set(INVOCATION_VARIABLES)
    for key, setting in SETTINGS.items():
        assert listed[setting.variable]["setting"] == key
        assert (f"{setting.variable}_FILE" in listed) is setting.secret
    assert {name for name in listed if name.startswith("BACKCTL_")} == {
        name for name, item in listed.items() if item["setting"] or item["option"]
    }


def test_every_setting_has_a_meaning() -> None:
    for setting in SETTINGS.values():
        assert re.fullmatch(r"(?:[A-Z]|bcrypt)[^.].{5,70}\.", setting.meaning), setting.key
    assert len({setting.meaning for setting in SETTINGS.values()}) == len(SETTINGS)
    assert not any(member.meaning for table in NAMED_TABLES.values() for member in table.members.values())


def test_variables_of_other_programs_work_as_the_topic_says(machine: Machine, tmp_path: Path) -> None:
    assert set(environment.OTHER_VARIABLES) >= {"NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "TMPDIR", "TRACEPARENT"}
    places = {name: str(tmp_path / name) for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    assert machine.run("config", "path", env=places).succeeded().out.startswith(places["XDG_CONFIG_HOME"])
    shown = machine.run("init", "-o", "json", env=places).succeeded().json
    assert shown["database"].startswith(places["XDG_DATA_HOME"])
    assert os.listdir(places["XDG_DATA_HOME"]) == ["backctl"]


def test_the_options_are_those_that_every_command_has(machine: Machine) -> None:
    items = machine.run("help", "options", "-o", "json").succeeded().json["items"]
    shared = [item for item in items if item["commands"] == "all"]
    spellings = {spelling for item in shared for spelling in item["option"].split(", ")}
    assert spellings == {spelling for option in parameters.EVERYWHERE for spelling in option.opts} | {"-h", "--help"}
    assert {item["variable"] for item in items} - {None} == set(INVOCATION_VARIABLES)
    (output,) = (item for item in items if "--output" in item["option"])
    assert output["value"].split("|") == list(Format)


def test_formatting_explains_every_format(machine: Machine) -> None:
    text = machine.run("help", "formatting", "-o", "json").succeeded().json["text"]
    for form in Format:
        assert f"\n  {form} " in text
