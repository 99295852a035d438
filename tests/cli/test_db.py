"""`backctl db status|check` with the real program: the state of a database, and the damage that is found."""

import sqlite3
from contextlib import closing

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents, execute, revision

from backctl.infrastructure.sql.schema import REVISION

PEOPLE = [Person("ada", "admin"), Person("bob"), Person("cleo", active=False)]
STATUS_KEYS = ["database", "state", "revision", "expected_revision", "accounts", "events", "size_bytes"]
CHECKS = [
    "database.revision",
    "database.integrity",
    "schema.tables",
    "schema.columns",
    "schema.indices",
    "schema.constraints",
    "contents.values",
    "contents.accounts",
    "contents.events",
]


def findings(machine: Machine) -> tuple[int, dict[str, str], dict[str, str]]:
    """Run `db check`. Return its exit code, and the status and the finding of each failed check."""
    done = machine.run("db", "check", "-o", "json")
    assert done.err == ""
    items = done.json["items"]
    assert [item["check"] for item in items] == CHECKS
    unwell = [item for item in items if item["status"] != "ok"]
    return (
        done.code,
        {item["check"]: item["status"] for item in unwell},
        {item["check"]: item["finding"] for item in unwell},
    )


# status


def test_the_status_says_what_is_there(installed: Machine) -> None:
    before = contents(installed.home)
    status = installed.run("db", "status", "-o", "json").succeeded()
    assert list(status.json) == STATUS_KEYS
    assert status.json == {
        "database": str(installed.data / "backctl.db"),
        "state": "current",
        "revision": REVISION,
        "expected_revision": REVISION,
        "accounts": 3,
        "events": 5,
        "size_bytes": (installed.data / "backctl.db").stat().st_size,
    }
    assert installed.run("db", "status", "-q").succeeded().out.startswith("database\t")
    assert contents(installed.home) == before


@pytest.mark.parametrize(("stored", "state"), [("0000", "outdated"), ("9999", "newer")])
def test_another_revision_is_told_and_nothing_migrated(installed: Machine, stored: str, state: str) -> None:
    execute(installed, f"UPDATE alembic_version SET version_num = '{stored}'")
    before = contents(installed.home)
    status = installed.run("db", "status", "-o", "json").succeeded().json
    assert (status["state"], status["revision"], status["expected_revision"]) == (state, stored, REVISION)
    assert (status["accounts"], status["events"]) == (3, 5)
    assert contents(installed.home) == before


def test_a_newer_schema_need_not_have_the_tables_of_today(installed: Machine) -> None:
    execute(installed, "UPDATE alembic_version SET version_num = '9999'", "ALTER TABLE users RENAME TO people")
    status = installed.run("db", "status", "-o", "json").succeeded().json
    assert (status["state"], status["accounts"], status["events"]) == ("newer", None, 5)


def test_what_is_no_database_of_ours_has_no_status(installed: Machine) -> None:
    (installed.data / "backctl.db").write_bytes(b"something else entirely" * 400)
    for command in (("status",), ("upgrade",), ("backup", "copy.db")):
        refused(installed.run("db", *command, "-o", "json"), 9, "database.unusable")
    assert findings(installed)[0] == 6
    assert not (installed.home / "copy.db").exists()


# check


def test_a_sound_database_passes_every_check_unchanged(installed: Machine) -> None:
    before = contents(installed.home)
    done = installed.run("db", "check", "-o", "json").succeeded()
    assert [(item["check"], item["status"]) for item in done.json["items"]] == [(name, "ok") for name in CHECKS]
    assert list(done.json["items"][0]) == ["check", "status", "finding", "hint", "failure"]
    assert installed.run("db", "check", "-q").succeeded().out == ""
    assert contents(installed.home) == before


