"""Refresh-ahead with the settings and the threads of a backend."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.redis_servers import until

import backctl
from backctl.backend import Backend
from backctl.settings import load

SECOND = 1_000_000


class Place:
    """Opens backends with the same data folder and configuration."""

    def __init__(self, folder: Path, backends: ExitStack) -> None:
        self._file = folder / "config.toml"
        self._backends = backends

    def open(self, text: str = "") -> Backend:
        self._file.write_text(text)
        self._file.chmod(0o600)
        return self._backends.enter_context(backctl.open_backend(environ={"BACKCTL_CONFIG": str(self._file)}))

    def command(self) -> Backend:
        loaded = load(environ={"BACKCTL_CONFIG": str(self._file)})
        return self._backends.enter_context(Backend(loaded, short_lived=True))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with ExitStack() as backends:
        yield Place(tmp_path, backends)
    until(lambda: not renewal_threads(), "the end of the renewals")


def renewal_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "renewal" in thread.name]


def due_s(backend: Backend, key: str) -> float | None:
    """Store an entry with a TTL of 100 s; return after how many seconds a read renews it."""
    backend.cache.set(key, 1, ttl=100)
    found = backend.cache_entries.explain(key)
    assert found.stored_at is not None
    return None if found.renews_at is None else (found.renews_at - found.stored_at) / SECOND


@pytest.mark.parametrize(
    ("text", "report", "other"),
    [
        ("", 80, 80),
        ("cache.refresh_after = '50%'", 50, 50),
        ("cache.refresh_after = 'off'", None, None),
        ("cache.namespaces.report.refresh_after = '1%'", 1, 80),
        ("cache = {refresh_after = 'off', namespaces.report.refresh_after = '99%'}", 99, None),
        ("cache.namespaces.report.refresh_after = 'off'", None, 80),
    ],
)
def test_the_settings_decide_when_entries_are_renewed(
    place: Place, text: str, report: float | None, other: float | None
) -> None:
    backend = place.open(text)
    assert [due_s(backend, key) for key in ("report:1", "reports:1")] == [report, other]
    assert due_s(place.command(), "report:2") == report  # what a command stores is renewed by services


def test_a_service_renews_entries_in_threads_and_a_command_does_not(place: Place) -> None:
    service = place.open("cache.refresh_after = '1%'")
    names: list[str] = []

    def load_() -> int:
        names.append(threading.current_thread().name)
        return len(names)

    command = place.command()
    command.cache.set("report:1", 0, ttl=20)
    until(lambda: command.cache.get_or_load("report:1", load_) == 0 and is_due(command), "the time of a renewal")
    assert names == []
    until(lambda: service.cache.get_or_load("report:1", load_) > 0, "the new value")
    assert "renewal" in names[0]
    found = command.cache_entries.explain("report:1")
    assert found.renewed_by == found.writer
    assert str(found.writer).endswith(f":{os.getpid()}")


def is_due(backend: Backend) -> bool:
    renews_at = backend.cache_entries.explain("report:1").renews_at
    return renews_at is not None and backend.now() > renews_at


def test_accounts_are_renewed(place: Place) -> None:
    service = place.open("cache.namespaces.user.refresh_after = '1%'")
    service.initialise(by=service.by())
    user = service.accounts.create(email="ada@example.org", username="ada", by=service.by()).value

    def is_renewed(key: str) -> bool:
        assert service.accounts.get("ada").email == "ada@example.org"
        return service.cache_entries.explain(key).renewed_by is not None

    for key in (f"user:{user.id}", "user:username:ada"):
        until(lambda key=key: is_renewed(key), key)  # type: ignore[misc]  # one key at a time
    assert service.cache_entries.explain(f"user:{user.id}").signed


def test_a_backend_that_is_closed_during_a_renewal_can_be_opened_again(place: Place) -> None:
    service = place.open("cache.refresh_after = '1%'")
    started, may_end = threading.Event(), threading.Event()

    def slowly() -> str:
        started.set()
        assert may_end.wait(60)
        return "late"

    service.cache.set("report:1", "old", ttl=20)
    until(lambda: service.cache.get_or_load("report:1", slowly) and started.is_set(), "a renewal")
    service.close()
    may_end.set()
    until(lambda: not renewal_threads(), "the end of the renewal")
    assert service.cache.get("report:1") == "old"
    until(lambda: service.cache.get_or_load("report:1", lambda: "new") == "new", "another renewal")
