"""The seed files, the commands and the program of the document about seeding work, and its tables have every member."""

import json
import re

import pytest
from tests.cli.accounts import python
from tests.cli.conftest import Machine
from tests.cli.documents import ROOT, blocks, run_document

from backctl.application.seeding.schema import DEFAULTS, GENERATE, SEED, USER

DOCUMENT = "docs/seeding.md"
TEXT = (ROOT / DOCUMENT).read_text(encoding="utf-8")
FILES = {
    "ci-seed": "seed.yaml",
    "wrong": "wrong.yaml",
    "service-accounts": "services.yaml",
    "leavers": "leavers.yaml",
}
"""The names of the YAML files, by the names of their seeds."""
HASH = "$2b$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
READ = """
import sys
import backctl

with backctl.open_backend() as backend:
    (seed,) = backend.seeding.read(sys.argv[1:]).seeds
    print(seed.name, seed.reason, [(user.id, user.state, user.values) for user in seed.users])
"""


@pytest.fixture
def office(machine: Machine) -> Machine:
    """Return a machine with the files and the variables of the document."""
    for block in blocks(DOCUMENT, "yaml"):
        (name,) = re.findall(r"^name: (.+)$", block.text, re.MULTILINE)
        (machine.home / FILES[name]).write_text(block.text)
    (machine.home / "test.hash").write_text(f"{HASH}\n")
    machine.environment |= {
        "SEED_ADMIN_PASSWORD": "a pint of cold tea",
        "SEED_TOTP": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
        "SEED_DEPLOY_PASSWORD": "a cup of green tea",
    }
    return machine


def test_the_commands_of_the_document_work_in_their_order(office: Machine) -> None:
    run_document(office, DOCUMENT)
    roles = office.run("user", "list", "--all", "--role", "admin", "--fields", "username", "--no-header").succeeded()
    assert roles.out == "admin\n"
    (generated,) = map(json.loads, (office.home / "passwords.jsonl").read_text().splitlines())
    for name, password in (("support", generated["password"]), ("deploy", "a cup of green tea")):
        office.run("user", "check-password", name, "-q", "--password-stdin", stdin=password).succeeded()
    assert "a pint of cold tea" not in (office.home / "changes.plan").read_text()
    schema = json.loads((office.home / "seed.schema.json").read_text())
    assert set(schema["properties"]) == set(SEED.members)


def test_the_files_in_toml_and_json_declare_the_same_accounts(office: Machine) -> None:
    office.run("init").succeeded()
    declared = set[str]()
    for name in ("toml", "json"):
        (block,) = blocks(DOCUMENT, name)
        (office.home / f"seed.{name}").write_text(block.text)
        declared.add(python(office, READ, f"seed.{name}").succeeded().out)
    assert len(declared) == 1
    assert "ci-seed CI seed" in declared.pop()


def test_the_program_of_the_document_works(office: Machine) -> None:
    office.run("init").succeeded()
    (program,) = blocks(DOCUMENT, "python")
    lines = python(office, program.text).succeeded().out.splitlines()
    assert lines[0].startswith("create admin@example.org {}")
    assert lines[-1] == "203 created, 0 unchanged"


@pytest.mark.parametrize(
    ("title", "members"),
    [
        ("the file", set(SEED.members)),
        ("`defaults`", set(DEFAULTS.members)),
        ("an account", set(USER.members)),
        ("`generate`", set(GENERATE.members) - (set(USER.members) - {"email", "username"})),
    ],
)
def test_the_tables_have_every_member(title: str, members: set[str]) -> None:
    table = TEXT.partition(f"| in {title} | content |\n|---|---|\n")[2].partition("\n\n")[0]
    assert {line.split("`")[1] for line in table.splitlines()} == members


def test_generated_accounts_have_the_members_that_the_document_says() -> None:
    assert set(USER.members) - set(GENERATE.members) == {"id", "mfa"}
