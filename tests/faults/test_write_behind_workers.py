"""Workers of write-behind that share a queue, updates that fail, and databases that are away for a while."""

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from tests.cli.expected import refused
from tests.faults import ledger
from tests.faults.cache_services import eventually
from tests.faults.write_behind_places import KINDS, SHORT_US, Place, ended, goes_on, once, place_of, stopped
from tests.servers import Servers

import backctl
from backctl.application import draining
from backctl.domain.write_behind import QueuedValue, WriterId


@pytest.fixture(scope="module", params=KINDS)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, servers: Servers
) -> Iterator[Place]:
    settings = "cache.queue_attempts = 2", 'database.timeout = "100ms"'
    with place_of(request.param, tmp_path_factory.mktemp("place"), servers, *settings) as place:
        yield place


@pytest.fixture
def place(shared: Place) -> Place:
    shared.clear()
    return shared


NAMES = "abcdefgh"
ONCE = once(NAMES)


def test_two_workers_share_the_updates(place: Place) -> None:
    place.put(**dict.fromkeys(NAMES, 1))
    with place.started("after take", 1, "drain", "--batch-size", "3") as worker:
        stopped(worker)
        other = place.run("nowhere", 0, "drain").succeeded().json
        assert (other["written"], other["superseded"], other["waiting"]) == (5, 0, 3)
        report = goes_on(worker).succeeded().json
    assert (report["written"], report["superseded"], report["waiting"]) == (3, 0, 0)
    assert place.ledger() == ONCE
    assert place.processes() == [3, 5]


@pytest.mark.parametrize("point", ["after take", "after commit"])
def test_a_worker_that_was_slower_than_its_lease_writes_nothing_twice(place: Place, point: str) -> None:
    place.put(**dict.fromkeys(NAMES, 1))
    with place.started(point, 1, "drain") as worker:
        stopped(worker)
        place.put(a=2)
        place.drain(SHORT_US)
        place.put(b=2)
        goes_on(worker).succeeded()
    place.drain(SHORT_US)
    expected = ONCE | {"b": [1, 2], "a": [1, 2] if point == "after commit" else [2]}
    assert place.ledger() == expected
    assert place.waiting() == 0


def test_a_worker_that_stops_in_its_transaction_keeps_others_from_its_updates(place: Place) -> None:
    place.put(**dict.fromkeys(NAMES, 1))
    with place.started("before commit", 1, "drain") as worker:
        stopped(worker)
        if place.on_postgres:
            with place.started("nowhere", 0, "drain", lease_us=SHORT_US) as other:
                eventually(lambda: place.machine.rows(BLOCKED), "a second worker that waits")
                goes_on(worker).succeeded()
                ended(other).succeeded()
        else:
            refused(place.run("nowhere", 0, "drain", lease_us=SHORT_US), 5, "database.locked")
            goes_on(worker).succeeded()
    assert place.drain().superseded == 0
    assert place.ledger() == ONCE
    assert place.waiting() == 0


BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def test_workers_with_short_leases_never_undo_or_repeat_an_update(place: Place) -> None:
    """Several workers take the same updates all the time, while a service replaces them."""
    with ExitStack() as cleanup:
        workers = [
            cleanup.enter_context(
                place.started("nowhere", 0, "drain", "--follow", "--batch-size", "3", lease_us=SHORT_US)
            )
            for _ in range(3)
        ]
        number = 0
        while number < 400 or number % 50 or len(place.processes()) < len(workers):
            place.put(**{f"k{number % 7}": number})
            number += 1
        eventually(lambda: place.waiting() == 0, "an empty queue")
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
            ended(worker).succeeded()
    found = place.ledger()
    assert {key: values[-1] for key, values in found.items()} == {
        f"k{last % 7}": last for last in range(number - 7, number)
    }
    assert all(values == sorted(set(values)) for values in found.values())


# Updates that fail, or that no worker knows.


