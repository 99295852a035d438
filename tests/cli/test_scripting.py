"""The examples of docs/scripting.md, and text formats as shells read them."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.cli.conftest import Machine
from tests.cli.expected import refused

DOCUMENT = (Path(__file__).parents[2] / "docs" / "scripting.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sh\n(.+?)```(?:\n\n```\n(.+?)```)?", DOCUMENT, re.DOTALL)
LOOP = EXAMPLES[0][0]

shells = pytest.mark.parametrize("shell", ["sh", "bash"])


def run_in(shell: str, script: str, machine: Machine) -> str:
    """Run a script in which `backctl` is the program of the machine."""
    program = " ".join(f"'{word}'" for word in machine.command())
    done = subprocess.run(
        [shell, "-euc", f'backctl() {{ {program} "$@"; }}\n{script}'],
        env=machine.environment,
        cwd=machine.home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), script
    return done.stdout


@pytest.fixture
def office(machine: Machine) -> Machine:
    machine.create_user("ada", "--role", "admin")
    machine.create_user("bob", "--expires-at", "2031-01-01")
    return machine


@shells
def test_every_example_runs_and_prints_what_the_document_says(office: Machine, shell: str) -> None:
    assert len(EXAMPLES) >= 4
    for script, output in EXAMPLES:
        out = run_in(shell, script, office)
        assert out == output or not output
    assert "UserDeactivated: home moved to D:\\bob\n" in run_in(shell, EXAMPLES[1][0], office)


@shells
def test_without_a_text_for_empty_cells_a_shell_shifts_the_columns(office: Machine, shell: str) -> None:
    assert "ada has the role  and expires: admin" in run_in(shell, LOOP.replace(" --empty -", ""), office)


def test_the_text_for_empty_cells_fills_nulls_and_empty_strings_in_text_only(office: Machine) -> None:
    show = ("user", "show", "ada", "--fields", "username,expires_at")
    for form, expected in {
        "tsv": "username\texpires_at\nada\tN\\tA\n",
        "csv": "username,expires_at\nada,N\tA\n",
        "table": "username:   ada\nexpires_at: N\\tA\n",
        "json": '{"username": "ada", "expires_at": null}\n',
        "jsonl": '{"username": "ada", "expires_at": null}\n',
    }.items():
        assert office.run(*show, "-o", form, "--empty", "N\tA").succeeded().out == expected
    ids = office.run("user", "list", "-o", "id").succeeded().out
    assert office.run("user", "list", "-o", "id", "--empty", "-").succeeded().out == ids
    listed = ("user", "list", "--fields", "expires_at,username", "--empty", "-", "-o")
    assert office.run(*listed, "table").succeeded().out.splitlines()[1].split() == ["-", "ada"]


def test_the_text_for_empty_cells_must_be_text(machine: Machine) -> None:
    error = refused(machine.run("user", "list", "-o", "json", "--empty", "\udcff"), 2, "usage")
    assert "--empty" in error["message"]


def test_no_variable_sets_the_text_for_empty_cells(office: Machine) -> None:
    shown = office.run("user", "show", "ada", "--fields", "expires_at", "--no-header", env={"BACKCTL_EMPTY": "-"})
    assert shown.out == "\n"
