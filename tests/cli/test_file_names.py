"""A file name may be any bytes: every option, argument and variable that takes a path accepts one that is not UTF-8."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.cli.conftest import Machine

NAME = os.fsdecode(b"caf\xe9")  # Latin-1
CONTEXT = ("--context", "x")


@pytest.fixture
def files(machine: Machine) -> Machine:
    """A machine with an account and files under such names."""
    machine.create_user("ada")
    (machine.home / NAME).write_text("correct horse battery staple")
    (machine.home / f"{NAME}.ids").write_text("ada\n")
    (machine.home / f"{NAME}.toml").touch(mode=0o600)
    machine.run("encrypt", *CONTEXT, "--file", NAME, "--out", f"{NAME}.sealed").succeeded()
    machine.run("encrypt", *CONTEXT, "--value-file", NAME).succeeded()
    return machine


@pytest.mark.parametrize(
    "words",
    [
        ("encrypt", *CONTEXT, "--file", NAME, "--out", f"{NAME}.out"),
        ("encrypt", *CONTEXT, "--value-file", NAME),
        ("encrypt", *CONTEXT, "--lines", "--file", NAME),
        ("decrypt", *CONTEXT, "--file", f"{NAME}.sealed"),
        ("decrypt", *CONTEXT, "--file", f"{NAME}.sealed", "--out", f"{NAME}.out"),
        ("reencrypt", *CONTEXT, "--file", f"{NAME}.sealed", "--out", f"{NAME}.out"),
        ("db", "backup", f"{NAME}.copy"),
        ("user", "set-password", "ada", "--password-file", NAME),
        ("user", "set-password", "ada", "--generate-password", "--secret-file", f"{NAME}.new"),
        ("user", "deactivate", "--from-file", f"{NAME}.ids"),
        ("key", "wrap", "--passphrase-file", NAME),
        ("config", "show", "--config", f"{NAME}.toml"),
        ("config", "set", "tokens.issuer", "x", "--config", f"{NAME}.toml"),
        ("config", "validate", f"{NAME}.toml"),
    ],
    ids=lambda words: " ".join(words).encode(errors="replace").decode(),
)
@pytest.mark.parametrize("form", ["tsv", "json"])
def test_a_path_is_bytes(files: Machine, words: tuple[str, ...], form: str) -> None:
    files.run(*words, "-o", form).succeeded()


def test_a_missing_file_is_named(files: Machine) -> None:
    done = files.run("encrypt", *CONTEXT, "--file", f"{NAME}.missing")
    assert done.code == 2
    assert "caf\\udce9.missing" in done.err


def test_the_path_of_the_configuration_file_is_printed_unchanged(files: Machine) -> None:
    environment = {**files.environment, "BACKCTL_CONFIG": f"{NAME}.toml"}
    printed = subprocess.check_output(files.command("config", "path"), env=environment, cwd=files.home)
    assert printed == b"caf\xe9.toml\n"
    done = files.run("config", "path", "-o", "json", env={"BACKCTL_CONFIG": f"{NAME}.toml"})
    assert done.succeeded().json["file"].endswith("\udce9.toml")


def test_variables_and_folders_may_have_any_bytes(machine: Machine) -> None:
    folder = machine.home / NAME
    folder.mkdir()
    machine.environment["BACKCTL_DATABASE_URL"] = f"sqlite:///{folder}/accounts.db"
    machine.environment["BACKCTL_KEYRING_PATH"] = f"{folder}/keys.json"
    machine.run("init").succeeded()
    machine.run("user", "create", "ada@example.org", "--username", "ada", "--no-password").succeeded()
    for words in (("doctor",), ("config", "show"), ("config", "show", "-o", "json"), ("db", "status"), ("db", "check")):
        machine.run(*words).succeeded()
    assert sorted(path.name for path in Path(folder).glob("*.[dj]*")) == ["accounts.db", "keys.json"]


def test_a_home_folder_may_have_any_bytes(machine: Machine) -> None:
    home = machine.home / NAME
    home.mkdir()
    machine.environment["HOME"] = str(home)
    machine.run("init").succeeded()
    machine.run("doctor").succeeded()
    machine.run("config", "set", "tokens.issuer", "x").succeeded()
    assert machine.run("user", "count").succeeded().out == "0\n"
