"""`backctl cache …` on PostgreSQL without Redis."""

import pytest
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
