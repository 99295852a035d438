"""The commands and the program of the document about imports and exports work, and its table has every member."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.accounts import Person, populate, python
from tests.cli.conftest import Machine
from tests.servers import Servers

from backctl.application.transfer import record

DATA = Path(__file__).parent / "data"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "import-export.md").read_text(encoding="utf-8")
COMMANDS = "".join(re.findall(r"```sh\n(.+?)```", DOCUMENT, re.DOTALL)).splitlines()
PROFILE = """
[profiles.production]
database.url_file = "{home}/production.url"
keyring.path = "{home}/production.keyring.json"
"""


@pytest.fixture
def office(machine: Machine, servers: Servers) -> Iterator[Machine]:
    """Yield a machine with the files of the document, and an empty database for the profile `production`."""
    populate(machine, [Person("ada", role="admin"), Person("bob")])
    users = json.loads((DATA / "django-users.json").read_text())[:10]
    identities = json.loads((DATA / "kratos-import.json").read_text())["identities"][1:3]
    for name, text in {
        "team.csv": "mail,username,role,phone\nkim@example.org,kim,user,+49 30 901820\neve@former.example,eve,,\n",
        "staff.jsonl": '{"email": "leo@example.org", "username": "leo"}\n',
        "users.json": json.dumps(users),
        "identities.json": json.dumps(identities),
        "staff.txt": "bob\nkim@example.org\n",
    }.items():
        (machine.home / name).write_text(text)
    machine.configure(PROFILE.format(home=machine.home))
    server = servers.postgres(18)
    with server.database() as name:
        (machine.home / "production.url").touch(mode=0o600)
        (machine.home / "production.url").write_text(server.url(name))
        yield machine


def in_a_shell(machine: Machine, line: str) -> tuple[int, str, str]:
    """Run a line in which `backctl` is the program of the machine."""
    done = subprocess.run(
        ["sh", "-c", re.sub(r"\bbackctl\b", lambda _: shlex.join(machine.command()), line)],
        env=machine.environment,
        cwd=machine.home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_commands_of_the_document_work(office: Machine) -> None:
    for line in COMMANDS:
        code, _, errors = in_a_shell(office, line)
        assert (code, "error" in errors) == (0, False), f"{line}: {errors}"
    found = [json.loads(line)["username"] for line in (office.home / "after.jsonl").read_text().splitlines()]
    assert {"ada", "bob", "kim", "leo", "argon2", "benjamin", "cat"} <= set(found)
    assert len((office.home / "passwords.jsonl").read_text().splitlines()) == 1
    assert office.run("user", "show", "bob", "--fields", "role", "--no-header").succeeded().out == "moderator\n"
    assert office.run("user", "show", "eve", "--fields", "is_active", "--no-header").succeeded().out == "false\n"
    assert not (office.home / "move.jsonl").exists()


def test_the_dry_run_of_the_document_prints_what_is_shown(machine: Machine) -> None:
    machine.run("init").succeeded()
    (table,) = re.findall(r"```csv\n(.+?)```", DOCUMENT, re.DOTALL)
    (machine.home / "staff.csv").write_text(table)
    (line, shown) = re.findall(r"^\$ (backctl user import .+)\n((?:\{.+\n)+)", DOCUMENT, re.MULTILINE)[0]
    code, out, errors = in_a_shell(machine, line)
    assert code == 7
    assert [*errors.splitlines()[:-1], *out.splitlines()] == shown.splitlines()


def test_the_program_of_the_document_works(machine: Machine) -> None:
    populate(machine, [Person("ada", role="admin"), Person("bob")])
    (program,) = re.findall(r"```python\n(.+?)```", DOCUMENT, re.DOTALL)
    assert python(machine, program).succeeded().out.splitlines() == [
        "1 created ",
        "2 failed there is no such account, and a new one needs username",
        "3 accounts with their secrets",
    ]
    assert (machine.home / "admins.csv").read_text().count("\n") == 3


def test_the_table_has_every_member_in_order() -> None:
    table = DOCUMENT.partition("| member | content |\n|---|---|\n")[2].partition("\n\n")[0]
    names = [name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])]
    assert tuple(names) == record.members(hashes=True, factors=True)


def test_the_account_in_the_document_has_the_members_of_an_account() -> None:
    (line,) = re.findall(r'^\{"id".+\}$', DOCUMENT, re.MULTILINE)
    assert tuple(json.loads(line)) == record.ACCOUNT
