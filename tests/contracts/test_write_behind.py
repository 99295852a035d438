"""Queueing updates as a service does: they are durable at once, and its readers see them before they are written."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from tests.contracts.cache_levels import AHEAD, DUE_S, Away, Between, Loader, Process, World
from tests.contracts.write_queues import SECOND, Queued

from backctl.application.write_behind import WriteBehind, Writer, Writers
from backctl.domain.errors import InstallationMissing, InvalidCacheEntry, QueueFull
from backctl.domain.write_behind import UPDATE_MAX, QueuedValue, WriterId, retry_after

pytestmark = pytest.mark.parametrize(
    ("world", "queued"), [("sqlite", "sqlite"), ("redis", "redis"), ("cluster", "cluster")], indirect=True
)
LIMIT = 5


class Service:
    """A process with a queue. `queue` can fail, and run something before and after each call."""

    def __init__(self, world: World, queued: Queued, **options: Any) -> None:
        self.queue = Between(queued.another())  # type: ignore[arg-type]  # passes any calls
        self.writers: Writers = {}
        self.has_installation = True
        self.updates = WriteBehind(self._opened, self.writers, limit=LIMIT)
        self.process: Process = world.process(updates=self.updates, **options)
        self.cache = self.process.cache

    def _opened(self) -> Any:
        if not self.has_installation:
            raise InstallationMissing("there is no installation")
        return self.queue


@pytest.fixture
def service(world: World, queued: Queued) -> Service:
    service = Service(world, queued)
    service.cache.register_writer("score", print)
    return service


def test_a_value_is_queued_and_readers_see_it_at_once(world: World, queued: Queued, service: Service) -> None:
    other = Service(world, queued)
    loader = Loader(0)
    assert other.cache.get_or_load("score:ada", loader) == 0
    service.cache.write_behind("score", "ada", {"points": [1]})
    assert queued.value(b"ada", WriterId("score", 1)) == b'{"points":[1]}'
    world.times.pass_by(1)
    assert service.cache.get("score:ada") == other.cache.get("score:ada") == {"points": [1]}


def test_a_later_value_replaces_one_that_waits(queued: Queued, service: Service) -> None:
    for value in (1, 2):
        service.cache.write_behind("score", "ada", value)
    assert queued.value(b"ada", WriterId("score", 1)) == b"2"
    assert [depth.waiting for depth in queued.queue.depths()] == [1]
    assert service.cache.get("score:ada") == 2


def test_bytes_stay_bytes(queued: Queued, service: Service) -> None:
    service.cache.write_behind("score", "ada", b"\xff")
    assert queued.queue.waiting([WriterId("score", 1)], b"ada") == QueuedValue(b"\xff", binary=True)
    service.cache.invalidate_all()
    assert service.cache.get_or_load("score:ada", Loader(b"")) == b"\xff"


@pytest.mark.parametrize("invalidate", [lambda cache: cache.delete("score:ada"), lambda cache: cache.invalidate_all()])
def test_a_read_returns_the_waiting_value_rather_than_the_older_one_of_the_database(
    world: World, queued: Queued, service: Service, invalidate: Callable[[Any], object]
) -> None:
    other = Service(world, queued)
    other.cache.register_writer("score", print)
    service.cache.write_behind("score", "ada", 2)
    invalidate(service.cache)
    loader = Loader(1)
    assert other.cache.get_or_load("score:ada", loader) == 2
    assert loader.calls == 0
    assert service.cache.get_or_load("score:bob", loader) == 1


def test_a_read_loads_the_value_once_it_was_written(queued: Queued, service: Service) -> None:
    service.cache.write_behind("score", "ada", 2)
    queued.acknowledge(*queued.take(WriterId("score", 1)))
    service.cache.delete("score:ada")
    assert service.cache.get_or_load("score:ada", Loader("written")) == "written"


def test_a_renewal_uses_the_waiting_value_too(world: World, queued: Queued) -> None:
    service = Service(world, queued, refresh_after=AHEAD)
    service.cache.register_writer("score", print)
    service.cache.write_behind("score", "ada", 2)
    loader = Loader(1)
    world.times.pass_by(DUE_S)
    assert service.cache.get_or_load("score:ada", loader) == 2
    assert service.process.background.run() == 1
    assert service.cache.get_or_load("score:ada", loader) == 2
    assert loader.calls == 0


def test_a_value_that_is_queued_while_it_is_loaded_wins(world: World, queued: Queued, service: Service) -> None:
    other = Service(world, queued)
    other.cache.register_writer("score", print)

    def load() -> int:
        other.cache.write_behind("score", "ada", 2)
        return 1

    service.cache.get_or_load("score:ada", load)
    world.times.pass_by(1)
    assert service.cache.get_or_load("score:ada", Loader(1)) == 2


def test_a_writer_that_is_not_cached_leaves_the_cache_alone(queued: Queued, service: Service) -> None:
    service.cache.register_writer("seen", print, cached=False)
    service.cache.write_behind("seen", "ada", 2)
    assert queued.value(b"ada", WriterId("seen", 1)) == b"2"
    assert service.cache.get("seen:ada") is None
    assert service.cache.get_or_load("seen:ada", Loader(1)) == 1


def test_the_newest_version_of_a_writer_is_used(queued: Queued, service: Service) -> None:
    service.cache.write_behind("score", "ada", 1)
    service.cache.register_writer("score", print, version=10)
    service.cache.register_writer("score", print, version=9)
    service.cache.delete("score:ada")
    assert service.cache.get_or_load("score:ada", Loader(0)) == 1  # the one of the old version
    service.cache.write_behind("score", "ada", 2)
    service.cache.delete("score:ada")
    assert queued.value(b"ada", WriterId("score", 10)) == b"2"
    assert service.cache.get_or_load("score:ada", Loader(0)) == 2


def test_a_read_returns_the_latest_value_of_any_version(world: World, queued: Queued, service: Service) -> None:
    newer = Service(world, queued)
    for version in (1, 2):
        newer.cache.register_writer("score", print, version=version)
    newer.cache.write_behind("score", "ada", 1)
    service.cache.write_behind("score", "ada", 2)  # by a process that does not know the new version
    service.cache.delete("score:ada")
    assert newer.cache.get_or_load("score:ada", Loader(0)) == 2


def test_a_full_queue_refuses_updates_and_changes_nothing(queued: Queued, service: Service) -> None:
    for number in range(LIMIT):
        service.cache.write_behind("score", f"k{number}", number)
    with pytest.raises(QueueFull) as refusal:
        service.cache.write_behind("score", "ada", 1)
    assert refusal.value.message == f"{LIMIT} updates are waiting to be written, which is the limit"
    assert refusal.value.retryable
    assert service.cache.get_or_load("score:ada", Loader("old")) == "old"
    service.cache.write_behind("score", "k0", "replaced")
    assert queued.value(b"k0", WriterId("score", 1)) == b'"replaced"'


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("other", "ada", 1),
        ("score", "", 1),
        ("score", "x" * 513, 1),
        ("score", "x" * 510, 1),
        ("score", "\udcff\ud800", 1),
        ("score", "ada", object()),
        ("score", "ada", float("nan")),
        ("score", "ada", "x" * UPDATE_MAX),
    ],
)
def test_what_cannot_be_written_is_refused_and_keeps_the_entry(
    queued: Queued, service: Service, name: str, key: str, value: object
) -> None:
    service.cache.set("score:ada", "old")
    with pytest.raises(InvalidCacheEntry):
        service.cache.write_behind(name, key, value)
    assert queued.queue.depths() == []
    assert service.cache.get("score:ada") == "old"


@pytest.mark.parametrize(
    ("name", "version"),
    [("user", 1), ("Score", 1), ("", 1), ("a:b", 1), (7, 1), ("score", 0), ("score", "1"), ("score", True)],
)
def test_a_writer_needs_a_valid_name_and_version(service: Service, name: Any, version: Any) -> None:
    with pytest.raises(InvalidCacheEntry):
        service.cache.register_writer(name, print, version=version)


def test_a_writer_is_a_function(service: Service) -> None:
    not_a_function: Any = "scores:write"
    with pytest.raises(InvalidCacheEntry, match="the writer 'score' is not a function"):
        service.cache.register_writer("score", not_a_function)


def test_a_built_in_writer_cannot_be_replaced(service: Service) -> None:
    service.writers[WriterId("last_seen", 1)] = Writer(print, built_in=True)
    for version in (1, 2):
        with pytest.raises(InvalidCacheEntry) as refusal:
            service.cache.register_writer("last_seen", print, version=version)
        assert refusal.value.message == "the writer 'last_seen' is built in"


def test_a_queue_that_is_away_refuses_updates(service: Service) -> None:
    service.queue.away = True
    with pytest.raises(Away):
        service.cache.write_behind("score", "ada", 1)
    assert service.cache.get("score:ada") is None


def test_a_read_without_the_queue_loads_the_value_but_does_not_cache_it(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.cache.write_behind("score", "ada", 2)
    service.cache.delete("score:ada")
    service.queue.away = True
    with caplog.at_level(logging.WARNING, "backctl.cache"):
        for _ in range(2):
            assert service.cache.get_or_load("score:ada", Loader(1)) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "the write-behind queue is not available: the server does not answer"
    ]
    service.queue.away = False
    assert service.cache.get_or_load("score:ada", Loader(1)) == 2


def test_without_an_installation_nothing_waits(service: Service) -> None:
    service.has_installation = False
    loader = Loader(1)
    assert service.cache.get_or_load("score:ada", loader) == service.cache.get_or_load("score:ada", loader) == 1
    assert loader.calls == 1
    assert service.updates.depths() == []
    with pytest.raises(InstallationMissing):
        service.cache.write_behind("score", "ada", 1)


def test_a_damaged_waiting_value_is_ignored_by_readers(queued: Queued, service: Service) -> None:
    queued.queue.put(WriterId("score", 1), b"ada", QueuedValue(b"{"), limit=LIMIT)
    assert service.cache.get_or_load("score:ada", Loader(1)) == 1


def test_failed_updates_wait_longer_each_time(service: Service) -> None:
    assert [retry_after(attempts) // SECOND for attempts in (1, 2, 3, 9, 10, 100)] == [1, 2, 4, 256, 300, 300]