SPOILT: dict[str, tuple[tuple[str, ...], str, str]] = {
    "no column": (
        ("DROP INDEX ix_events_trace_id_seq", "ALTER TABLE events DROP COLUMN trace_id"),
        "schema.columns",
        "events: trace_id is missing",
    ),
    "a column that can be changed": (
        (
            "DROP INDEX ix_events_actor_label_seq",
            "ALTER TABLE events DROP COLUMN actor_label",
            "ALTER TABLE events ADD COLUMN actor_label TEXT",
        ),
        "schema.columns",
        "events: actor_label is TEXT NULL instead of TEXT NULL GENERATED",
    ),
    "another type": (
        (
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_master SET sql = replace(sql, 'first_seq BIGINT NOT', 'first_seq TEXT NOT')",
        ),
        "schema.columns",
        "audit_keys: first_seq is TEXT NOT NULL instead of BIGINT NOT NULL",
    ),
    "no index": (
        ("DROP INDEX ix_events_type_seq",),
        "schema.indices",
        "events: ix_events_type_seq is missing",
    ),
    "another index": (
        ("DROP INDEX ix_events_type_seq", "CREATE INDEX ix_events_type_seq ON events (type)"),
        "schema.indices",
        "events: ix_events_type_seq is (type) instead of (type, seq)",
    ),
    "no constraint": (
        (
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_master SET sql = replace(sql, 'version >= 1', 'version >= 0') WHERE name = 'users'",
        ),
        "schema.constraints",
        "users: ck_users_version is check (version >= 0) instead of check (version >= 1)",
    ),
    "no table": (("DROP TABLE event_head", "CREATE VIEW event_head AS SELECT 1 AS id"), "schema.tables", "event_head"),
    "a row put in": (
        ("UPDATE users SET id = '00000000-0000-4000-8000-000000000000' WHERE username = 'bob'",),
        "contents.accounts",
        "accounts without a creation event: '00000000-0000-4000-8000-000000000000'",
    ),
    "a row taken away": (
        ("DELETE FROM users WHERE username = 'bob'",),
        "contents.accounts",
        "accounts that disappeared without a deletion event",
    ),
    "the log cut off": (
        ("DELETE FROM events WHERE seq = 5",),
        "contents.events",
        "4 events from 1 to 4, but the head is at 5",
    ),
    "a gap": (
        ("DELETE FROM events WHERE seq = 2",),
        "contents.events",
        "4 events from 1 to 5, but the head is at 5",
    ),
    "another end": (
        ("UPDATE event_head SET mac = zeroblob(32)",),
        "contents.events",
        "the head does not match event 5",
    ),
    "no head": (("DELETE FROM event_head",), "contents.events", "the event log has no head"),
    "a broken rule": (
        ("UPDATE users SET mfa_state = 'maybe' WHERE username = 'bob'",),
        "database.integrity",
        "CHECK constraint failed",
    ),
}


@pytest.mark.parametrize("state", SPOILT)
def test_what_is_wrong_is_found_under_its_name(installed: Machine, state: str) -> None:
    statements, check, words = SPOILT[state]
    execute(installed, *statements)
    before = contents(installed.home)
    code, statuses, told = findings(installed)
    assert (code, statuses[check]) == (6, "fail")
    assert words in told[check]
    assert contents(installed.home) == before


def test_what_somebody_added_is_a_warning(installed: Machine) -> None:
    execute(
        installed,
        "CREATE TABLE notes (text)",
        "CREATE TRIGGER of_notes AFTER DELETE ON notes BEGIN SELECT 1; END",
        "CREATE VIEW names AS SELECT username FROM users",
        "CREATE TRIGGER quietly AFTER DELETE ON USERS BEGIN SELECT 1; END",
        "ALTER TABLE users ADD COLUMN nickname TEXT",
        "CREATE INDEX mine ON users (username)",
    )
    code, statuses, told = findings(installed)
    assert code == 0
    assert statuses == {"schema.tables": "warn", "schema.columns": "warn", "schema.indices": "warn"}
    assert told["schema.tables"] == (
        "view names does not belong to backctl; trigger quietly does not belong to backctl"
    )
    assert told["schema.columns"] == "users: nickname does not belong to backctl"


def test_tables_of_a_service_are_named_without_a_warning(installed: Machine) -> None:
    """Writers of write-behind write to them."""
    execute(installed, *(f"CREATE TABLE scores_{number} (player TEXT PRIMARY KEY)" for number in range(11)))
    execute(installed, "CREATE TABLE 'a;\x1b[2J' (text)")
    assert findings(installed)[:2] == (0, {})
    told = {item["check"]: item["finding"] for item in installed.run("db", "check", "-o", "json").json["items"]}
    assert told["schema.tables"] == (
        "every table matches the expected schema; other tables: 'a;\\x1b[2J', 'scores_0', 'scores_1', 'scores_10', "
        "'scores_2', 'scores_3', 'scores_4', 'scores_5', 'scores_6', 'scores_7'; and 2 more"
    )


@pytest.mark.parametrize("stored", ["0000", "9999"])
def test_the_schema_of_another_revision_is_not_compared(installed: Machine, stored: str) -> None:
    execute(installed, f"UPDATE alembic_version SET version_num = '{stored}'")
    code, statuses, told = findings(installed)
    assert code == 6
    assert set(statuses.values()) == {"fail"}
    assert "revision" in told["schema.columns"]
    assert revision(installed.data / "backctl.db") == stored


def test_a_check_is_not_disturbed_by_writers(installed: Machine) -> None:
    with closing(sqlite3.connect(installed.data / "backctl.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM users")
        assert findings(installed)[0] == 0


def test_a_database_that_cannot_answer_now_is_not_unsound(installed: Machine) -> None:
    with closing(sqlite3.connect(installed.data / "backctl.db", isolation_level=None)) as owner:
        owner.execute("PRAGMA locking_mode = EXCLUSIVE")
        owner.execute("BEGIN EXCLUSIVE")
        refused(installed.run("db", "check", "--timeout", "50ms", "-o", "json"), 5, "database.locked")
        refused(installed.run("db", "backup", "copy.db", "--timeout", "50ms", "-o", "json"), 5, "database.locked")
    assert sorted(path.name for path in installed.home.iterdir()) == [".local"]
