"""Database files in every state that a disk, another process or another user can leave them in."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from tests.contracts.conftest import BY, START, a_keyring, a_user, new_id

from backctl.application.event_views import EventView
from backctl.application.views import UserView
from backctl.domain.errors import (
    BackctlError,
    DatabaseDamaged,
    DatabaseLocked,
    DatabaseMissing,
    DatabaseUnusable,
)
from backctl.domain.repositories import BY_CREATION, EVERY_EVENT, EVERY_USER
from backctl.domain.values import EventId, Identity
from backctl.infrastructure.addresses import EmailValidatorParser
from backctl.infrastructure.sql.migrator import Founding
from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork
from backctl.infrastructure.sqlite.engine import sqlite_engine
from backctl.infrastructure.sqlite.migrator import create_database, upgrade
from backctl.infrastructure.sqlite.reader import SqliteReader

KEYRING = a_keyring()
ADDRESSES = EmailValidatorParser()
SOON_US = 1000


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "backctl.db"
    create_database(
        path, Founding(installation_id="here", keyring=KEYRING, by=BY, now=START, event_id=EventId(new_id()))
    )
    for name in ("ada", "bob", "eve"):
        add_user(path, name)
    return path


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(template, tmp_path / "backctl.db"))


def unit_of_work(engine: Engine) -> SqlUnitOfWork:
    return SqlUnitOfWork(
        engine,
        by=BY,
        addresses=ADDRESSES,
        audit_key=KEYRING.primary("audit"),
        clock=lambda: START,
        new_id=new_id,
        dry_run=False,
    )


def add_user(path: Path, name: str, *, timeout_us: int = SOON_US) -> None:
    engine = sqlite_engine(path, timeout_us=timeout_us)
    try:
        with unit_of_work(engine) as work:
            work.users.add(a_user(name))
            work.commit()
    finally:
        engine.dispose()


T = TypeVar("T")


def ask(path: Path, question: Callable[[SqliteReader], T]) -> T:
    with closing(SqliteReader(path, timeout_us=SOON_US, addresses=ADDRESSES, clock=lambda: START)) as reader:
        return question(reader)


def count(path: Path) -> int:
    return ask(path, lambda reader: reader.count_users(EVERY_USER))


def verify(path: Path) -> tuple[bool, int | None]:
    report = ask(path, lambda reader: reader.verify_chain(lambda kids: KEYRING.secrets("audit")))
    return report.intact, report.broken_seq


def all_users(path: Path) -> list[UserView]:
    return ask(path, lambda reader: list(reader.stream_users(EVERY_USER, BY_CREATION)))


def all_events(path: Path) -> list[EventView]:
    return ask(path, lambda reader: list(reader.stream_events(EVERY_EVENT)))


def find_ada(path: Path) -> UserView | None:
    return ask(path, lambda reader: reader.find_user(Identity.parse("ada")))


DOORS: list[Callable[[Path], object]] = [
    count,
    verify,
    all_users,
    all_events,
    find_ada,
    lambda path: add_user(path, "new"),
    lambda path: upgrade(path, timeout_us=SOON_US, notice=print),
]


def assert_refused(path: Path, refusal: type[BackctlError]) -> None:
    """Check that each entry point fails with an error that names the file and does not change it."""
    before = path.read_bytes() if path.is_file() else None
    for door in DOORS:
        with pytest.raises(refusal) as caught:
            door(path)
        assert str(path) in caught.value.message
        assert caught.value.hint
    assert (path.read_bytes() if path.is_file() else None) == before


# Locks.


@pytest.fixture
def locked(path: Path) -> Iterator[Path]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield path


def test_a_locked_database_is_read_and_not_written(locked: Path) -> None:
    assert count(locked) == 3
    assert verify(locked) == (True, None)
    with pytest.raises(DatabaseLocked, match="locked by another process") as refusal:
        add_user(locked, "new")
    assert refusal.value.retryable
    assert count(locked) == 3


def test_a_refused_unit_of_work_gives_its_connection_back(path: Path) -> None:
    engine = sqlite_engine(path, timeout_us=SOON_US)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(3):
                with pytest.raises(DatabaseLocked), unit_of_work(engine):
                    pytest.fail("it began")
        with unit_of_work(engine) as work:
            work.users.add(a_user("new"))
            work.commit()
    finally:
        engine.dispose()
    assert count(path) == 4


def test_a_lock_is_waited_for(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, other.execute, ("ROLLBACK",))
    release.start()
    add_user(path, "new", timeout_us=30_000_000)
    release.join()
    other.close()
    assert count(path) == 4


def test_an_exclusive_lock_stops_readers_too(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        for door in DOORS:
            with pytest.raises(DatabaseLocked):
                door(path)


# Files.


def test_no_database_at_all(tmp_path: Path) -> None:
    assert_refused(tmp_path / "backctl.db", DatabaseMissing)
    assert_refused(tmp_path / "nowhere" / "backctl.db", DatabaseMissing)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"x" * 100_000, b"SQLite format 3\0", b"SQLite format 3\0" + b"\0" * 5000]
)
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "backctl.db"
    path.write_bytes(content)
    assert_refused(path, DatabaseUnusable)
    assert [entry.name for entry in tmp_path.iterdir()] == ["backctl.db"]


def test_a_folder_where_the_database_should_be(tmp_path: Path) -> None:
    (tmp_path / "backctl.db").mkdir()
    assert_refused(tmp_path / "backctl.db", DatabaseUnusable)


VERSION_TABLE = "CREATE TABLE alembic_version (version_num TEXT);"


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE TABLE users (id INTEGER)",
        VERSION_TABLE + "INSERT INTO alembic_version VALUES ('0001')",
        "CREATE TABLE installation (id, installation_id); CREATE TABLE audit_keys (kid);" + VERSION_TABLE,
    ],
)
def test_somebody_elses_database(tmp_path: Path, schema: str) -> None:
    path = tmp_path / "backctl.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(schema)
    assert_refused(path, DatabaseUnusable)


def test_a_damaged_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff" * 64)
    assert_refused(path, DatabaseUnusable)


@pytest.mark.parametrize("size", [1, 100, 512, 4095])
def test_a_file_cut_off_in_its_first_page(path: Path, size: int) -> None:
    os.truncate(path, size)
    assert_refused(path, DatabaseUnusable)


def test_a_file_cut_off_later(path: Path) -> None:
    os.truncate(path, 4096 * 3)
    for door in DOORS[:-1]:
        with pytest.raises(DatabaseUnusable):
            door(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), holes=st.integers(1, 40))
def test_damage_anywhere_is_an_answer_or_an_error_of_ours(path: Path, template: Path, seed: int, holes: int) -> None:
    content = bytearray(template.read_bytes())
    dice = random.Random(seed)
    for _ in range(holes):
        start = dice.randrange(len(content))
        content[start : start + 16] = dice.randbytes(16)
    for log in ("-wal", "-shm"):  # left over from the previous example
        Path(f"{path}{log}").unlink(missing_ok=True)
    path.write_bytes(content[: len(template.read_bytes())])
    for door in DOORS:
        try:
            door(path)
        except BackctlError:
            continue


def test_text_that_is_no_text_is_not_repeated(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE users SET email = CAST(x'73656372657480ff' AS TEXT)")
        connection.commit()
    for door in (all_users, find_ada):
        with pytest.raises(DatabaseDamaged, match="the column email contains an impossible value") as refusal:
            door(path)
        assert "secret" not in refusal.value.message


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'x'",
        "actor = '[]'",
        "actor = '{}'",
        """actor = '{"label": "x", "os_user": 5, "host": "x"}'""",
        "data = '5'",
        "data = '[]'",
        "data = '{'",
        "occurred_at = 'x'",
        "occurred_at = 9000000000000000000",
    ],
)
def test_an_event_that_was_never_written_is_not_shown(path: Path, change: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE events SET {change} WHERE seq = 2")
        connection.commit()
    with pytest.raises(DatabaseDamaged, match="table events, row '2': the column " + change.split(maxsplit=1)[0]):
        all_events(path)
    with pytest.raises(DatabaseDamaged, match="table events, row '2': the column " + change.split(maxsplit=1)[0]):
        ask(path, lambda reader: reader.events(EVERY_EVENT, limit=5))


# An event log changed by somebody else.


def loosened(path: Path) -> sqlite3.Connection:
    """Replace the event table by one without types and constraints, as an attacker could."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(
        "CREATE TABLE loose AS SELECT * FROM events; DROP TABLE events; ALTER TABLE loose RENAME TO events;"
    )
    return connection


