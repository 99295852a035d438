"""`backctl db …` on the real binary: what a database is, how it grows up, whether it is sound, and its copies."""

import hashlib
import json
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.conftest import Machine
from tests.cli.next_release import NEXT
from tests.cli.scenes import (
    Person,
    as_ordinary_owner,
    contents,
    fresh,
    populate,
    refused,
    run_command,
    stop_when,
    together,
    with_files_of_at_most,
)

from backctl.infrastructure.database.schema import REVISION

STATUS_KEYS = ["database", "state", "revision", "expected_revision", "accounts", "events", "size_bytes"]
UPGRADE_KEYS = ["database", "previous_revision", "revision", "copy"]
BACKUP_KEYS = ["path", "bytes", "sha256"]
CHECKS = [
    "database.revision",
    "database.integrity",
    "schema.tables",
    "schema.columns",
    "schema.indices",
    "schema.constraints",
    "contents.accounts",
    "contents.events",
]


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of an installation with three accounts, to be copied."""
    machine = fresh(tmp_path_factory.mktemp("original"))
    populate(machine, [Person("ada", "admin"), Person("bob"), Person("cleo", active=False)])
    return machine.data


@pytest.fixture
def installed(machine: Machine, original: Path) -> Machine:
    shutil.copytree(original, machine.data)
    machine.data.chmod(0o700)
    return machine


@pytest.fixture
def newer(installed: Machine, next_release: Path) -> Machine:
    """A machine whose program is one revision ahead of its database."""
    installed.environment["PYTHONPATH"] = str(next_release)
    return installed


def execute(machine: Machine, *statements: str) -> None:
    with closing(sqlite3.connect(machine.data / "backctl.db")) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)


def upgrades(machine: Machine) -> list[tuple[str, str | None, dict[str, str]]]:
    """Who upgraded the schema, why, and from which revision to which."""
    listed = machine.run("audit", "list", "--type", "SchemaUpgraded", "-o", "json").succeeded()
    return [(event["actor"], event["reason"], event["data"]) for event in listed.json["items"]]


def revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def findings(machine: Machine) -> tuple[int, dict[str, str], dict[str, str]]:
    """The exit code of `db check`, and what is not ok: its status and its finding."""
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


def test_a_database_that_is_not_there_is_a_status_too(machine: Machine) -> None:
    status = machine.run("db", "status", "-o", "json").succeeded().json
    assert (status["state"], status["revision"], status["accounts"], status["size_bytes"]) == (
        "absent",
        None,
        None,
        None,
    )
    named = machine.run("db", "status", "-o", "json", env={"BACKCTL_DATABASE_URL": "sqlite:////nowhere/x.db"})
    assert (named.succeeded().json["database"], named.json["state"]) == ("/nowhere/x.db", "absent")
    assert contents(machine.home) == {}


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


# upgrade


def test_a_current_database_needs_no_upgrade(installed: Machine) -> None:
    before = contents(installed.home)
    for flags in ((), ("--dry-run",)):
        done = installed.run("db", "upgrade", "-o", "json", *flags).succeeded()
        assert list(done.json) == [*UPGRADE_KEYS, "changed", *(["dry_run"] if flags else [])]
        assert (done.json["previous_revision"], done.json["revision"]) == (REVISION, REVISION)
        assert (done.json["copy"], done.json["changed"]) == (None, False)
    assert contents(installed.home) == before
    assert installed.run("db", "upgrade", "-q").succeeded().out == ""


def test_an_older_database_is_copied_and_brought_up_to_date_once(newer: Machine) -> None:
    assert newer.run("db", "status", "-o", "json").succeeded().json["state"] == "outdated"
    first = newer.run("db", "upgrade", "--actor", "deploy", "--reason", "release day", "-o", "json").succeeded()
    copy = newer.data / f"backctl.db.{REVISION}.1.bak"
    assert first.json == {
        "database": str(newer.data / "backctl.db"),
        "previous_revision": REVISION,
        "revision": NEXT,
        "copy": str(copy),
        "changed": True,
    }
    assert (revision(newer.data / "backctl.db"), revision(copy)) == (NEXT, REVISION)
    assert copy.stat().st_mode & 0o777 == 0o600
    again = newer.run("db", "upgrade", "-o", "json").succeeded().json
    assert (again["changed"], again["previous_revision"], again["copy"]) == (False, NEXT, None)
    assert upgrades(newer) == [("deploy", "release day", {"old": REVISION, "new": NEXT})]
    newer.run("audit", "verify").succeeded()
    assert newer.run("user", "count").succeeded().out == "3\n"


def test_a_rehearsed_upgrade_leaves_everything_as_it_is(newer: Machine) -> None:
    before = contents(newer.home)
    dry = newer.run("db", "upgrade", "--dry-run", "-o", "json").succeeded().json
    assert (dry["changed"], dry["dry_run"], dry["copy"]) == (True, True, None)
    assert (dry["previous_revision"], dry["revision"]) == (REVISION, NEXT)
    assert contents(newer.home) == before


def test_of_two_upgrades_at_once_one_does_it_and_both_succeed(newer: Machine) -> None:
    ended = together(newer, [newer.command("db", "upgrade", "-o", "json")] * 2)
    assert [outcome.code for outcome in ended] == [0, 0], [outcome.err for outcome in ended]
    assert sorted(outcome.json["changed"] for outcome in ended) == [False, True]
    assert revision(newer.data / "backctl.db") == NEXT
    assert len(list(newer.data.glob("*.bak"))) == 1
    assert len(upgrades(newer)) == 1
    newer.run("audit", "verify").succeeded()


def test_an_upgrade_that_is_killed_leaves_the_old_or_the_new(newer: Machine) -> None:
    process = newer.start("db", "upgrade", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stop_when(process, lambda: any(newer.data.glob("*.bak")))
    process.wait()
    assert revision(newer.data / "backctl.db") in (REVISION, NEXT)
    newer.run("db", "upgrade").succeeded()
    assert revision(newer.data / "backctl.db") == NEXT
    assert len(upgrades(newer)) == 1
    assert newer.run("user", "count").succeeded().out == "3\n"


def test_an_upgrade_needs_the_keyring_that_belongs(newer: Machine) -> None:
    before = (newer.data / "backctl.db").read_bytes()
    (newer.data / "keyring.json").rename(newer.home / "keyring.json")
    refused(newer.run("db", "upgrade", "-o", "json"), 9, "keyring.missing")
    assert (newer.data / "backctl.db").read_bytes() == before
    (newer.home / "keyring.json").rename(newer.data / "keyring.json")
    newer.run("db", "upgrade").succeeded()


def test_a_newer_database_and_none_are_not_upgraded(installed: Machine) -> None:
    execute(installed, "UPDATE alembic_version SET version_num = '9999'")
    refused(installed.run("db", "upgrade", "-o", "json"), 9, "database.schema_newer")
    shutil.rmtree(installed.data)
    refused(installed.run("db", "upgrade", "-o", "json"), 9, "database.missing")
    assert contents(installed.home) == {".local": None, ".local/share": None}


def test_an_upgrade_waits_for_a_writer_and_then_gives_up(newer: Machine) -> None:
    with closing(sqlite3.connect(newer.data / "backctl.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        refused(newer.run("db", "upgrade", "--timeout", "50ms", "-o", "json"), 5, "database.locked")
    assert list(newer.data.glob("*.bak")) == []


def test_an_upgrade_without_room_for_its_copy_changes_nothing(newer: Machine) -> None:
    before = (newer.data / "backctl.db").read_bytes()
    command = with_files_of_at_most(65536, newer.command("db", "upgrade", "-o", "json"))
    refused(run_command(newer, command), 5, "database.full")
    assert (newer.data / "backctl.db").read_bytes() == before
    assert [path.name for path in newer.data.iterdir() if ".bak" in path.name] == []


# check


def test_a_sound_database_passes_every_check_unchanged(installed: Machine) -> None:
    before = contents(installed.home)
    done = installed.run("db", "check", "-o", "json").succeeded()
    assert [(item["check"], item["status"]) for item in done.json["items"]] == [(name, "ok") for name in CHECKS]
    assert list(done.json["items"][0]) == ["check", "status", "finding", "hint"]
    assert installed.run("db", "check", "-q").succeeded().out == ""
    assert contents(installed.home) == before


def test_a_fresh_machine_passes_and_stays_fresh(machine: Machine) -> None:
    assert findings(machine)[0] == 0
    assert contents(machine.home) == {}


SPOILT: dict[str, tuple[tuple[str, ...], str, str]] = {
    "no column": (("ALTER TABLE events DROP COLUMN trace_id",), "schema.columns", "events: trace_id is missing"),
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
        "accounts that no event tells of: '00000000-0000-4000-8000-000000000000'",
    ),
    "a row taken away": (
        ("DELETE FROM users WHERE username = 'bob'",),
        "contents.accounts",
        "accounts that are gone without an event",
    ),
    "the log cut off": (
        ("DELETE FROM events WHERE seq = 5",),
        "contents.events",
        "4 events from 1 to 4, where the head says 5",
    ),
    "a gap": (
        ("DELETE FROM events WHERE seq = 2",),
        "contents.events",
        "4 events from 1 to 5, where the head says 5",
    ),
    "another end": (
        ("UPDATE event_head SET mac = zeroblob(32)",),
        "contents.events",
        "the head is not the end of event 5",
    ),
    "no head": (("DELETE FROM event_head",), "contents.events", "the log has lost its head"),
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
        "CREATE VIEW names AS SELECT username FROM users",
        "CREATE TRIGGER quietly AFTER DELETE ON users BEGIN SELECT 1; END",
        "ALTER TABLE users ADD COLUMN nickname TEXT",
        "CREATE INDEX mine ON users (username)",
    )
    code, statuses, told = findings(installed)
    assert code == 0
    assert statuses == {"schema.tables": "warn", "schema.columns": "warn", "schema.indices": "warn"}
    assert told["schema.tables"] == (
        "table notes is not of this program; view names is not of this program; trigger quietly is not of this program"
    )
    assert told["schema.columns"] == "users: nickname is not of this program"


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


# backup


def test_a_copy_is_whole_private_and_said_what_it_is(installed: Machine) -> None:
    before = contents(installed.data)
    done = installed.run("db", "backup", "copy.db", "-o", "json", umask=0).succeeded()
    copy = installed.home / "copy.db"
    assert list(done.json) == BACKUP_KEYS
    assert done.json == {
        "path": str(copy),
        "bytes": copy.stat().st_size,
        "sha256": hashlib.sha256(copy.read_bytes()).hexdigest(),
    }
    assert done.err == ""
    assert copy.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in installed.home.iterdir()) == [".local", "copy.db"]
    assert contents(installed.data) == before


def test_a_copy_put_in_its_place_is_the_installation_again(installed: Machine) -> None:
    installed.run("db", "backup", "copy.db").succeeded()
    installed.run("user", "deactivate", "bob").succeeded()
    for path in installed.data.glob("backctl.db*"):
        path.unlink()
    shutil.move(installed.home / "copy.db", installed.data / "backctl.db")
    for command in ("audit verify", "db check", "doctor"):
        installed.run(*command.split()).succeeded()
    assert installed.run("user", "show", "bob", "--fields", "is_active", "--no-header").succeeded().out == "true\n"


def test_a_copy_holds_what_is_in_the_log_and_nothing_unfinished(installed: Machine) -> None:
    with closing(sqlite3.connect(installed.data / "backctl.db", isolation_level=None)) as writer:
        writer.execute("UPDATE users SET username = 'bobby' WHERE username = 'bob'")  # stays in the log beside the file
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM users")
        installed.run("db", "backup", "copy.db").succeeded()
        writer.execute("ROLLBACK")
    with closing(sqlite3.connect(installed.home / "copy.db")) as copy:
        assert copy.execute("SELECT username FROM users ORDER BY username").fetchall() == [
            ("ada",),
            ("bobby",),
            ("cleo",),
        ]
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_an_older_database_is_copied_as_it_is(newer: Machine) -> None:
    newer.run("db", "backup", "copy.db").succeeded()
    assert revision(newer.home / "copy.db") == REVISION
    assert revision(newer.data / "backctl.db") == REVISION


def into_a_link(path: Path) -> None:
    path.symlink_to("nowhere")


OCCUPIED: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.write_text("precious"),
    "a folder": lambda path: path.mkdir(),
    "a dangling link": into_a_link,
}


@pytest.mark.parametrize("what", OCCUPIED)
def test_what_exists_is_never_replaced_by_a_copy(installed: Machine, what: str) -> None:
    OCCUPIED[what](installed.home / "copy.db")
    before = contents(installed.home)
    error = refused(installed.run("db", "backup", "copy.db", "-o", "json"), 4, "file.exists")
    assert str(installed.home / "copy.db") in error["message"]
    refused(installed.run("db", "backup", str(installed.data / "backctl.db"), "-o", "json"), 4, "file.exists")
    assert contents(installed.home) == before


def test_a_place_where_nothing_can_be_written_is_told(installed: Machine) -> None:
    locked = installed.home / "locked"
    locked.mkdir(0o500)
    before = contents(installed.home)
    for name in ("nowhere/copy.db", "locked/copy.db", f"{installed.data}/backctl.db/copy.db", "x" * 300):
        command = as_ordinary_owner(installed.command("db", "backup", name, "-o", "json"))
        error = refused(run_command(installed, command), 9, "storage.folder_unusable")
        assert name.rpartition("/")[2] in error["message"]
        assert ".new" not in error["message"]
    refused(installed.run("db", "backup", "-", "-o", "json"), 2, "usage")
    assert contents(installed.home) == before


def test_a_full_disk_leaves_no_copy_and_no_rest_of_one(installed: Machine) -> None:
    before = contents(installed.home)
    command = with_files_of_at_most(65536, installed.command("db", "backup", "copy.db", "-o", "json"))
    error = refused(run_command(installed, command), 5, "database.full")
    assert str(installed.home / "copy.db") in error["message"]
    assert contents(installed.home) == before


@pytest.fixture
def big(installed: Machine) -> Machine:
    """A database that takes a moment to copy."""
    execute(installed, "CREATE TABLE ballast (data BLOB)", *["INSERT INTO ballast VALUES (zeroblob(9000000))"] * 12)
    return installed


def is_growing(machine: Machine) -> bool:
    return any(path.stat().st_size for path in machine.home.glob(".copy.db.*.new"))


def test_a_copy_that_is_killed_never_has_the_name_that_was_asked_for(big: Machine) -> None:
    process = big.start("db", "backup", "copy.db", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stop_when(process, lambda: is_growing(big))
    assert process.wait() == -signal.SIGKILL
    assert not (big.home / "copy.db").exists()
    done = big.run("db", "backup", "copy.db", "-o", "json").succeeded().json
    assert done["sha256"] == hashlib.sha256((big.home / "copy.db").read_bytes()).hexdigest()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_copy_that_is_interrupted_leaves_nothing(big: Machine, number: signal.Signals, code: int) -> None:
    before = contents(big.home)
    process = big.start("db", "backup", "copy.db", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stop_when(process, lambda: is_growing(big), number)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, b"")
    assert contents(big.home) == before


def test_of_many_copies_to_one_name_one_is_kept_whole(big: Machine) -> None:
    ended = together(big, [big.command("db", "backup", "copy.db", "-o", "json")] * 4)
    assert sorted(outcome.code for outcome in ended) == [0, 4, 4, 4]
    (kept,) = [json.loads(outcome.out) for outcome in ended if outcome.code == 0]
    assert kept["sha256"] == hashlib.sha256((big.home / "copy.db").read_bytes()).hexdigest()
    assert sorted(path.name for path in big.home.iterdir()) == [".local", "copy.db"]


def test_a_copy_is_made_while_others_write(big: Machine) -> None:
    backup = big.start("db", "backup", "copy.db", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not is_growing(big):
        assert backup.poll() is None
    big.run("user", "deactivate", "bob", "--timeout", "5s").succeeded()
    _, err = backup.communicate(timeout=60)
    assert (backup.returncode, err) == (0, b"")
    with closing(sqlite3.connect(big.home / "copy.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert copy.execute("SELECT (SELECT max(seq) FROM events) = (SELECT seq FROM event_head)").fetchone() == (1,)
