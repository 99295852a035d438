"""Databases are created completely or not at all, and an older database is copied before it is migrated."""

import hashlib
import logging
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from tests.contracts.conftest import BY, START, a_keyring, a_user, new_id

from backctl.domain.audit import ChainReport
from backctl.domain.errors import (
    BackctlError,
    DatabaseLocked,
    DatabaseUnusable,
    FolderUnusable,
    SchemaOutdated,
    SchemaTooNew,
)
from backctl.domain.repositories import BY_CREATION, EVERY_EVENT, EVERY_USER
from backctl.domain.values import EventId, Identity
from backctl.infrastructure.addresses import EmailValidatorParser
from backctl.infrastructure.sql import migrator
from backctl.infrastructure.sql.migrator import VERSIONS, Founding
from backctl.infrastructure.sql.schema import REVISION
from backctl.infrastructure.sql.tables import Row
from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork
from backctl.infrastructure.sqlite.connection import connect, read_installation
from backctl.infrastructure.sqlite.engine import sqlite_engine
from backctl.infrastructure.sqlite.migrator import create_database, upgrade
from backctl.infrastructure.sqlite.reader import SqliteReader

KEYRING = a_keyring()
PATIENCE_US = 20_000_000
ADDED = {"password_imported": "0005", "last_login_at": "0007"}
"""The columns of accounts that later revisions added."""
NEXT = f"{int(REVISION) + 1:04}"

ADD_A_COLUMN = """
import sqlalchemy as sa
from alembic import op

revision = "NEXT"
down_revision = "REVISION"

def upgrade():
    op.add_column("users", sa.Column("note", sa.Text))
"""

REBUILD_A_PARENT = """
import sqlalchemy as sa
from alembic import op

revision = "NEXT"
down_revision = "REVISION"

def upgrade():
    op.create_table(
        "notes",
        sa.Column("user_id", sa.String(36), sa.ForeignKey("users.id", ondelete="CASCADE", name="fk"), primary_key=True),
    )
    op.execute("INSERT INTO notes SELECT id FROM users")
    with op.batch_alter_table("users", recreate="always") as table:
        table.add_column(sa.Column("note", sa.Text))
"""

LEAVE_AN_ORPHAN = REBUILD_A_PARENT.replace("SELECT id FROM users", "VALUES ('nobody')")

FAIL_HALF_WAY = ADD_A_COLUMN + "    raise ZeroDivisionError\n"


def ignore(text: str) -> None:
    """Other tests check the notices."""


def make(path: Path) -> Path:
    create_database(
        path, Founding(installation_id="here", keyring=KEYRING, by=BY, now=START, event_id=EventId(new_id()))
    )
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make(tmp_path / "backctl.db")


@pytest.fixture
def next_revision(tmp_path: Path) -> Callable[[str], tuple[Path, ...]]:
    def write(source: str) -> tuple[Path, ...]:
        folder = tmp_path / "more-versions"
        folder.mkdir()
        (folder / "next.py").write_text(source.replace("NEXT", NEXT).replace("REVISION", REVISION))
        return (VERSIONS, folder)

    return write


def reader(path: Path) -> SqliteReader:
    return SqliteReader(path, timeout_us=PATIENCE_US, addresses=EmailValidatorParser(), clock=lambda: START)


def add_user(path: Path, name: str, *, revision: str = REVISION) -> None:
    """Add an account. At an older revision, the columns that it lacks exist only meanwhile."""
    missing = [column for column, since in ADDED.items() if revision < since]
    with closing(sqlite3.connect(path)) as connection:
        for column in missing:
            connection.execute(f"ALTER TABLE users ADD COLUMN {column} INTEGER")
        add_user_now(path, name, revision)
        for column in missing:
            connection.execute(f"ALTER TABLE users DROP COLUMN {column}")


def add_user_now(path: Path, name: str, revision: str) -> None:
    engine = sqlite_engine(path, timeout_us=PATIENCE_US, expected=revision)
    try:
        with SqlUnitOfWork(
            engine,
            by=BY,
            addresses=EmailValidatorParser(),
            audit_key=KEYRING.primary("audit"),
            clock=lambda: START,
            new_id=new_id,
            dry_run=False,
        ) as work:
            work.users.add(a_user(name))
            work.commit()
    finally:
        engine.dispose()


