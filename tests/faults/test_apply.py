"""Applies that are killed, interrupted or run out of space: a repetition completes them, and no password is lost."""

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.cli.accounts import Person, fresh, populate, python
from tests.cli.conftest import Machine, Outcome
from tests.faults.test_import import DRIVER, HASH, INT, KILL, TERM, whole_lines
from tests.starter import STARTER

BATCH = 3
NEW = [f"user{number}" for number in range(9)]
HASHED = NEW[::4]
"""These have a given hash; passwords are generated for the others."""
TOTAL = len(NEW) + 2

_LOOK = """
import json, sys
import backctl
from backctl.domain.values import Secret

with backctl.open_backend() as backend:
    assert backend.audit.verify().ok
    me = backend.by("test")
    works = {
        secret["id"]: backend.authentication.authenticate(secret["username"], Secret(secret["password"]), by=me).ok
        for secret in json.load(sys.stdin)
    }
    accounts = {each.username: [each.id, each.role, each.is_active] for each in backend.accounts.stream()}
    events = [(event.type, event.subject) for event in backend.audit.stream()]
print(json.dumps({"accounts": accounts, "works": works, "events": events}))
"""


def entry(name: str, **members: object) -> dict[str, object]:
    return {"email": f"{name}@example.org", "username": name, **members}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """An installation with a seed: two new accounts and one change in each batch, and new accounts at the end."""
    machine = fresh(tmp_path_factory.mktemp("template"))
    populate(machine, [Person("root", role="admin"), Person("ada"), Person("eve")])
    (machine.home / "test.hash").write_text(HASH + "\n")
    users = [
        entry(
            name, **({"password_hash": {"file": "test.hash"}} if name in HASHED else {"password": {"generate": True}})
        )
        for name in NEW
    ]
    users[2:2] = [entry("ada", role="moderator")]
    users[5:5] = [entry("eve", state="closed")]
    (machine.home / "seed.json").write_text(json.dumps({"version": 1, "name": "ci", "users": users}))
    return machine


@pytest.fixture
def machine(template: Machine, tmp_path: Path) -> Machine:
    home = tmp_path / "home"
    shutil.copytree(template.home, home)
    return Machine(home)


def command(*flags: str, secrets: str = "secrets") -> tuple[str, ...]:
    return ("apply", "seed.json", "--secret-file", secrets, "-o", "json", *flags)


