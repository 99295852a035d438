"""The file of the write-behind queue: what is on disk when, copies that are put back, and faults."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from backctl.domain.errors import DatabaseUnusable
from backctl.domain.write_behind import QueuedValue, WriterId
from backctl.infrastructure.files import durable
from backctl.infrastructure.sqlite import own_file
from backctl.infrastructure.sqlite.connection import connect
from backctl.infrastructure.sqlite.queue import SqliteQueue

NOW = 1_795_000_000_000_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
WRITER = WriterId("counts", 1)
ONE, TWO, THREE = (QueuedValue(text) for text in (b"1", b"2", b"3"))
MANY = 100_000


class Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path() -> Iterator[Path]:
    """A path outside `tmp_path`, which only the user who runs the tests can enter."""
    with TemporaryDirectory() as folder:
        yield Path(folder) / "data" / "queue.db"


@pytest.fixture
def queue(path: Path, clock: Clock) -> Iterator[SqliteQueue]:
    with closing(SqliteQueue(path, installation="i1", timeout_us=SECOND, clock=clock)) as queue:
        yield queue


def put(queue: SqliteQueue, key: bytes, value: QueuedValue = ONE) -> int:
    position = queue.put(WRITER, key, value, limit=MANY)
    assert position is not None
    return position


def take(queue: SqliteQueue, count: int = MANY, *, lease_us: int = MINUTE) -> list[Any]:
    return queue.take([WRITER], worker="w1", count=count, lease_us=lease_us)


def keys(taken: list[Any]) -> list[bytes]:
    return [update.key for update in taken]


def test_only_the_owner_can_read_the_file_and_reading_creates_none(queue: SqliteQueue, path: Path) -> None:
    assert (take(queue), queue.depths(), list(queue.dead()), queue.waiting([WRITER], b"a")) == ([], [], [], None)
    assert (queue.requeue(None), queue.drop(None), queue.set_aside([WRITER], "unknown", now=NOW)) == (0, 0, 0)
    assert not path.parent.exists()
    put(queue, b"a")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_an_update_is_on_disk_when_it_was_queued(
    queue: SqliteQueue, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    flushed: list[Path] = []
    flush = durable.flush_folder

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(statements.append)
        return connection

    def flush_folder(folder: Path) -> None:
        assert path.exists()
        flushed.append(folder)
        flush(folder)

    monkeypatch.setattr(own_file, "connect", traced)
    monkeypatch.setattr(durable, "flush_folder", flush_folder)
    put(queue, b"a")
    assert flushed == [path.parent]
    for value in (ONE, TWO):
        statements.clear()
        put(queue, b"a", value)
        begin = statements.index("BEGIN IMMEDIATE")
        assert statements[begin - 1] == "PRAGMA synchronous = FULL"
        assert statements[-2:] == ["COMMIT", "PRAGMA synchronous = NORMAL"]
    assert flushed == [path.parent]


def test_a_key_that_is_always_replaced_does_not_wait_behind_all_others(queue: SqliteQueue, clock: Clock) -> None:
    for key in (b"busy", b"a", b"b"):
        put(queue, key)
        clock.now += 1
    put(queue, b"busy", TWO)
    assert keys(take(queue, 1)) == [b"busy"]
    put(queue, b"busy", THREE)
    assert keys(take(queue, 2)) == [b"a", b"b"]


def test_a_replaced_update_goes_to_the_end_of_the_line_once_it_was_written(queue: SqliteQueue, clock: Clock) -> None:
    put(queue, b"busy")
    taken = take(queue)
    put(queue, b"a")
    clock.now += 5
    put(queue, b"busy", TWO)
    queue.acknowledge(taken, now=clock.now)
    taken = take(queue)
    assert keys(taken) == [b"a", b"busy"]
    assert [update.queued_at for update in taken] == [NOW, NOW + 5]


@pytest.mark.parametrize("back", [1, 3600 * SECOND])
def test_a_clock_that_was_set_back_delays_nothing(queue: SqliteQueue, clock: Clock, back: int) -> None:
    put(queue, b"new")
    put(queue, b"retried")
    (_, retried) = take(queue)
    queue.retry([retried], after_us=MINUTE)
    put(queue, b"taken")
    clock.now -= back
    found = take(queue)
    assert keys(found) == [b"new", b"retried", b"taken"]
    position = put(queue, b"later")
    assert position > max(update.position for update in found)


def test_a_file_that_is_deleted_is_another_queue(queue: SqliteQueue, path: Path, clock: Clock) -> None:
    before, position = queue.state().identity, put(queue, b"a")
    shutil.rmtree(path.parent)
    clock.now += 1
    assert queue.waiting([WRITER], b"a") is None
    assert put(queue, b"b") > position
    assert queue.state().identity != before


def test_a_copy_that_is_put_back_has_an_earlier_position_until_it_advances(
    queue: SqliteQueue, path: Path, clock: Clock
) -> None:
    put(queue, b"a")
    queue.close()
    content, before = path.read_bytes(), queue.state()
    clock.now += 5
    put(queue, b"b")
    queue.close()
    last = queue.state()
    queue.close()
    path.write_bytes(content)
    assert queue.state() == before
    assert last.position > before.position
    queue.advance(last.position)
    assert queue.state() == last
    assert keys(take(queue)) == [b"a"]
    assert put(queue, b"c") > last.position


def test_installations_share_a_file_and_nothing_in_it(path: Path, clock: Clock) -> None:
    with (
        closing(SqliteQueue(path, installation="i1", timeout_us=SECOND, clock=clock)) as one,
        closing(SqliteQueue(path, installation="i2", timeout_us=SECOND, clock=clock)) as other,
    ):
        put(one, b"a")
        assert one.put(WRITER, b"b", ONE, limit=1) is None
        assert other.put(WRITER, b"b", TWO, limit=1)
        assert other.waiting([WRITER], b"a") is None
        assert keys(take(one)) == [b"a"]
        assert keys(take(other)) == [b"b"]
        assert one.state().identity != other.state().identity
        one.set_aside([WRITER], "unknown", now=NOW)
        assert [depth.dead for depth in (*one.depths(), *other.depths())] == [1, 0]
        assert other.drop(None) == 0


def test_the_limit_follows_every_way_out_of_the_queue(queue: SqliteQueue) -> None:
    for leave in ("acknowledge", "bury", "set_aside"):
        for key in (b"a", b"b"):
            assert queue.put(WRITER, key, ONE, limit=2)
        assert queue.put(WRITER, b"c", ONE, limit=2) is None
        taken = take(queue)
        if leave == "acknowledge":
            queue.acknowledge(taken, now=NOW)
        elif leave == "bury":
            for update in taken:
                queue.bury(update, "broken", now=NOW)
        else:
            queue.set_aside([WRITER], "unknown", now=NOW)
        assert queue.depths()[0].waiting == 0
    assert queue.requeue(None) == 4
    assert queue.depths()[0].waiting == 2
    assert queue.put(WRITER, b"c", ONE, limit=2) is None


def test_of_two_dead_updates_of_a_key_the_later_one_waits_again(queue: SqliteQueue) -> None:
    for value in (ONE, TWO):
        put(queue, b"a", value)
        queue.bury(take(queue)[0], "broken", now=NOW)
    first, second = (update.id for update in queue.dead())
    assert (queue.requeue([first]), queue.waiting([WRITER], b"a")) == (1, ONE)
    assert (queue.requeue([second]), queue.waiting([WRITER], b"a")) == (1, TWO)
    assert [str(update.position) for update in take(queue)] == [second]


def test_ids_that_cannot_be_are_unknown(queue: SqliteQueue) -> None:
    put(queue, b"a")
    queue.set_aside([WRITER], "unknown", now=NOW)
    for call in (queue.requeue, queue.drop):
        assert call(["", "0", "-1", "1.0", "x", "9" * 18, "9" * 30, "١"]) == 0
    assert len(list(queue.dead())) == 1


def test_the_dead_are_read_in_pages(queue: SqliteQueue) -> None:
    for number in range(2_500):
        put(queue, b"%d" % number)
    assert queue.set_aside([WRITER], "unknown", now=NOW) == 2_500
    found = [int(update.id) for update in queue.dead()]
    assert found == sorted(set(found))
    assert len(found) == 2_500


def test_a_file_of_another_version_is_left_alone(queue: SqliteQueue, path: Path) -> None:
    put(queue, b"a")
    queue.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(DatabaseUnusable, match="does not contain a write-behind queue of this version"):
        put(queue, b"b")


@pytest.mark.parametrize("column", ["key", "value", "position", "turn", "queued_at", "attempts", "due_at", "held_at"])
def test_the_file_refuses_values_of_other_types(queue: SqliteQueue, path: Path, column: str) -> None:
    put(queue, b"a")
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(f"UPDATE updates SET {column} = 'x'")


@pytest.mark.parametrize("writer", ["", "counts", "counts@0", "Counts@1", "counts@x"])
def test_updates_of_what_is_not_a_writer_stop_nobody(queue: SqliteQueue, path: Path, writer: str) -> None:
    put(queue, b"a")
    put(queue, b"b")
    queue.bury(take(queue, 1)[0], "broken", now=NOW)
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("updates", "dead", "writers"):
            connection.execute(f"UPDATE {table} SET writer = ?", (writer,))
    assert queue.depths() == []
    assert list(queue.dead()) == []
    put(queue, b"c")
    assert keys(take(queue)) == [b"c"]


_CHILD = """
import os, resource, sys, time
from pathlib import Path
from backctl.domain.errors import BackctlError
from backctl.domain.write_behind import QueuedValue, WriterId
from backctl.infrastructure.sqlite.queue import SqliteQueue