COLUMNS = ("seq", "id", "occurred_at", "type", "subject", "actor", "reason", "trace_id", "audit_kid", "data", "salt")
DIGESTS = ("data_digest", "mac")
ANYTHING = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    | st.binary(max_size=40)
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seq=st.integers(1, 4), column=st.sampled_from(COLUMNS + DIGESTS), value=ANYTHING, as_text=st.booleans())
def test_whatever_is_written_over_a_column_breaks_the_chain(
    path: Path, template: Path, seq: int, column: str, value: object, as_text: bool
) -> None:
    shutil.copy(template, path)
    with closing(loosened(path)) as connection:
        if value is not None and column in ("reason", "trace_id"):
            connection.execute(f"UPDATE events SET {column} = NULL")
        # In SQLite, text can contain bytes that are not UTF-8.
        new = "CAST(:value AS TEXT)" if as_text and isinstance(value, bytes) else ":value"
        changed = connection.execute(
            f"UPDATE events SET {column} = {new} WHERE seq = :seq AND {column} IS NOT {new}",
            {"value": value, "seq": seq},
        ).rowcount
    intact, broken = verify(path)
    assert intact != bool(changed)
    if changed and column != "seq":
        assert broken == seq


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(column=st.sampled_from(["seq", "mac"]), value=ANYTHING)
def test_whatever_is_written_over_the_head_breaks_the_chain(
    path: Path, template: Path, column: str, value: object
) -> None:
    shutil.copy(template, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(
            "CREATE TABLE loose AS SELECT * FROM event_head; DROP TABLE event_head;"
            "ALTER TABLE loose RENAME TO event_head;"
        )
        changed = connection.execute(
            f"UPDATE event_head SET {column} = :value WHERE {column} IS NOT :value", {"value": value}
        ).rowcount
    assert verify(path)[0] != bool(changed)
    try:
        add_user(path, "new")
    except DatabaseUnusable:
        assert count(path) == 3
    assert verify(path)[0] != bool(changed), "a later event must not heal the chain"


def test_a_lost_head_breaks_the_chain(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM event_head")
    assert not verify(path)[0]


def test_a_lost_log_is_no_database_of_ours(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE events")
    with pytest.raises(DatabaseUnusable, match="does not belong to backctl"):
        verify(path)


# Full disks and other processes.

PREAMBLE = """
import os, resource, sys
from pathlib import Path
sys.path[:0] = {paths!r}
sys.dont_write_bytecode = True
from tests.integration.test_sqlite_faults import *
from backctl.infrastructure.sqlite import migrator
import alembic.command, alembic.config
path = Path({path!r})

def outcome(door):
    try:
        return repr(door())
    except BackctlError as error:
        return error.code

def become_nobody():
    "".encode("utf-16-be")  # after it, the interpreter's own files may be out of reach
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
"""


def in_child(path: Path, script: str) -> list[str]:
    """Run a script in a separate process. Return the lines it prints."""
    root = Path(__file__).parents[2]
    preamble = PREAMBLE.format(paths=[str(root), str(root / "src")], path=str(path))
    child = subprocess.run(
        [sys.executable, "-c", preamble + script], capture_output=True, text=True, timeout=120, check=False
    )
    assert (child.returncode, child.stderr) == (0, "")
    return child.stdout.splitlines()


def test_a_full_disk_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    outcomes = in_child(
        path,
        """
room = path.stat().st_size
for size in (0, 4096, 20000, room):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    print(outcome(lambda: add_user(path, "new")))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(count(path), verify(path))
""",
    )
    assert outcomes[:3] == ["database.full"] * 3
    assert outcomes[-1] in ("3 (True, None)", "4 (True, None)")
    assert (outcomes[3] == "database.full") == outcomes[-1].startswith("3")
    if outcomes[-1].startswith("3"):
        assert path.read_bytes() == before


def test_a_transaction_too_large_for_the_disk_changes_nothing(path: Path) -> None:
    outcomes = in_child(
        path,
        """
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
engine = sqlite_engine(path, timeout_us=SOON_US)
def many():
    with unit_of_work(engine) as work:
        for number in range(2000):
            work.users.add(a_user(f"user{number}"))
        work.commit()
print(outcome(many))
print(outcome(lambda: count(path)), outcome(lambda: verify(path)))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with unit_of_work(engine) as work:
    work.users.add(a_user("new"))
    work.commit()
print(count(path), verify(path))
""",
    )
    assert outcomes == ["database.full", "3 (True, None)", "4 (True, None)"]


def test_no_room_for_a_new_database_leaves_nothing(tmp_path: Path) -> None:
    outcomes = in_child(
        tmp_path / "new.db",
        """
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
print(outcome(lambda: create_database(
    path, Founding(installation_id="here", keyring=KEYRING, by=BY, now=START, event_id=EventId(new_id())))))
""",
    )
    assert outcomes == ["database.full"]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def public_path(template: Path) -> Iterator[Path]:
    """Yield a copy outside `tmp_path`, which only the user who runs the tests can enter."""
    with TemporaryDirectory() as folder:
        yield Path(shutil.copy(template, folder))


def opened_up(path: Path, *, file: int, folder: int) -> None:
    os.chmod(path, file)
    os.chmod(path.parent, folder)


EVERY_DOOR = "become_nobody()\nfor door in DOORS[:-1]:\n    print(outcome(lambda: door(path)))\n"


def test_a_file_of_somebody_else_is_refused(public_path: Path) -> None:
    opened_up(public_path, file=0o000, folder=0o777)
    assert in_child(public_path, EVERY_DOOR) == ["database.unusable"] * 6


def test_a_read_only_file_is_read_and_not_written(public_path: Path) -> None:
    opened_up(public_path, file=0o444, folder=0o777)
    before = public_path.read_bytes()
    outcomes = in_child(public_path, EVERY_DOOR)
    assert outcomes[:2] == ["3", "(True, None)"]
    assert outcomes[-1] == "database.unusable"
    assert public_path.read_bytes() == before


def test_a_read_only_folder_is_refused_with_the_reason(public_path: Path) -> None:
    opened_up(public_path, file=0o444, folder=0o555)
    try:
        assert in_child(public_path, EVERY_DOOR) == ["database.unusable"] * 6
    finally:
        opened_up(public_path, file=0o600, folder=0o700)


def test_a_link_on_the_way_is_followed_before_dots_are(path: Path) -> None:
    elsewhere = path.parent / "elsewhere" / "deep"
    elsewhere.mkdir(parents=True)
    (path.parent / "link").symlink_to(elsewhere)
    dotted = Path(f"{path.parent}/link/../{path.name}")
    with pytest.raises(DatabaseMissing):
        find_ada(dotted)
    (elsewhere.parent / path.name).hardlink_to(path)
    assert find_ada(dotted) is not None


def test_processes_writing_at_once_keep_one_unbroken_chain(path: Path) -> None:
    root = Path(__file__).parents[2]
    script = PREAMBLE.format(paths=[str(root), str(root / "src")], path=str(path)) + (
        "for number in range(25):\n    add_user(path, f'{sys.argv[1]}-{number}', timeout_us=60_000_000)\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", script, f"writer{number}"], stderr=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for child in children:
        assert (child.communicate(timeout=120)[1], child.returncode) == ("", 0)
    assert count(path) == 3 + 4 * 25
    assert verify(path) == (True, None)
    assert [event.seq for event in all_events(path)] == list(range(1, 4 + 1 + 4 * 25))


def test_a_writer_killed_in_its_transaction_leaves_nothing_of_it(path: Path) -> None:
    in_child(
        path,
        """
import signal
if os.fork() == 0:
    engine = sqlite_engine(path, timeout_us=SOON_US)
    work = unit_of_work(engine).__enter__()
    work.users.add(a_user("new"))
    os.kill(os.getpid(), signal.SIGKILL)
os.wait()
""",
    )
    assert count(path) == 3
    assert verify(path) == (True, None)
    add_user(path, "new")
    assert count(path) == 4
