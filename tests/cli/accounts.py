"""Creates the accounts of a test quickly."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.cli.machines import Machine, Outcome
from tests.starter import STARTER

_POPULATE = """
import json, sys
import backctl

with backctl.open_backend() as backend:
    me = backend.by("seed")
    for email, username, role, active in json.load(sys.stdin):
        backend.accounts.create(email=email, username=username, role=role, by=me)
        if not active:
            backend.accounts.deactivate(username, by=me)
"""

_LOCK = """
import sys
import backctl
from backctl.domain.values import Secret

with backctl.open_backend() as backend:
    me = backend.by("seed")
    for username in sys.argv[1:]:
        for _ in range(10):
            backend.authentication.authenticate(username, Secret("wrong horse battery"), by=me)
"""


@dataclass(frozen=True)
class Person:
    """An account to create."""

    username: str
    role: str = "user"
    active: bool = True
    domain: str = "example.org"

    @property
    def email(self) -> str:
        return f"{self.username}@{self.domain}"


def fresh(folder: Path) -> Machine:
    home = folder / "home"
    home.mkdir()
    return Machine(home)


def populate(machine: Machine, people: Iterable[Person]) -> None:
    """Create the accounts in this order, without passwords, in one process."""
    rows = [(person.email, person.username, person.role, person.active) for person in people]
    python(machine, _POPULATE, stdin=json.dumps(rows)).succeeded()


def lock(machine: Machine, *usernames: str) -> None:
    """Lock accounts with ten wrong passwords each, in one process."""
    python(machine, _LOCK, *usernames).succeeded()


def python(machine: Machine, script: str, *arguments: str, stdin: str = "") -> Outcome:
    """Run a Python program that imports the package, in the machine's environment."""
    command = [sys.executable, "-c", script, *arguments]
    done = STARTER.run(command, stdin=stdin.encode(), env=machine.environment, cwd=machine.home, timeout_s=120)
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())
