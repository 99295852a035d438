"""`backctl db …` where the database is a PostgreSQL server's."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.cli.conftest import Machine
from tests.cli.scenes import contents, fresh, refused, together
from tests.cli.test_db import ADD_A_TABLE, CHECKS, NEXT
from tests.servers import POSTGRES_VERSIONS, PostgresServer, Servers

import backctl
from backctl.infrastructure.database.schema import REVISION


@pytest.fixture(params=POSTGRES_VERSIONS, ids=lambda version: f"postgres-{version}")
def server(request: pytest.FixtureRequest, servers: Servers) -> PostgresServer:
    return servers.postgres(request.param)


@pytest.fixture
def database(server: PostgresServer) -> Iterator[str]:
    with server.database() as name:
        yield name


@pytest.fixture
def machine(tmp_path: Path, server: PostgresServer, database: str) -> Machine:
    """A machine that names the server, whose database holds no tables yet."""
    machine = fresh(tmp_path)
    machine.environment["BACKCTL_DATABASE_URL"] = server.url(database)
    return machine


@pytest.fixture
def installed(machine: Machine) -> Machine:
    machine.run("init").succeeded()
    for name in ("ada", "bob"):
        machine.create_user(name)
    return machine


@pytest.fixture
def newer(installed: Machine, tmp_path: Path) -> Machine:
    """A machine whose program is one revision ahead of its database."""
    package = tmp_path / "next" / "backctl"
    shutil.copytree(Path(backctl.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    schema = package / "infrastructure" / "database" / "schema.py"
    schema.write_text(schema.read_text().replace(f'REVISION = "{REVISION}"', f'REVISION = "{NEXT}"'))
    (package / "infrastructure" / "database" / "migrations" / "versions" / f"r{NEXT}.py").write_text(ADD_A_TABLE)
    installed.environment["PYTHONPATH"] = str(package.parent)
    return installed


def execute(machine: Machine, *statements: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(machine.environment["BACKCTL_DATABASE_URL"]) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def shown(machine: Machine, server: PostgresServer) -> str:
    return machine.environment["BACKCTL_DATABASE_URL"].replace(server.password, "***")


def test_the_status_says_what_is_there_and_no_password(installed: Machine, server: PostgresServer) -> None:
    done = installed.run("db", "status", "-o", "json").succeeded()
    assert done.json == {
        "database": shown(installed, server),
        "state": "current",
        "revision": REVISION,
        "expected_revision": REVISION,
        "accounts": 2,
        "events": 3,
        "size_bytes": None,
    }
    assert server.password not in done.out
    listed = installed.run("doctor", "-o", "json").succeeded().json["items"][0]
    assert listed["finding"] == f"no profile: '{shown(installed, server)}'"


def test_an_empty_database_and_none_are_absent(machine: Machine, server: PostgresServer) -> None:
    assert machine.run("db", "status", "-o", "json").succeeded().json["state"] == "absent"
    env = {"BACKCTL_DATABASE_URL": server.url("nowhere")}
    assert machine.run("db", "status", "-o", "json", env=env).succeeded().json["state"] == "absent"
    refused(machine.run("db", "upgrade", "-o", "json"), 9, "database.missing")


def test_an_older_database_is_brought_up_to_date_once(newer: Machine) -> None:
    refused(newer.run("user", "list", "-o", "json"), 9, "database.schema_older")
    assert newer.run("db", "status", "-o", "json").succeeded().json["state"] == "outdated"
    dry = newer.run("db", "upgrade", "--dry-run", "-o", "json").succeeded().json
    assert (dry["changed"], dry["dry_run"], dry["previous_revision"], dry["revision"]) == (True, True, REVISION, NEXT)
    assert execute(newer, "SELECT version_num FROM alembic_version") == [(REVISION,)]
    ended = together(newer, [newer.command("db", "upgrade", "-o", "json")] * 2)
    assert [outcome.code for outcome in ended] == [0, 0], [outcome.err for outcome in ended]
    assert sorted(outcome.json["changed"] for outcome in ended) == [False, True]
    assert newer.run("db", "upgrade", "-o", "json").succeeded().json["changed"] is False
    assert newer.run("user", "count").succeeded().out == "2\n"


def test_a_sound_database_passes_every_check(installed: Machine) -> None:
    done = installed.run("db", "check", "-o", "json").succeeded()
    assert [(item["check"], item["status"]) for item in done.json["items"]] == [(name, "ok") for name in CHECKS]


@pytest.mark.parametrize(
    ("statement", "check", "words"),
    [
        ("ALTER TABLE events DROP COLUMN trace_id", "schema.columns", "events: trace_id is missing"),
        (
            "ALTER TABLE audit_keys ALTER COLUMN first_seq TYPE integer",
            "schema.columns",
            "audit_keys: first_seq is INTEGER NOT NULL instead of BIGINT NOT NULL",
        ),
        ("DROP INDEX ix_events_type_seq", "schema.indices", "events: ix_events_type_seq is missing"),
        (
            "ALTER TABLE users DROP CONSTRAINT ck_users_version",
            "schema.constraints",
            "users: ck_users_version is missing",
        ),
        ("ALTER TABLE users DROP CONSTRAINT uq_users_email_key", "schema.constraints", "uq_users_email_key is missing"),
        ("DELETE FROM users WHERE username = 'bob'", "contents.accounts", "accounts that are gone without an event"),
        ("UPDATE users SET id = gen_random_uuid()", "contents.accounts", "accounts that no event tells of"),
        ("DELETE FROM events WHERE seq = 3", "contents.events", "2 events from 1 to 2, where the head says 3"),
        (
            "ALTER TABLE users ADD CONSTRAINT late CHECK (version < 1000) NOT VALID",
            "database.integrity",
            "not valid: late",
        ),
    ],
)
def test_what_is_wrong_is_found_under_its_name(installed: Machine, statement: str, check: str, words: str) -> None:
    execute(installed, statement)
    done = installed.run("db", "check", "-o", "json")
    found = {item["check"]: item for item in done.json["items"]}
    assert (done.code, found[check]["status"]) == (6, "fail")
    assert words in found[check]["finding"]


def test_what_others_keep_in_the_same_database_is_theirs(installed: Machine) -> None:
    execute(installed, "CREATE TABLE notes (text text)", "CREATE VIEW names AS SELECT username FROM users")
    installed.run("db", "check").succeeded()
    execute(
        installed,
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER quietly AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION nothing()",
    )
    items = installed.run("db", "check", "-o", "json").succeeded().json["items"]
    assert [item["finding"] for item in items if item["status"] == "warn"] == ["trigger quietly is not of this program"]


def test_a_server_that_is_down_is_worth_retrying(installed: Machine) -> None:
    env = {"BACKCTL_DATABASE_URL": "postgresql://tester:hunter2@127.0.0.1:1/x"}
    for command in ("status", "upgrade", "check"):
        error = refused(installed.run("db", command, "-o", "json", env=env), 5, "database.unavailable")
        assert "hunter2" not in str(error)


def test_a_copy_is_left_to_the_servers_own_program(installed: Machine, server: PostgresServer, database: str) -> None:
    before = contents(installed.home)
    error = refused(installed.run("db", "backup", "a copy.dump", "-o", "json"), 2, "usage")
    assert error["hint"].startswith(
        f"pg_dump --format=custom '--file=a copy.dump' --dbname=postgresql://tester@127.0.0.1:{server.port}/{database};"
    )
    assert server.password not in str(error)
    assert contents(installed.home) == before
