"""The README keeps its word: every command it shows succeeds, in its order, and its tables and its program are true."""

import re
import shlex
from pathlib import Path

from tests.cli.conftest import Machine
from tests.cli.scenes import python

from backctl.presentation.commands import NOUNS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def shown_commands() -> list[list[str]]:
    """Every `backctl …` of the README in its order: lines of fenced blocks, and whole code spans in the text."""
    pattern = r"^(?:\./run )?backctl (.+)$|`(?:\./run )?backctl ([^`\n]+)`"
    found = [fenced or span for fenced, span in re.findall(pattern, README, re.MULTILINE)]
    # Where a shell would send the output is the reader's business.
    return [shlex.split(command.partition(" > ")[0], comments=True) for command in found]


def test_every_command_of_the_readme_succeeds_in_its_order(machine: Machine) -> None:
    commands = shown_commands()
    assert len(commands) >= 20
    assert {words[0] for words in commands} <= set(NOUNS)
    (machine.home / "leavers.txt").write_text("ci-runner\neve@example.org\n")
    (machine.home / "kim.hash").write_text("$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n")
    del machine.environment["BACKCTL_PASSWORDS_BCRYPT_COST"]
    for words in commands:
        done = machine.run(*words, stdin="correct horse battery\n")
        assert done.code == 0, f"backctl {shlex.join(words)}: {done.err}"
        if "-q" not in words:
            assert done.out, f"backctl {shlex.join(words)} said nothing"
    assert (machine.home / "eve.txt").exists()
    closed = machine.run("user", "list", "--inactive", "--fields", "username", "--no-header").succeeded()
    assert set(closed.out.split()) == {"ada", "ci-runner", "eve"}


def test_the_table_of_exit_codes_is_the_programs_own(machine: Machine) -> None:
    table = README.partition("| code | meaning |\n|---|---|\n")[2].partition("\n\n")[0]
    rows: list[tuple[str, str]] = []
    for line in table.splitlines():
        codes, meaning = line.strip("| ").split(" | ")
        meanings = meaning.split(", ") if ", " in codes else [meaning]
        rows += zip(codes.split(", "), meanings, strict=True)
    listed = machine.run("help", "exit-codes", "-o", "json").succeeded()
    assert rows == [(str(item["code"]), item["meaning"]) for item in listed.json["items"]]
    assert machine.run("help", "exit-codes").succeeded().out.splitlines()[1:] == ["\t".join(row) for row in rows]


def test_the_example_for_services_runs(machine: Machine) -> None:
    (program,) = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
    done = python(machine, program).succeeded()
    created, listed = done.out.splitlines()
    assert created.endswith(" True")
    assert listed == "grace user"
    assert machine.run("user", "show", "grace", "--fields", "role", "--no-header").succeeded().out == "user\n"


def test_the_start_page_holds_what_a_newcomer_is_promised(machine: Machine) -> None:
    """The three lines a fresh clone is judged by."""
    words = shown_commands()[0]
    assert words == ["user", "create", "ada@example.org", "--username", "ada", "--generate-password"]
    created = machine.run(*words).succeeded()
    password = created.out.splitlines()[1].split("\t")[-1]
    assert len(password) == 20
    listed = machine.run("user", "list", "-o", "json").succeeded()
    assert [user["email"] for user in listed.json["items"]] == ["ada@example.org"]
    assert password not in listed.out
    assert machine.run("doctor").code == 0
