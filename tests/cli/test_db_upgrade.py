"""`backctl db upgrade` with the real program: how a database is upgraded, and what prevents it."""

import shutil
import sqlite3
import subprocess
from contextlib import closing

from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents, execute, revision
from tests.cli.next_release import NEXT
from tests.cli.processes import run_command, stop_when, together, with_files_of_at_most

from backctl.infrastructure.sql.schema import REVISION

PEOPLE = [Person("ada", "admin"), Person("bob"), Person("cleo", active=False)]
UPGRADE_KEYS = ["database", "previous_revision", "revision", "copy_file"]


def upgrades(machine: Machine) -> list[tuple[str, str | None, dict[str, str]]]:
    """Return who upgraded the schema, why, and the old and new revision."""
    listed = machine.run("audit", "list", "--type", "SchemaUpgraded", "-o", "json").succeeded()
    return [(event["actor"], event["reason"], event["data"]) for event in listed.json["items"]]


def test_a_current_database_needs_no_upgrade(installed: Machine) -> None:
    before = contents(installed.home)
    for flags in ((), ("--dry-run",)):
        done = installed.run("db", "upgrade", "-o", "json", *flags).succeeded()
        assert list(done.json) == [*UPGRADE_KEYS, "changed", *(["dry_run"] if flags else [])]
        assert (done.json["previous_revision"], done.json["revision"]) == (REVISION, REVISION)
        assert (done.json["copy_file"], done.json["changed"]) == (None, False)
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
        "copy_file": str(copy),
        "changed": True,
    }
    assert (revision(newer.data / "backctl.db"), revision(copy)) == (NEXT, REVISION)
    assert copy.stat().st_mode & 0o777 == 0o600
    again = newer.run("db", "upgrade", "-o", "json").succeeded().json
    assert (again["changed"], again["previous_revision"], again["copy_file"]) == (False, NEXT, None)
    assert upgrades(newer) == [("deploy", "release day", {"old": REVISION, "new": NEXT})]
    newer.run("audit", "verify").succeeded()
    assert newer.run("user", "count").succeeded().out == "3\n"


def test_a_rehearsed_upgrade_leaves_everything_as_it_is(newer: Machine) -> None:
    before = contents(newer.home)
    dry = newer.run("db", "upgrade", "--dry-run", "-o", "json").succeeded().json
    assert (dry["changed"], dry["dry_run"], dry["copy_file"]) == (True, True, None)
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
    refused(installed.run("db", "upgrade", "-o", "json"), 9, "installation.missing")
    assert contents(installed.home) == {".local": None, ".local/share": None}


def test_an_upgrade_waits_for_a_writer_and_then_gives_up(newer: Machine) -> None:
    with closing(sqlite3.connect(newer.data / "backctl.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        refused(newer.run("db", "upgrade", "--timeout", "50ms", "-o", "json"), 5, "database.locked")
    assert list(newer.data.glob("*.bak")) == []


def test_an_upgrade_without_room_for_its_copy_changes_nothing(newer: Machine) -> None:
    before = (newer.data / "backctl.db").read_bytes()
    command = with_files_of_at_most(65536, newer.command("db", "upgrade", "-o", "json"))
    refused(run_command(newer, command), 5, "disk.full")
    assert (newer.data / "backctl.db").read_bytes() == before
    assert [path.name for path in newer.data.iterdir() if ".bak" in path.name] == []