def drive(machine: Machine, point: str, number: int, action: str, *words: str) -> Outcome:
    environment = {"WAL": f"{machine.data}/backctl.db-wal", "APPLY_BATCH": str(BATCH)}
    done = STARTER.run(
        [sys.executable, DRIVER, point, str(number), action, *words],
        stdin=b"",
        env={**machine.environment, **environment},
        cwd=machine.home,
        timeout_s=120,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def seeded(machine: Machine, secret_files: Sequence[str] = ("secrets",)) -> dict[str, str]:
    """Return the ids of the new accounts.

    Check that each has one event and a label, that its last generated password works, and that the other accounts were
    changed at most once.
    """
    last = {secret["id"]: secret for name in secret_files for secret in whole_lines(machine, name)}
    seen = python(machine, _LOOK, stdin=json.dumps(list(last.values()))).succeeded().json
    found = {name: account for name, (account, _, _) in seen["accounts"].items() if name in NEW}
    assert len(seen["accounts"]) == 3 + len(found)
    for kind in ("UserCreated", "UserSeeded"):
        made = Counter(subject for event, subject in seen["events"] if event == kind)
        assert {subject: made[subject] for subject in found.values()} == dict.fromkeys(found.values(), 1)
        assert made.total() == len(found) + (3 if kind == "UserCreated" else 0)
    assert {account for (account,) in machine.rows("SELECT user_id FROM seeded_accounts")} == set(found.values())
    kinds = Counter(event for event, _ in seen["events"])
    assert kinds["UserRoleChanged"] == (seen["accounts"]["ada"][1] == "moderator")
    assert kinds["UserDeactivated"] == (not seen["accounts"]["eve"][2])
    for name, account in found.items():
        assert name in HASHED or seen["works"][account], name
    return found


def finish(machine: Machine, before: dict[str, str], *flags: str) -> None:
    """Apply the seed again to its end, and once more, which changes nothing. The accounts that exist keep their ids."""
    again = machine.run(*command(*flags)).succeeded().json
    assert again["created"] == len(NEW) - len(before)
    assert sum(again[name] for name in ("created", "updated", "closed", "unchanged")) == TOTAL
    found = seeded(machine)
    assert found.keys() == set(NEW)
    assert found.items() >= before.items()
    last = machine.run(*command()).succeeded().json
    assert (last["changed"], last["unchanged"]) == (False, TOTAL)
    assert machine.run("plan", "seed.json", "--detailed-exitcode").code == 0


def said(done: Outcome) -> list[str]:
    return [line for line in done.err.splitlines() if not line.startswith("{")]


STOPPED = "accounts done; run the same command again to finish the rest"


@pytest.mark.parametrize(
    "point",
    [
        *("secrets-unwritten", "secrets-half-written", "secrets-written", "secrets-flushed"),
        *("commit-begins", "commit-ended"),
    ],
)
def test_an_apply_that_was_killed_is_finished_by_the_same_command(machine: Machine, point: str) -> None:
    assert drive(machine, point, 2, KILL, *command()).code == -signal.SIGKILL
    before = seeded(machine)
    assert len(before) == (4 if point == "commit-ended" else 2)
    finish(machine, before)


@pytest.mark.parametrize(("point", "left"), [("secrets-half-written", 0), ("commit-begins", 0), ("commit-ended", 9)])
def test_all_or_nothing_is_true_of_an_apply_that_was_killed(machine: Machine, point: str, left: int) -> None:
    assert drive(machine, point, 1, KILL, *command("--all-or-nothing")).code == -signal.SIGKILL
    before = seeded(machine)
    assert len(before) == left
    finish(machine, before, "--all-or-nothing")


@pytest.mark.parametrize(("point", "left"), [("secrets-flushed", 2), ("commit-ended", 4)])
def test_a_saved_plan_whose_apply_was_killed_is_stale(machine: Machine, point: str, left: int) -> None:
    machine.run("plan", "seed.json", "--out", "saved.json").succeeded()
    words = ("apply", "saved.json", "--secret-file", "secrets", "-o", "json")
    assert drive(machine, point, 2, KILL, *words).code == -signal.SIGKILL
    before = seeded(machine)
    assert len(before) == left
    again = machine.run(*words)
    assert (again.code, again.error["code"]) == (4, "plan.stale")
    assert seeded(machine) == before
    finish(machine, before)


# Signals.


@pytest.mark.parametrize(
    ("point", "number", "code"), [("secrets-half-written", INT, 130), ("commit-begins", TERM, 143)]
)
def test_an_apply_that_was_interrupted_finishes_its_batch(machine: Machine, point: str, number: str, code: int) -> None:
    done = drive(machine, point, 2, number, *command())
    assert (done.code, done.out) == (code, "")
    assert said(done) == [
        "backctl: finishing the changes that have begun; interrupt again to stop at once",
        f"backctl: stopped: {2 * BATCH} of {TOTAL} {STOPPED}",
    ]
    before = seeded(machine)
    assert len(before) == 4
    finish(machine, before)


@pytest.mark.parametrize("point", ["secrets-written", "commit-begins", "commit-ended"])
def test_an_apply_that_was_interrupted_twice_stops_at_once(machine: Machine, point: str) -> None:
    done = drive(machine, point, 2, f"{INT},{INT}", *command())
    assert (done.code, done.out) == (130, "")
    assert f"backctl: stopped: {BATCH} of {TOTAL} {STOPPED}" in said(done)
    before = seeded(machine)
    assert len(before) == (4 if point == "commit-ended" else 2)
    finish(machine, before)


# Disks.


@pytest.mark.parametrize(("point", "number"), [("secrets-unwritten", 1), ("secrets-half-written", 2)])
def test_a_file_without_space_stops_the_apply_before_the_batch(machine: Machine, point: str, number: int) -> None:
    done = drive(machine, point, number, "full", *command())
    assert (done.code, done.out) == (5, "")
    assert json.loads(done.err.splitlines()[-1])["error"]["code"] == "disk.full"
    assert said(done) == ([f"backctl: stopped: {BATCH} of {TOTAL} {STOPPED}"] if number == 2 else [])
    before = seeded(machine)
    assert len(before) == 2 * (number - 1)
    assert len(whole_lines(machine, "secrets")) == number - 1
    finish(machine, before)


def test_a_database_without_space_stops_the_apply_before_the_batch(machine: Machine) -> None:
    done = drive(machine, "secrets-unwritten", 2, "limit", *command())
    assert (done.code, done.out) == (5, "")
    assert json.loads(done.err.splitlines()[-1])["error"]["code"] == "database.full"
    before = seeded(machine)
    assert len(before) == 2
    finish(machine, before)


# Several processes.


def test_two_processes_apply_one_file_at_once(machine: Machine) -> None:
    """Each account is changed by one of them, whose file has its password."""
    files = ("secrets", "more-secrets")
    processes = [
        subprocess.Popen(
            [sys.executable, DRIVER, "never", "1", KILL, *command(secrets=file)],
            stdout=subprocess.PIPE,
            env={**machine.environment, "APPLY_BATCH": str(BATCH)},
            cwd=machine.home,
        )
        for file in files
    ]
    reports = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    for name, number in (("created", 9), ("updated", 1), ("closed", 1)):
        assert sum(report[name] for report in reports) == number
    found = seeded(machine, files)
    assert found.keys() == set(NEW)
    generated = [secret["id"] for file in files for secret in whole_lines(machine, file)]
    assert sorted(generated) == sorted(account for name, account in found.items() if name not in HASHED)