def definitions(path: Path) -> dict[str, list[str]]:
    """Return each table and index by name, with the parts of its CREATE statement."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: sorted(parts_of(sql)) for name, sql in rows}


def parts_of(sql: str) -> Iterator[str]:
    """Yield the head of a CREATE statement, and its columns and constraints. ALTER TABLE starts no new line for one."""
    head, _, rest = sql.partition("(")
    yield head.strip()
    depth, part = 0, ""
    for character in rest.rstrip().removesuffix(")"):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            yield " ".join(part.split())
            part = ""
        else:
            part += character
    yield " ".join(part.split())


def revision_of(path: Path) -> str:
    with closing(connect(path, timeout_us=0, read_only=True)) as connection:
        return read_installation(connection, path).revision


def verified(path: Path) -> ChainReport:
    with closing(reader(path)) as opened:
        return opened.verify_chain(lambda kids: KEYRING.secrets("audit"))


def digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


# Creation.


def test_a_new_database_is_one_private_file(tmp_path: Path) -> None:
    with umask(0):
        make(tmp_path / "backctl.db")
    assert [entry.name for entry in tmp_path.iterdir()] == ["backctl.db"]
    assert stat.S_IMODE((tmp_path / "backctl.db").stat().st_mode) == 0o600


def test_a_new_database_knows_itself_and_begins_its_chain(path: Path) -> None:
    with closing(reader(path)) as opened:
        stored = opened.installation
        assert (stored.installation_id, stored.revision, stored.audit_kids) == ("here", REVISION, ("audit-1",))
        (event,) = opened.stream_events(EVERY_EVENT)
        assert (event.type, event.subject, event.occurred_at) == ("InstallationCreated", "here", START)
        assert event.data == {"keys": list(KEYRING.kids())}
    assert verified(path) == ChainReport(1, 0)


def test_a_new_database_keeps_its_log_beside_it_from_then_on(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "what?.db", "x#y.db", "naïve.db", "%41.db", "'\".db"])
def test_any_name_is_good_for_a_database(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name)
    add_user(path, "ada")
    with closing(reader(path)) as opened:
        assert opened.count_users(EVERY_USER) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_what_is_there_already_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "backctl.db"
    path.write_text("precious")
    with pytest.raises(FolderUnusable, match="file exists"):
        make(path)
    assert path.read_text() == "precious"


def test_a_dangling_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "backctl.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderUnusable):
        make(tmp_path / "backctl.db")
    assert not (tmp_path / "elsewhere").exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderUnusable, match="no such file"):
        make(tmp_path / "nowhere" / "backctl.db")


def test_a_creation_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        create_database(
            tmp_path / "backctl.db",
            Founding(installation_id="\udc80", keyring=KEYRING, by=BY, now=START, event_id=EventId(new_id())),
        )
    assert list(tmp_path.iterdir()) == []


def test_making_and_migrating_say_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], next_revision: Callable[[str], tuple[Path, ...]]
) -> None:
    root = logging.getLogger()
    before, handler = root.level, logging.StreamHandler()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        path = make(tmp_path / "backctl.db")
        upgrade(path, timeout_us=0, notice=ignore, revision=NEXT, versions=next_revision(ADD_A_COLUMN))
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    assert capfd.readouterr() == ("", "")


# The schema.


def test_the_migrated_schema_is_what_the_tables_say(path: Path, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Row.metadata) == []
    engine.dispose()


def test_constraints_and_indices_are_what_the_tables_say(path: Path, tmp_path: Path) -> None:
    modelled = create_engine(f"sqlite:///{tmp_path}/modelled.db")
    Row.metadata.create_all(modelled)
    modelled.dispose()
    migrated = definitions(path)
    del migrated["alembic_version"]
    assert migrated == definitions(tmp_path / "modelled.db")


@pytest.mark.parametrize(
    "change",
    [
        "mfa_state = 'maybe'",
        "version = 0",
        "updated_at = created_at - 1",
        "created_at = -62135596800000001",
        "updated_at = 253402300800000000",
        "expires_at = 253402300800000000",
        "is_active = 2",
        "must_change_password = NULL",
        "username = 'ab'",
        "username = printf('%.51c', 'x')",
        "email = ''",
        "role = NULL",
    ],
)
def test_the_database_itself_refuses_what_the_domain_would_never_store(path: Path, change: str) -> None:
    add_user(path, "ada")
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(f"UPDATE users SET {change}")


# Revisions.


def test_an_older_database_is_copied_and_migrated(path: Path, next_revision: Callable[[str], tuple[Path, ...]]) -> None:
    add_user(path, "ada")
    said: list[str] = []
    with umask(0):
        versions = next_revision(ADD_A_COLUMN)
        assert upgrade(path, timeout_us=PATIENCE_US, notice=said.append, revision=NEXT, versions=versions)
    copy = path.with_name(f"backctl.db.{REVISION}.1.bak")
    assert said == [f"migrated the database from revision {REVISION} to {NEXT}; the old database was copied to {copy}"]
    assert (revision_of(path), revision_of(copy)) == (NEXT, REVISION)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(reader(copy)) as opened:
        assert opened.count_users(EVERY_USER) == 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT username, note FROM users").fetchall() == [("ada", None)]
    assert sorted(entry.name for entry in path.parent.iterdir() if entry.is_file()) == [path.name, copy.name]


def test_a_current_database_is_left_alone(path: Path) -> None:
    before = digest(path)
    assert not upgrade(path, timeout_us=0, notice=pytest.fail)
    assert digest(path) == before
    assert list(path.parent.iterdir()) == [path]


def test_the_copy_of_an_earlier_migration_is_never_overwritten(
    path: Path, next_revision: Callable[[str], tuple[Path, ...]]
) -> None:
    kept = path.with_name(f"backctl.db.{REVISION}.1.bak")
    kept.write_text("precious")
    upgrade(path, timeout_us=0, notice=ignore, revision=NEXT, versions=next_revision(ADD_A_COLUMN))
    assert kept.read_text() == "precious"
    assert revision_of(path.with_name(f"backctl.db.{REVISION}.2.bak")) == REVISION


def test_of_many_who_migrate_at_once_one_does(path: Path, next_revision: Callable[[str], tuple[Path, ...]]) -> None:
    versions = next_revision(ADD_A_COLUMN)
    start = threading.Barrier(4)

    def migrate(_: int) -> bool:
        start.wait()
        return upgrade(path, timeout_us=PATIENCE_US, notice=ignore, revision=NEXT, versions=versions)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(migrate, range(4))) == [False, False, False, True]
    assert revision_of(path) == NEXT
    assert len(list(path.parent.glob("*.bak"))) == 1


def test_a_migration_that_fails_changes_nothing(path: Path, next_revision: Callable[[str], tuple[Path, ...]]) -> None:
    add_user(path, "ada")
    before = digest(path)
    with pytest.raises(ZeroDivisionError):
        upgrade(path, timeout_us=0, notice=pytest.fail, revision=NEXT, versions=next_revision(FAIL_HALF_WAY))
    assert digest(path) == before
    with closing(reader(path)) as opened:
        assert opened.count_users(EVERY_USER) == 1
    assert list(path.parent.glob("*.bak")) == []


@pytest.mark.parametrize("revision", ["0000", "", "00005"])
def test_a_revision_that_never_was_is_not_migrated_and_not_copied(path: Path, revision: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    with pytest.raises(DatabaseUnusable, match="the unknown revision"):
        upgrade(path, timeout_us=0, notice=pytest.fail)
    assert list(path.parent.glob("*.bak")) == []


def test_rebuilding_a_table_keeps_the_rows_that_refer_to_it(
    path: Path, next_revision: Callable[[str], tuple[Path, ...]]
) -> None:
    add_user(path, "ada")
    upgrade(path, timeout_us=0, notice=ignore, revision=NEXT, versions=next_revision(REBUILD_A_PARENT))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (1,)


def test_a_migration_that_orphans_rows_is_undone(path: Path, next_revision: Callable[[str], tuple[Path, ...]]) -> None:
    with pytest.raises(DatabaseUnusable, match="orphaned"):
        upgrade(path, timeout_us=0, notice=pytest.fail, revision=NEXT, versions=next_revision(LEAVE_AN_ORPHAN))
    assert revision_of(path) == REVISION


def test_a_migration_waits_for_writers_and_then_gives_up(
    path: Path, next_revision: Callable[[str], tuple[Path, ...]]
) -> None:
    versions = next_revision(ADD_A_COLUMN)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseLocked):
            upgrade(path, timeout_us=1000, notice=pytest.fail, revision=NEXT, versions=versions)
    assert list(path.parent.glob("*.bak")) == []


def test_what_an_interrupted_copy_left_is_swept(path: Path, next_revision: Callable[[str], tuple[Path, ...]]) -> None:
    abandoned = path.with_name(f".backctl.db.{REVISION}.1.bak.0123456789abcdef.new")
    abandoned.mkdir()
    (abandoned / "copy").write_text("half")
    upgrade(path, timeout_us=0, notice=ignore, revision=NEXT, versions=next_revision(ADD_A_COLUMN))
    assert not abandoned.exists()


@pytest.mark.parametrize(("revision", "refusal"), [("0000", SchemaOutdated), (NEXT, SchemaTooNew)])
def test_a_database_of_another_revision_is_neither_read_nor_written(
    path: Path, revision: str, refusal: type[BackctlError]
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.commit()
    before = digest(path)
    with pytest.raises(refusal, match=f"has revision '{revision}'"):
        reader(path).find_user(Identity.parse("ada"))  # closes the connection that it opened
    with pytest.raises(refusal):
        verified(path)
    with pytest.raises(refusal):
        add_user(path, "ada")
    assert digest(path) == before


def test_a_database_newer_than_the_program_is_not_migrated(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(SchemaTooNew):
        upgrade(path, timeout_us=0, notice=pytest.fail)


def test_a_database_migrated_under_an_open_engine_is_not_written_by_the_older_program(path: Path) -> None:
    engine = sqlite_engine(path, timeout_us=0)
    try:
        with engine.begin():
            pass
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            connection.commit()
        with pytest.raises(SchemaTooNew), engine.begin():
            pytest.fail("it began")
    finally:
        engine.dispose()


# Upgrades from each released revision.


def make_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a database of the first revision."""
    with monkeypatch.context() as first:
        first.setattr(migrator, "REVISION", "0001")
        return make(path)


