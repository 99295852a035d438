"""What a URL or a database does wrong is exit code 9 with libpq's reason; what may pass is 5."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.cli.conftest import Machine
from tests.servers import PostgresServer

LIST = ("user", "list", "--timeout", "3s", "-o", "json")

WRONG_PARAMETERS = {
    "sslmode=bogus": 'invalid sslmode value: "bogus"',
    "sslmode=require": "server does not support SSL",
    "sslmode=verify-full": "server does not support SSL",
    "service=nope": 'definition of service "nope" not found',
    "target_session_attrs=bogus": 'invalid target_session_attrs value: "bogus"',
    "load_balance_hosts=bogus": 'invalid load_balance_hosts value: "bogus"',
    "tcp_user_timeout=x": 'invalid integer value "x" for connection option "tcp_user_timeout"',
    "keepalives_idle=1s": 'invalid integer value "1s" for connection option "keepalives_idle"',
    "channel_binding=require": "channel binding required",
    "require_auth=none": "server requested SASL authentication",
    "options=-cnope%3D1": 'unrecognized configuration parameter "nope"',
    "connect_timeout=abc": "connect_timeout is 'abc'",
    "connect_timeout=1.5": "connect_timeout is '1.5'",
    "connect_timeout=5s": "connect_timeout is '5s'",
    "nope=1": "a parameter is unknown",
}


@pytest.fixture
def pointing(machine: Machine, server: PostgresServer, database: str) -> Machine:
    """Return a machine that names an empty database."""
    machine.environment["BACKCTL_DATABASE_URL"] = server.url(database)
    return machine


def at(machine: Machine, url: str, *words: str) -> tuple[int, str]:
    """Run a command with this URL. Return its exit code and its error message."""
    done = machine.run(*words, env={"BACKCTL_DATABASE_URL": url})
    assert done.out == ""
    return done.code, done.error["message"]


@pytest.mark.parametrize("parameter", WRONG_PARAMETERS)
def test_a_wrong_parameter_is_named_with_the_reason_of_libpq(
    pointing: Machine, server: PostgresServer, database: str, parameter: str
) -> None:
    code, message = at(pointing, f"{server.url(database)}?{parameter}", *LIST)
    assert (code, WRONG_PARAMETERS[parameter] in message) == (9, True), message
    assert server.password not in message


def test_a_wrong_port_login_or_database_is_not_worth_a_retry(
    pointing: Machine, server: PostgresServer, database: str
) -> None:
    assert at(pointing, "postgresql://tester:hunter2@127.0.0.1:99999/db", *LIST)[0] == 9
    wrong = at(pointing, server.url(database, password="hunter2"), *LIST)
    assert (wrong[0], 'password authentication failed for user "tester"' in wrong[1]) == (9, True), wrong
    assert at(pointing, server.url("nowhere"), *LIST)[0] == 9


@pytest.mark.parametrize(
    ("host", "reason"), [("nowhere.invalid:5432", "failed to resolve host"), ("127.0.0.1:1", "refused")]
)
def test_a_host_that_may_come_back_is_worth_a_retry(pointing: Machine, host: str, reason: str) -> None:
    code, message = at(pointing, f"postgresql://tester:hunter2@{host}/db", *LIST)
    assert (code, reason in message) == (5, True), message
    assert "hunter2" not in message


def test_the_short_scheme_names_the_same_database(pointing: Machine, server: PostgresServer, database: str) -> None:
    pointing.run("init").succeeded()
    short = server.url(database).replace("postgresql://", "postgres://") + "?application_name=&"
    pointing.environment["BACKCTL_DATABASE_URL"] = short
    pointing.create_user("ada")
    status = pointing.run("db", "status", "-o", "json").succeeded().json
    assert status["accounts"] == 1
    assert status["database"].startswith("postgres://tester:***@")
    hint = pointing.run("db", "backup", "copy").err
    assert "pg_dump" in hint
    assert server.password not in status["database"] + hint


def test_the_short_scheme_is_accepted_wherever_a_url_is(
    machine: Machine, server: PostgresServer, database: str
) -> None:
    url = server.url(database).replace("postgresql://", "postgres://")
    machine.configure("[profiles.file]\n")
    key = "profiles.short.database.url"
    assert machine.run("config", "set", key, url).code == 2
    machine.run("config", "set", key, "--value-stdin", stdin=url).succeeded()
    machine.run("config", "set", "profiles.file.database.url", "postgres://nobody@127.0.0.1:1/none").succeeded()
    machine.run("config", "validate").succeeded()
    listed = machine.run("profile", "list").succeeded().out
    assert "postgres://tester:***@" in listed
    assert server.password not in listed
    machine.run("init", "-p", "short").succeeded()
    assert machine.run("user", "count", "-p", "short").succeeded().out == "0\n"
    assert machine.run("user", "count", "-p", "file").code == 5


@pytest.fixture
def silent() -> Iterator[list[int]]:
    """Yield the ports of two servers that accept connections and never answer."""
    with closing(socket.create_server(("127.0.0.1", 0))) as one, closing(socket.create_server(("127.0.0.1", 0))) as two:
        yield [one.getsockname()[1], two.getsockname()[1]]


@pytest.mark.parametrize("parameter", ["", "?connect_timeout=0", "?connect_timeout=-1", "?connect_timeout=60"])
def test_the_timeout_ends_the_wait_for_a_silent_server(pointing: Machine, silent: list[int], parameter: str) -> None:
    url = f"postgresql://tester:x@127.0.0.1:{silent[0]},127.0.0.1:{silent[1]}/db{parameter}"
    code, message = at(pointing, url, *LIST[:2], "--timeout", "1s", "-o", "json")
    assert (code, "did not answer in time" in message) == (5, True), message


def test_another_host_is_tried_within_the_same_timeout(
    pointing: Machine, server: PostgresServer, database: str, silent: list[int]
) -> None:
    url = server.url(database).replace("@", f"@127.0.0.1:{silent[0]},")
    pointing.run("init", "--timeout", "4s", env={"BACKCTL_DATABASE_URL": url}).succeeded()


EVERYTHING = [
    ("init",),
    ("init", "--dry-run"),
    ("user", "list"),
    ("audit", "list"),
    ("audit", "verify"),
    ("db", "status"),
    ("db", "upgrade"),
    ("user", "create", "ada@example.org", "--username", "ada", "--no-password"),
    ("user", "update", "ada", "--role", "admin"),
    ("user", "deactivate", "ada"),
    ("token", "revoke", "--all", "--yes"),
    ("token", "gc"),
]


@pytest.mark.parametrize("words", EVERYTHING, ids=" ".join)
def test_a_missing_schema_is_named(
    pointing: Machine, server: PostgresServer, database: str, words: tuple[str, ...]
) -> None:
    code, message = at(pointing, f"{server.url(database)}?options=-csearch_path%3Dnowhere", *words, "-o", "json")
    assert (code, "has no schema of its search path 'nowhere'" in message) == (9, True), message


@pytest.mark.parametrize("words", EVERYTHING, ids=" ".join)
def test_a_missing_database_is_an_error_everywhere(
    pointing: Machine, server: PostgresServer, words: tuple[str, ...]
) -> None:
    code, message = at(pointing, server.url("nowhere"), *words, "-o", "json")
    assert (code, "does not exist" in message) == (9, True), message


@pytest.mark.parametrize("words", EVERYTHING, ids=" ".join)
def test_a_database_that_is_not_utf_8_is_an_error(
    pointing: Machine, server: PostgresServer, words: tuple[str, ...]
) -> None:
    name = server.create_database(encoding="LATIN1")
    try:
        code, message = at(pointing, server.url(name), *words, "-o", "json")
    finally:
        server.drop_database(name)
    assert (code, "has the encoding 'LATIN1'" in message) == (9, True), message
