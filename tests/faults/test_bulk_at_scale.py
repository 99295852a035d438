"""Bulk commands over thousands of accounts that are killed: whole changes remain, and a rerun finishes the rest."""

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.cli.accounts import Person, fresh, populate
from tests.cli.conftest import Machine
from tests.cli.processes import stop_when
from tests.faults.test_interruption import count

CROWD = 2000
NAMES = [f"person{number:04}" for number in range(CROWD)]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Return an installation with many accounts, half of them inactive, and a file with their names."""
    machine = fresh(tmp_path_factory.mktemp("template"))
    populate(machine, [Person("root", role="admin")])
    rows = [
        {"email": f"{name}@example.org", "username": name, "is_active": number >= CROWD // 2}
        for number, name in enumerate(NAMES)
    ]
    (machine.home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert machine.run("user", "import", "rows.jsonl", "-o", "json").succeeded().json["created"] == CROWD
    (machine.home / "names").write_text("".join(f"{name}\n" for name in NAMES))
    return machine


@pytest.fixture
def crowded(template: Machine, tmp_path: Path) -> Machine:
    home = tmp_path / "home"
    shutil.copytree(template.home, home)
    return Machine(home)


@pytest.mark.parametrize(
    ("words", "event", "changing"),
    [
        (("user", "deactivate", "--yes"), "UserDeactivated", CROWD // 2),
        (("user", "activate", "--yes"), "UserActivated", CROWD // 2),
        (("role", "assign", "moderator", "--yes"), "UserRoleChanged", CROWD),
        (("user", "delete", "--if-exists", "--confirm", str(CROWD)), "UserDeleted", CROWD),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_a_bulk_command_that_was_killed_is_finished_by_a_rerun(
    crowded: Machine, words: tuple[str, ...], event: str, changing: int
) -> None:
    command = (*words, "--from-file", "names", "-o", "json")

    def recorded() -> int:
        return count(crowded, f"events WHERE type = '{event}'")

    process = crowded.start(*command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stop_when(process, lambda: recorded() > 0)
    assert process.wait(timeout=60) == -signal.SIGKILL
    made = recorded()
    assert 0 < made < changing
    assert {
        "UserDeactivated": count(crowded, "users WHERE NOT is_active") - CROWD // 2,
        "UserActivated": count(crowded, "users WHERE is_active") - CROWD // 2 - 1,
        "UserRoleChanged": count(crowded, "users WHERE role = 'moderator'"),
        "UserDeleted": CROWD + 1 - count(crowded, "users"),
    }[event] == made
    crowded.run("audit", "verify").succeeded()
    again = crowded.run(*command).succeeded().json
    assert len(again["items"]) == CROWD
    assert again["summary"] == {
        "total": CROWD,
        "changed": changing - made,
        "unchanged": CROWD - changing + made,
        "failed": 0,
    }
    assert recorded() == changing
    crowded.run("audit", "verify").succeeded()
