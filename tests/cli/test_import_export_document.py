"""The commands and the program of the document about imports and exports work, and its table has every member."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.accounts import Person, populate, python
from tests.cli.conftest import Machine
from tests.cli.documents import ROOT, blocks, run_blocks, runnable
from tests.servers import Servers

from backctl.application.transfer import record

DATA = Path(__file__).parent / "data"
DOCUMENT = "docs/import-export.md"
TEXT = (ROOT / DOCUMENT).read_text(encoding="utf-8")
(DRY_RUN,) = blocks(DOCUMENT, "console", heading="Import accounts")
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


def test_the_commands_of_the_document_work(office: Machine) -> None:
    for ran in run_blocks(office, [block for block in runnable(DOCUMENT) if block is not DRY_RUN]):
        assert "error" not in ran.err, ran.err
    found = [json.loads(line)["username"] for line in (office.home / "after.jsonl").read_text().splitlines()]
    assert {"ada", "bob", "kim", "leo", "argon2", "benjamin", "cat"} <= set(found)
    assert len((office.home / "passwords.jsonl").read_text().splitlines()) == 1
    assert office.run("user", "show", "bob", "--fields", "role", "--no-header").succeeded().out == "moderator\n"
    assert office.run("user", "show", "eve", "--fields", "is_active", "--no-header").succeeded().out == "false\n"
    assert not (office.home / "move.jsonl").exists()


def test_the_dry_run_of_the_document_prints_what_is_shown(machine: Machine) -> None:
    machine.run("init").succeeded()
    (table,) = blocks(DOCUMENT, "csv")
    (machine.home / "staff.csv").write_text(table.text)
    run_blocks(machine, [DRY_RUN])


def test_the_program_of_the_document_works(machine: Machine) -> None:
    populate(machine, [Person("ada", role="admin"), Person("bob")])
    (program,) = blocks(DOCUMENT, "python")
    assert python(machine, program.text).succeeded().out.splitlines() == [
        "1 created ",
        "2 failed there is no such account, and a new one needs username",
        "3 accounts with their secrets",
    ]
    assert (machine.home / "admins.csv").read_text().count("\n") == 3


def test_the_table_has_every_member_in_order() -> None:
    table = TEXT.partition("| member | content |\n|---|---|\n")[2].partition("\n\n")[0]
    names = [name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])]
    assert tuple(names) == record.members(hashes=True, factors=True)


def test_the_account_in_the_document_has_the_members_of_an_account() -> None:
    (line,) = re.findall(r'^\{"id".+\}$', TEXT, re.MULTILINE)
    assert tuple(json.loads(line)) == record.ACCOUNT
