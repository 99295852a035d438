"""The cache while Redis is dead, frozen, empty, or back with old data."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.cli.accounts import Person, fresh, populate
from tests.cli.machines import Machine
from tests.faults.cache_services import ACTIVE, INACTIVE, Service, eventually, is_cached, machine_on, services
from tests.redis_servers import RedisServer
from tests.redis_stores import redis_servers

import backctl
from backctl.application.cache_envelope import Seal
from backctl.application.cache_levels import Environment, Levels
from backctl.application.cached_accounts import CachedAccounts, key_of_id
from backctl.domain.errors import UserNotFound
from backctl.infrastructure.host import now
from backctl.infrastructure.memory.cache import MemoryCache
from backctl.infrastructure.redis.cache import RedisCache

IMPATIENT = 'redis.timeout = "300ms"'
NOTICE = "the change was saved, but services may use older cached data until it expires"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the test alone, which it may break."""
    own = RedisServer()
    yield own
    own.close()


@pytest.fixture
def machine(server: RedisServer, tmp_path: Path) -> Machine:
    return machine_on(tmp_path, server.url(), IMPATIENT)


@pytest.fixture
def source(machine: Machine) -> Path:
    path = machine.home / "source"
    path.write_text("old")
    return path


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    with services(machine, 1) as (started,):
        yield started


def kill(server: RedisServer) -> None:
    server.kill()


def freeze(server: RedisServer) -> None:
    server.freeze()


def start(server: RedisServer) -> None:
    server.start()


def thaw(server: RedisServer) -> None:
    server.thaw()


Ill = tuple[Callable[[RedisServer], None], Callable[[RedisServer], None]]
ILLS: dict[str, Ill] = {"dead": (kill, start), "frozen": (freeze, thaw)}


@pytest.mark.parametrize("ill", ILLS)
def test_loaders_answer_while_redis_is_away_and_the_cache_afterwards(
    server: RedisServer, machine: Machine, service: Service, source: Path, ill: str
) -> None:
    worsen, cure = ILLS[ill]
    assert service.ask("get", "ada") == ACTIVE
    assert is_cached(service, source)
    worsen(server)
    changed = machine.run("user", "deactivate", "ada").succeeded()
    assert changed.err.count(NOTICE) == changed.err.count("\n") == 1
    eventually(lambda: service.ask("get", "ada") == INACTIVE, "the value of the loader")
    source.write_text("new")
    eventually(lambda: service.ask("load", "probe", str(source)) == "new", "the value of the loader")
    answer = service.ask("reads", "ada", 200, 0.015)
    assert answer["active"] == [False]
    slow = [took for took in answer["took"] if took > 0.15]
    assert len(slow) <= 2 + sum(answer["took"]) + 200 * 0.015 / 2  # one for each pause of two seconds
    cure(server)
    eventually(lambda: is_cached(service, source), "a cache that is used")
    machine.run("user", "activate", "ada").succeeded()
    eventually(lambda: service.ask("get", "ada") == ACTIVE, "an invalidation")


@contextmanager
def slowed(server: RedisServer, seconds: float) -> Iterator[None]:
    """Pause the server repeatedly, for so many seconds each time."""
    finished = threading.Event()

    def sleep() -> None:
        with server.admin() as client:
            while not finished.is_set():
                client.execute_command("DEBUG", "SLEEP", seconds)

    thread = threading.Thread(target=sleep)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


@pytest.mark.parametrize("seconds", [0.1, 1.0], ids=["within the timeout", "beyond the timeout"])
def test_a_slow_server_never_makes_an_answer_wrong(
    server: RedisServer, machine: Machine, service: Service, source: Path, seconds: float
) -> None:
    server.kill()
    server.settings["enable-debug-command"] = "yes"
    server.start()
    assert service.ask("get", "ada") == ACTIVE
    with slowed(server, seconds):
        machine.run("user", "deactivate", "ada").succeeded()
        eventually(lambda: service.ask("get", "ada") == INACTIVE, "the change")
        assert service.ask("reads", "ada", 20, 0.05)["active"] == [False]
    eventually(lambda: is_cached(service, source), "a cache that is used")


