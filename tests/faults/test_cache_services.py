"""Services share a cache while commands and other services change accounts, invalidate, are killed, and fork."""

import os
import secrets
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.machines import Machine
from tests.faults.cache_services import (
    ACTIVE,
    INACTIVE,
    STORES,
    Service,
    Talk,
    eventually,
    loads,
    machine_on,
    services,
    url_of,
)
from tests.redis_servers import Cluster
from tests.servers import Servers


@pytest.fixture(params=STORES)
def machine(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Machine:
    return machine_on(tmp_path, url_of(request.param, servers))


@pytest.fixture
def source(machine: Machine) -> Path:
    """Return a file whose content services cache."""
    path = machine.home / "source"
    path.write_text("old")
    return path


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    with services(machine, 1) as (started,):
        yield started


def deactivate(machine: Machine, name: str = "ada") -> float:
    """Deactivate an account with the program. Return the time at which that had an effect on every store."""
    done = machine.run("user", "deactivate", name).succeeded()
    assert done.err == ""
    return time.monotonic()


def all_see(watching: list[Service], answer: object) -> None:
    eventually(lambda: all(service.ask("get", "ada") == answer for service in watching), f"services that see {answer}")


def test_services_see_a_deactivated_account_without_a_restart(machine: Machine) -> None:
    with services(machine, 2) as both:
        assert [service.ask("get", "ada") for service in both] == [ACTIVE, ACTIVE]
        deactivate(machine)
        all_see(both, INACTIVE)
        machine.run("user", "activate", "ada").succeeded()
        all_see(both, ACTIVE)
        assert both[0].ask("deactivate", "ada") is True  # a service changes it
        assert both[0].ask("get", "ada") == INACTIVE
        all_see(both, INACTIVE)


def test_the_first_read_of_a_service_that_was_stopped_is_right(machine: Machine) -> None:
    with services(machine, 2) as (running, stopped):
        for service in (running, stopped):
            assert service.ask("get", "ada") == ACTIVE
        stopped.freeze()
        changed_at = deactivate(machine)
        all_see([running], INACTIVE)
        eventually(lambda: time.monotonic() > changed_at + 1, "the end of max_staleness")
        stopped.tell("get", "ada")
        stopped.thaw()
        assert stopped.hear() == INACTIVE


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    own = Cluster(node_timeout_ms=1000)
    yield own
    own.close()


def test_services_answer_while_a_cluster_fails_over_and_see_changes_afterwards(
    cluster: Cluster, tmp_path: Path
) -> None:
    machine = machine_on(tmp_path, cluster.url(), 'redis.timeout = "500ms"', 'cache.max_staleness = "100ms"')
    with services(machine, 2) as both, ThreadPoolExecutor(1) as pool:
        assert [service.ask("get", "ada") for service in both] == [ACTIVE, ACTIVE]
        took: list[float] = []
        failing_over = pool.submit(cluster.fail_over, 0)
        while not failing_over.done():
            for service in both:
                answer = service.ask("reads", "ada", 10, 0.02)
                assert answer["active"] == [True]
                took += answer["took"]
        failing_over.result()
        assert max(took) < 20  # a few timeouts of 500 ms, on a busy machine
        machine.run("user", "deactivate", "ada").succeeded()
        all_see(both, INACTIVE)


WAYS = {
    "delete": ("delete", "x:1"),
    "a pattern": ("invalidate", "x:*"),
    "a tag": ("invalidate", "--tag", "red"),
    "all": ("invalidate", "--all", "--yes"),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_invalidation_wins_over_a_load_that_began_before(machine: Machine, source: Path, way: str) -> None:
    machine.config_file.write_text(machine.config_file.read_text() + '\ncache.max_staleness = "1ms"\n')
    with services(machine, 2) as (service, other):
        service.tell("load", "x:1", str(source), ["red"], True)
        assert service.hear() == "loading"
        source.write_text("new")
        assert machine.run("cache", *WAYS[way]).code in (0, 3)
        service.tell("go on")
        assert service.hear() == "old"  # it was loaded before
        assert service.ask("load", "x:1", str(source), ["red"]) == "new"
        assert other.ask("load", "x:1", str(source), ["red"]) == "new"


@pytest.mark.parametrize("way", WAYS)
def test_an_invalidation_reaches_the_memory_of_services(machine: Machine, source: Path, way: str) -> None:
    with services(machine, 2) as both:
        assert [service.ask("load", "x:1", str(source), ["red"]) for service in both] == ["old", "old"]
        source.write_text("new")
        machine.run("cache", *WAYS[way]).succeeded()
        eventually(
            lambda: all(service.ask("load", "x:1", str(source), ["red"]) == "new" for service in both), "the new value"
        )
        assert len(loads(source)) == 2


def test_a_dry_run_counts_what_is_then_invalidated(machine: Machine) -> None:
    machine.run("cache", "warm", "users").succeeded()
    machine.run("cache", "set", "other", "1").succeeded()
    dry = machine.run("cache", "invalidate", "user:*", "--dry-run", "-o", "json").succeeded().json
    real = machine.run("cache", "invalidate", "user:*", "-o", "json").succeeded().json
    assert dry["entries"] == real["entries"] == 9  # an id, an address and a name each
    assert dry["size_bytes"] == real["size_bytes"] > 0
    again = machine.run("cache", "invalidate", "user:*", "-o", "json").succeeded().json
    assert again["entries"] == 0
    assert machine.run("cache", "get", "other").succeeded().out == "1\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_an_interrupted_invalidation_is_finished_by_running_it_again(
    store: str, number: signal.Signals, tmp_path: Path, servers: Servers
) -> None:
    machine = machine_on(tmp_path, url_of(store, servers))
    source = machine.home / "source"
    source.write_text("old")
    with services(machine, 1) as (service,):
        assert service.ask("load", "x:1", str(source)) == "old"
        many = _many(machine, servers) if store == "redis" else _many_rows(machine)
        process = machine.start("cache", "invalidate", "x:*", "--quiet")
        eventually(lambda: many() < 100_001 or process.poll() is not None, "the first step")
        process.send_signal(number)
        assert process.wait(60) in (0, 130, -number)
        source.write_text("new")
        machine.run("cache", "invalidate", "x:*").succeeded()
        assert many() == 0
        eventually(lambda: service.ask("load", "x:1", str(source)) == "new", "the new value")


def _many(machine: Machine, servers: Servers) -> Callable[[], int]:
    """Copy the entry to 100,000 others. Return a function that counts them."""
    server = servers.redis()
    pattern = f"{_namespace(machine)}:*:e:*"
    (entry,) = server.ask("KEYS", pattern)
    copy = "local e = redis.call('GET', KEYS[1]) for i = 1, 100000 do redis.call('SET', KEYS[1] .. ':' .. i, e) end"
    server.ask("EVAL", copy, 1, entry)
    return lambda: int(server.ask("EVAL", "return #redis.call('KEYS', ARGV[1])", 0, pattern))


def _many_rows(machine: Machine) -> Callable[[], int]:
    file = machine.data / "cache.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
            "INSERT INTO entries (owner, key, entry, ends_at) "
            "SELECT owner, CAST('x:1:' || i AS BLOB), entry, ends_at FROM n, entries"
        )

    def count() -> int:
        with closing(sqlite3.connect(file, timeout=60)) as connection:
            return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])

    return count


