"""Commands that write other files than the database to a full disk: one error, and nothing is changed."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine, Outcome
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.processes import has_disks_of_its_own, on_a_full_disk, run_command

PEOPLE = [Person("ada", "admin"), Person("bob")]
CREATE = ("user", "create", "eve@example.org", "--username", "eve", "--generate-password", "--secret-file")
SET = ("user", "set-password", "bob", "--generate-password", "--secret-file")

COMMANDS = {
    "a password": (*CREATE, "full/secret.txt"),
    "another password": (*SET, "full/secret.txt"),
    "a copy": ("db", "backup", "full/copy.db"),
    "a new file": ("encrypt", "--context", "", "--file", "plain", "--out", "full/out"),
    "a replaced file": ("encrypt", "--context", "", "--file", "plain", "--out", "full/out", "--overwrite"),
    "an export": ("user", "export", "--out", "full/accounts"),
    "the results of an import": ("user", "import", "rows.jsonl", "--results", "full/results"),
    "the passwords of an import": (
        "user",
        "import",
        "rows.jsonl",
        "--generate-passwords",
        "--secret-file",
        "full/made",
    ),
    "the configuration": ("config", "set", "passwords.min_length", "10", "--config", "full/config.toml"),
}
FILES = {
    what: next(word for word in command if word.startswith("full/")).removeprefix("full/")
    for what, command in COMMANDS.items()
}
WITHOUT_DATABASE = ("a new file", "a replaced file", "the configuration")


@pytest.fixture
def full(installed: Machine) -> Path:
    (installed.home / "plain").write_bytes(b"x" * 3000)
    (installed.home / "rows.jsonl").write_text('{"email": "eve@example.org", "username": "eve"}\n')
    folder = installed.home / "full"
    folder.mkdir()
    return folder


def written(installed: Machine) -> dict[str, bytes | None]:
    """Return all files, except for the WAL of the database while it is empty."""
    found = contents(installed.home)
    return {name: content for name, content in found.items() if content or not name.endswith("-wal")}


def without_room(outcome: Outcome, *, uses_database: bool) -> dict[str, Any]:
    """Check and return the error. Without a separate disk for the file, the database can run out of space first."""
    code = outcome.error["code"]
    if not has_disks_of_its_own() and uses_database and code != "disk.full":
        return refused(outcome, 5, "database.full")
    return refused(outcome, 5, "disk.full")


@pytest.mark.parametrize("what", COMMANDS)
def test_a_full_disk_is_told_and_nothing_is_changed(installed: Machine, full: Path, what: str) -> None:
    before = written(installed)
    command = on_a_full_disk(full, installed.command(*COMMANDS[what], "-o", "json"))
    error = without_room(run_command(installed, command), uses_database=what not in WITHOUT_DATABASE)
    assert error["retryable"] is True
    assert error["code"] == "database.full" or f"full/{FILES[what]}" in error["message"]
    assert written(installed) == before


def test_a_private_key_for_which_there_is_no_room_has_not_left(installed: Machine, full: Path) -> None:
    kid = installed.run("key", "list", "--fields", "id", "--no-header").succeeded().out.split()[0]
    export = ("key", "export", kid, "--private", "--secret-file", "full/key.json", "-o", "json")
    without_room(run_command(installed, on_a_full_disk(full, installed.command(*export))), uses_database=True)
    assert installed.rows("SELECT count(*) FROM events WHERE type = 'KeyExported'") == [(0,)]
    assert os.listdir(full) == []
