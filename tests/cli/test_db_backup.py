"""`backctl db backup` with the real program: complete copies of a database in use."""

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
from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents, execute, revision
from tests.cli.processes import as_ordinary_owner, run_command, stop_when, together, with_files_of_at_most

from backctl.infrastructure.sql.schema import REVISION

PEOPLE = [Person("ada", "admin"), Person("bob"), Person("cleo", active=False)]
BACKUP_KEYS = ["file", "size_bytes", "sha256"]


def test_a_copy_is_whole_private_and_said_what_it_is(installed: Machine) -> None:
    before = contents(installed.data)
    done = installed.run("db", "backup", "copy.db", "-o", "json", umask=0).succeeded()
    copy = installed.home / "copy.db"
    assert list(done.json) == BACKUP_KEYS
    assert done.json == {
        "file": str(copy),
        "size_bytes": copy.stat().st_size,
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
        writer.execute("UPDATE users SET username = 'bobby' WHERE username = 'bob'")  # stays in the WAL
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
    error = refused(run_command(installed, command), 5, "disk.full")
    assert str(installed.home / "copy.db") in error["message"]
    assert contents(installed.home) == before


@pytest.fixture
def big(installed: Machine) -> Machine:
    """Return a machine whose database takes a moment to copy."""
    execute(installed, "CREATE TABLE ballast (data BLOB)", *["INSERT INTO ballast VALUES (zeroblob(9000000))"] * 12)
    return installed


def is_growing(machine: Machine) -> bool:
    return any(path.stat().st_size for path in machine.home.glob(".copy.db.*.new/copy"))


def test_a_copy_that_is_killed_never_has_the_name_that_was_asked_for(big: Machine) -> None:
    process = big.start("db", "backup", "copy.db", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stop_when(process, lambda: is_growing(big))
    assert process.wait() == -signal.SIGKILL
    assert not (big.home / "copy.db").exists()
    assert len(list(big.home.glob(".copy.db.*.new"))) == 1
    done = big.run("db", "backup", "other.db", "-o", "json").succeeded().json
    assert done["sha256"] == hashlib.sha256((big.home / "other.db").read_bytes()).hexdigest()
    assert sorted(path.name for path in big.home.iterdir()) == [".local", "other.db"]


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


def test_what_a_killed_copy_left_is_removed_by_the_next_one_whatever_its_name(big: Machine) -> None:
    process = big.start("db", "backup", "copy.db", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stop_when(process, lambda: is_growing(big))
    assert process.wait() == -signal.SIGKILL
    unlike = big.home / ".copy.db.fedcba9876543210.new"
    unlike.mkdir()
    (unlike / "mine").touch()
    big.run("db", "backup", "other.db").succeeded()
    assert {path.name for path in big.home.iterdir()} == {".local", "other.db", unlike.name}
    assert (unlike / "mine").exists()


def test_a_copy_that_is_still_being_made_is_left_alone_by_another(big: Machine) -> None:
    backup = big.start("db", "backup", "copy.db", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    stop_when(backup, lambda: is_growing(big), signal.SIGSTOP)
    big.run("db", "backup", "other.db").succeeded()
    backup.send_signal(signal.SIGCONT)
    _, err = backup.communicate(timeout=60)
    assert (backup.returncode, err) == (0, b"")
    assert {path.name for path in big.home.iterdir()} == {".local", "copy.db", "other.db"}
