"""A command that writes a secret to a file and is killed at any moment: the file is complete or absent."""

import os
import signal
from pathlib import Path

import pytest
from tests.cli.accounts import fresh, python
from tests.cli.conftest import Machine

# Kills the process at its nth call that opens, links, renames or removes a file, starting with the first such call in
# the folder of the secret. Importing modules uses other calls.
KILLED = """
import os, signal, sys

number, folder, *arguments = sys.argv[1:]
left = int(number)

def hook(event, values):
    global left
    if event in ("os.link", "os.rename", "os.remove") or (event == "open" and values[1] is None):
        if left < int(number) or folder in map(str, values):
            left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

from backctl.presentation.app import run
if arguments.pop(0) == "staged" and hasattr(os, "O_TMPFILE"):
    del os.O_TMPFILE
sys.addaudithook(hook)
sys.exit(run(arguments))
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return fresh(tmp_path)


@pytest.mark.parametrize("way", ["unnamed", "staged"])
def test_a_password_is_in_its_file_whole_or_not_at_all(machine: Machine, tmp_path: Path, way: str) -> None:
    folder = tmp_path / "secrets-are-here"
    folder.mkdir()
    for number in range(1, 100):
        file = folder / f"{number}.txt"
        create = ("user", "create", f"user{number}@example.org", "--username", f"user{number}", "--generate-password")
        words = (*create, "--secret-file", str(file))
        done = python(machine, KILLED, str(number), folder.name, way, *words)
        if done.code != -signal.SIGKILL:
            done.succeeded()
            break
        # Killed early enough, the command has not even created the installation.
        assert file.exists() or machine.run("user", "exists", f"user{number}").code in (3, 9)
        if file.exists():
            assert len(file.read_text()) > 20
            assert file.read_text().endswith("\n")
            assert machine.run(*words).code == 4
            file.unlink()
        again = machine.run(*words)
        assert again.code == 0 or machine.run("user", "exists", f"user{number}").code == 0
    assert number > 5
    assert [name for name in os.listdir(folder) if name.startswith(".")] == []


def test_a_file_that_vanished_is_no_further_fault(machine: Machine, tmp_path: Path) -> None:
    script = """
import os, sys
from backctl.application import accounts
from backctl.presentation.app import run

def fail(*_, **__):
    os.unlink(sys.argv[1])
    raise accounts.UserNotFound("ada")

accounts.AccountService.create = fail
sys.exit(run(sys.argv[2:]))
"""
    file = tmp_path / "ada.txt"
    create = ("user", "create", "ada@example.org", "--username", "ada", "--generate-password")
    done = python(machine, script, str(file), *create, "--secret-file", str(file), "-o", "json")
    assert (done.code, done.error["code"]) == (3, "user.not_found")


_WITHOUT_COMMIT = """
import sys
from backctl.domain.errors import DatabaseFull
from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork
from backctl.presentation.app import run

def fail(self):
    raise DatabaseFull("no room")

SqlUnitOfWork.commit = fail
sys.exit(run(sys.argv[1:]))
"""


def test_a_key_leaves_when_the_log_tells_of_it_and_not_otherwise(machine: Machine, tmp_path: Path) -> None:
    machine.run("init").succeeded()
    kid = machine.run("key", "list", "--fields", "id", "--no-header").succeeded().out.split()[0]
    file = tmp_path / "key.json"
    export = ("key", "export", kid, "--private", "--secret-file", str(file), "-o", "json")

    def told() -> list[tuple[str]]:
        return machine.rows("SELECT type FROM events WHERE type = 'KeyExported'")

    failed = python(machine, _WITHOUT_COMMIT, *export)
    assert (failed.code, failed.error["code"], file.exists(), told()) == (5, "database.full", False, [])
    machine.run(*export).succeeded()
    assert (file.exists(), told()) == (True, [("KeyExported",)])
