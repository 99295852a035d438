"""The jobs of the document about CI run on real servers, and the commands of the document work."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from tests.cli.accounts import fresh
from tests.cli.conftest import Machine, Storage
from tests.cli.documents import blocks, run_blocks, runnable
from tests.cli.machines import ServerStorage
from tests.cli.scripts import programs, run_script
from tests.programs import path_of
from tests.redis_stores import redis_url
from tests.servers import Servers

pytestmark = pytest.mark.every_database

DOCUMENT = "docs/ci.md"
SEED, GITHUB, GITLAB = (block.text for block in blocks(DOCUMENT, "yaml"))
KEYRING, UPLOAD, REVIEWED = runnable(DOCUMENT)
GH = '#!/bin/sh\ncat > "$HOME/$3"\n'
"""What stands for GitHub's program: `gh secret set NAME` writes its input to a file."""
DECLARED = {
    ("admin@example.org", "admin", "admin", True),
    ("ci@example.org", "ci-runner", "user", True),
    ("old@example.org", "old", "user", False),
    *((f"user{number}@example.org", f"user{number}", "user", True) for number in range(1, 201)),
}
ADMIN_PASSWORD = "a pint of cold tea"

Job = tuple[str, Mapping[str, str]]
"""The script of a job without the installation of backctl, and its environment."""


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make the secrets of the document as it says."""
    machine = fresh(tmp_path_factory.mktemp("secrets"))
    (programs(machine) / "gh").write_text(GH)
    (programs(machine) / "gh").chmod(0o755)
    run_blocks(machine, [KEYRING, UPLOAD] if path_of("jq") else [KEYRING])
    folder = machine.home / "ci-secrets"
    exported = json.loads((folder / "account.json").read_text())
    if path_of("jq"):
        assert (machine.home / "BACKCTL_KEYRING_DOCUMENT").read_bytes() == (folder / "keyring.json").read_bytes()
        assert (machine.home / "SEED_USER_HASH").read_text() == exported["password_hash"]
    return {
        "BACKCTL_KEYRING_DOCUMENT": (folder / "keyring.json").read_text(),
        "SEED_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "SEED_TOTP": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
        "SEED_USER_HASH": exported["password_hash"],
        "password": (folder / "password").read_text(),
    }


@pytest.fixture
def runner(tmp_path: Path, storage: Storage, servers: Servers, secrets: dict[str, str]) -> Machine:
    """Return a machine whose database is empty, with the seed file and the secrets."""
    machine = fresh(tmp_path)
    machine.environment |= {name: value for name, value in secrets.items() if name.isupper()}
    if isinstance(storage, ServerStorage):
        machine.environment["BACKCTL_DATABASE_URL"] = storage.new_url(tmp_path)
        machine.environment["BACKCTL_REDIS_URL"] = redis_url(servers, "redis")
    (machine.home / "seed.yaml").write_text(SEED)
    return machine


def github() -> Job:
    job: dict[str, Any] = yaml.safe_load(GITHUB)["jobs"]["seed"]
    services = job["services"]
    assert [services[name]["image"] for name in ("postgres", "redis")] == ["postgres:16", "redis:7"]
    require_same_database(job["env"]["BACKCTL_DATABASE_URL"], services["postgres"]["env"], "localhost")
    install, *steps = [step["run"] for step in job["steps"] if "run" in step]
    assert install == "pip install ./backctl"
    return "".join(steps), job["env"]


def gitlab() -> Job:
    job: dict[str, Any] = yaml.safe_load(GITLAB)["seed"]
    assert job["services"] == ["postgres:16", "redis:7"]
    require_same_database(job["variables"]["BACKCTL_DATABASE_URL"], job["variables"], "postgres")
    assert job["before_script"] == ["pip install ./backctl"]
    return "\n".join(job["script"]), job["variables"]


def require_same_database(url: str, service: dict[str, str], host: str) -> None:
    """Check that a URL means the database that the service creates."""
    parts = urlsplit(url)
    assert (parts.hostname, parts.port, parts.path) == (host, 5432, f"/{service['POSTGRES_DB']}")
    assert (parts.username, parts.password) == (service["POSTGRES_USER"], service["POSTGRES_PASSWORD"])


@pytest.mark.parametrize(("shell", "job"), [("bash", github), ("sh", gitlab)], ids=["github", "gitlab"])
def test_the_job_seeds_an_empty_database_and_finds_what_changes(
    runner: Machine, secrets: Mapping[str, str], shell: str, job: Callable[[], Job]
) -> None:
    script, environment = job()
    assert {name for name, value in environment.items() if f"${{{{ secrets.{name} }}}}" == value} <= set(secrets)
    assert re.findall(r"backctl (\w+)", script) == ["init", "apply", "apply", "plan"]

    actor = {"BACKCTL_ACTOR": environment["BACKCTL_ACTOR"]}
    lines = run_script(runner, shell, script, environment=actor).splitlines()
    applied = [line.split("\t") for line in lines if line.startswith("ci-seed\t")]
    assert [(row[1], row[6], row[7]) for row in applied] == [("203", "0", "true"), ("0", "203", "false")]
    assert exported(runner) == DECLARED
    assert seeded(runner, environment["BACKCTL_ACTOR"]) == {username for _, username, _, _ in DECLARED}
    require_logins(runner, secrets)

    edited = SEED.replace("username: ci-runner,", "username: ci-runner, role: moderator,").replace(
        "count: 200", "count: 201"
    )
    (runner.home / "seed.yaml").write_text(edited)
    assert planned(runner) == {
        ("update", "ci-runner"): {"role": {"before": "user", "after": "moderator"}},
        ("create", "user201"): None,
    }
    runner.run("apply", "seed.yaml").succeeded()
    assert planned(runner) == {}
    assert exported(runner) == DECLARED - {("ci@example.org", "ci-runner", "user", True)} | {
        ("ci@example.org", "ci-runner", "moderator", True),
        ("user201@example.org", "user201", "user", True),
    }
    runner.run("audit", "verify").succeeded()


def test_a_plan_names_exactly_what_was_changed_by_hand(runner: Machine) -> None:
    runner.run("init").succeeded()
    runner.run("apply", "seed.yaml").succeeded()
    runner.run("user", "deactivate", "user7").succeeded()
    runner.run("role", "assign", "moderator", "user8", "--yes").succeeded()
    runner.run("user", "create", "eve@example.org", "--username", "eve", "--no-password").succeeded()
    runner.run("user", "set-password", "user9", "--password-stdin", stdin="a pint of warm tea").succeeded()
    assert planned(runner) == {
        ("open", "user7"): {"is_active": {"before": False, "after": True}},
        ("update", "user8"): {"role": {"before": "moderator", "after": "user"}},
    }
    runner.run("apply", "seed.yaml").succeeded()
    assert exported(runner) == DECLARED | {("eve@example.org", "eve", "user", True)}


def test_the_plan_that_was_reviewed_is_applied(runner: Machine) -> None:
    runner.run("init").succeeded()
    runner.run("apply", "seed.yaml").succeeded()
    (reviewed,) = run_blocks(runner, [REVIEWED])
    assert reviewed.out.endswith("nothing to change\n")
    (runner.home / "changes.plan").unlink()
    runner.run("user", "activate", "old").succeeded()
    run_blocks(runner, [REVIEWED])
    assert exported(runner) == DECLARED
    assert runner.run("apply", "changes.plan").code == 4


def planned(machine: Machine) -> dict[tuple[str, str], Any]:
    """Return what a plan would change, and check its exit code. The values of a new account are left out."""
    done = machine.run("plan", "seed.yaml", "--detailed-exitcode", "-o", "json")
    items = done.json["items"]
    assert done.code == (10 if items else 0), done.err
    return {
        (item["action"], item["username"]): None if item["action"] == "create" else item["changes"] for item in items
    }


def exported(machine: Machine) -> set[tuple[str, str, str, bool]]:
    lines = machine.run("user", "export").succeeded().out.splitlines()
    accounts = list(map(json.loads, lines))
    return {(one["email"], one["username"], one["role"], one["is_active"]) for one in accounts}


def seeded(machine: Machine, actor: str) -> set[str]:
    """Return the usernames of the accounts that the events say the seed has created, each of them once."""
    listing = ("audit", "list", "--type", "UserSeeded", "--all", "-o", "jsonl")
    events = list(map(json.loads, machine.run(*listing).succeeded().out.splitlines()))
    assert {(event["data"]["name"], event["actor"], event["reason"]) for event in events} == {
        ("ci-seed", actor, "CI seed")
    }
    ids = [event["subject"] for event in events]
    assert len(ids) == len(set(ids))
    accounts = machine.run("user", "list", "--all", "-o", "jsonl").succeeded().out.splitlines()
    return {account["username"] for account in map(json.loads, accounts) if account["id"] in ids}


def require_logins(machine: Machine, secrets: Mapping[str, str]) -> None:
    """Check the passwords of two accounts, and that the administrator needs a second factor."""
    check = ("user", "check-password", "--password-stdin", "-o", "json")
    machine.run(*check, "user200", stdin=secrets["password"]).succeeded()
    refused = machine.run(*check, "admin", stdin=ADMIN_PASSWORD)
    assert (refused.code, refused.json["outcome"]) == (6, "mfa_required")
