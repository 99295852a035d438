"""The commands and the program of the document about imports and exports work, and its table has every member."""

import json
import re
import shlex
import subprocess
from pathlib import Path

from tests.cli.accounts import Person, populate, python
from tests.cli.conftest import Machine

from backctl.application.transfer import record

DOCUMENT = (Path(__file__).parents[2] / "docs" / "import-export.md").read_text(encoding="utf-8")


def test_the_commands_of_the_document_work(machine: Machine) -> None:
    populate(machine, [Person("ada", role="admin"), Person("bob")])
    blocks = re.findall(r"```sh\n(.+?)```", DOCUMENT, re.DOTALL)
    for line in "".join(blocks).splitlines():
        command = line.replace("backctl", shlex.join(machine.command()))
        done = subprocess.run(
            ["sh", "-c", command], env=machine.environment, cwd=machine.home, capture_output=True, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, b""), line


def test_the_program_of_the_document_works(machine: Machine) -> None:
    populate(machine, [Person("ada", role="admin"), Person("bob")])
    (program,) = re.findall(r"```python\n(.+?)```", DOCUMENT, re.DOTALL)
    assert python(machine, program).succeeded().out == "2 accounts with their secrets\n"
    assert (machine.home / "admins.csv").read_text().count("\n") == 2


def test_the_table_has_every_member_in_order() -> None:
    table = DOCUMENT.partition("| member | content |\n|---|---|\n")[2].partition("\n\n")[0]
    names = [name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])]
    assert tuple(names) == record.members(hashes=True, factors=True)


def test_the_account_in_the_document_has_the_members_of_an_account() -> None:
    (line,) = re.findall(r"^\{.+\}$", DOCUMENT, re.MULTILINE)
    assert tuple(json.loads(line)) == record.ACCOUNT
