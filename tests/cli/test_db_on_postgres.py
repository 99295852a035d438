"""`backctl db …` with a database on a PostgreSQL server."""

import json
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.cli.accounts import fresh
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.next_release import NEXT
from tests.cli.processes import together
from tests.cli.test_db import CHECKS
from tests.cli.test_db_upgrade import upgrades
from tests.servers import PostgresServer

import backctl
from backctl.infrastructure.sql.schema import REVISION

PATIENCE = [f"BACKCTL_DATABASE_{name}TIMEOUT" for name in ("", "CONNECT_", "STATEMENT_", "LOCK_")]
PIPES: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@pytest.fixture
def machine(tmp_path: Path, server: PostgresServer, database: str) -> Machine:
    """Return a machine that names the server and a database without tables."""
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
def newer(installed: Machine, next_release: Path) -> Machine:
    """Return a machine whose program is one revision ahead of its database."""
    installed.environment["PYTHONPATH"] = str(next_release)
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
    listed = {item["check"]: item for item in installed.run("doctor", "-o", "json").succeeded().json["items"]}
    assert listed["profile.selected"]["finding"] == f"no profile: '{shown(installed, server)}'"


NEED_ONE = {
    "user list": "",
    "user create": "new@example.org --username new --no-password",
    "key list": "",
    "key rotate": "",
    "audit verify": "",
    "db status": "",
    "db check": "",
    "db upgrade": "",
    "token verify": "--token-stdin",
    "encrypt": "--context x --value-stdin",
    "user activate": "ada bob",
}


@pytest.mark.parametrize("command", NEED_ONE)
def test_an_empty_database_without_a_keyring_is_a_missing_installation(
    machine: Machine, server: PostgresServer, command: str
) -> None:
    words = (*command.split(), *NEED_ONE[command].split(), "-o", "json")
    error = refused(machine.run(*words, stdin="x.y.z"), 9, "installation.missing")
    assert error["message"] == (f"there is no installation in the database '{shown(machine, server)}'")
    assert error["hint"] == "check --profile, --config and database.url, or run 'backctl init' to create one"
    assert not machine.data.exists()


def test_a_database_that_does_not_exist_is_created_by_the_server_first(
    machine: Machine, server: PostgresServer
) -> None:
    env = {"BACKCTL_DATABASE_URL": server.url("nowhere")}
    for command in ("db status", "key list", "init"):
        error = refused(machine.run(*command.split(), "-o", "json", env=env), 9, "database.missing")
        assert "createdb" in error["hint"]
    assert not machine.data.exists()


