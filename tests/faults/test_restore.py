"""`db restore` that is killed, runs out of disk space or finds a lock, or while others read and write."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.faults.restore_driver import COPY, is_valid, look, opened, prepare

from backctl.application.ports.write_behind import Taken
from backctl.domain.errors import DatabaseLocked, OutcomeUnknown
from backctl.domain.write_behind import QueuedValue, WriterId
from backctl.infrastructure.sqlite import restoring
from backctl.infrastructure.sqlite.faults import SqliteFaults
from backctl.infrastructure.sqlite.restoring import Restoration

DRIVER = Path(__file__).with_name("restore_driver.py")
SOURCE = Path(__file__).parents[2]
BEFORE = {"bob": "closed", "restores": 0, "intact": True, "token": True, "asides": 0}
AFTER = {"bob": "active", "restores": 1, "intact": True, "token": False, "asides": 1}


def start(action: str, folder: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(DRIVER), action, str(folder), *options]
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE / 'src'}{os.pathsep}{SOURCE}"}
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def drive(action: str, folder: Path, *options: str) -> list[Any]:
    process = start(action, folder, *options)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def test_killed_at_any_step_the_database_is_the_old_one_or_the_new(tmp_path: Path) -> None:
    rounds = drive("sweep", tmp_path)
    names = [each["step"] for each in rounds]
    assert names[:3] == ["read", "set aside", "settled"]
    assert names.count("writing") >= 3
    assert names[-1] == "written"
    for number, each in enumerate(rounds):
        # The last step of writing is announced after the COMMIT.
        written = number >= len(rounds) - 2
        asides = 0 if each["step"] == "read" else 1
        hidden = each["left"].pop("hidden")
        assert each["left"] == (AFTER if written else BEFORE) | {"asides": asides}, each
        assert len(hidden) == 1
        assert each["again"] == {"changed": True}
        assert each["then"] == AFTER | {"asides": asides + 1, "hidden": [], "restores": 1}, each


def test_killed_at_any_step_a_missing_database_stays_missing_or_is_complete(tmp_path: Path) -> None:
    rounds = drive("sweep", tmp_path, "missing")
    assert [each["step"] for each in rounds] == ["read", "settled", "settled", "written"]
    for each in rounds:
        written = each["step"] == "written"
        assert (each["left"] is not None) is written
        assert each["again"] == {"changed": True}
        assert each["then"] == AFTER | {"asides": int(written), "hidden": []}


@pytest.mark.parametrize(
    ("step", "error"), [("read", "DiskFull"), ("set aside", "DiskFull"), ("settled", "DatabaseFull")]
)
def test_a_full_disk_changes_nothing(tmp_path: Path, step: str, error: str) -> None:
    (found,) = drive("full", tmp_path, step)
    assert found["outcome"]["error"] == error
    assert ".new/" not in found["outcome"]["message"]
    assert found["left"] == BEFORE | {"hidden": []}


def test_writers_and_readers_go_on_and_no_earlier_token_is_valid(tmp_path: Path) -> None:
    first = prepare(tmp_path)
    writer, reader = start("write", tmp_path), start("read", tmp_path, first)
    assert writer.stdout is not None
    assert reader.stdout is not None
    issued, seen = [json.loads(writer.stdout.readline())], [json.loads(reader.stdout.readline())]
    with opened(tmp_path) as backend:
        assert backend.database.restore(str(tmp_path / COPY), by=backend.by("me")).changed
    while seen[-1]["bob"] == "closed" or seen[-1]["token"]:
        seen.append(json.loads(reader.stdout.readline()))
        assert len(seen) < 10_000
    (tmp_path / "stop").touch()
    for process, lines in ((writer, issued), (reader, seen)):
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        lines.extend(map(json.loads, out.splitlines()))
    assert all(each["intact"] for each in seen)
    states = [each["bob"] for each in seen]
    assert states == sorted(states, reverse=True)  # closed, then active
    assert [each["token"] for each in seen] == sorted((each["token"] for each in seen), reverse=True)
    with opened(tmp_path) as backend:
        assert backend.audit.verify().ok
        types = [event.type for event in backend.audit.stream()]
        later = types[types.index("DatabaseRestored") :].count("SessionOpened")
        valid = [is_valid(backend, each["token"]) for each in issued]
    assert valid == [False] * (len(issued) - later) + [True] * later
    assert not valid[0]


def test_updates_that_wait_in_the_queue_are_written_into_the_restored_database(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / COPY).unlink()

    def write(connection: Connection, updates: Sequence[Taken]) -> None:
        for update in updates:
            connection.execute(text("INSERT INTO counts VALUES (:value)"), {"value": update.value.payload.decode()})

    def update(position: int) -> Taken:
        value = QueuedValue(str(position).encode())
        return Taken(WriterId("counts", 1), b"key", value, position, queued_at=0, attempts=0, receipt=b"")

    with opened(tmp_path) as backend:
        with closing(sqlite3.connect(tmp_path / "accounts.db")) as connection:
            connection.execute("CREATE TABLE counts (value TEXT)")
        target = backend._storage.update_target()
        target.apply("q", "counts", [update(1)], write, now=0)
        backend.database.back_up(str(tmp_path / COPY))
        assert target.apply("q", "counts", [update(2)], write, now=0) == 1
        backend.database.restore(str(tmp_path / COPY), by=backend.by("me"))
        assert [target.apply("q", "counts", [update(number)], write, now=0) for number in (1, 2)] == [0, 1]
    with closing(sqlite3.connect(tmp_path / "accounts.db")) as connection:
        assert connection.execute("SELECT value FROM counts").fetchall() == [("1",), ("2",)]


# Locks.


class Places:
    """What happens between setting the database aside and replacing it, for each try."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *before: Any) -> None:
        self.left = list(before)
        write = Restoration._write

        def _write(restoration: Restoration, *arguments: Any) -> None:
            if self.left:
                self.left.pop(0)()
            write(restoration, *arguments)

        monkeypatch.setattr(Restoration, "_write", _write)


