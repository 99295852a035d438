"""Machines without a home folder, a working directory or a folder for temporary files."""

from pathlib import Path

import pytest
from tests.cli.accounts import python
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.machines import Outcome
from tests.cli.processes import run_command

_WITHOUT_PASSWD_ENTRY = """
import pwd, sys

def unknown(uid):
    raise KeyError(uid)

pwd.getpwuid = unknown
from backctl.presentation.app import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture
def homeless(machine: Machine) -> Machine:
    """A machine whose user has no HOME and no entry in the user database, like the arbitrary users of OpenShift."""
    del machine.environment["HOME"]
    return machine


def run_homeless(machine: Machine, *arguments: str, stdin: str = "", **variables: str) -> Outcome:
    machine.environment.update(variables)
    return python(machine, _WITHOUT_PASSWD_ENTRY, *arguments, stdin=stdin)


CREATE = ("user", "create", "ada@example.org", "--username", "ada", "--no-password")
GENERATE = ("user", "create", "bob@example.org", "--username", "bob", "--generate-password")


@pytest.mark.parametrize(
    "words",
    [("init",), CREATE, ("user", "list"), ("key", "list"), ("db", "status"), ("audit", "verify")],
    ids=" ".join,
)
def test_a_command_that_needs_the_default_folder_names_the_variables_to_set(
    homeless: Machine, words: tuple[str, ...]
) -> None:
    error = refused(run_homeless(homeless, *words, "-o", "json"), 9, "storage.home_missing")
    for name in ("HOME", "XDG_DATA_HOME", "BACKCTL_DATABASE_URL", "BACKCTL_KEYRING_PATH"):
        assert name in error["hint"]
    assert contents(homeless.home) == {}


def test_doctor_reports_a_missing_home_folder(homeless: Machine) -> None:
    done = run_homeless(homeless, "doctor", "-o", "json")
    first = done.json["items"][0]
    assert (done.code, done.err) == (9, "")
    assert (first["check"], first["failure"]) == ("database.open", "unusable")
    assert "XDG_DATA_HOME" in first["hint"]


@pytest.mark.parametrize(
    "words",
    [
        ("config", "path"),
        ("config", "set", "tokens.issuer", "x"),
        ("config", "unset", "tokens.issuer"),
        ("profile", "use", "x"),
    ],
    ids=" ".join,
)
def test_a_command_that_needs_the_users_configuration_file_names_the_variables_to_set(
    homeless: Machine, words: tuple[str, ...]
) -> None:
    error = refused(run_homeless(homeless, *words, "-o", "json"), 9, "storage.home_missing")
    for name in ("HOME", "XDG_CONFIG_HOME", "BACKCTL_CONFIG"):
        assert name in error["hint"]
    assert contents(homeless.home) == {}


@pytest.mark.parametrize(
    "words",
    [
        ("config", "show"),
        ("config", "get", "tokens.issuer"),
        ("config", "validate"),
        ("profile", "list"),
        ("role", "list"),
        ("sanitize",),
    ],
    ids=" ".join,
)
def test_a_command_that_needs_no_folder_works_without_one(homeless: Machine, words: tuple[str, ...]) -> None:
    run_homeless(homeless, *words).succeeded()


def test_a_database_and_a_keyring_from_variables_need_no_home(homeless: Machine) -> None:
    homeless.environment["BACKCTL_DATABASE_URL"] = f"sqlite:///{homeless.home}/accounts.db"
    homeless.environment["BACKCTL_KEYRING_PATH"] = f"{homeless.home}/keys.json"
    run_homeless(homeless, "init").succeeded()
    run_homeless(homeless, *CREATE).succeeded()
    assert run_homeless(homeless, "user", "count").succeeded().out == "1\n"
    run_homeless(homeless, "doctor").succeeded()
    sealed = run_homeless(homeless, "encrypt", "--context", "x", stdin="value").succeeded().out
    assert run_homeless(homeless, "decrypt", "--context", "x", stdin=sealed).succeeded().out == "value"


def test_the_sites_file_needs_no_home(homeless: Machine) -> None:
    folder = homeless.home / "site" / "backctl"
    folder.mkdir(parents=True)
    file = folder / "config.toml"
    file.write_text(
        f'database.url = "sqlite:///{homeless.home}/accounts.db"\nkeyring.path = "{homeless.home}/keys.json"\n'
    )
    homeless.environment["XDG_CONFIG_DIRS"] = str(folder.parent)
    assert run_homeless(homeless, "config", "path").succeeded().out == f"{file}\n"
    run_homeless(homeless, "init").succeeded()
    assert run_homeless(homeless, "user", "count").succeeded().out == "0\n"


def run_nowhere(machine: Machine, *arguments: str) -> Outcome:
    """Run in a working directory that no longer exists."""
    script = 'mkdir gone && cd gone && rmdir ../gone && "$@"'
    return run_command(machine, ["/bin/sh", "-c", script, "sh", *machine.command(*arguments)])


def test_nothing_needs_the_working_directory(machine: Machine) -> None:
    run_nowhere(machine, "init").succeeded()
    run_nowhere(machine, *CREATE).succeeded()
    run_nowhere(machine, "user", "list").succeeded()
    run_nowhere(machine, "user", "deactivate", "ada").succeeded()
    run_nowhere(machine, "user", "delete", "ada", "--yes", "--confirm", "ada", "--dry-run").succeeded()
    (machine.home / "plain").write_bytes(b"content")
    sealed, opened = machine.home / "sealed", machine.home / "opened"
    encrypt = ("encrypt", "--context", "x", "--file", str(machine.home / "plain"), "--out", str(sealed))
    run_nowhere(machine, *encrypt).succeeded()
    decrypt = ("decrypt", "--context", "x", "--file", str(sealed))
    assert run_nowhere(machine, *decrypt).succeeded().out == "content"
    run_nowhere(machine, *decrypt, "--out", str(opened)).succeeded()
    run_nowhere(machine, *GENERATE, "--secret-file", str(machine.home / "password")).succeeded()
    run_nowhere(machine, "db", "backup", str(machine.home / "copy")).succeeded()
    for words in (("doctor",), ("audit", "verify"), ("db", "check"), ("key", "rotate"), ("config", "show")):
        run_nowhere(machine, *words).succeeded()
    run_nowhere(machine, "config", "set", "tokens.issuer", "x").succeeded()


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        (("db", "backup", "copy"), 9),
        (("encrypt", "--context", "x", "--file", "/dev/null", "--out", "out"), 9),
        ((*GENERATE, "--secret-file", "password"), 9),
        (("encrypt", "--context", "x", "--file", "in"), 2),
        (("config", "show", "--config", "config.toml"), 9),
        (("config", "set", "tokens.issuer", "x", "--config", "config.toml"), 9),
    ],
    ids=str,
)
def test_a_relative_path_is_an_error_without_a_working_directory(
    machine: Machine, words: tuple[str, ...], exit_code: int
) -> None:
    machine.run("init").succeeded()
    before = contents(machine.home)
    done = run_nowhere(machine, *words, "-o", "json")
    assert refused(done, exit_code, done.error["code"])["message"].endswith(("such file or directory", "not exist"))
    assert contents(machine.home) == before


@pytest.fixture
def sealed(machine: Machine) -> Path:
    machine.run("init").succeeded()
    (machine.home / "plain").write_bytes(b"content")
    file = machine.home / "sealed"
    machine.run("encrypt", "--context", "x", "--file", "plain", "--out", "sealed").succeeded()
    return file


UNUSABLE = ["missing", "plain", "/proc/nowhere"]


@pytest.mark.parametrize("folder", UNUSABLE)
def test_an_unusable_tmpdir_is_never_replaced_by_another_folder(machine: Machine, sealed: Path, folder: str) -> None:
    decrypt = ("decrypt", "--context", "x", "--file", "sealed")
    done = machine.run(*decrypt, "-o", "json", env={"TMPDIR": folder})
    error = refused(done, 9, "storage.temporary_folder_unusable")
    assert folder in error["message"]
    for way in ("TMPDIR", "--stream", "--out"):
        assert way in error["hint"]
    assert machine.run(*decrypt, "--stream", env={"TMPDIR": folder}).succeeded().out == "content"
    machine.run(*decrypt, "--out", "opened", env={"TMPDIR": folder}).succeeded()


@pytest.mark.parametrize("folder", UNUSABLE)
def test_records_that_are_held_back_need_the_temporary_folder(machine: Machine, sealed: Path, folder: str) -> None:
    encrypt = ("encrypt", "--context", "x", "--lines")
    done = machine.run(*encrypt, "--all-or-nothing", "-o", "json", stdin="a\n", env={"TMPDIR": folder})
    error = refused(done, 9, "storage.temporary_folder_unusable")
    for way in ("TMPDIR", "--all-or-nothing", "--out"):
        assert way in error["hint"]
    machine.run(*encrypt, stdin="a\n", env={"TMPDIR": folder}).succeeded()


def test_a_rehearsal_on_a_fresh_machine_needs_the_temporary_folder(machine: Machine) -> None:
    done = machine.run("init", "--dry-run", "-o", "json", env={"TMPDIR": "missing"})
    refused(done, 9, "storage.temporary_folder_unusable")
    assert contents(machine.home) == {}


_WITHOUT_TEMPORARY_FOLDERS = """
import sys
from backctl.infrastructure.files import temporary
from backctl.presentation.app import run

temporary.SYSTEM_FOLDERS = ("/proc/nowhere", "/proc/nothing")
sys.exit(run(sys.argv[1:]))
"""


def test_plaintext_never_goes_to_the_working_directory(machine: Machine, sealed: Path) -> None:
    decrypt = ("decrypt", "--context", "x", "--file", "sealed")
    error = refused(
        python(machine, _WITHOUT_TEMPORARY_FOLDERS, *decrypt, "-o", "json"), 9, "storage.temporary_folder_unusable"
    )
    assert "TMPDIR" in error["hint"]
    done = python(machine, _WITHOUT_TEMPORARY_FOLDERS, *decrypt, "--stream").succeeded()
    assert done.out == "content"
