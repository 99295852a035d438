"""`backctl cache …` on PostgreSQL without Redis."""

import pytest
from tests.cli.accounts import python
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.servers import PostgresServer


@pytest.fixture
def installed(machine: Machine, server: PostgresServer, database: str) -> Machine:
    machine.environment["BACKCTL_DATABASE_URL"] = server.url(database)
    machine.run("init").succeeded()
    machine.run("user", "create", "ada@example.org", "--username", "ada", "--no-password").succeeded()
    return machine


@pytest.mark.parametrize("flags", [(), ("--active",), ("--dry-run",)])
def test_accounts_are_not_stored_without_redis(installed: Machine, flags: tuple[str, ...]) -> None:
    error = refused(installed.run("cache", "warm", "users", *flags, "-o", "json"), 9, "config.invalid")
    assert error["message"] == "accounts on PostgreSQL are cached only on Redis"
    assert "redis.url" in error["hint"]
    assert installed.run("cache", "list", "-o", "id").succeeded().out == ""
    assert not (installed.data / "cache.db").exists()


def test_other_values_are_stored_in_a_file(installed: Machine) -> None:
    installed.run("cache", "set", "report:1", "[1]").succeeded()
    assert installed.run("cache", "get", "report:1").succeeded().out == "[1]\n"
    assert installed.run("cache", "explain", "report:1", "-o", "json").succeeded().json["level"] == "file"
    assert (installed.data / "cache.db").exists()


def test_each_machine_has_its_own_queue(installed: Machine) -> None:
    program = """
import backctl
with backctl.open_backend() as backend:
    backend.cache.write_behind("last_seen", "user:" + backend.accounts.show("ada").id, backend.now())
"""
    python(installed, program).succeeded()
    assert (installed.data / "queue.db").exists()
    assert installed.run("cache", "drain", "-o", "json").succeeded().json["written"] == 1
    assert installed.run("user", "show", "ada", "-o", "json").succeeded().json["last_seen_at"] is not None