def test_a_lost_keyring_is_reported_even_while_the_server_is_unavailable(
    installed: Machine, server: PostgresServer
) -> None:
    (installed.data / "keyring.json").unlink()
    away = {"BACKCTL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    for env in ({}, away):
        for command in (("key", "list"), ("encrypt", "--context", "x", "--value-stdin"), ("token", "refresh")):
            refused(installed.run(*command, "-o", "json", stdin="x", env=env), 9, "keyring.missing")


def test_doctor_reports_a_missing_installation_first(machine: Machine, server: PostgresServer) -> None:
    done = machine.run("doctor", "-o", "json")
    first, *others = done.json["items"]
    assert (done.code, done.err) == (9, "")
    assert (first["check"], first["status"], first["failure"]) == ("database.open", "fail", "unusable")
    assert "there is no installation" in first["finding"]
    assert {item["status"] for item in others} <= {"ok", "warn"}


def test_doctor_reports_an_unavailable_server_and_the_most_serious_failure(installed: Machine) -> None:
    installed.environment["BACKCTL_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"
    done = installed.run("doctor", "-o", "json")
    failed = {item["check"]: item["failure"] for item in done.json["items"] if item["status"] == "fail"}
    assert (done.code, done.err, failed) == (5, "", {"database.open": "unavailable"})
    (installed.data / "keyring.json").chmod(0o644)
    done = installed.run("doctor", "-o", "json")
    failed = {item["check"]: item["failure"] for item in done.json["items"] if item["status"] == "fail"}
    assert (done.code, failed["keyring.valid"], failed["database.open"]) == (9, "unusable", "unavailable")
    quiet = installed.run("doctor", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (9, "", "")


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
    assert len(upgrades(newer)) == 1


def test_an_upgrade_is_recorded_with_who_made_it_and_why(newer: Machine) -> None:
    newer.run("db", "upgrade", "--dry-run", "--actor", "deploy").succeeded()
    newer.run("db", "upgrade", "--actor", "deploy", "--reason", "release day").succeeded()
    assert upgrades(newer) == [("deploy", "release day", {"old": REVISION, "new": NEXT})]
    newer.run("audit", "verify").succeeded()
    newer.run("db", "check").succeeded()


def test_upgrades_and_writers_at_once_leave_one_upgrade_and_one_unbroken_chain(
    newer: Machine, server: PostgresServer, database: str
) -> None:
    """Two upgrades and three writers of the previous release all wait for a slow writer."""
    before = {"PYTHONPATH": str(Path(backctl.__file__).parents[1])}
    names = ("cleo", "dan", "eve")
    newer.environment |= dict.fromkeys(PATIENCE, "60s")  # all must wait until the last of them waits
    with psycopg.connect(server.url(database)) as slow:
        slow.execute("SELECT seq FROM event_head FOR UPDATE")
        commands = [newer.start("db", "upgrade", "-o", "json", **PIPES) for _ in range(2)]
        for name in names:
            create = ("user", "create", f"{name}@example.org", "--username", name, "--no-password", "-o", "json")
            commands.append(newer.start(*create, env=before, **PIPES))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        while server.admin().execute(waiting, (database,)).fetchone() != (len(commands),):
            assert all(command.poll() is None for command in commands)
            time.sleep(0.02)
    ended = [(command.communicate(timeout=60), command.returncode) for command in commands]
    assert [code for _, code in ended[:2]] == [0, 0], ended
    assert sorted(json.loads(out)["changed"] for (out, _), _ in ended[:2]) == [False, True]
    # A writer ran before the upgrade, or failed because the schema is newer.
    assert {code for _, code in ended[2:]} <= {0, 9}, ended
    for (_, err), code in ended[2:]:
        assert code == 0 or json.loads(err)["error"]["code"] == "database.schema_newer"
    made = [name for name, (_, code) in zip(names, ended[2:], strict=True) if code == 0]
    assert newer.run("user", "count").succeeded().out == f"{2 + len(made)}\n"
    verified = newer.run("audit", "verify", "-o", "json").succeeded().json
    assert (verified["ok"], verified["events"]) == (True, 3 + 1 + len(made))
    assert len(upgrades(newer)) == 1


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
        (
            "DELETE FROM users WHERE username = 'bob'",
            "contents.accounts",
            "accounts that disappeared without a deletion event",
        ),
        ("UPDATE users SET id = gen_random_uuid()", "contents.accounts", "accounts without a creation event"),
        ("DELETE FROM events WHERE seq = 3", "contents.events", "2 events from 1 to 2, but the head is at 3"),
        (
            "ALTER TABLE users ADD CONSTRAINT late CHECK (version < 1000) NOT VALID",
            "database.integrity",
            "invalid indexes or constraints: late",
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
    assert [item["finding"] for item in items if item["status"] == "warn"] == [
        "trigger quietly does not belong to backctl"
    ]


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


def test_tables_that_pg_restore_has_left_are_explained(newer: Machine) -> None:
    execute(newer, "CREATE TABLE badges (id integer)")
    error = refused(newer.run("db", "upgrade", "-o", "json"), 9, "database.unusable")
    assert "restore that copy into an empty database" in error["hint"]
    execute(newer, "DROP TABLE badges")
    newer.run("db", "upgrade").succeeded()


def test_a_dump_is_restored_with_the_printed_commands(installed: Machine, server: PostgresServer) -> None:
    env = {**installed.environment, "PGPASSWORD": server.password}

    def run_printed(command: str) -> None:
        program, *options = shlex.split(command)
        subprocess.run([server.program(program), *options], env=env, cwd=installed.home, check=True, timeout=60)

    token = installed.run("token", "issue", "bob").succeeded().out
    run_printed(installed.run("db", "backup", "a copy.dump", "-o", "json").error["hint"].partition(";")[0])
    installed.run("token", "revoke", "--user", "bob", "-y").succeeded()
    before = contents(installed.home)
    done = installed.run("db", "restore", "a copy.dump", "-o", "json").succeeded()
    assert server.password not in done.out
    assert (done.json["changed"], done.json["database"]) == (False, shown(installed, server))
    assert done.json["commands"][1:] == ["backctl db restored"]
    assert {member for member, value in done.json.items() if value is None} == {
        *("revision", "previous_revision", "last_event_at", "revoked_sessions", "backup_file"),
        *("lost_accounts", "lost_usernames", "accounts"),
    }
    printed = installed.run("db", "restore", "a copy.dump").succeeded().out
    assert printed.splitlines() == done.json["commands"]
    assert "a copy from before an upgrade into a new, empty database" in done.err
    assert contents(installed.home) == before

    run_printed(printed.splitlines()[0])
    installed.run("token", "verify", "--token-stdin", stdin=token).succeeded()
    restored = installed.run("db", "restored", "--yes", "-o", "json").succeeded().json
    assert (restored["revoked_sessions"], restored["changed"]) == (1, True)
    assert installed.run("token", "verify", "--token-stdin", stdin=token).code == 6
    (event,) = installed.run("audit", "list", "--type", "DatabaseRestored", "-o", "json").succeeded().json["items"]
    assert (event["data"]["copy_seq"], event["data"]["replaced_seq"], event["data"]["replaced_mac"]) == (4, None, None)
    for command in ("audit verify", "db check"):
        installed.run(*command.split()).succeeded()
