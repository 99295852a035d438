"""`init` and `doctor`, and every state of database and keyring in which a command must stop and change nothing."""

import json
import os
import shutil
import sqlite3
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.accounts import fresh
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.processes import as_ordinary_owner, run_command, with_files_of_at_most
from tests.installations import HEALTH_CHECKS

INSTALLATION_KEYS = ["database", "keyring", "installation_id", "revision", "bcrypt_cost"]
CHECKS = [HEALTH_CHECKS[0], "config.valid", "profile.selected", *HEALTH_CHECKS[1:], "redis.reachable"]
CREATE = ("user", "create", "new@example.org", "--username", "new", "--no-password", "-o", "json")


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder of an installation with one administrator, to be copied."""
    machine = fresh(tmp_path_factory.mktemp("original"))
    machine.create_user("ada", "--role", "admin")
    return machine.data


@pytest.fixture
def installed(machine: Machine, original: Path) -> Machine:
    shutil.copytree(original, machine.data)
    machine.data.chmod(0o700)
    return machine


def statuses(machine: Machine) -> tuple[int, dict[str, str]]:
    done = machine.run("doctor", "-o", "json")
    assert done.err == ""
    return done.code, {check["check"]: check["status"] for check in done.json["items"]}


# init


def test_init_makes_what_is_missing_once(machine: Machine) -> None:
    first = machine.run("init", "-o", "json").succeeded()
    assert list(first.json) == [*INSTALLATION_KEYS, "changed"]
    assert first.json["changed"] is True
    assert first.json["database"] == str(machine.data / "backctl.db")
    assert first.json["keyring"] == str(machine.data / "keyring.json")
    assert first.err.startswith("backctl: created ")
    assert first.err.count("\n") == 1
    before = contents(machine.home)
    second = machine.run("init", "-o", "json").succeeded()
    assert second.json == {**first.json, "changed": False}
    assert second.err == ""
    assert contents(machine.home) == before
    assert machine.run("init", "-q").succeeded().out == ""


def test_init_rehearsed_makes_nothing(machine: Machine) -> None:
    dry = machine.run("init", "--dry-run", "-o", "json").succeeded()
    assert list(dry.json) == [*INSTALLATION_KEYS, "changed", "dry_run"]
    assert (dry.json["changed"], dry.json["dry_run"]) == (True, True)
    assert dry.err == ""
    assert contents(machine.home) == {}


def test_calibration_writes_the_cost_to_the_configuration(machine: Machine) -> None:
    del machine.environment["BACKCTL_PASSWORDS_BCRYPT_COST"]
    machine.run("init", "--calibrate", "--dry-run").succeeded()
    assert contents(machine.home) == {}
    measured = machine.run("init", "--calibrate", "-o", "json").succeeded().json
    assert 10 <= measured["bcrypt_cost"] <= 15
    if measured["bcrypt_cost"] != 12:  # the default is not written
        assert tomllib.loads(machine.config_file.read_text())["passwords"]["bcrypt_cost"] == measured["bcrypt_cost"]
    assert machine.run("config", "get", "passwords.bcrypt_cost").succeeded().out == f"{measured['bcrypt_cost']}\n"
    overruled = machine.run("init", "--calibrate", env={"BACKCTL_PASSWORDS_BCRYPT_COST": "4"}).succeeded()
    assert "environment BACKCTL_PASSWORDS_BCRYPT_COST overrides this value" in overruled.err


def test_a_keyring_without_a_database_is_completed(machine: Machine, original: Path) -> None:
    machine.data.mkdir(parents=True, mode=0o700)
    shutil.copy2(original / "keyring.json", machine.data)
    keyring = (machine.data / "keyring.json").read_bytes()
    made = machine.run("init", "-o", "json").succeeded()
    assert made.json["changed"] is True
    assert (machine.data / "keyring.json").read_bytes() == keyring
    machine.create_user("ada")
    machine.run("audit", "verify").succeeded()


def test_a_named_database_is_made_by_init_only(machine: Machine) -> None:
    env = {
        "BACKCTL_DATABASE_URL": f"sqlite:///{machine.home}/own/accounts.db",
        "BACKCTL_KEYRING_PATH": f"{machine.home}/own/keys.json",
    }
    for command in (CREATE, ("user", "list", "-o", "json")):
        refused(machine.run(*command, env=env), 9, "installation.missing")
    assert contents(machine.home) == {}
    machine.run("init", env=env).succeeded()
    machine.run(*CREATE, env=env).succeeded()
    assert sorted(contents(machine.home)) == ["own", "own/accounts.db", "own/backctl.lock", "own/keys.json"]


# doctor


def test_doctor_reports_a_missing_installation_first(machine: Machine) -> None:
    done = machine.run("doctor", "-o", "json")
    first, *others = done.json["items"]
    assert (done.code, done.err) == (9, "")
    assert [first["check"], *(check["check"] for check in others)] == CHECKS
    assert (first["status"], first["failure"]) == ("fail", "unusable")
    assert first["finding"].startswith(f"there is no installation in '{machine.data}'")
    assert {check["status"] for check in others} == {"ok", "warn"}
    assert contents(machine.home) == {}


BROKEN_CONFIGURATIONS = {
    "typo = 1\n": "config.valid",
    'database.url_file = "/nowhere"\n': "database.open",
    'redis.url_file = "/nowhere"\n': "redis.reachable",
    'keyring.path = "/srv/keys.json"\nkeyring.document_file = "/srv/other.json"\n': "database.open",
}


@pytest.mark.parametrize("text", BROKEN_CONFIGURATIONS)
def test_doctor_reports_an_invalid_configuration(installed: Machine, text: str) -> None:
    installed.configure(text)
    done = installed.run("doctor", "-o", "json")
    assert (done.code, done.err) == (9, "")
    failed = {check["check"]: check for check in done.json["items"] if check["status"] == "fail"}
    found = failed[BROKEN_CONFIGURATIONS[text]]
    assert found["failure"] == "unusable"
    quiet = installed.run("doctor", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (9, "", "")


def test_the_exit_code_of_doctor_is_that_of_the_most_serious_failure(installed: Machine) -> None:
    """Weak permissions are 6, a server that is away is 5, and an unusable keyring is 9."""
    (installed.data / "backctl.db").chmod(0o644)
    assert installed.run("doctor").code == 6
    installed.environment["BACKCTL_REDIS_URL"] = "redis://127.0.0.1:1"
    assert installed.run("doctor").code == 5
    (installed.data / "keyring.json").chmod(0o644)
    done = installed.run("doctor", "-o", "json")
    assert done.code == 9
    assert {check["failure"] for check in done.json["items"]} == {None, "unhealthy", "unavailable", "unusable"}


def test_a_profile_that_does_not_exist_is_a_usage_error_of_doctor_too(installed: Machine) -> None:
    refused(installed.run("doctor", "-p", "nowhere", "-o", "json"), 2, "profile.unknown")


def test_doctor_examines_an_installation_without_changing_it(installed: Machine) -> None:
    before = contents(installed.home)
    done = installed.run("doctor", "-o", "json").succeeded()
    assert (list(done.json), done.json["ok"]) == (["ok", "items"], True)
    for check in done.json["items"]:
        assert list(check) == ["check", "status", "finding", "hint", "failure"]
    assert [check["check"] for check in done.json["items"]] == CHECKS
    # The tests hash at cost 4, which is a warning, and a warning is not a failure.
    assert statuses(installed) == (0, {**dict.fromkeys(CHECKS, "ok"), "passwords.cost": "warn"})
    quiet = installed.run("doctor", "-q").succeeded()
    assert (quiet.out, quiet.err) == ("", "")
    screen = installed.at_terminal("doctor", env={"NO_COLOR": "1"})
    assert (screen.code, screen.out.splitlines()[0].split()) == (0, ["CHECK", "STATUS", "FINDING"])
    assert contents(installed.home) == before


# Keyrings that stop every command.


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"checksum": "', b'"checksum": "0', 1))


def into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def swap_for_another(path: Path) -> None:
    other = fresh(path.parent.parent)
    other.run("init").succeeded()
    shutil.copy2(other.data / "keyring.json", path)
    shutil.rmtree(other.home)


KEYRINGS: dict[str, tuple[Callable[[Path], None], str]] = {
    "damaged": (damage, "keyring.damaged"),
    "cut off": (lambda path: os.truncate(path, 200), "keyring.damaged"),
    "empty": (lambda path: os.truncate(path, 0), "keyring.damaged"),
    "a folder": (into_a_folder, "keyring.damaged"),
    "missing": (lambda path: path.unlink(), "keyring.missing"),
    "of another installation": (swap_for_another, "keyring.mismatch"),
    "open to everybody": (lambda path: path.chmod(0o644), "keyring.exposed"),
    "open to its group": (lambda path: path.chmod(0o640), "keyring.exposed"),
}


@pytest.mark.parametrize("state", KEYRINGS)
def test_a_bad_keyring_stops_every_write_and_is_left_alone(installed: Machine, state: str) -> None:
    spoil, code = KEYRINGS[state]
    spoil(installed.data / "keyring.json")
    before = contents(installed.home)
    error = refused(installed.run(*CREATE), 9, code)
    assert "keyring" in error["message"]
    assert error["hint"]
    refused(installed.run("init", "-o", "json"), 9, code)
    refused(installed.run("audit", "verify", "-o", "json"), 9, code)
    exit_code, found = statuses(installed)
    assert exit_code == 9
    assert "fail" in (found["keyring.valid"], found["keyring.matches"])
    assert installed.run("user", "show", "ada", "--fields", "role", "--no-header").succeeded().out == "admin\n"
    assert contents(installed.home) == before


def test_a_group_may_read_the_keyring_where_the_configuration_says_so(installed: Machine) -> None:
    (installed.data / "keyring.json").chmod(0o640)
    installed.run(*CREATE, env={"BACKCTL_KEYRING_ALLOW_GROUP_READ": "true"}).succeeded()


# Databases that stop every command.


def into_garbage(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)


def newer(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()


def of_another_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE users (name TEXT)")
    database.close()
    path.chmod(0o600)


def without_its_middle(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:4096] + b"\xa5" * (len(raw) - 4096))


DATABASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "garbage": (into_garbage, "database.unusable"),
    "cut off": (lambda path: os.truncate(path, 5000), "database.unusable"),
    "overwritten": (without_its_middle, "database.unusable"),
    "empty": (lambda path: os.truncate(path, 0), "database.unusable"),
    "a folder": (into_a_folder, "database.unusable"),
    "of another program": (of_another_program, "database.unusable"),
    "newer": (newer, "database.schema_newer"),
}


@pytest.mark.parametrize("state", DATABASES)
def test_an_unusable_database_stops_everything_and_is_left_alone(installed: Machine, state: str) -> None:
    spoil, code = DATABASES[state]
    spoil(installed.data / "backctl.db")
    before = contents(installed.home)
    for command in (CREATE, ("user", "list", "-o", "json"), ("audit", "verify", "-o", "json")):
        error = refused(installed.run(*command), 9, code)
        assert error["hint"]
    exit_code, found = statuses(installed)
    assert exit_code == 9
    assert "fail" in found.values()
    assert contents(installed.home) == before


def test_a_locked_database_is_worth_retrying(installed: Machine) -> None:
    database = sqlite3.connect(installed.data / "backctl.db", isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        outcome = installed.run(*CREATE, "--timeout", "200ms")
        error = refused(outcome, 5, "database.locked")
        assert error["retryable"] is True
        refused(
            installed.run("user", "deactivate", "ada", "-o", "json", env={"BACKCTL_TIMEOUT": "1ms"}), 5, error["code"]
        )
        assert installed.run("user", "count").succeeded().out == "1\n"
    finally:
        database.close()
    assert installed.run(*CREATE).succeeded().json["changed"] is True


def test_a_batch_stops_at_a_locked_database_instead_of_failing_for_each(installed: Machine) -> None:
    database = sqlite3.connect(installed.data / "backctl.db", isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        ended = installed.run("user", "activate", "ada", "bob", "cleo", "--yes", "--timeout", "1ms", "-o", "json")
    finally:
        database.close()
    assert ended.code == 5
    assert ended.json == {
        "items": [],
        "summary": {"total": 3, "changed": 0, "unchanged": 0, "failed": 0},
    }
    said, error = ended.err.splitlines()
    assert said == "backctl: stopped: 0 of 3 done; run the same command again to finish the rest"
    assert json.loads(error)["error"]["code"] == "database.locked"


def test_a_full_disk_changes_nothing(installed: Machine) -> None:
    database = installed.data / "backctl.db"
    before = database.read_bytes()
    command = with_files_of_at_most(8192, installed.command(*CREATE))
    refused(run_command(installed, command), 5, "database.full")
    assert database.read_bytes() == before
    assert installed.run("user", "count").succeeded().out == "1\n"
    assert installed.run(*CREATE).succeeded().json["changed"] is True


# What the file system denies.


@pytest.mark.parametrize("depth", ["the data folder", "a folder above it"])
def test_a_folder_that_cannot_be_written_is_told_and_nothing_is_made(machine: Machine, depth: str) -> None:
    folder = machine.data if depth == "the data folder" else machine.home / ".local"
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    before = contents(machine.home)
    for command in (CREATE, ("init", "-o", "json"), (*CREATE, "--dry-run"), ("init", "-n", "-o", "json")):
        error = refused(
            run_command(machine, as_ordinary_owner(machine.command(*command))), 9, "storage.folder_unusable"
        )
        assert str(folder if folder == machine.data else machine.data)[:20] in error["message"]
    assert contents(machine.home) == before
    folder.chmod(0o700)
    machine.run(*CREATE).succeeded()


def test_a_file_in_the_place_of_the_folder_is_told(machine: Machine) -> None:
    machine.data.parent.mkdir(parents=True)
    machine.data.write_text("")
    before = contents(machine.home)
    refused(machine.run(*CREATE), 9, "storage.folder_unusable")
    assert contents(machine.home) == before


def test_a_database_that_may_only_be_read_is_read_and_not_written(installed: Machine) -> None:
    database = installed.data / "backctl.db"
    database.chmod(0o400)
    before = database.read_bytes()
    refused(run_command(installed, as_ordinary_owner(installed.command(*CREATE))), 9, "database.unusable")
    listed = run_command(installed, as_ordinary_owner(installed.command("user", "list", "-o", "json"))).succeeded()
    assert [user["username"] for user in listed.json["items"]] == ["ada"]
    assert database.read_bytes() == before


def test_files_that_are_not_the_owners_alone_are_reported(installed: Machine) -> None:
    (installed.data / "backctl.db").chmod(0o666)
    exit_code, found = statuses(installed)
    assert (exit_code, found["files.permissions"]) == (6, "fail")


def test_the_files_are_private_whatever_the_umask(machine: Machine) -> None:
    for umask in (0o000, 0o777):
        machine.run("init", umask=umask).succeeded()
        modes = {path.name: path.stat().st_mode & 0o777 for path in machine.data.iterdir()}
        assert set(modes.values()) == {0o600}, modes
        assert machine.data.stat().st_mode & 0o777 == 0o700
        shutil.rmtree(machine.data)


# The configuration.


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("[passwords]\nmin_lenght = 9\n", 0o600, "did you mean"),
        ("[passwords\n", 0o600, "line 1"),
        ("[passwords]\nbcrypt_cost = 99\n", 0o600, "from 4 to 17"),
        ("protected = false\n", 0o622, "can be changed by other users"),
    ],
)
def test_a_bad_configuration_stops_every_command(machine: Machine, text: str, mode: int, words: str) -> None:
    machine.config_file.parent.mkdir(parents=True)
    machine.config_file.write_text(text)
    os.chmod(machine.config_file, mode)
    before = contents(machine.home)
    for command in (CREATE, ("user", "list", "-o", "json"), ("role", "list", "-o", "json"), ("init", "-o", "json")):
        error = refused(machine.run(*command), 9, "config.invalid")
        assert words in f"{error['message']} {error['hint']}"
    assert contents(machine.home) == before
