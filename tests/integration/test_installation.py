"""Opening an installation: what is checked before use, and what an existing installation does automatically."""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.installations import sqlite_installation

from backctl.application.attribution import Attribution
from backctl.application.ports.storage import UnitOfWork
from backctl.application.ports.write_behind import Taken
from backctl.domain.errors import (
    DatabaseUnusable,
    FolderUnusable,
    InstallationLocked,
    InstallationMissing,
    KeyringMissing,
    SchemaTooNew,
)
from backctl.domain.repositories import EVERY_EVENT, EVERY_USER
from backctl.domain.values import Actor
from backctl.domain.write_behind import QueuedValue, WriterId
from backctl.infrastructure.files import durable
from backctl.infrastructure.sql.schema import REVISION
from backctl.infrastructure.sqlite import migrator
from backctl.infrastructure.sqlite.installation import SqliteInstallation

ACTOR = Actor("tests", "tester", "here")
BY = Attribution(ACTOR)


@pytest.fixture
def open_at(tmp_path: Path) -> Iterator[Callable[..., SqliteInstallation]]:
    """Open installations, by default in the same folder, and close all of them at the end."""
    opened = []

    def open_at(folder: Path = tmp_path, **changes: Any) -> SqliteInstallation:
        paths = {"database": folder / "backctl.db", "keyring": folder / "keyring.json"}
        opened.append(sqlite_installation(**{**paths, **changes}))
        return opened[-1]

    yield open_at
    for installation in opened:
        installation.close()


def write(installation: SqliteInstallation, *, dry_run: bool = False) -> UnitOfWork:
    return installation.unit_of_work(by=Attribution(ACTOR, "hired"), dry_run=dry_run, creates=True)


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def test_what_was_created_is_described(open_at: Callable[..., SqliteInstallation], tmp_path: Path) -> None:
    change = open_at().create(BY)
    assert change.changed
    assert change.value.database == str(tmp_path / "backctl.db")
    assert change.value.keyring == str(tmp_path / "keyring.json")
    assert (change.value.revision, change.value.bcrypt_cost) == (REVISION, 4)
    assert open_at().describe() == change.value


def test_updates_are_written_to_an_existing_installation_only(
    open_at: Callable[..., SqliteInstallation], tmp_path: Path
) -> None:
    target = open_at().update_target()
    with pytest.raises(InstallationMissing):
        target.position("q1")
    assert not list(tmp_path.iterdir())
    installation = open_at()
    installation.create(BY)
    assert target.position("q1") == 0
    update = Taken(WriterId("last_seen", 1), b"user:x", QueuedValue(b"1"), 7, 1, 0, b"")
    for number in (1, 0):
        assert target.apply("q1", "last_seen", [update], lambda connection, updates: None, now=1) == number
        installation.close()
    assert open_at().update_target().position("q1") == 7


def test_no_two_installations_share_an_id(open_at: Callable[..., SqliteInstallation], tmp_path: Path) -> None:
    first = open_at(tmp_path / "a").create(BY).value
    second = open_at(tmp_path / "b").create(BY).value
    assert first.installation_id != second.installation_id


def test_the_first_event_names_who_created_it(open_at: Callable[..., SqliteInstallation]) -> None:
    installation = open_at()
    installation.create(Attribution(ACTOR, "moved here"))
    (event,) = installation.reader().stream_events(EVERY_EVENT)
    assert (event.type, event.actor, event.os_user, event.host) == ("InstallationCreated", "tests", "tester", "here")
    assert event.reason == "moved here"
    assert event.subject == installation.describe().installation_id
    assert event.data == {"keys": list(installation.open_keyring().kids())}


def test_a_rehearsed_creation_answers_as_the_real_one_would(
    open_at: Callable[..., SqliteInstallation], tmp_path: Path
) -> None:
    rehearsed = open_at(tmp_path / "data").create(BY, dry_run=True)
    assert rehearsed.changed
    assert rehearsed.value.database == str(tmp_path / "data" / "backctl.db")
    assert os.listdir(tmp_path) == []
    real = open_at(tmp_path / "data").create(BY)
    assert real.value.revision == rehearsed.value.revision
    again = open_at(tmp_path / "data").create(BY, dry_run=True)
    assert (again.changed, again.value) == (False, real.value)