def _namespace(machine: Machine) -> str:
    (line,) = [line for line in machine.config_file.read_text().splitlines() if line.startswith("redis.namespace")]
    return line.split('"')[1]


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_twenty_processes_that_miss_a_key_load_it_once(store: str, tmp_path: Path, servers: Servers) -> None:
    machine = machine_on(tmp_path, url_of(store, servers), 'cache.lock_timeout = "60s"')
    source = machine.home / "source"
    source.write_text("value")
    with services(machine, 1) as (service,):
        children = service.ask("crowd", 20, "x", str(source))
        eventually(lambda: loads(source), "a loader")
        Path(f"{source}.go").touch()
        assert service.hear() == ["value"] * 20
    assert len(loads(source)) == 1
    assert loads(source)[0] in children


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_value_is_loaded_once_more_if_its_loader_is_killed(store: str, tmp_path: Path, servers: Servers) -> None:
    machine = machine_on(tmp_path, url_of(store, servers), 'cache.lock_timeout = "3s"')
    source = machine.home / "source"
    source.write_text("value")
    with services(machine, 1) as (service,):
        service.ask("crowd", 20, "x", str(source))
        eventually(lambda: loads(source), "a loader")
        (first,) = loads(source)
        os.kill(first, signal.SIGKILL)
        Path(f"{source}.go").touch()
        assert service.hear() == ["value"] * 19
    assert len(loads(source)) == 2


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_children_forked_by_a_service_see_invalidations(store: str, tmp_path: Path, servers: Servers) -> None:
    machine = machine_on(tmp_path, url_of(store, servers))
    source = machine.home / "source"
    source.write_text("old")
    with services(machine, 1) as (parent,):
        assert parent.ask("get", "ada") == ACTIVE
        assert parent.ask("load", "x:1", str(source)) == "old"
        children = [forked(parent, machine.home) for _ in range(3)]
        for child in children:
            assert child.ask("get", "ada") == ACTIVE
        deactivate(machine)
        source.write_text("new")
        machine.run("cache", "delete", "x:1").succeeded()
        everybody: list[Talk] = [parent, *children]
        eventually(lambda: all(one.ask("get", "ada") == INACTIVE for one in everybody), "children that see it")
        eventually(lambda: all(one.ask("load", "x:1", str(source)) == "new" for one in everybody), "the new value")
        listeners = [one.ask("held")["threads"].count("backctl-cache") for one in everybody]
        assert listeners == [1 if store == "redis" else 0] * 4
        assert len(loads(source)) == 2
        for child in children:
            child.end()


