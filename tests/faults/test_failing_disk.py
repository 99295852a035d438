"""A disk that is full, or fails at any single write: files are complete or absent, and the reported outcome is true."""

import errno
import os
import resource
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.faults.failing_calls import FLUSHES, WRITES, Call, fail_at, fail_from, run_with
from tests.faults.installation_driver import answer
from tests.faults.test_installation import COMPLETE, names

from backctl.infrastructure.sqlite.faults import fault_of

Failing = Callable[[int, int, Path, tuple[str, ...]], Any]

DISKS = [
    pytest.param(fail_at, errno.ENOSPC, WRITES, id="full-once", marks=pytest.mark.long),
    pytest.param(fail_from, errno.ENOSPC, WRITES, id="full"),
    pytest.param(fail_from, errno.EFBIG, WRITES, id="file-too-large", marks=pytest.mark.long),
    pytest.param(fail_at, errno.EIO, WRITES, id="broken-once"),
    pytest.param(fail_at, errno.EIO, FLUSHES, id="flush-fails-once"),
    pytest.param(fail_from, errno.EIO, FLUSHES, id="flushes-fail"),
]
FULL = ("DatabaseFull", "DiskFull")
EVERY = 9
"""In a series of similar calls, every ninth fails."""


@pytest.fixture(scope="module", autouse=True)
def loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Import everything before the first fork."""
    answer("write", tmp_path_factory.mktemp("loaded"))


def calls_of(work: Callable[[], Any], folder: Path, kinds: tuple[str, ...]) -> list[Call]:
    judge, seen = fail_at(0, 0, folder, kinds)
    assert "error" not in run_with(judge, work)
    return seen


def worth_failing(calls: list[Call]) -> Iterator[int]:
    """Yield the numbers of the first and last call of each series of similar calls on a file, and some in between."""
    alike = [
        (before.name, before.path.rpartition(".")[2]) == (after.name, after.path.rpartition(".")[2])
        for before, after in pairwise(calls)
    ]
    for number in range(1, len(calls) + 1):
        within = number not in (1, len(calls)) and alike[number - 2] and alike[number - 1]
        if not within or number % EVERY == 0:
            yield number


def on_a_sound_disk(*actions: str, folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run_with(lambda _: 0, lambda: [answer(action, folder) for action in actions])
    return found


def assert_whole_or_absent(folder: Path) -> None:
    """Check that no file is incomplete and that the next command completes the installation."""
    left = names(folder)
    assert not [name for name in left if ".new" in name]
    if "backctl.db" in left:
        assert on_a_sound_disk("verify", folder=folder) == [{"answer": 1, "notices": []}]
    written, verified = on_a_sound_disk("write", "verify", folder=folder)
    assert "error" not in written
    assert verified["answer"] == 2
    assert names(folder) == COMPLETE


@pytest.mark.parametrize(("failing", "error", "kinds"), DISKS)
def test_an_installation_is_whole_or_absent(
    tmp_path: Path, failing: Failing, error: int, kinds: tuple[str, ...]
) -> None:
    calls = calls_of(partial(answer, "create", tmp_path / "sound"), tmp_path, kinds)
    failed = 0
    for number in worth_failing(calls):
        folder = tmp_path / str(number)
        judge, _ = failing(number, error, folder, kinds)
        outcome = run_with(judge, partial(answer, "create", folder))
        failed += "error" in outcome
        if error == errno.EIO:
            assert outcome.get("error") in (None, "DatabaseUnusable", "FolderUnusable"), outcome
        elif failing is fail_from:
            assert outcome.get("error") in FULL, outcome
        assert_whole_or_absent(folder)
    assert failed


@pytest.mark.parametrize("kibibytes", range(0, 200, 8))
def test_an_installation_is_whole_or_absent_when_no_file_may_be_larger_than(tmp_path: Path, kibibytes: int) -> None:
    folder = tmp_path / "data"

    def create() -> dict[str, Any]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kibibytes << 10,) * 2)
        return answer("create", folder)

    outcome = run_with(lambda _: 0, create)
    assert outcome.get("error", "DatabaseFull") in FULL
    assert_whole_or_absent(folder)


def after_a_crash(folder: Path, place: Path) -> int:
    """Return the number of accounts if only the database file and its WAL survive."""
    place.mkdir()
    for name in ("backctl.db", "backctl.db-wal"):
        shutil.copy(folder / name, place / name)
    with closing(sqlite3.connect(place / "backctl.db")) as database:
        found: int = database.execute("SELECT count(*) FROM users").fetchone()[0]
    return found


@pytest.mark.parametrize(("failing", "error", "kinds"), DISKS)
def test_a_change_is_made_or_not_as_was_told_even_after_a_crash(
    tmp_path: Path, failing: Failing, error: int, kinds: tuple[str, ...]
) -> None:
    """Another process keeps the database open, so that the WAL still exists after the command."""
    template = tmp_path / "template"
    assert answer("create", template)["answer"] is True
    calls = calls_of(lambda: answer("write", shutil.copytree(template, tmp_path / "sound")), tmp_path / "sound", kinds)
    told = set()
    for number in worth_failing(calls):
        folder = Path(shutil.copytree(template, tmp_path / str(number)))
        with closing(sqlite3.connect(folder / "backctl.db")) as other:
            other.execute("SELECT count(*) FROM users").fetchone()
            judge, _ = failing(number, error, folder, kinds)
            outcome = run_with(judge, partial(answer, "write", folder))
            crashed = after_a_crash(folder, tmp_path / f"{number} after a crash")
        kind = outcome.get("error")
        told.add(kind)
        if kind is None:
            assert crashed == 1, (number, calls[number - 1])
        elif kind != "OutcomeUnknown":
            assert crashed == 0, (number, calls[number - 1], outcome)
    assert told - {None}
    if kinds is FLUSHES:
        assert "OutcomeUnknown" in told


def test_a_flush_that_fails_at_commit_leaves_the_outcome_open(tmp_path: Path) -> None:
    """SQLite rolls back what it could not flush, but recovery from the WAL restores the change."""
    folder = tmp_path / "data"
    assert answer("create", folder)["answer"] is True
    with closing(sqlite3.connect(folder / "backctl.db")) as other:
        other.execute("SELECT count(*) FROM users").fetchone()
        logged = calls_of(partial(answer, "write", folder), folder, FLUSHES)
        at = next(number for number, call in enumerate(logged, 1) if call.path.endswith("-wal"))
        judge, _ = fail_at(at, errno.EIO, folder, FLUSHES)
        outcome = run_with(judge, partial(answer, "write", folder))
        assert outcome["error"] == "OutcomeUnknown"
        assert "it is unknown whether the change was made" in outcome["message"]
        assert other.execute("SELECT count(*) FROM users").fetchone() == (1,)
        assert after_a_crash(folder, tmp_path / "crashed") == 2


@pytest.mark.parametrize(
    ("name", "size", "error"),
    [
        ("data.db", 96 << 10, "DatabaseFull"),
        ("data[1].db", 96 << 10, "DatabaseFull"),  # as a glob pattern, this name matches another file
        ("data.db-wal", 96 << 10, "DatabaseFull"),
        ("data.db.0001.1.bak", 96 << 10, "DatabaseUnusable"),  # a backup in the same folder is not part of the database
    ],
)
def test_whether_a_file_may_grow_depends_on_the_database_and_its_log(
    tmp_path: Path, name: str, size: int, error: str
) -> None:
    (tmp_path / name).write_bytes(bytes(size))
    database = tmp_path / (name if name.endswith(".db") else "data.db")
    database.touch()
    failed = sqlite3.OperationalError("disk I/O error")
    failed.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE

    def told() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (128 << 10,) * 2)
        return type(fault_of(failed, database)).__name__

    assert run_with(lambda _: 0, told) == error


def test_the_harness_lets_everything_else_pass(tmp_path: Path) -> None:
    judge, seen = fail_at(2, errno.ENOSPC, tmp_path, WRITES)

    def write() -> list[int]:
        outcomes = []
        for _ in range(3):
            descriptor = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            try:
                outcomes.append(os.write(descriptor, b"four"))
            except OSError as error:
                outcomes.append(-(error.errno or 0))
            finally:
                os.close(descriptor)
        return outcomes

    assert run_with(judge, write) == [4, -errno.ENOSPC, 4]
    assert [call.name for call in seen] == ["write"] * 3
    assert (tmp_path / "file").read_bytes() == b"fourfour"
