"""The cache in a file that is deleted, damaged, or cannot be written."""

import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.accounts import Person, populate
from tests.cli.machines import Machine
from tests.cli.processes import as_ordinary_owner, run_command, with_files_of_at_most
from tests.faults.cache_services import ACTIVE, INACTIVE, eventually, is_cached, loads, machine_on, services

NOTICE = "services may use older cached data"
SIDES = ("", "-wal", "-shm")


@pytest.fixture(params=[1000, 0], ids=["memory", "no memory"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return machine_on(tmp_path, "", f"cache.memory_entries = {request.param}")


@pytest.fixture
def source(machine: Machine) -> Path:
    path = machine.home / "source"
    path.write_text("old")
    return path


@pytest.mark.parametrize("sides", [SIDES, ("",)], ids=["all of it", "not its log"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_deleted_file_delays_no_invalidation(
    machine: Machine, source: Path, count: int, sides: tuple[str, ...]
) -> None:
    with services(machine, count) as some:
        for service in some:
            assert service.ask("get", "ada") == ACTIVE
            assert service.ask("load", "x:1", str(source)) == "old"
        for side in sides:
            (machine.data / f"cache.db{side}").unlink()
        machine.run("user", "deactivate", "ada").succeeded()
        source.write_text("new")
        for service in reversed(some):
            eventually(lambda service=service: service.ask("get", "ada") == INACTIVE, "the change")  # type: ignore[misc]
        eventually(lambda: machine.run("cache", "invalidate", "x:*").code == 0, "a new file")
        for service in some:
            eventually(lambda service=service: service.ask("load", "x:1", str(source)) == "new", "the new value")  # type: ignore[misc]
        machine.run("user", "activate", "ada").succeeded()
        for service in some:
            eventually(lambda service=service: service.ask("get", "ada") == ACTIVE, "the next change")  # type: ignore[misc]


def garbage(file: Path) -> None:
    file.write_bytes(b"not a database " * 1000)


def truncated(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(5000)


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def other_database(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE accounts (id)")


DAMAGE: dict[str, Callable[[Path], None]] = {
    damage.__name__: damage for damage in (garbage, truncated, folder, other_database)
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_hides_no_invalidation_that_succeeded(machine: Machine, source: Path, damage: str) -> None:
    """A service that still has the pages of the file may use them; then the commands say so."""
    with services(machine, 1) as (service,):
        assert service.ask("get", "ada") == ACTIVE
        assert service.ask("load", "x:1", str(source)) == "old"
        DAMAGE[damage](machine.data / "cache.db")
        source.write_text("new")
        outcomes = {}
        for words in (("list",), ("stats",), ("set", "y", "1"), ("invalidate", "x:*"), ("explain", "x:1")):
            outcomes[words[0]] = done = machine.run("cache", *words)
            assert done.code in (0, 3, 5, 9), done.err
            assert done.code in (0, 3) or "hint: " in done.err
        if outcomes["invalidate"].code == 0:
            eventually(lambda: service.ask("load", "x:1", str(source)) == "new", "the new value")
        changed = machine.run("user", "deactivate", "ada").succeeded()
        if NOTICE not in changed.err:
            eventually(lambda: service.ask("get", "ada") == INACTIVE, "the change")
        with services(machine, 1) as (other,):
            assert other.ask("get", "ada") == INACTIVE
            assert other.ask("load", "x:1", str(source)) == "new"
        assert "Traceback" not in (machine.home / "service.log").read_text()


def test_a_process_that_keeps_the_file_locked_is_waited_for_once_in_a_while(tmp_path: Path) -> None:
    machine = machine_on(tmp_path, "", 'database.timeout = "300ms"')
    source = machine.home / "source"
    source.write_text("old")
    people = [Person(f"user{number}") for number in range(50)]
    populate(machine, people)
    with services(machine, 1) as (service,):
        assert service.ask("get", "ada") == ACTIVE
        with closing(sqlite3.connect(machine.data / "cache.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            for number in range(200):
                assert service.ask("load", f"x:{number}", str(source)) == "old"
            done = machine.run("user", "deactivate", "--yes", *(person.username for person in people)).succeeded()
            assert time.monotonic() - began < 30  # not 300 ms for each
            assert done.err.count(NOTICE) == 1
        eventually(lambda: is_cached(service, source), "a cache that is used")


def test_commands_and_services_on_a_full_disk(machine: Machine, source: Path) -> None:
    machine.run("cache", "set", "x:0", "1").succeeded()
    size = max(
        (machine.data / f"cache.db{side}").stat().st_size
        for side in SIDES
        if (machine.data / f"cache.db{side}").exists()
    )
    (machine.home / "large").write_text("v" * 500_000)
    for words in (("set", "x:1", "--raw", "--from-file", "large"), ("warm", "users")):
        done = run_command(machine, with_files_of_at_most(size + 20_000, machine.command("cache", *words)))
        assert done.code in (0, 5), done.err
        assert done.code == 0 or "hint: " in done.err
    with services(machine, 1) as (service,):
        subprocess.run(["prlimit", f"--fsize={size}", "--pid", str(service.pid)], check=True)
        assert service.ask("get", "ada") == ACTIVE
        for number in range(20):
            assert service.ask("load", f"x:{number + 1}", str(source)) == "old"
        assert "Traceback" not in (machine.home / "service.log").read_text()
    assert len(loads(source)) == 20


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    machine = machine_on(tmp_path, "")
    machine.run("cache", "set", "x:1", "1").succeeded()
    machine.data.chmod(0o500)
    for side in SIDES:
        if (machine.data / f"cache.db{side}").exists():
            (machine.data / f"cache.db{side}").chmod(0o400)
    try:
        for words in (("set", "x:2", "1"), ("invalidate", "x:*"), ("invalidate", "--all", "--yes"), ("delete", "x:1")):
            done = run_command(machine, as_ordinary_owner(machine.command("cache", *words)))
            assert done.code in (5, 9), (words, done)
            assert "hint: " in done.err
    finally:
        machine.data.chmod(0o700)
