"""Imports that are killed, interrupted or run out of space: a rerun completes them, and no password is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.cli.accounts import Person, fresh, populate, python
from tests.cli.conftest import Machine, Outcome
from tests.cli.test_lost_results import unread
from tests.starter import STARTER

DRIVER = str(Path(__file__).with_name("import_driver.py"))
KILL, INT, TERM = (str(int(number)) for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM))

HASH = "$2a$04$abcdefghijklmnopqrstuuE5dHqkWbKEFkjf.Y0Uc2rLjAD1/gYmG"
BATCH = 3
NEW = [f"user{number}" for number in range(9)]
HASHED = NEW[::4]
"""These have a password already; the others get one."""

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
    accounts = {account.username: account.id for account in backend.accounts.stream()}
    events = [(event.type, event.subject) for event in backend.audit.stream()]
print(json.dumps({"accounts": accounts, "works": works, "events": events}))
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = fresh(tmp_path_factory.mktemp("template"))
    populate(machine, [Person("root", role="admin"), Person("ada")])
    rows: list[Mapping[str, object]] = [
        row(name, **({"password_hash": HASH} if name in HASHED else {})) for name in NEW
    ]
    rows[2:2] = [row("ada", role="moderator"), row("bad", role="king")]
    (machine.home / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return machine


@pytest.fixture
def machine(template: Machine, tmp_path: Path) -> Machine:
    home = tmp_path / "home"
    shutil.copytree(template.home, home)
    return Machine(home)


def row(name: str, **members: object) -> dict[str, object]:
    return {"email": f"{name}@example.org", "username": name, **members}


def command(*flags: str, secrets: str = "secrets") -> tuple[str, ...]:
    words = ("user", "import", "rows.jsonl", "--batch-size", str(BATCH), "--generate-passwords", "-o", "json")
    return (*words, "--secret-file", secrets, *flags)


def drive(machine: Machine, point: str, number: int, action: str, *words: str) -> Outcome:
    done = STARTER.run(
        [sys.executable, DRIVER, point, str(number), action, *words],
        stdin=b"",
        env={**machine.environment, "WAL": f"{machine.data}/backctl.db-wal"},
        cwd=machine.home,
        timeout_s=120,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def whole_lines(machine: Machine, name: str) -> list[dict[str, Any]]:
    """Return the complete lines of a file, of which a killed process may have left a part."""
    file = machine.home / name
    if not file.exists():
        return []
    assert file.stat().st_mode & 0o777 == 0o600
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def imported(machine: Machine, secret_files: Sequence[str] = ("secrets",)) -> dict[str, str]:
    """Return the ids of the new accounts. Check that each has one event, and that its last generated password works."""
    last = {secret["id"]: secret for name in secret_files for secret in whole_lines(machine, name)}
    seen = python(machine, _LOOK, stdin=json.dumps(list(last.values()))).succeeded().json
    found = {name: account for name, account in seen["accounts"].items() if name in NEW}
    assert len(seen["accounts"]) == 2 + len(found)
    events = Counter(subject for kind, subject in seen["events"] if kind == "UserImported")
    assert events == Counter(found.values())
    ((is_promoted,),) = machine.rows("SELECT role = 'moderator' FROM users WHERE username = 'ada'")
    assert [kind for kind, _ in seen["events"]].count("UserRoleChanged") == is_promoted
    for name, account in found.items():
        assert name in HASHED or seen["works"][account], name
    return found


def require_results(machine: Machine, found: Mapping[str, str]) -> None:
    """Check that the results name every account that exists, with its id."""
    named = {(each["email"], each["id"]) for each in whole_lines(machine, "results") if each["result"] == "created"}
    assert named >= {(row(name)["email"], account) for name, account in found.items()}


def finished(machine: Machine, before: Mapping[str, str], *words: str) -> None:
    """Run the import again to its end, and check its counts."""
    again = machine.run(*words)
    assert again.code == 7, again.err
    report = again.json
    assert report["total"] == len(NEW) + 2
    assert report["created"] == len(NEW) - len(before)
    assert report["failed"] == sum(report["errors"].values())
    assert report["errors"] == {"role.unknown": 1} | ({"user.email_taken": 1} if "create" in words else {})
    assert report["unchanged"] + report["updated"] == report["total"] - report["created"] - report["failed"]


def finish(machine: Machine, before: Mapping[str, str]) -> None:
    """Resume the import to its end. The accounts that exist keep their ids, and so do those that were lost."""
    given = {each["email"]: each["id"] for each in whole_lines(machine, "results") if each["result"] == "created"}
    finished(machine, before, *command("--mode", "create", "--resume", "results"))
    found = imported(machine)
    assert found.keys() == set(NEW)
    require_results(machine, found)
    assert found.items() >= before.items()
    assert given.items() <= {row(name)["email"]: account for name, account in found.items()}.items()


POINTS = [
    *("secrets-unwritten", "secrets-half-written", "secrets-written", "secrets-flushed"),
    *("results-unwritten", "results-half-written", "results-written", "results-flushed"),
    *("commit-begins", "commit-ended"),
]


@pytest.mark.parametrize("point", POINTS)
def test_an_import_that_was_killed_is_resumed(machine: Machine, point: str) -> None:
    done = drive(machine, point, 2, KILL, *command("--results", "results"))
    assert done.code == -signal.SIGKILL
    before = imported(machine)
    assert len(before) == (4 if point == "commit-ended" else 2)
    require_results(machine, before)
    finish(machine, before)
    assert machine.run(*command("--resume", "results")).json["created"] == 0


@pytest.mark.parametrize(
    ("point", "mode"),
    [
        ("secrets-half-written", "upsert"),
        ("secrets-flushed", "skip"),
        ("commit-begins", "upsert"),
        ("commit-ended", "skip"),
        ("commit-ended", "upsert"),
    ],
)
def test_an_import_that_was_killed_is_repeated(machine: Machine, point: str, mode: str) -> None:
    words = command("--mode", mode)
    assert drive(machine, point, 2, KILL, *words).code == -signal.SIGKILL
    before = imported(machine)
    assert len(before) == (4 if point == "commit-ended" else 2)
    assert machine.run(*words).error["code"] == "file.exists"
    finished(machine, before, *command("--mode", mode, secrets="more-secrets"))
    assert imported(machine, ("secrets", "more-secrets")).keys() == set(NEW)


@pytest.mark.parametrize(("point", "left"), [("results-half-written", 0), ("commit-begins", 0), ("commit-ended", 9)])
def test_all_or_nothing_is_true_of_an_import_that_was_killed(machine: Machine, point: str, left: int) -> None:
    rows = (machine.home / "rows.jsonl").read_text().replace("king", "user").replace("bad", "ada2")
    (machine.home / "rows.jsonl").write_text("".join(line for line in rows.splitlines(True) if "ada2" not in line))
    flags = ("--mode", "upsert", "--all-or-nothing", "--results")
    assert drive(machine, point, 1, KILL, *command(*flags, "results")).code == -signal.SIGKILL
    assert len(imported(machine)) == left
    again = machine.run(*command(*flags, "more", secrets="more-secrets")).succeeded().json
    assert (again["created"], again["updated"]) == (9 - left, 0 if left else 1)
    assert imported(machine, ("secrets", "more-secrets")).keys() == set(NEW)


# Signals.


@pytest.mark.parametrize(
    ("point", "number", "code"),
    [("secrets-half-written", INT, 130), ("results-flushed", TERM, 143), ("commit-ended", INT, 130)],
)
def test_an_import_that_was_interrupted_finishes_its_batch(
    machine: Machine, point: str, number: str, code: int
) -> None:
    done = drive(machine, point, 2, number, *command("--results", "results"))
    assert (done.code, done.out) == (code, "")
    said = [line for line in done.err.splitlines() if not line.startswith("{")]
    assert said == [
        "backctl: finishing the changes that have begun; interrupt again to stop at once",
        f"backctl: stopped: {2 * BATCH} rows done; run it again with --resume FILE to import the rest",
    ]
    before = imported(machine)
    assert len(before) == 4
    assert [each["line"] for each in whole_lines(machine, "results")] == list(range(1, 2 * BATCH + 1))
    finish(machine, before)


@pytest.mark.parametrize("point", ["secrets-written", "results-flushed", "commit-begins", "commit-ended"])
def test_an_import_that_was_interrupted_twice_stops_at_once(machine: Machine, point: str) -> None:
    done = drive(machine, point, 2, f"{INT},{INT}", *command("--results", "results"))
    assert (done.code, done.out) == (130, "")
    assert f"stopped: {BATCH} rows done" in done.err
    before = imported(machine)
    assert len(before) == (4 if point == "commit-ended" else 2)
    require_results(machine, before)
    finish(machine, before)


@pytest.mark.parametrize(("number", "code"), [(INT, 130), (TERM, 143)])
def test_an_import_that_waits_for_its_input_stops_at_once(machine: Machine, number: str, code: int) -> None:
    reading, writing = os.pipe()
    process = machine.start("user", "import", "-", stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.write(writing, b'{"email": "eve@example.org", "username": "eve"}\n')
    while unread(reading):
        assert process.poll() is None
    process.send_signal(int(number))
    out, err = process.communicate(timeout=60)
    os.close(reading)
    os.close(writing)
    assert (process.returncode, out) == (code, b"")
    assert b"stopped: 0 rows done; run it again with --mode skip to import the rest" in err
    assert imported(machine) == {}
    assert machine.run("user", "exists", "eve").code == 3


# Disks.


@pytest.mark.parametrize(
    ("point", "number"),
    [("secrets-unwritten", 1), ("results-half-written", 1), ("secrets-half-written", 2), ("results-written", 2)],
)
def test_a_file_without_space_stops_the_import_before_the_batch(machine: Machine, point: str, number: int) -> None:
    done = drive(machine, point, number, "full", *command("--results", "results"))
    assert (done.code, done.out) == (5, "")
    error = json.loads(done.err.splitlines()[-1])["error"]
    assert (error["code"], error["retryable"]) == ("disk.full", True)
    said = f"backctl: stopped: {BATCH} rows done; run it again with --resume FILE to import the rest"
    said_lines = [line for line in done.err.splitlines() if not line.startswith("{")]
    assert said_lines == ([said] if number == 2 else [])
    before = imported(machine)
    assert len(before) == 2 * (number - 1)
    assert len(whole_lines(machine, "results")) == BATCH * (number - 1)
    if (machine.home / "results").exists():
        finish(machine, before)
    else:
        finished(machine, before, *command("--mode", "skip", "--results", "results", secrets="more-secrets"))


def test_a_database_without_space_stops_the_import_before_the_batch(machine: Machine) -> None:
    done = drive(machine, "secrets-unwritten", 2, "limit", *command("--results", "results"))
    assert (done.code, done.out) == (5, "")
    assert json.loads(done.err.splitlines()[-1])["error"]["code"] == "database.full"
    before = imported(machine)
    assert len(before) == 2
    assert len(whole_lines(machine, "results")) == BATCH
    finish(machine, before)