def test_a_rehearsal_misses_a_keyring_too(open_at: Callable[..., SqliteInstallation], tmp_path: Path) -> None:
    open_at().create(BY)
    (tmp_path / "keyring.json").unlink()
    with pytest.raises(KeyringMissing):
        open_at().create(BY, dry_run=True)


def test_keyring_and_database_may_live_apart(open_at: Callable[..., SqliteInstallation], tmp_path: Path) -> None:
    apart = {"database": tmp_path / "data" / "a.db", "keyring": tmp_path / "secrets" / "k.json", "fresh_allowed": False}
    assert open_at(**apart).create(BY).changed
    assert not open_at(**apart).create(BY).changed
    assert set(os.listdir(tmp_path / "data")) == {"a.db", "backctl.lock"}
    assert set(os.listdir(tmp_path / "secrets")) == {"k.json", "backctl.lock"}


def test_a_second_database_may_share_the_keyring(open_at: Callable[..., SqliteInstallation], tmp_path: Path) -> None:
    open_at().create(BY)
    content = (tmp_path / "keyring.json").read_bytes()
    assert open_at(database=tmp_path / "second.db").create(BY).changed
    assert (tmp_path / "keyring.json").read_bytes() == content
    assert open_at().describe().installation_id != open_at(database=tmp_path / "second.db").describe().installation_id


def test_whoever_creates_beside_another_waits_no_longer_than_told(
    open_at: Callable[..., SqliteInstallation], tmp_path: Path
) -> None:
    with durable.locked(tmp_path, timeout_us=0), pytest.raises(InstallationLocked) as caught:
        open_at().create(BY)
    assert caught.value.retryable
    assert os.listdir(tmp_path) == ["backctl.lock"]
    assert open_at().create(BY).changed


def a_link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("plant", [a_link, os.mkfifo, Path.mkdir])
def test_what_is_planted_for_the_lock_is_named(
    open_at: Callable[..., SqliteInstallation], tmp_path: Path, plant: Callable[[Path], None]
) -> None:
    plant(tmp_path / "backctl.lock")
    with pytest.raises(FolderUnusable, match=r"backctl\.lock"):
        open_at().create(BY)
    assert os.listdir(tmp_path) == ["backctl.lock"]


@pytest.mark.parametrize(
    ("kind", "owner", "folder", "lock"),
    [
        (stat.S_IFREG, 4711, 0, True),
        (stat.S_IFREG, 0, 4711, True),
        (stat.S_IFREG, 4712, 4712, True),
        (stat.S_IFREG, 4712, 0, False),
        (stat.S_IFREG, 4712, 4711, False),
        (stat.S_IFIFO, 4711, 4711, False),
    ],
)
def test_a_lock_is_one_that_no_stranger_can_hold(kind: int, owner: int, folder: int, lock: bool) -> None:
    made = (SimpleNamespace(st_mode=kind, st_uid=owner), SimpleNamespace(st_uid=folder))
    found = durable.may_be_lock(cast(os.stat_result, made[0]), cast(os.stat_result, made[1]), user=4711)
    assert found is lock


def test_what_a_killed_creation_left_is_removed_with_its_logs(
    open_at: Callable[..., SqliteInstallation], tmp_path: Path
) -> None:
    staged = ".backctl.db.0123456789abcdef.new"
    for name in (".keyring.json.0123456789abcdef.new", *(f"{staged}{end}" for end in ("", "-wal", "-shm", "-journal"))):
        (tmp_path / name).write_bytes(b"half")
    assert open_at().create(BY).changed
    assert set(os.listdir(tmp_path)) == {"backctl.db", "backctl.lock", "keyring.json"}


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_the_log_of_a_lost_database_is_not_replayed_into_a_new_one(
    open_at: Callable[..., SqliteInstallation], tmp_path: Path, suffix: str
) -> None:
    log = tmp_path / f"backctl.db{suffix}"
    log.write_bytes(b"transactions of another database")
    with pytest.raises(DatabaseUnusable):
        open_at().create(BY)
    assert set(os.listdir(tmp_path)) == {log.name, "backctl.lock"}
    log.write_bytes(b"")
    assert open_at().create(BY).changed