def test_a_restarted_empty_server_is_used_at_once(
    server: RedisServer, machine: Machine, service: Service, source: Path
) -> None:
    assert service.ask("get", "ada") == ACTIVE
    server.kill()
    server.start()
    machine.run("user", "deactivate", "ada").succeeded()
    eventually(lambda: service.ask("get", "ada") == INACTIVE, "the change")
    eventually(lambda: is_cached(service, source), "a cache that is used")


class Clock:
    """The time of a service by hand, in seconds since its start."""

    def __init__(self) -> None:
        self.passed = 0.0
        self._began = time.time_ns() // 1000

    def monotonic(self) -> float:
        return 1000 + self.passed

    def microseconds(self) -> int:
        return self._began + round(self.passed * 1_000_000)


def accounts(server: RedisServer, backend: Any, clock: Clock) -> tuple[CachedAccounts, list[str]]:
    """Return accounts through a cache with this clock, and a list that becomes the error of loading if it has one."""
    store = RedisCache(redis_servers(server.url()), namespace="n", installation="i")
    faults: list[str] = []
    levels = Levels(
        Environment(
            store=lambda: store,
            memory=MemoryCache(100),
            seal=lambda: Seal(b"k" * 32, "i"),
            monotonic=clock.monotonic,
            clock=clock.microseconds,
            sleep=time.sleep,
            lock_timeout=10_000_000,
            max_staleness=1_000_000,
        )
    )

    def reader() -> Any:
        if faults:
            raise redis.RedisError(faults[0])  # any error of a loader
        return backend.accounts.reader()

    return CachedAccounts(levels, reader, backend.accounts.addresses, now), faults


