from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from tests.json_table import entries
from typer.testing import CliRunner

from backctl.presentation.app import app
from backctl.presentation.commands import NOUNS, Entry
from backctl.presentation.declaration import Noun


@pytest.fixture
def runner(tmp_path: Path) -> CliRunner:
    return CliRunner(env={"HOME": str(tmp_path), "XDG_STATE_HOME": None, "BACKCTL_OUTPUT": None, "COLUMNS": "80"})


def test_tests_that_call_in_see_real_exit_codes(runner: CliRunner) -> None:
    assert runner.invoke(app, ["help", "exit-codes", "-o", "id"]).exit_code == 0
    failed = runner.invoke(app, ["help", "exit-codez"])
    assert (failed.exit_code, failed.stdout) == (2, "")
    assert failed.stderr.startswith("backctl: error: ")


def test_a_megabyte_is_refused_in_a_few_words(runner: CliRunner) -> None:
    megabyte = "x" * 1_000_000
    for arguments in (
        [megabyte],
        ["help", megabyte],
        ["help", "exit-codes", megabyte],
        ["help", "exit-codes", f"--{megabyte}"],
        ["help", "exit-codes", "-o", megabyte],
        ["help", "exit-codes", "--fields", megabyte],
        ["help", "exit-codes", "--timeout", megabyte],
        ["help", "exit-codes", "--reason", megabyte],
        ["user", "check-password", "ada", "--reason", megabyte],
        ["user", "list", "--limit", megabyte],
    ):
        failed = runner.invoke(app, arguments)
        assert (failed.exit_code, failed.stdout) == (2, ""), arguments[:2]
        assert len(failed.stderr) < 500, arguments[:2]


@pytest.mark.parametrize(
    "arguments",
    [
        ("user", "create", "a@example.org", "--username", "--no-password"),
        ("user", "create", "a@example.org", "--no-password", "--username", "--role=admin"),
        ("user", "create", "a@example.org", "--username", "--help"),
        ("user", "list", "--role", "--inactive"),
        ("user", "list", "--search", "-o", "json"),
        ("user", "delete", "ada", "--reason", "-n"),
    ],
)
def test_a_flag_is_not_taken_for_the_value_of_another(runner: CliRunner, arguments: tuple[str, ...]) -> None:
    failed = runner.invoke(app, arguments)
    assert (failed.exit_code, failed.stdout) == (2, "")
    assert "needs a value, and '-" in failed.stderr
    assert "if that is the value, write --" in failed.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("user", "list", "--search=--all", "--limit", "1"),
        ("user", "list", "--search", "--nothing-like-it"),
        ("user", "list", "--sort", "-created_at"),
        ("user", "show", "--", "--search", "--all"),
    ],
)
def test_a_value_may_begin_with_a_dash(runner: CliRunner, arguments: tuple[str, ...]) -> None:
    assert "needs a value" not in runner.invoke(app, arguments).stderr


def test_a_variable_with_a_typing_error_is_told_once_beside_every_command(runner: CliRunner) -> None:
    env = {"BACKCTL_DATABSE_URL": "sqlite:////elsewhere.db", "BACKCTL_OF_ANOTHER_PROGRAM": "1"}
    done = runner.invoke(app, ["config", "show"], env=env)
    assert done.exit_code == 0
    assert done.stderr.count("\n") == 1
    assert "'BACKCTL_DATABSE_URL'; did you mean BACKCTL_DATABASE_URL?" in done.stderr
    assert runner.invoke(app, ["config", "show", "-q"], env=env).stderr == ""


@pytest.mark.parametrize(("path", "entry"), list(entries()))
def test_the_table_of_nouns_is_true(path: tuple[str, ...], entry: Entry) -> None:
    noun, name = import_module(entry.module).app, path[-1]
    assert isinstance(noun, Noun)
    assert noun.name == name
    assert list(noun.leaves) == [name] if entry.verb else noun.leaves


def leaves(noun: Noun, *words: str) -> Iterator[tuple[str, ...]]:
    """The words of every command of a noun and of the nouns within it."""
    yield from ((*words, name) for name in noun.leaves)
    for name, entry in noun.nouns.items():
        if entry.verb:
            yield (*words, name)
        else:
            yield from leaves(import_module(entry.module).app, *words, name)


@pytest.mark.parametrize("name", NOUNS)
def test_every_leaf_has_help(runner: CliRunner, name: str) -> None:
    noun: Noun = import_module(NOUNS[name].module).app
    commands = [(name,)] if NOUNS[name].verb else list(leaves(noun, name))
    assert commands
    for words in commands:
        shown = runner.invoke(app, [*words, "--help"])
        assert shown.exit_code == 0, shown.stderr
        assert f"Usage: backctl {' '.join(words)} [OPTIONS]" in shown.stdout
        assert "\nExamples:\n  # " in shown.stdout, words
        assert shown.stdout.endswith("\nSee 'backctl help options' for options of every command, such as -o json.\n")


def test_the_commands_of_a_noun_within_another_have_help_too() -> None:
    assert ("user", "mfa", "enroll") in set(leaves(import_module(NOUNS["user"].module).app, "user"))