def test_the_first_revision_gains_a_count_of_failed_logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_first(tmp_path / "backctl.db", monkeypatch)
    add_user(path, "ada", revision="0001")
    assert revision_of(path) == "0001"
    said: list[str] = []
    assert upgrade(path, timeout_us=PATIENCE_US, notice=said.append)
    assert len(said) == 1
    assert (revision_of(path), revision_of(path.with_name("backctl.db.0001.1.bak"))) == (REVISION, "0001")
    add_user(path, "bob")
    with closing(reader(path)) as opened:
        assert opened.count_users(EVERY_USER) == 2
    assert verified(path) == ChainReport(3, 0)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM login_failures").fetchone() == (0,)


def test_the_last_logins_are_taken_from_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr(migrator, "REVISION", "0005")
        path = make(tmp_path / "backctl.db")
    for name in ("ada", "bob"):
        add_user(path, name, revision="0005")
    with closing(sqlite3.connect(path)) as connection, connection:
        ids = dict(connection.execute("SELECT username, id FROM users").fetchall())
        copied = "INSERT INTO events SELECT seq + ?, ?, ?, ?, ?, actor, reason, trace_id, audit_kid, data, salt, "
        for number, (type_, name) in enumerate(
            [("LoginSucceeded", "ada"), ("LoginSucceeded", "ada"), ("LoginFailed", "ada"), ("LoginFailed", "bob")], 9
        ):
            event = (number, new_id(), START + number, type_, ids[name])
            connection.execute(f"{copied}data_digest, mac FROM events WHERE seq = 1", event)
    upgrade(path, timeout_us=PATIENCE_US, notice=ignore)
    with closing(reader(path)) as opened:
        logins = {user.username: user.last_login_at for user in opened.stream_users(EVERY_USER, BY_CREATION)}
    assert logins == {"ada": START + 10, "bob": None}


def test_a_database_that_grew_with_the_revisions_is_like_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make_first(tmp_path / "old.db", monkeypatch), make(tmp_path / "new.db")
    upgrade(old, timeout_us=PATIENCE_US, notice=ignore)
    assert definitions(old) == definitions(new)
