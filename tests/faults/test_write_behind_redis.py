"""The write-behind queue on Redis servers that are killed and started again, and on a cluster that fails over."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis.crc import key_slot
from tests.faults.cache_services import eventually
from tests.faults.write_behind_places import Place, ended, goes_on, place_at, stopped
from tests.redis_servers import Cluster, RedisServer, until
from tests.servers import Servers

LOST = "the write-behind queue has lost its last updates"
KEYS = 20
Start = Callable[..., tuple[Place, RedisServer]]


@pytest.fixture
def start(tmp_path: Path, servers: Servers) -> Iterator[Start]:
    """Return a function that starts a server with some settings, and opens an installation whose queue is on it."""
    with ExitStack() as cleanup:

        def started(**settings: str) -> tuple[Place, RedisServer]:
            server = RedisServer(settings=settings)
            cleanup.callback(server.close)
            return cleanup.enter_context(place_at(tmp_path, servers, server.url())), server

        yield started


def restart(server: RedisServer) -> None:
    server.kill()
    server.start()
    until(lambda: server.ask("PING"), "a server that has loaded its data")


def identity(place: Place) -> str:
    return place.backend.queued_updates.queue().state().identity


def newest(numbers: list[int], keys: int = KEYS) -> dict[str, int]:
    """Return the last of these numbers for each key."""
    return {f"k{number % keys}": number for number in sorted(numbers)}


def durability(place: Place) -> Any:
    (check,) = [check for check in place.backend.doctor.examine() if check.check == "queue.durability"]
    return check


# With an append-only file.


@pytest.mark.parametrize("flushes", ["always", "everysec", "no"])
def test_with_an_append_only_file_a_killed_server_loses_nothing_that_was_accepted(start: Start, flushes: str) -> None:
    place, server = start(appendonly="yes", appendfsync=flushes)
    with place.started("nowhere", 0, "queue", "0", "1000000", str(KEYS)) as service:
        eventually(lambda: len(place.accepted()) > 2 * KEYS, "accepted updates")
        before = identity(place)
        restart(server)
        done = ended(service)
    assert (done.code, "Redis at" in done.out) == (5, True)
    accepted = place.accepted()
    report = place.drain()
    assert (report.written, report.superseded) == (KEYS, 0)
    assert identity(place) == before
    found = place.ledger()
    unknown = f"k{(accepted[-1] + 1) % KEYS}"
    assert found.pop(unknown) in [[newest(accepted)[unknown]], [accepted[-1] + 1]]
    assert found == {key: [number] for key, number in newest(accepted).items() if key != unknown}


@pytest.mark.parametrize("point", ["after take", "before commit", "after commit"])
def test_a_worker_in_whose_batch_the_server_starts_again_writes_each_update_once(start: Start, point: str) -> None:
    place, server = start(appendonly="yes")
    place.put(a=1, b=1, c=1, d=1)
    with place.started(point, 1, "drain", "--batch-size", "2") as worker:
        stopped(worker)
        place.put(a=2)
        restart(server)
        assert goes_on(worker).code in (0, 5)
    assert place.drain().waiting == 0
    found = place.ledger()
    assert found.pop("a") in ([1, 2], [2] if point == "after take" else [1, 2])
    assert found == {"b": [1], "c": [1], "d": [1]}


# Without one.


def test_without_persistence_a_killed_server_loses_what_waits_and_nothing_later(start: Start) -> None:
    place, server = start()
    place.put(a=1)
    place.drain()
    place.put(a=2, b=1)
    assert "loses all queued updates" in durability(place).finding
    before = identity(place)
    restart(server)
    report = place.drain()
    assert (report.written, report.superseded, report.waiting) == (0, 0, 0)
    assert identity(place) != before
    place.put(a=3, c=1)
    assert place.run("nowhere", 0, "drain").succeeded().json["written"] == 2
    assert place.ledger() == {"a": [1, 3], "c": [1]}


@pytest.mark.parametrize("point", ["after take", "before commit", "after commit"])
def test_a_worker_in_whose_batch_the_queue_is_lost_hides_nothing_later(start: Start, point: str) -> None:
    place, server = start()
    place.put(a=1, b=1)
    with place.started(point, 1, "drain") as worker:
        stopped(worker)
        restart(server)
        place.put(a=2)
        assert goes_on(worker).code in (0, 5)
    place.put(b=2)
    assert place.drain().waiting == 0
    found = place.ledger()
    assert {key: values[-1] for key, values in found.items()} == {"a": 2, "b": 2}
    assert all(values == sorted(set(values)) for values in found.values())


def test_a_server_that_starts_with_an_older_snapshot_undoes_nothing(start: Start) -> None:
    place, server = start(save="3600 1")
    place.put(a=1, b=1)
    server.ask("SAVE")
    place.put(a=2, c=1, d=1)
    place.drain()
    assert "since its last snapshot" in durability(place).finding
    before = identity(place)
    restart(server)
    done = place.run("nowhere", 0, "drain").succeeded()
    assert (done.json["written"], done.json["superseded"], LOST in done.err) == (0, 2, True)
    assert identity(place) == before
    place.put(a=3, c=2)
    assert place.run("nowhere", 0, "drain").succeeded().err == ""
    assert place.ledger() == {"a": [2, 3], "b": [1], "c": [1, 2], "d": [1]}


def test_a_server_that_starts_with_an_older_snapshot_and_gets_updates_repeats_none(start: Start) -> None:
    """Positions are times, so updates that are queued after the start are later than all that was written."""
    place, server = start(save="3600 1")
    place.put(a=1, b=1)
    server.ask("SAVE")
    place.put(a=2)
    place.drain()
    before = identity(place)
    restart(server)
    place.put(c=1)
    done = place.run("nowhere", 0, "drain").succeeded()
    assert (done.json["written"], done.json["superseded"], done.err) == (1, 2, "")
    assert identity(place) == before
    assert place.ledger() == {"a": [2], "b": [1], "c": [1]}


# A failover of a cluster.


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    own = Cluster(node_timeout_ms=1000)
    yield own
    own.close()


@pytest.fixture(scope="module")
def killed() -> set[int]:
    """The primaries of the cluster that a test has killed."""
    return set()


class OnCluster(NamedTuple):
    """A place, the number of the primary that has its queue, and their cluster."""

    place: Place
    cluster: Cluster
    number: int

    @property
    def primary(self) -> RedisServer:
        return self.cluster.nodes[self.number]

    def wait_for_replica(self) -> None:
        """Wait until the replica has received all that the primary has accepted."""
        self.primary.wait_for_replica(f"{hash_tag(self.place)}:probe")

    def fail_over(self) -> None:
        """Kill the primary, and wait until its replica has taken over."""
        self.cluster.fail_over(self.number)


def hash_tag(place: Place) -> str:
    return f"{{{place.backend._storage.installation_id()}.queue}}"


@pytest.fixture
def on_cluster(cluster: Cluster, killed: set[int], tmp_path: Path, servers: Servers) -> Iterator[OnCluster]:
    """Yield a place whose queue is on a primary that no test has killed."""
    for number in range(100):
        with place_at(tmp_path / str(number), servers, cluster.url()) as place:
            slot = key_slot(hash_tag(place).encode())
            node = sum(slot >= first for first in (5461, 10923))
            if node not in killed:
                killed.add(node)
                yield OnCluster(place, cluster, node)
                return


def test_a_failover_loses_at_most_updates_that_the_replica_has_not_received(on_cluster: OnCluster) -> None:
    place = on_cluster.place
    with place.started("nowhere", 0, "drain", "--follow", lease_us=1_000_000) as worker:
        with place.started("nowhere", 0, "queue", "0", "1000000", "1000000") as service:
            eventually(lambda: len(place.accepted()) > 100, "accepted updates")
            received = place.accepted()
            on_cluster.wait_for_replica()
            on_cluster.fail_over()
            assert ended(service).code == 5
        first = place.accepted()[-1] + 2
        place.run("nowhere", 0, "queue", str(first), "100", "1000000").succeeded()
        eventually(lambda: place.waiting() == 0, "an empty queue")
        worker.send_signal(signal.SIGTERM)
        ended(worker).succeeded()
    accepted, found = set(place.accepted()), place.ledger()
    lost = accepted - {number for values in found.values() for number in values}
    assert not lost & {*received, *range(first, first + 100)}
    assert all(len(values) == 1 for values in found.values())


def test_after_a_failover_to_a_replica_that_lags_nothing_later_is_skipped(on_cluster: OnCluster) -> None:
    place = on_cluster.place
    place.put(a=1, b=1)
    on_cluster.wait_for_replica()
    on_cluster.primary.ask("ACL", "SETUSER", "default", "-sync", "-psync")
    on_cluster.primary.ask("CLIENT", "KILL", "TYPE", "replica")
    place.put(a=2, c=1)
    place.drain()
    place.put(d=1)
    before = identity(place)
    on_cluster.fail_over()
    done = place.run("nowhere", 0, "drain").succeeded()
    assert (done.json["superseded"], LOST in done.err) == (2, True)
    assert identity(place) == before
    place.put(a=3, c=2, d=2)
    assert place.run("nowhere", 0, "drain").succeeded().err == ""
    assert place.ledger() == {"a": [2, 3], "b": [1], "c": [1, 2], "d": [2]}
