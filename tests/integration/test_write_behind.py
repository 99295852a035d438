"""Write-behind in a backend: its settings, its built-in writer, threads, forks and closing."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.redis_servers import until

import backctl
from backctl.backend import Backend
from backctl.domain.errors import DatabaseUnusable, InstallationMissing, InvalidCacheEntry, QueueFull

Open = Callable[[str], Backend]


def write(connection: Connection, updates: Mapping[str, Any]) -> None:
    connection.execute(text("CREATE TABLE IF NOT EXISTS scores (player TEXT PRIMARY KEY, points INTEGER)"))
    rows = [{"player": player, "points": points} for player, points in updates.items()]
    connection.execute(text("INSERT OR REPLACE INTO scores VALUES (:player, :points)"), rows)


@pytest.fixture
def open_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with ExitStack() as backends:

        def open_(settings: str = "") -> Backend:
            file = tmp_path / "config.toml"
            file.write_text(settings)
            file.chmod(0o600)
            return backends.enter_context(backctl.open_backend(environ={"BACKCTL_CONFIG": str(file)}))

        yield open_


@pytest.fixture
def backend(open_backend: Open) -> Backend:
    backend = open_backend("")
    backend.initialise(by=backend.by("setup"))
    backend.accounts.create(email="ada@example.org", username="ada", by=backend.by("setup"))
    backend.cache.register_writer("score", write)
    return backend


def test_updates_are_queued_read_and_written(backend: Backend) -> None:
    for points in (1, 2):
        backend.cache.write_behind("score", "ada", points)
    assert backend.cache.get_or_load("score:ada", lambda: 0) == 2
    assert backend.cache.drain().written == 1
    assert backend.cache.drain().written == 0


def test_writers_stay_registered_after_the_backend_was_closed(backend: Backend) -> None:
    cache = backend.cache
    cache.write_behind("score", "ada", 1)
    backend.close()
    backend.cache.write_behind("score", "bob", 2)
    assert cache.drain().written == 2
    assert backend.cache.drain().unknown_writers == ()


def test_last_seen_times_are_written(backend: Backend) -> None:
    user, now = backend.accounts.show("ada"), backend.now()
    backend.cache.write_behind("last_seen", f"user:{user.id}", now)
    backend.cache.write_behind("last_seen", "user:01890a5d-ac96-774b-bcce-b302099a8057", now)  # an unknown account
    assert backend.cache.get(f"last_seen:user:{user.id}") is None
    assert backend.cache.drain().written == 2
    assert backend.accounts.details("ada").last_seen_at == now


@pytest.mark.parametrize(
    ("key", "value"), [("ada", 1), ("user:ada", 1), ("role:01890a5d-ac96-774b-bcce-b302099a8057", 1)]
)
def test_what_cannot_be_a_last_seen_time_is_refused_when_it_is_queued(backend: Backend, key: str, value: Any) -> None:
    user = backend.accounts.show("ada")
    with pytest.raises(InvalidCacheEntry):
        backend.cache.write_behind("last_seen", key, value)
    for wrong in ("now", 1 << 63, 1.5, True, None):
        with pytest.raises(InvalidCacheEntry):
            backend.cache.write_behind("last_seen", f"user:{user.id}", wrong)
    assert backend.queued_updates.queue().depths() == []


def test_the_built_in_writer_stays(backend: Backend) -> None:
    with pytest.raises(InvalidCacheEntry):
        backend.cache.register_writer("last_seen", write)


def test_the_limits_are_settings(open_backend: Open, backend: Backend) -> None:
    limited = open_backend("[cache]\nqueue_limit = 1\nqueue_attempts = 1\n")
    limited.cache.register_writer("score", lambda connection, updates: 1 / 0)
    limited.cache.write_behind("score", "ada", 1)
    with pytest.raises(QueueFull):
        limited.cache.write_behind("score", "bob", 1)
    assert limited.cache.drain().dead == 1
    assert [dead.error for dead in limited.queued_updates.dead()] == ["ZeroDivisionError: division by zero"]


def test_a_worker_runs_in_a_thread_of_the_service(backend: Backend) -> None:
    stopped, reports = threading.Event(), []
    worker = threading.Thread(
        target=lambda: reports.append(backend.cache.drain(follow=True, stop=stopped.is_set)), daemon=True
    )
    worker.start()
    for player in ("ada", "bob"):
        backend.cache.write_behind("score", player, 1)
    until(lambda: not sum(depth.waiting for depth in backend.queued_updates.queue().depths()), "an empty queue")
    stopped.set()
    worker.join(60)
    assert [report.written for report in reports] == [2]


def test_forked_children_queue_updates_too(backend: Backend) -> None:
    backend.cache.write_behind("score", "ada", 1)
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            try:
                backend.cache.write_behind("score", f"child{number}", number)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert backend.cache.drain().written == 4


def test_without_an_installation_nothing_is_created(open_backend: Open, tmp_path: Path) -> None:
    backend = open_backend("")
    backend.cache.register_writer("score", write)
    with pytest.raises(InstallationMissing):
        backend.cache.write_behind("score", "ada", 1)
    with pytest.raises(InstallationMissing):
        backend.cache.drain()
    assert backend.cache_entries.stats().writers == ()
    assert not list(tmp_path.rglob("queue.db"))
    assert not any(check.check.startswith("queue.") for check in backend.doctor.examine())


def test_a_damaged_queue_is_reported(backend: Backend, tmp_path: Path) -> None:
    backend.cache.write_behind("score", "ada", 1)
    backend.close()
    (file,) = tmp_path.rglob("queue.db")
    for path in tmp_path.rglob("queue.db*"):
        path.unlink()
    file.write_bytes(b"not a database" * 1000)
    file.chmod(0o600)
    with pytest.raises(DatabaseUnusable):
        backend.cache.write_behind("score", "ada", 2)
    (check,) = [check for check in backend.doctor.examine() if check.check.startswith("queue.")]
    assert (check.check, check.failure) == ("queue.depth", "unusable")
