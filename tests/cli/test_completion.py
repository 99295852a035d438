"""Completion: the committed scripts match the current commands, and real shells offer the expected words.

If a shell is not installed, its script is still compared with the command tree.
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Machine
from tests.cli.conversation import converse
from tests.cli.shell_completion import FILES, FOLDER, InteractiveShell, every_shell, shells
from typer.main import get_command
from typer.testing import CliRunner

from backctl.presentation.app import app
from backctl.presentation.completion.scripts import Shell, script
from backctl.presentation.completion.tree import Flag, Node, Value, read_tree

FORMATS = ["csv", "headers", "id", "json", "jsonl", "table", "tsv", "wide"]


@pytest.fixture(scope="module")
def tree() -> Node:
    return read_tree(get_command(app))


# The committed files.


@every_shell
def test_the_committed_script_is_that_of_todays_commands(shell: Shell, tree: Node) -> None:
    name = f"completions/{FILES[shell]}"
    fresh = (FOLDER / FILES[shell]).read_text() == script(shell, tree)
    assert fresh, f"{name} is stale; renew it: ./run backctl completion {shell} > {name}"


@every_shell
def test_the_printed_script_is_the_same_everywhere(shell: Shell, machine: Machine) -> None:
    committed = (FOLDER / FILES[shell]).read_text()
    odd = {"COLUMNS": "20", "LC_ALL": "C", "FORCE_COLOR": "1", "BACKCTL_PROFILE": "other", "PYTHONHASHSEED": "7"}
    assert machine.run("completion", shell).succeeded().out == committed
    assert machine.run("completion", shell, env=odd).succeeded().out == committed
    assert machine.at_terminal("completion", shell).succeeded().out == committed
    assert machine.run("completion", shell, "-o", "json").succeeded().json == {"shell": shell, "script": committed}
    assert not any(machine.home.iterdir())


# The tree that they are generated from.


def test_the_tree_has_every_flag_of_the_help(tree: Node) -> None:
    def told(text: str) -> set[str]:
        return {
            flag for line in text.splitlines() for flag in re.findall(r"(?:^  |, | / |^)(--?[a-z][a-z0-9-]*)", line)
        }

    everywhere = {spelling for flag in tree.shared() for spelling in flag.spellings}
    elsewhere = told(CliRunner().invoke(app, ["help", "options", "--fields", "option", "--no-header"]).stdout)
    for node in tree.walk():
        shown = CliRunner(env={"COLUMNS": "500"}).invoke(app, [*node.path[1:], "--help"]).stdout
        own = told(shown.partition("\nOptions:")[2].partition("\nExamples:")[0])
        flags = {spelling for flag in node.flags for spelling in flag.spellings}
        assert own <= flags, node.path
        assert flags - own <= elsewhere, node.path
        assert own & everywhere <= {"-h", "--help"} or not node.path[1:], node.path


FILE_FLAGS = ("--config", "--file", "--log", "--out", "--results", "--resume")


def test_flags_that_take_files_say_so(tree: Node) -> None:
    for node in tree.walk():
        for flag in node.flags:
            name = flag.spellings[-1]
            of_a_file = name.endswith("-file") or name in FILE_FLAGS
            assert of_a_file == (flag.value is not None and flag.value.file), flag


def test_the_keys_of_the_cache_are_not_those_of_the_settings(tree: Node) -> None:
    keys = {node.path[1:]: node.operands[0] for node in tree.walk() if node.operands and node.operands[0].name == "KEY"}
    assert {path[0] for path in keys} == {"cache", "config"}
    for path, key in keys.items():
        assert (key.choices != ()) == (path[0] == "config"), path
        assert not key.stored, path


@every_shell
def test_every_word_of_the_tree_is_in_the_script(shell: Shell, tree: Node) -> None:
    written = set(re.findall(r"[A-Za-z0-9][A-Za-z0-9_-]*", (FOLDER / FILES[shell]).read_text()))
    for node in tree.walk():
        spellings = {spelling.lstrip("-") for flag in node.flags for spelling in flag.spellings if len(spelling) > 2}
        choices = {choice.lstrip("-") for flag in node.flags if flag.value for choice in flag.value.choices}
        assert spellings | choices | set(node.path) <= written, node.path


@pytest.mark.parametrize(
    "word", ["$(id)", "a b", "a'b", "`id`", "a;b", "a|b", "a:b", "*", "~", "{a,b}", "a\n", "", "é"]
)
def test_words_that_a_shell_could_take_apart_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match="not safe"):
        Value("NAME", choices=(word,))
    with pytest.raises(ValueError, match="not safe"):
        Flag((f"--{word}",), "help")
    with pytest.raises(ValueError, match="not safe"):
        Node(("backctl", word), "help", ())


# Real shells.


@pytest.fixture
def interactive_shell(tmp_path: Path) -> Callable[..., InteractiveShell]:
    for name in ("notes.txt", "not here.txt"):
        (tmp_path / name).touch()

    def sit_down(shell: Shell, text: str | None = None, autoload: bool = False) -> InteractiveShell:
        return InteractiveShell(shell, tmp_path, text=text, autoload=autoload)

    return sit_down


NOTES = ["not here.txt", "notes.txt"]


@shells
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("backctl us", ["user"]),
        ("backctl user sho", ["show"]),
        ("backctl -p prod user sho", ["show"]),
        ("backctl --config=other.toml -v user sho", ["show"]),
        ("backctl help ex", ["exit-codes"]),
        ("backctl help us", ["user"]),
        ("backctl -p prod help user cr", ["create"]),
        ("backctl help user mfa dis", ["disable"]),
        ("backctl help user create --us", []),
        ("backctl help user show ", []),
        ("backctl vers", ["version"]),
        ("backctl completion ", ["bash", "fish", "zsh"]),
        ("backctl --ver", ["--verbose", "--version"]),
        ("backctl user list --ina", ["--inactive"]),
        ("backctl init --cal", ["--calibrate"]),
        ("backctl user show ada@example.org --out", ["--output"]),
        ("backctl user list -o ", FORMATS),
        ("backctl user list -o js", ["json", "jsonl"]),
        ("backctl user list -qo js", ["json", "jsonl"]),
        ("backctl user list --output=js", ["json", "jsonl"]),
        ("backctl user list --output=json --no-h", ["--no-header"]),
        ("backctl user list --sort u", ["username"]),
        ("backctl user list --sort=-", ["-created_at", "-email", "-id", "-username"]),
        ("backctl audit list --sort ", ["-seq", "seq"]),
        ("backctl user list --fields user", ["username"]),
        ("backctl user list --fields id,email,user", ["id,email,username"]),
        ("backctl user list --fields=id,user", ["id,username"]),
        ("backctl user list --fields id,i", ["id,is_active"]),
        ("backctl key list --fields stat", ["state"]),
        ("backctl help exit-codes --fields ", ["code", "meaning"]),
        ("backctl --config no", NOTES),
        ("backctl user create --password-file no", NOTES),
        ("backctl user create --password-file=no", NOTES),
        ("backctl user deactivate --from-file no", NOTES),
        ("backctl config validate no", NOTES),
    ],
)
def test_a_tab_offers(
    shell: Shell, interactive_shell: Callable[..., InteractiveShell], line: str, offered: list[str]
) -> None:
    assert interactive_shell(shell).offers(line) == offered


@shells
@pytest.mark.parametrize(
    "line",
    [
        "backctl user show ",
        "backctl user show no",
        "backctl user deactivate ada no",
        "backctl user show -- no",
        "backctl user create --username no",
        "backctl user create --username=no",
        "backctl user create --password-env no",
        "backctl user activate --reason ",
        "backctl config set database.timeout no",
        "backctl cache get cache.",
        "backctl cache set database.t",
        "backctl nobody ",
        "backctl nobody --",
        "backctl user nobody --",
    ],
)
def test_a_tab_guesses_neither_identities_nor_free_text(
    shell: Shell, interactive_shell: Callable[..., InteractiveShell], line: str
) -> None:
    assert interactive_shell(shell).offers(line) == []


@shells
def test_a_tab_offers_every_noun_verb_and_flag(
    shell: Shell, interactive_shell: Callable[..., InteractiveShell], tree: Node
) -> None:
    at = interactive_shell(shell)
    for node in tree.walk():
        if node.children:
            children = (*node.children, *node.explained)
            assert at.offers(" ".join(node.path) + " ") == sorted(child.path[-1] for child in children)
    flags = next(node.flags for node in tree.walk() if node.path == ("backctl", "user", "create"))
    spellings = [spelling for flag in flags for spelling in flag.spellings if spelling.startswith("--")]
    assert at.offers("backctl user create --") == sorted(spellings)


@shells
def test_help_texts_are_shown_and_never_run(shell: Shell, interactive_shell: Callable[..., InteractiveShell]) -> None:
    text = """$(:>ran) `:>ran` "$HOME" 'a' [b]: c\\d %n {e,f} * ~ ;:>ran # (g) => \\"""
    flag = Flag(("-x", "--extra"), text, Value("NAME", choices=("here", "hers")))
    leaves = tuple(Node(("backctl", name), text, (flag,)) for name in ("one", "other"))
    at = interactive_shell(shell, script(shell, Node(("backctl",), text, (flag,), leaves)))
    assert at.offers("backctl o", described=text) == ["one", "other"]
    assert at.offers("backctl one -", described=text) == ["--extra", "-x"]
    assert at.offers("backctl other -x he") == ["here", "hers"]
    assert not (at.home / "ran").exists()