def test_an_account_in_an_old_snapshot_is_used_for_30_seconds_at_most(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = fresh(tmp_path)
    monkeypatch.setenv("HOME", str(machine.home))
    populate(machine, [Person("root", "admin"), Person("ada")])
    with backctl.open_backend(environ=machine.environment) as backend:
        id_ = backend.accounts.show("ada").id
        clock = Clock()
        before, _ = accounts(server, backend, clock)
        assert before.get(id_).is_active
        server.ask("SAVE")
        backend.accounts.deactivate("ada", by=backend.by("test"))
        before.levels.remove([key_of_id(id_).encode()])
        assert not before.get(id_).is_active
        server.kill()
        server.start()
        assert server.ask("KEYS", "*:e:user:*")  # invalidated, but in the snapshot
        for moment in (19.9, 20.0, 29.9, 30.0, 3600.0):
            clock.passed = moment
            after, faults = accounts(server, backend, clock)  # with an empty memory
            faults.append("the database is away")
            if moment < 30:
                assert after.get(id_).is_active  # the documented bound
            else:
                with pytest.raises(redis.RedisError):
                    after.get(id_)
            if moment >= 20:  # a loader that works is used
                faults.clear()
                assert not after.get(id_).is_active
                server.kill()
                server.start()
        for one in (before, after):
            one.levels._access.store().close()


def test_the_memory_drops_what_a_restart_with_old_data_may_bring_back(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = fresh(tmp_path)
    monkeypatch.setenv("HOME", str(machine.home))
    populate(machine, [Person("root", "admin"), Person("ada")])
    with backctl.open_backend(environ=machine.environment) as backend:
        clock = Clock()
        cached, _ = accounts(server, backend, clock)
        id_ = backend.accounts.show("ada").id
        assert cached.get(id_).is_active
        server.ask("SAVE")
        cached.levels.renew_epoch()
        assert cached.get(id_).is_active
        server.kill()
        server.start()
        server.ask("DEL", *server.ask("KEYS", "*:e:*"))
        backend.accounts.deactivate("ada", by=backend.by("test"))  # without a message
        clock.passed = 0.99
        assert cached.get(id_).is_active  # at most `max_staleness` old
        clock.passed = 1.0
        assert not cached.get(id_).is_active
        with pytest.raises(UserNotFound):
            cached.get("nobody")
        cached.levels._access.store().close()


def test_close_leaves_nothing_although_redis_is_frozen(server: RedisServer, machine: Machine, service: Service) -> None:
    before = service.ask("held")
    assert service.ask("get", "ada") == ACTIVE
    server.freeze()
    assert service.ask("close") < 20  # a few timeouts of 300 ms, on a busy machine
    eventually(lambda: service.ask("held") == before, "a service without threads and files")
    assert service.ask("get", "ada") == ACTIVE
    assert service.ask("close") < 20
    eventually(lambda: service.ask("held") == before, "a service without threads and files")


def test_close_leaves_nothing_of_a_service_that_started_before_the_installation(
    server: RedisServer, tmp_path: Path
) -> None:
    machine = fresh(tmp_path)
    machine.configure(f'redis.url = "{server.url()}"')
    source = machine.home / "source"
    source.write_text("old")
    with services(machine, 1) as (service,):
        before = service.ask("held")
        assert service.ask("load", "x:1", str(source)) == "old"
        machine.run("init").succeeded()
        populate(machine, [Person("root", "admin"), Person("ada")])
        eventually(lambda: service.ask("get", "ada") == ACTIVE, "the installation")
        service.ask("load", "x:1", str(source))
        source.write_text("new")
        machine.run("cache", "invalidate", "*").succeeded()
        eventually(lambda: service.ask("load", "x:1", str(source)) == "new", "the invalidation")
        service.ask("close")
        eventually(lambda: service.ask("held") == before, "a service without threads and files")


@pytest.mark.parametrize("ill", ILLS)
def test_accounts_are_changed_although_redis_is_away(server: RedisServer, machine: Machine, ill: str) -> None:
    ILLS[ill][0](server)
    created = machine.run("user", "create", "cy@example.org", "--username", "cyril", "--no-password").succeeded()
    assert created.err.count(NOTICE) == created.err.count("\n") == 1
    done = machine.run("user", "deactivate", "cyril", "-o", "json").succeeded()
    assert done.json["is_active"] is False
    assert done.err.count(NOTICE) == 1


def test_many_changes_while_redis_is_frozen_print_one_notice(server: RedisServer, machine: Machine) -> None:
    names = [f"user{number}" for number in range(200)]
    populate(machine, [Person(name) for name in names])
    server.freeze()
    began = time.monotonic()
    done = machine.run("user", "deactivate", "--from-file", "-", "--yes", stdin="\n".join(names))
    assert time.monotonic() - began < 60  # not a timeout of 300 ms for each
    assert done.succeeded().err.count(NOTICE) == 1
    assert len(machine.run("user", "list", "--inactive", "--all", "-o", "json").succeeded().json["items"]) == 200


FULL: dict[str, tuple[str, ...]] = {
    "delete": ("delete", "report:1"),
    "glob": ("invalidate", "report:*"),
    "tag": ("invalidate", "--tag", "reports"),
    "all": ("invalidate", "--all", "--yes"),
}


@pytest.mark.parametrize("command", FULL.values(), ids=FULL)
def test_a_full_server_can_still_invalidate(
    server: RedisServer, machine: Machine, service: Service, source: Path, command: tuple[str, ...]
) -> None:
    assert service.ask("load", "report:1", str(source), ["reports"]) == "old"
    source.write_text("new")
    assert service.ask("load", "report:1", str(source), ["reports"]) == "old"
    server.ask("CONFIG", "SET", "maxmemory", "1")
    machine.run("cache", *command).succeeded()
    eventually(lambda: service.ask("load", "report:1", str(source), ["reports"]) == "new", "the invalidation")