writer = WriterId("counts", 1)
queue = SqliteQueue(Path(sys.argv[1]), installation="i1", timeout_us=1_000_000, clock=lambda: time.time_ns() // 1000)

def put(key, value=b"1"):
    try:
        return queue.put(writer, key, QueuedValue(value), limit=100_000) is not None
    except BackctlError as error:
        return f"{error.code}, {error.hint is not None}"

def waiting():
    return sum(depth.waiting for depth in queue.depths())

def limit_files(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

"""


def in_child(path: Path, script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", _CHILD + script, path], capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_full_disk_loses_no_update_that_was_queued(path: Path) -> None:
    outcomes = in_child(
        path,
        """
limit_files(300_000)
number = 0
while (outcome := put(b"%d" % number, os.urandom(1000))) is True:
    number += 1
print(outcome)
print(waiting() == number > 0)
limit_files(resource.RLIM_INFINITY)
print(put(b"one more"))
taken = queue.take([writer], worker="w", count=1_000_000, lease_us=1)
print(len(taken) == number + 1)
queue.acknowledge(taken, now=0)
print(waiting())
""",
    )
    assert outcomes == ["database.full, True", "True", "True", "True", "0"]


def test_a_forked_child_uses_the_queue_of_its_parent(path: Path) -> None:
    outcomes = in_child(
        path,
        """
put(b"parent")
if os.fork() == 0:
    put(b"child")
    os._exit(0)
os.wait()
print(waiting())
""",
    )
    assert outcomes == ["2"]


def test_a_killed_process_leaves_what_it_had_queued(path: Path) -> None:
    outcomes = in_child(
        path,
        """
put(b"before")
if os.fork() == 0:
    put(b"a")
    queue.take([writer], worker="w", count=1, lease_us=60_000_000)
    os.kill(os.getpid(), 9)
os.wait()
print(waiting(), len(queue.take([writer], worker="v", count=10, lease_us=60_000_000)))
""",
    )
    assert outcomes == ["2 1"]
    assert os.path.exists(path)