def change(folder: Path, name: str) -> None:
    with opened(folder) as other:
        other.accounts.create(email=f"{name}@example.org", username=name, by=other.by("other"))


def test_a_change_in_the_last_moment_is_part_of_the_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = prepare(tmp_path)
    Places(monkeypatch, lambda: change(tmp_path, "late"))
    with opened(tmp_path) as backend:
        done = backend.database.restore(str(tmp_path / COPY), by=backend.by("me")).value
    assert (done.lost_accounts, done.lost_usernames) == (1, ("late",))
    assert done.backup_file is not None
    with closing(sqlite3.connect(done.backup_file)) as aside:
        assert aside.execute("SELECT count(*) FROM users WHERE username = 'late'").fetchone() == (1,)
    assert look(tmp_path, token) == AFTER | {"hidden": []}


def test_after_three_changes_in_the_last_moment_nothing_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = prepare(tmp_path)
    Places(monkeypatch, *(lambda name=name: change(tmp_path, name) for name in ("one", "two", "three")))
    with opened(tmp_path) as backend, pytest.raises(DatabaseLocked, match="changed 3 times"):
        backend.database.restore(str(tmp_path / COPY), by=backend.by("me"))
    assert look(tmp_path, token) == BEFORE | {"hidden": []}


def test_a_lock_is_awaited_for_as_long_as_the_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = prepare(tmp_path)
    times = iter(range(0, 1000, 7))
    monkeypatch.setattr(restoring, "_PAUSE_S", 0.001)
    made = Restoration.__init__

    def _init(restoration: Restoration, *arguments: Any, **options: Any) -> None:
        made(restoration, *arguments, **options, monotonic=lambda: next(times))

    monkeypatch.setattr(Restoration, "__init__", _init)
    with closing(sqlite3.connect(tmp_path / "accounts.db", isolation_level=None)) as other:
        Places(monkeypatch, lambda: other.execute("BEGIN IMMEDIATE"))
        with opened(tmp_path) as backend, pytest.raises(DatabaseLocked, match="locked by another process"):
            backend.database.restore(str(tmp_path / COPY), by=backend.by("me"))
    assert next(times) >= 60  # seconds of the configured timeout
    assert look(tmp_path, token) == BEFORE | {"hidden": []}


def test_a_commit_that_may_have_failed_keeps_the_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = prepare(tmp_path)
    monkeypatch.setattr(SqliteFaults, "is_lost", lambda faults, error: True)

    def fail(name: str) -> None:
        if name == "writing":
            raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(restoring, "_step", fail)
    with opened(tmp_path) as backend, pytest.raises(OutcomeUnknown):
        backend.database.restore(str(tmp_path / COPY), by=backend.by("me"))
    monkeypatch.undo()
    assert look(tmp_path, token) == BEFORE | {"hidden": [], "asides": 1}