def test_a_rehearsal_beside_a_lone_keyring_leaves_its_folder_alone(
    open_at: Callable[..., SqliteInstallation], tmp_path: Path
) -> None:
    open_at().create(BY)
    (tmp_path / "backctl.db").unlink()
    (tmp_path / "backctl.lock").unlink()
    (tmp_path / ".keyring.json.0123456789abcdef.new").write_text("staged by another process")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert open_at().create(BY, dry_run=True).changed
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_database_that_names_no_audit_key_is_not_written_to(
    open_at: Callable[..., SqliteInstallation], tmp_path: Path
) -> None:
    open_at().create(BY)
    execute(tmp_path / "backctl.db", "DELETE FROM audit_keys")
    with pytest.raises(DatabaseUnusable, match="audit keys"):
        write(open_at())


def test_a_dry_run_tidies_nothing_up(open_at: Callable[..., SqliteInstallation], tmp_path: Path) -> None:
    open_at().create(BY)
    left_over = tmp_path / ".backctl.db.0123456789abcdef.new"
    left_over.touch()
    write(open_at(), dry_run=True)
    assert left_over.exists()
    write(open_at())
    assert not left_over.exists()


def test_a_missing_installation_is_found_once_it_is_created(
    open_at: Callable[..., SqliteInstallation],
) -> None:
    waiting = open_at()
    for missing in (waiting.require, waiting.reader, waiting.stored, waiting.open_keyring):
        with pytest.raises(InstallationMissing):
            missing()
    open_at().create(BY)
    assert len(list(waiting.reader().stream_events(EVERY_EVENT))) == 1
    assert waiting.reader() is waiting.reader()


def test_a_closed_installation_opens_again(open_at: Callable[..., SqliteInstallation]) -> None:
    installation = open_at()
    for _ in range(2):
        with write(installation) as work:
            assert list(work.users.lock_administrators()) == []
        assert installation.reader().count_users(EVERY_USER) == 0
        installation.close()


def test_closing_throws_a_rehearsal_away(
    open_at: Callable[..., SqliteInstallation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    installation = open_at(tmp_path / "data")
    for _ in range(2):
        with write(installation, dry_run=True) as work:
            assert list(work.users.lock_administrators()) == []
    (rehearsal,) = tmp_path.iterdir()
    assert rehearsal.stat().st_mode & 0o777 == 0o700
    installation.close()
    assert os.listdir(tmp_path) == []


def verify(installation: SqliteInstallation) -> object:
    return installation.reader().verify_chain(installation.audit_keys)


def create_at_revision(installation: SqliteInstallation, database: Path, revision: str) -> bytes:
    """Create the installation and give its database another revision. Return the content of the database."""
    installation.create(BY)
    execute(database, f"UPDATE alembic_version SET version_num = '{revision}'")
    return database.read_bytes()


def test_a_database_of_a_newer_program_is_left_alone(
    open_at: Callable[..., SqliteInstallation], tmp_path: Path
) -> None:
    content = create_at_revision(open_at(), tmp_path / "backctl.db", "9999")
    for use in (SqliteInstallation.reader, SqliteInstallation.describe, verify, write):
        with pytest.raises(SchemaTooNew):
            use(open_at())
    assert (tmp_path / "backctl.db").read_bytes() == content


@pytest.mark.parametrize("use", [SqliteInstallation.reader, SqliteInstallation.describe, verify, write])
def test_an_older_database_is_migrated_before_it_is_used(
    open_at: Callable[..., SqliteInstallation],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[SqliteInstallation], object],
) -> None:
    def upgrade(path: Path, *, timeout_us: int, notice: Callable[[str], None], record: object) -> bool:
        execute(path, f"UPDATE alembic_version SET version_num = '{REVISION}'")
        notice(f"migrated {path.name}")
        return True

    create_at_revision(open_at(), tmp_path / "backctl.db", "0000")
    monkeypatch.setattr(migrator, "upgrade", upgrade)  # the real upgrade has its own tests
    notices: list[str] = []
    installation = open_at(notice=notices.append)
    use(installation)
    use(installation)
    assert notices == ["migrated backctl.db"]


def test_a_database_is_not_migrated_without_its_keyring(
    open_at: Callable[..., SqliteInstallation], tmp_path: Path
) -> None:
    content = create_at_revision(open_at(), tmp_path / "backctl.db", "0000")
    (tmp_path / "keyring.json").unlink()
    with pytest.raises(KeyringMissing):
        write(open_at())
    assert (tmp_path / "backctl.db").read_bytes() == content