def test_a_poison_update_dies_and_holds_nobody_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "retry_after", lambda attempts: 1)
    monkeypatch.setattr(ledger, "Path", place.home.joinpath)
    place.put(a=1, bad=1, b=1)
    report = place.drain()
    assert (report.written, report.retried, report.dead) == (2, 1, 0)
    assert place.ledger() == {"a": [1], "b": [1]}
    place.put(c=1)
    report = place.drain()
    assert (report.written, report.retried, report.dead, report.waiting) == (1, 0, 1, 0)
    (dead,) = place.backend.queued_updates.dead()
    assert (dead.key, dead.attempts, dead.error) == ("bad", 2, "ValueError: a bad key")

    place.backend.queued_updates.requeue([dead.id])
    assert place.drain().retried == 1
    (place.home / "mended").touch()
    place.put(d=1)
    assert place.drain().written == 2
    assert place.ledger() == once("abcd") | {"bad": [1]}
    assert list(place.backend.queued_updates.dead()) == []


def test_a_requeued_update_is_written_once_although_a_worker_is_killed(place: Place) -> None:
    place.put(bad=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draining, "retry_after", lambda attempts: 1)
        patch.setattr(ledger, "Path", place.home.joinpath)
        assert [place.drain().dead, place.drain().dead] == [0, 1]
    place.backend.queued_updates.requeue(None)
    (place.home / "mended").touch()
    assert place.run("after commit", 1, "drain").code == -signal.SIGKILL
    assert place.drain().superseded == 1
    assert place.ledger() == {"bad": [1]}


def test_updates_of_unknown_writers_and_versions_stay_and_hold_nobody_back(place: Place) -> None:
    queue = place.backend.queued_updates.queue()
    unknown = [WriterId("ledger", 2), WriterId("stranger", 1)]
    for number in range(30):
        for writer in unknown:
            queue.put(writer, b"k%d" % number, QueuedValue(b"1"), limit=1000)
    place.put(a=1, b=1)
    report = place.run("nowhere", 0, "drain", "--batch-size", "10").succeeded().json
    assert (report["written"], report["waiting"]) == (2, 60)
    assert report["unknown_writers"] == [str(writer) for writer in unknown]
    assert place.ledger() == {"a": [1], "b": [1]}
    with backctl.open_backend(environ=place.machine.environment) as newer:
        newer.cache.register_writer("ledger", ledger.write, version=2)
        assert newer.cache.drain().written == 30
    assert place.ledger() == {"a": [1], "b": [1], **{f"k{number}": [1] for number in range(30)}}
    assert queue.set_aside(unknown[1:], "unknown", now=0) == 30


# A database that is away.


@contextmanager
def without_database(place: Place, servers: Servers) -> Iterator[None]:
    if place.on_postgres:
        servers.postgres(18).stop()
        try:
            yield
        finally:
            servers.postgres(18).start()
    else:
        with closing(sqlite3.connect(place.machine.data / "backctl.db", isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield


def test_a_worker_goes_on_after_the_database_was_away(place: Place, servers: Servers) -> None:
    place.put(a=1)
    with without_database(place, servers):
        assert place.run("nowhere", 0, "drain").code == 5
    with place.started("nowhere", 0, "drain", "--follow") as worker:
        eventually(lambda: place.waiting() == 0, "the first update")
        with without_database(place, servers):
            place.put(bad=1, b=1, c=1)
            assert "updates cannot be written, trying again" in worker.error_line()
            place.put(b=2, d=1)
        while "updates can be written again" not in worker.error_line():
            continue
        eventually(lambda: place.waiting() == 1, "the writing of all but the bad update")
        worker.send_signal(signal.SIGTERM)
        report = ended(worker).succeeded().json
    # The second attempt would be the last one.
    assert (report["written"], report["retried"], report["dead"], report["waiting"]) == (4, 1, 0, 1)
    assert place.ledger() == {"a": [1], "b": [2], "c": [1], "d": [1]}


@pytest.mark.parametrize("shared", ["redis to postgres"], indirect=True)
@pytest.mark.parametrize("point", ["before write", "before commit", "after commit"])
def test_a_database_that_is_killed_in_a_transaction_has_each_update_once(
    place: Place, servers: Servers, point: str
) -> None:
    place.put(a=1, b=1)
    with place.started(point, 1, "drain") as worker:
        stopped(worker)
        servers.postgres(18).kill()
        servers.postgres(18).start()
        report = goes_on(worker).succeeded().json
    assert (report["written"], report["waiting"]) == (2, 0)
    assert place.ledger() == once("ab")
    assert place.waiting() == 0