if shutil.which("zsh"):

    def test_zsh_loads_the_script_from_its_function_path(interactive_shell: Callable[..., InteractiveShell]) -> None:
        at = interactive_shell(Shell.ZSH, autoload=True)
        assert at.offers("backctl user sho") == ["show"]
        assert at.offers("backctl --config no") == NOTES


def test_bash_without_compopt_completes_files_too(interactive_shell: Callable[..., InteractiveShell]) -> None:
    at = interactive_shell(Shell.BASH, "enable -n compopt\n" + (FOLDER / FILES[Shell.BASH]).read_text())
    assert at.offers("backctl --config no") == NOTES
    assert at.offers("backctl --config=no") == NOTES
    assert at.offers("backctl user show no") == []


def test_a_tab_does_not_end_a_bash_that_ends_at_the_first_error(tmp_path: Path) -> None:
    (tmp_path / "rc").write_text(f"PS1='ready> '\n. '{FOLDER / FILES[Shell.BASH]}'\nset -euo pipefail\n")
    lines = [
        *("backctl us", "backctl zz", "backctl nobody x", "backctl user list -", "backctl user show a", "backctl -- "),
        *("backctl user list --fields id,zz", "backctl user list --sort zz", "backctl --config zz", "backctl -p zz"),
        *(
            "backctl user create --password-file zz",
            "backctl key show 'a",
            "backctl user show $x",
            "backctl user zz -o j",
        ),
    ]
    typed = "".join(f"{line}\t\t\x15" for line in lines)  # Ctrl-U clears the line
    done = converse(
        ["bash", "--noprofile", "--rcfile", str(tmp_path / "rc"), "-i"],
        [("ready> ", f"{typed}echo still 'here'\r"), ("still here", "exit\r")],
        folder=tmp_path,
        environment={"HOME": str(tmp_path), "TERM": "xterm", "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
        size=(40, 200),
    )
    assert not done.unasked, done.screen
    assert b"unbound variable" not in done.screen


def test_bash_completes_values_where_the_equals_sign_breaks_no_words(
    interactive_shell: Callable[..., InteractiveShell],
) -> None:
    at = interactive_shell(
        Shell.BASH, "COMP_WORDBREAKS=${COMP_WORDBREAKS//=/}\n" + (FOLDER / FILES[Shell.BASH]).read_text()
    )
    assert at.offers("backctl user list --output=js") == ["json", "jsonl"]
    assert at.offers("backctl user list --output=json --no-h") == ["--no-header"]
    assert at.offers("backctl --config=other.toml user sho") == ["show"]
    assert at.offers("backctl --config=no") == NOTES
    assert at.offers("backctl user create --username=no") == []
