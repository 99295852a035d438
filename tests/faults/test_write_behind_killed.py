"""Services and workers of write-behind that are killed at any point: what was accepted is written exactly once."""

import signal
from collections.abc import Iterator

import pytest
from tests.faults.cache_services import eventually
from tests.faults.write_behind_places import KINDS, LONG_US, Place, ended, once, place_of
from tests.servers import Servers
from tests.starter import Started

KILLED = -signal.SIGKILL
WORKER = [
    *(f"{where} take" for where in ("before", "in", "after")),
    *("before apply", "before write", "after write", "before commit", "after commit"),
    *(f"{where} acknowledge" for where in ("before", "in", "after")),
]
COMMITTED = WORKER[WORKER.index("after commit") :]


@pytest.fixture(scope="module", params=KINDS)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, servers: Servers
) -> Iterator[Place]:
    with place_of(request.param, tmp_path_factory.mktemp("place"), servers, 'cache.lock_timeout = "100ms"') as place:
        yield place


@pytest.fixture
def place(shared: Place) -> Place:
    shared.clear()
    return shared


@pytest.mark.parametrize("point", WORKER)
def test_a_killed_worker_loses_no_update_and_writes_none_twice(place: Place, point: str) -> None:
    place.put(a=1, b=1, c=1, d=1, e=1, f=1)
    assert place.run(point, 2, "drain", "--batch-size", "2").code == KILLED
    place.put(c=2)
    was_written = point in COMMITTED
    assert place.ledger() == once("abcd" if was_written else "ab")
    report = place.drain()
    assert (report.retried, report.dead, report.waiting) == (0, 0, 0)
    assert place.ledger() == {**once("abdef"), "c": [1, 2] if was_written else [2]}


@pytest.mark.parametrize("point", ["before put", "in put", "after put"])
def test_a_killed_service_has_queued_what_was_accepted(place: Place, point: str) -> None:
    assert place.run(point, 5, "queue", "0", "8", "3").code == KILLED
    assert place.accepted() == [0, 1, 2, 3]
    unknown = {"before put": [1], "in put": [1, 4], "after put": [4]}[point]
    assert place.cache.get_or_load("ledger:k0", lambda: None) == 3
    assert place.cache.get_or_load("ledger:k1", lambda: None) in unknown
    report = place.drain()
    assert (report.written, report.superseded, report.waiting) == (3, 0, 0)
    found = place.ledger()
    assert found.pop("k1") in [[number] for number in unknown]
    assert found == {"k0": [3], "k2": [2]}


def test_a_worker_that_is_killed_everywhere_in_turn_writes_each_update_once(place: Place) -> None:
    for number, point in enumerate(WORKER):
        place.put(**{f"k{number % 3}": number, f"n{number}": number})
        assert place.run(point, 1, "drain", lease_us=1).code == KILLED
    place.drain()
    found = place.ledger()
    last = len(WORKER) - 1
    assert {key: values[-1] for key, values in found.items()} == {
        **{f"n{number}": number for number in range(len(WORKER))},
        **{f"k{number % 3}": number for number in range(last - 2, last + 1)},
    }
    assert all(values == sorted(set(values)) for values in found.values())


@pytest.mark.parametrize("how", ["--once", "--follow"])
def test_sigterm_lets_a_worker_finish_its_batch(place: Place, how: str) -> None:
    place.put(a=1, b=1, c=1, d=1)
    (place.home / "gate").touch()
    with place.started("nowhere", 0, "drain", "--batch-size", "2", how) as worker:
        eventually((place.home / "begun").exists, "a batch")
        terminate(worker)
        assert place.ledger() == {}
        (place.home / "gate").unlink()
        report = ended(worker).succeeded().json
    assert (report["written"], report["superseded"], report["waiting"], report["changed"]) == (2, 0, 2, True)
    assert place.ledger() == {"a": [1], "b": [1]}
    assert place.drain(LONG_US).written == 2  # the worker has left nothing taken
    assert place.ledger() == once("abcd")


def test_a_second_sigterm_ends_a_worker_in_its_batch_and_loses_nothing(place: Place) -> None:
    place.put(a=1, b=1, c=1)
    (place.home / "gate").touch()
    with place.started("nowhere", 0, "drain", "--batch-size", "2") as worker:
        eventually((place.home / "begun").exists, "a batch")
        terminate(worker)
        worker.send_signal(signal.SIGTERM)
        assert ended(worker).code == 128 + signal.SIGTERM
    (place.home / "gate").unlink()
    assert place.ledger() == {}
    report = place.drain()
    assert (report.written, report.superseded, report.waiting) == (3, 0, 0)
    assert place.ledger() == once("abc")


def terminate(worker: Started) -> None:
    """Send SIGTERM, and wait until the worker says that it finishes its batch."""
    worker.send_signal(signal.SIGTERM)
    assert "finishing" in worker.error_line()
