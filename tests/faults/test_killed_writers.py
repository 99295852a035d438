"""Commands that write a file, killed at any moment: the old or the new file remains, and the next command cleans up."""

import os
import signal
from pathlib import Path

import pytest
from tests.cli.accounts import fresh, python
from tests.cli.conftest import Machine
from tests.faults.test_secret_files import KILLED

OLD = "[passwords]\nmin_length = 9\n"
NEW = "[passwords]\nmin_length = 10\n"
FOLDER = "files-are-here"
ENCRYPT = ("encrypt", "--context", "", "--file", "plain", "--overwrite", "--out")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = fresh(tmp_path)
    machine.run("init").succeeded()
    (machine.home / "plain").write_text("text")
    (machine.home / FOLDER).mkdir()
    return machine


def killed(machine: Machine, number: int, way: str, *words: str) -> bool:
    """Kill the command at its `number`th call. Return False if it succeeded before."""
    done = python(machine, KILLED, str(number), FOLDER, way, *words)
    if done.code == -signal.SIGKILL:
        return True
    done.succeeded()
    return False


def hidden(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


@pytest.mark.parametrize("way", ["unnamed", "staged"])
def test_the_configuration_is_the_old_one_or_the_new(machine: Machine, way: str) -> None:
    folder = machine.home / FOLDER
    file, left = folder / "config.toml", 0
    change = ("config", "set", "passwords.min_length", "10", "--config", f"{FOLDER}/config.toml")
    for number in range(1, 100):
        file.write_text(OLD)
        file.chmod(0o640)
        if not killed(machine, number, way, *change):
            break
        assert file.read_text() in (OLD, NEW)
        assert file.stat().st_mode & 0o7777 == 0o640
        left += len(hidden(folder))
        machine.run("config", "set", "passwords.min_length", "11", "--config", f"{FOLDER}/other.toml").succeeded()
        assert hidden(folder) == []
        (folder / "other.toml").unlink()
    assert number > 3
    assert left
    assert os.listdir(folder) == ["config.toml"]


@pytest.mark.parametrize("way", ["unnamed", "staged"])
def test_a_result_is_the_old_one_or_the_new(machine: Machine, way: str) -> None:
    folder = machine.home / FOLDER
    left = 0
    for number in range(1, 100):
        (folder / "out").write_text("old")
        if not killed(machine, number, way, *ENCRYPT, f"{FOLDER}/out"):
            break
        assert (folder / "out").read_text() == "old" or len((folder / "out").read_bytes()) > 60
        left += len(hidden(folder))
        machine.run(*ENCRYPT, f"{FOLDER}/other").succeeded()
        assert hidden(folder) == []
    assert number > 3
    assert left
    assert sorted(os.listdir(folder)) == ["other", "out"]


def test_a_copy_of_the_database_is_whole_or_absent(machine: Machine) -> None:
    folder = machine.home / FOLDER
    left = 0
    for number in range(1, 100):
        copy = folder / f"{number}.db"
        if not killed(machine, number, "unnamed", "db", "backup", f"{FOLDER}/{number}.db"):
            break
        if copy.exists():
            command = ("db", "status", "--fields", "state", "--no-header")
            url = {"BACKCTL_DATABASE_URL": f"sqlite:///{copy}", "BACKCTL_KEYRING_PATH": f"{machine.data}/keyring.json"}
            assert machine.run(*command, env=url).succeeded().out == "current\n"
        left += len(hidden(folder))
        machine.run("db", "backup", f"{FOLDER}/next-{number}.db").succeeded()
        assert hidden(folder) == []
    assert number > 3
    assert left