def forked(parent: Service, folder: Path) -> Talk:
    """Let a service fork. Return what talks to the child, which ends when its requests end."""
    paths = [folder / secrets.token_hex(4) for _ in range(2)]
    for path in paths:
        os.mkfifo(path)
    parent.ask("fork", *map(str, paths))
    child = Talk(os.open(paths[0], os.O_WRONLY), os.open(paths[1], os.O_RDONLY))
    assert child.hear() == "forked"
    return child


def test_nothing_is_left_after_close(machine: Machine, service: Service) -> None:
    before = service.ask("held")
    for _ in range(3):  # it is used again after each
        assert service.ask("get", "ada") == ACTIVE
        assert service.ask("get", "bob") == ACTIVE
        service.ask("close")
        eventually(lambda: service.ask("held") == before, "a service without threads and files")
    assert "Traceback" not in (machine.home / "service.log").read_text()


def test_services_of_one_database_share_the_cache_whatever_their_data_folders(tmp_path: Path) -> None:
    machine = machine_on(tmp_path, "")
    other = Machine(tmp_path / "other")
    other.home.mkdir()
    other.environment |= {
        "XDG_DATA_HOME": str(other.home / "data"),
        "BACKCTL_DATABASE_URL": f"sqlite:///{machine.data}/backctl.db",
        "BACKCTL_KEYRING_PATH": f"{machine.data}/keyring.json",
    }
    source = machine.home / "source"
    source.write_text("old")
    for each in (machine, other):
        each.environment["BACKCTL_CACHE_MEMORY_ENTRIES"] = "0"  # so that changes are seen at once
    with services(machine, 1) as (here,), services(other, 1) as (there,):
        for one, another, its in ((here, there, other), (there, here, machine)):
            assert [service.ask("get", "ada") for service in (one, another)] == [ACTIVE, ACTIVE]
            assert one.ask("deactivate", "ada")
            assert another.ask("get", "ada") == INACTIVE
            its.run("user", "activate", "ada").succeeded()
            assert one.ask("get", "ada") == ACTIVE
        assert here.ask("load", "x:1", str(source)) == "old"
        source.write_text("new")
        assert there.ask("load", "x:1", str(source)) == "old"
        other.run("cache", "invalidate", "x:*").succeeded()
        assert here.ask("load", "x:1", str(source)) == "new"
    assert not (other.home / "data").exists()


def test_services_sign_entries_with_a_new_key_without_a_restart(machine: Machine) -> None:
    machine.environment["BACKCTL_CACHE_MEMORY_ENTRIES"] = "0"

    def store(role: str) -> None:
        """Change the database without an invalidation."""
        with closing(sqlite3.connect(machine.data / "backctl.db")) as connection, connection:
            connection.execute("UPDATE users SET role = ? WHERE username = 'ada'", (role,))

    with services(machine, 2) as (service, other):
        assert service.ask("get", "ada")["role"] == "user"
        store("moderator")
        assert other.ask("get", "ada")["role"] == "user"  # from the cache
        machine.run("key", "rotate", "--purpose", "index", "--if-older-than", "0d").succeeded()
        assert service.ask("get", "ada")["role"] == "moderator"
        store("auditor")
        for one in (other, service):
            assert one.ask("get", "ada")["role"] == "moderator"  # signed with the new key
