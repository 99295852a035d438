"""On PostgreSQL: what `init` and `doctor` report, and how commands fail when the server cannot be used."""

from collections.abc import Callable

import psycopg
import pytest
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.test_init_doctor import CHECKS, INSTALLATION_KEYS, statuses
from tests.servers import PostgresServer

CREATE = ("user", "create", "new@example.org", "--username", "new", "--no-password", "-o", "json")
COMMANDS = (CREATE, ("user", "list", "-o", "json"), ("audit", "verify", "-o", "json"), (*CREATE, "--dry-run"))


@pytest.fixture
def pointing(machine: Machine, server: PostgresServer, database: str) -> Machine:
    """Return a machine that names an empty database."""
    machine.environment["BACKCTL_DATABASE_URL"] = server.url(database)
    return machine


@pytest.fixture
def installed(pointing: Machine) -> Machine:
    pointing.run("init").succeeded()
    return pointing


def execute(server: PostgresServer, database: str, statement: str) -> None:
    with psycopg.connect(server.url(database)) as connection:
        connection.execute(statement)


@pytest.mark.parametrize("source", ["url", "url_file", "url_command"])
@pytest.mark.parametrize("command", [("user", "list"), CREATE[:-2]])
def test_verbose_shows_where_the_database_is_without_its_password(
    installed: Machine, server: PostgresServer, database: str, command: tuple[str, ...], source: str
) -> None:
    url = installed.environment.pop("BACKCTL_DATABASE_URL")
    url_file = installed.home / "url"
    url_file.write_text(url)
    url_file.chmod(0o600)
    value = {"url": f'"{url}"', "url_file": f'"{url_file}"', "url_command": f'["cat", "{url_file}"]'}[source]
    installed.config_file.parent.mkdir(parents=True)
    installed.config_file.write_text(f"[database]\n{source} = {value}\n")
    told = installed.run(*command, "-v").succeeded()
    assert f"database {'postgresql://tester:***@127.0.0.1:' if source == 'url' else '***'}" in told.err
    assert server.password not in told.out + told.err


def test_init_makes_keyring_and_tables_once(pointing: Machine, server: PostgresServer) -> None:
    rehearsed = pointing.run("init", "--dry-run", "-o", "json").succeeded()
    assert list(rehearsed.json) == [*INSTALLATION_KEYS, "changed", "dry_run"]
    assert contents(pointing.home) == {}
    first = pointing.run("init", "-o", "json").succeeded()
    assert list(first.json) == [*INSTALLATION_KEYS, "changed"]
    assert first.json["database"].startswith("postgresql://tester:***@127.0.0.1:")
    assert "created" in first.err
    before = contents(pointing.home)
    second = pointing.run("init", "-o", "json").succeeded()
    assert second.json == {**first.json, "changed": False}
    assert second.err == ""
    assert contents(pointing.home) == before
    assert server.password not in first.out + first.err + second.out


def test_doctor_examines_a_server_under_the_same_names(
    installed: Machine, server: PostgresServer, database: str
) -> None:
    expected = dict.fromkeys(CHECKS, "ok") | {"passwords.cost": "warn"}
    assert statuses(installed) == (0, expected)
    execute(server, database, "UPDATE alembic_version SET version_num = '0000'")
    assert statuses(installed) == (0, expected | {"database.revision": "warn"})
    execute(server, database, "UPDATE alembic_version SET version_num = '9999'")
    assert statuses(installed) == (9, expected | {"database.revision": "fail"})
    (installed.data / "keyring.json").unlink()
    code, found = statuses(installed)
    assert (code, found["keyring.valid"], found["keyring.matches"]) == (9, "fail", "warn")


@pytest.mark.parametrize("table", ["users", "events", "sessions", "recovery_codes"])
def test_an_invalid_index_of_any_table_is_found(
    installed: Machine, server: PostgresServer, database: str, table: str
) -> None:
    invalid = (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = "
        f"(SELECT min(indexrelid) FROM pg_index WHERE indrelid = '{table}'::regclass)"
    )
    execute(server, database, invalid)
    code, found = statuses(installed)
    assert (code, found["database.integrity"]) == (6, "fail")


@pytest.mark.parametrize(
    ("spoil", "exit_code", "code"),
    [
        (lambda url: url.rpartition(":")[0] + ":1/nothing", 5, "database.unavailable"),
        (lambda url: url.replace("@", "wrong@"), 9, "database.unusable"),
        (lambda url: url.rpartition("/")[0] + "/missing", 9, "database.missing"),
        (lambda url: url + "?no_such_parameter=1", 9, "database.unusable"),
        (lambda url: url.rpartition("/")[0] + "/postgres", 9, "installation.missing"),
    ],
    ids=["nobody listens", "wrong password", "no database", "no parameter", "no tables"],
)
def test_a_server_that_cannot_be_used_is_told_by_its_kind_and_without_the_password(
    installed: Machine, server: PostgresServer, spoil: Callable[[str], str], exit_code: int, code: str
) -> None:
    before = contents(installed.home)
    installed.environment["BACKCTL_DATABASE_URL"] = spoil(installed.environment["BACKCTL_DATABASE_URL"])
    for command in COMMANDS:
        error = refused(installed.run(*command), exit_code, code)
        assert error["retryable"] is (exit_code == 5)
        assert error["hint"]
        assert server.password not in f"{error}"
    assert contents(installed.home) == before


@pytest.mark.parametrize(("revision", "code"), [("0000", "database.schema_older"), ("9999", "database.schema_newer")])
def test_another_revision_stops_every_command(
    installed: Machine, server: PostgresServer, database: str, revision: str, code: str
) -> None:
    execute(server, database, f"UPDATE alembic_version SET version_num = '{revision}'")
    for command in COMMANDS:
        error = refused(installed.run(*command), 9, code)
        assert ("db upgrade" in error["hint"]) is (code == "database.schema_older")


def test_the_longest_wait_of_the_command_line_goes_before_the_settings(
    installed: Machine, server: PostgresServer, database: str
) -> None:
    with psycopg.connect(server.url(database)) as other:
        other.execute("LOCK TABLE users")
        for command in (CREATE, ("user", "list", "-o", "json")):
            refused(installed.run(*command, "--timeout", "300ms"), 5, "database.locked")
