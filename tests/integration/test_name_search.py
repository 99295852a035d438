"""The usernames that completion reads from real files: quickly, in the right order, and without leaving a trace."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from tests.contracts.conftest import BY, START, a_keyring, new_id

from backctl.domain.values import EventId
from backctl.infrastructure.sql.migrator import Founding
from backctl.infrastructure.sqlite import name_search
from backctl.infrastructure.sqlite.migrator import create_database
from backctl.infrastructure.sqlite.name_search import LIMIT, names_beginning

_INSERT = """
INSERT INTO users (id, email, email_key, email_domain, username, username_key, role, is_active, must_change_password,
                   mfa_state, created_at, updated_at, version)
VALUES (?, ?, ?, 'example.org', ?, ?, 'user', 1, 0, 'off', 1, 1, 1)
"""


def insert(path: Path, *names: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        rows = [(new_id(), f"{n}@Example.org", f"{n}@example.org".lower(), n, n.lower()) for n in names]
        database.executemany(_INSERT, rows)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "backctl.db"
    create_database(
        path, Founding(installation_id="here", keyring=a_keyring(), by=BY, now=START, event_id=EventId(new_id()))
    )
    insert(path, "ada", "Adam", "bob")
    return path


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "50% off? #1"  # these characters have a meaning in a URI
    folder.mkdir()
    return Path(shutil.copy(template, folder / "backctl.db"))


def found(path: Path, prefix: str) -> list[str]:
    return [str(name, "utf-8") for name, _ in names_beginning(str(path), prefix) if isinstance(name, bytes)]


def state(path: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        name: (
            os.stat(path.parent / name).st_mtime_ns,
            os.stat(path.parent / name).st_size,
            (path.parent / name).read_bytes(),
        )
        for name in os.listdir(path.parent)
    }


def test_usernames_come_first_and_addresses_where_no_username_begins_so(path: Path) -> None:
    assert found(path, "") == ["ada", "Adam", "bob"]
    assert found(path, "a") == ["ada", "Adam"]
    assert found(path, "AD") == ["ada", "Adam"]
    assert found(path, "ada@") == ["ada@Example.org"]
    assert found(path, "ada@example.o") == ["ada@Example.org"]
    assert found(path, "c") == []
    insert(path, "zoe")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE users SET username = 'other', username_key = 'other' WHERE username_key = 'zoe'")
    assert found(path, "z") == ["zoe@Example.org"]


def test_names_of_all_scripts_are_found_by_their_keys(path: Path) -> None:
    insert(path, "Äda", "日本語")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE users SET username = 'Straße', username_key = 'strasse' WHERE username_key = 'bob'")
        database.execute("UPDATE users SET username_key = 'äda', email_key = 'äda@example.org' WHERE username = 'Äda'")
    assert found(path, "ä") == found(path, "Ä") == found(path, "A\u0308") == ["Äda"]
    assert found(path, "äda@") == ["Äda@Example.org"]
    assert found(path, "STRAß") == found(path, "stras") == ["Straße"]
    assert found(path, "日") == ["日本語"]
    assert found(path, "") == ["ada", "Adam", "Straße"]
    everything = names_beginning(str(path), "", beyond_ascii=True)
    assert [str(name, "utf-8") for name, _ in everything if isinstance(name, bytes)][3:] == ["Äda", "日本語"]


def test_of_too_many_names_the_last_ones_are_found_too(path: Path) -> None:
    insert(path, *(f"user{number:04}" for number in range(LIMIT + 20)))
    names = found(path, "us")
    assert names == [f"user{number:04}" for number in range(LIMIT + 20)]
    insert(path, *(f"user{number:04}" for number in range(LIMIT + 20, 2000)))
    names = found(path, "us")
    assert len(names) < 2000
    assert names[:2] == ["user0000", "user0001"]
    assert names[-1] == "user1999"


def test_a_search_reads_the_index_and_no_row_too_many(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        for column in ("username", "email"):
            for order in ("", " DESC"):
                statement = name_search._NAMES.format(column=column) + order
                (plan,) = database.execute(f"EXPLAIN QUERY PLAN {statement} LIMIT 50", ("a", "b"))
                assert "SEARCH users USING INDEX" in plan[3]
                assert f"({column}_key>? AND {column}_key<?)" in plan[3]


def test_nothing_is_left_behind_whether_others_have_the_database_open_or_not(path: Path) -> None:
    before = state(path)
    assert found(path, "a") == ["ada", "Adam"]
    assert state(path) == before
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        insert(path, "adele")
        before = state(path)
        assert "backctl.db-wal" in before
        assert found(path, "a") == ["ada", "Adam", "adele"]
        assert state(path).keys() == before.keys()
        assert state(path)["backctl.db"] == before["backctl.db"]


def test_a_writer_does_not_hold_a_search_up(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM users")
        assert found(path, "a") == ["ada", "Adam"]
        writer.execute("ROLLBACK")


def test_a_crash_is_read_over_and_left_to_whoever_writes_next(path: Path) -> None:
    program = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("UPDATE users SET username = 'adah' WHERE username_key = 'ada'")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    before = state(path)
    assert "backctl.db-wal" in before
    assert found(path, "a") == ["adah", "Adam"]
    assert state(path).keys() == before.keys()
    os.unlink(f"{path}-shm")  # like in a copy: reading the WAL would create this file
    with pytest.raises(OSError, match="shm"):
        names_beginning(str(path), "a")
    assert "backctl.db-shm" not in os.listdir(path.parent)


def test_what_is_no_database_of_this_program_says_nothing(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    assert found(path, "a") == []
    foreign = path.with_name("foreign.db")
    with closing(sqlite3.connect(foreign)) as database, database:
        database.execute("CREATE TABLE users (username, username_key)")
    (text := path.with_name("text.db")).write_text("not a database")
    (empty := path.with_name("empty.db")).touch()
    for file in (foreign, text, empty):
        before = state(path)
        with pytest.raises(sqlite3.Error):
            names_beginning(str(file), "a")
        assert state(path) == before
    os.mkfifo(path.with_name("pipe"))
    for name in ("missing.db", "pipe", ".", "backctl.db/x"):
        with pytest.raises(OSError, match=r"pipe|missing|backctl\.db|50%"):
            names_beginning(str(path.parent / name), "a")


def test_a_pending_rollback_is_left_alone(path: Path) -> None:
    path.with_name("backctl.db-journal").write_bytes(b"x")
    with pytest.raises(OSError, match="cleanly closed"):
        names_beginning(str(path), "a")


def test_a_view_that_never_ends_is_given_up(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript("""
            ALTER TABLE users RENAME TO old;
            CREATE VIEW users AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                SELECT 'x' || i AS username, 'x' || i AS username_key FROM n;
        """)
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        names_beginning(str(path), "a")


def test_what_was_written_past_the_program_breaks_nothing(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE users SET username = CAST(x'fffe61' AS TEXT) WHERE username_key = 'ada'")
        database.execute("UPDATE users SET username = 1234567 WHERE username_key = 'adam'")
    names = names_beginning(str(path), "a")
    assert names == [(b"\xff\xfea", b"ada"), (b"1234567", b"adam")]


def test_a_folder_that_may_only_be_read_is_enough(path: Path) -> None:
    path.parent.chmod(0o500)
    path.chmod(0o400)
    try:
        assert found(path, "a") == ["ada", "Adam"]
    finally:
        path.parent.chmod(0o700)


def test_readers_at_once_do_not_disturb_each_other(path: Path) -> None:
    answers: list[list[str]] = []
    threads = [threading.Thread(target=lambda: answers.append(found(path, "a"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [["ada", "Adam"]] * 8
