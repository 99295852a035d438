"""Seed files for tests of `plan` and `apply`, and what became of their accounts."""

from typing import Any

from tests.cli.accounts import Person
from tests.cli.conftest import Machine, Outcome

PEOPLE = [Person("root", role="admin"), Person("ada"), Person("bob"), Person("eve", active=False)]
REPORT = ["names", "created", "updated", "opened", "closed", "deleted", "unchanged", "changed"]
COUNTS = REPORT[1:-1]
SECRET = "canary horse battery"
SEED = """\
version: 1
name: ci
defaults: {reason: CI seed}
users:
  - {email: new@example.org, username: new, role: moderator, password: {env: SEED_PASSWORD}}
  - {email: ada@example.org, role: moderator}
  - {email: bob@example.org, state: closed}
  - {email: eve@example.org, state: active}
  - {email: root@example.org, role: admin}
"""


def seed(machine: Machine, text: str = SEED, name: str = "seed.yaml") -> None:
    machine.environment["SEED_PASSWORD"] = SECRET
    (machine.home / name).write_text(text)


def users(machine: Machine, *entries: str, name: str = "seed.yaml") -> None:
    """Write a seed file with these users."""
    seed(machine, "version: 1\nname: ci\nusers:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries) or "", name)


def apply(machine: Machine, *flags: str, file: str = "seed.yaml") -> Outcome:
    return machine.run("apply", file, *flags, "-o", "json")


def counts(done: Outcome) -> dict[str, int]:
    """Return the counts of a report that are not 0."""
    report = done.succeeded().json
    assert [name for name in report if name not in ("dry_run", "secret_file")] == REPORT
    assert report["changed"] is any(report[name] for name in COUNTS[:-1])
    return {name: report[name] for name in COUNTS if report[name]}


def shown(machine: Machine, name: str) -> dict[str, Any]:
    account: dict[str, Any] = machine.run("user", "show", name, "-o", "json").succeeded().json
    return account


def events(machine: Machine, name: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = machine.run("user", "history", name, "-o", "json").succeeded().json["items"]
    return items


def knows(machine: Machine, name: str, password: str) -> bool:
    return machine.run("user", "check-password", name, "--password-stdin", stdin=password).code == 0


def with_seeded(machine: Machine, *names: str) -> None:
    """Let the seed create accounts, then list none of them."""
    users(machine, *(f"email: {name}@example.org, username: {name}" for name in names))
    apply(machine).succeeded()
    seed(machine, "version: 1\nname: ci\nusers: []\n")


def saved(machine: Machine, *flags: str) -> None:
    """Save the plan of the seed file."""
    machine.run("plan", "seed.yaml", "--out", "saved", "--overwrite", *flags).succeeded()
