"""The first command that opens a database of an earlier release copies it, migrates it, and says so once."""

import re
import sqlite3
import stat
from contextlib import closing

import pytest
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.processes import together

from backctl.application.attribution import Attribution
from backctl.domain.values import Actor, EventId, Instant
from backctl.infrastructure.keyring.file import KeyFile
from backctl.infrastructure.sql import migrator
from backctl.infrastructure.sql.schema import REVISION
from backctl.infrastructure.sqlite.migrator import create_database

_ADA = """
INSERT INTO users VALUES ('0192f3a0-0000-7000-8000-000000000001', 'ada@example.org', 'ada@example.org', 'example.org',
    'ada', 'ada', NULL, 'admin', 1, NULL, 0, 'off', 1, 1, 1)
"""


@pytest.fixture
def older(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return an installation of the first release with an administrator."""
    machine.run("init").succeeded()
    database = machine.data / "backctl.db"
    for path in machine.data.glob("backctl.db*"):
        path.unlink()
    with monkeypatch.context() as first:
        first.setattr(migrator, "REVISION", "0001")
        create_database(
            database,
            migrator.Founding(
                installation_id="here",
                keyring=KeyFile(machine.data / "keyring.json").read(),
                by=Attribution(Actor("setup", "root", "box")),
                now=Instant(1),
                event_id=EventId("0192f3a0-0000-7000-8000-000000000000"),
            ),
        )
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(_ADA)
    return machine


def revision(machine: Machine, name: str = "backctl.db") -> str:
    with closing(sqlite3.connect(machine.data / name)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


COPY = "backctl.db.0001.1.bak"


@pytest.mark.parametrize(
    "command",
    [
        "user list",
        "user show ada -o json",
        "audit verify",
        "user create eve@example.org --username eve --no-password",
    ],
)
def test_the_first_command_copies_and_migrates_and_says_so(older: Machine, command: str) -> None:
    done = older.run(*command.split()).succeeded()
    said = (
        rf"backctl: migrated the database from revision 0001 to {REVISION}; the old database was copied to \S*{COPY}\n"
    )
    assert re.fullmatch(said, done.err)
    assert (revision(older), revision(older, COPY)) == (REVISION, "0001")
    assert stat.S_IMODE((older.data / COPY).stat().st_mode) == 0o600
    again = older.run(*command.split())
    assert "migrated" not in again.err
    assert len(list(older.data.glob("*.bak"))) == 1


def test_accounts_and_events_are_those_of_before(older: Machine) -> None:
    listed = older.run("user", "list", "-o", "json").succeeded().json
    assert [user["username"] for user in listed["items"]] == ["ada"]
    assert older.run("audit", "verify", "-o", "json").succeeded().json["events"] == 2
    _, migrated = older.run("audit", "list", "-o", "json").succeeded().json["items"]
    assert (migrated["type"], migrated["data"]) == ("SchemaUpgraded", {"old": "0001", "new": REVISION})
    assert (migrated["actor"], migrated["reason"]) == (migrated["os_user"], None)
    done = older.run("user", "set-password", "ada", "--password-stdin", stdin="correct horse battery").succeeded()
    assert done.err == ""
    check = ("user", "check-password", "ada", "--password-stdin", "-q")
    assert older.run(*check, stdin="correct horse battery").code == 0
    assert older.run("doctor").succeeded().err == ""


def test_whoever_changes_something_is_who_migrated(older: Machine) -> None:
    create = ("user", "create", "eve@example.org", "--username", "eve", "--no-password")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    traced = {"TRACEPARENT": f"00-{trace}-00f067aa0ba902b7-01"}
    older.run(*create, "--actor", "deploy", "--reason", "ticket 7", env=traced).succeeded()
    (event,) = older.run("audit", "list", "--type", "SchemaUpgraded", "-o", "json").succeeded().json["items"]
    assert (event["actor"], event["reason"], event["trace_id"]) == ("deploy", "ticket 7", trace)


def test_quiet_commands_migrate_without_a_word(older: Machine) -> None:
    assert older.run("user", "count", "-q").succeeded().err == ""
    assert revision(older) == REVISION


def test_of_many_first_commands_one_migrates(older: Machine) -> None:
    outcomes = together(older, [older.command("user", "count")] * 6)
    assert {outcome.succeeded().out for outcome in outcomes} == {"1\n"}
    assert sum("migrated" in outcome.err for outcome in outcomes) == 1
    assert [path.name for path in older.data.glob("*.bak")] == [COPY]
    assert older.run("audit", "verify", "-o", "json").succeeded().json["events"] == 2


def test_a_newer_database_is_left_as_it_is(older: Machine) -> None:
    with closing(sqlite3.connect(older.data / "backctl.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    refused(older.run("user", "list", "-o", "json"), 9, "database.schema_newer")
    assert list(older.data.glob("*.bak")) == []
