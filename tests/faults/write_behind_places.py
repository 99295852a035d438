"""Installations whose write-behind queue and database are on several servers, and their services and workers."""

import secrets
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.cli.accounts import fresh
from tests.cli.machines import Machine, Outcome, ServerMachine, ServerStorage
from tests.faults import ledger
from tests.faults.cache_services import PATIENCE_S, eventually
from tests.redis_stores import redis_url
from tests.servers import Servers
from tests.starter import STARTER, Started

import backctl
from backctl.application import draining
from backctl.application.write_behind_views import DrainReport

HERE = Path(__file__).parent
DRIVER = HERE / "write_behind_driver.py"
LONG_US = 600_000_000
SHORT_US = 1
DRAIN = ("cache", "drain", "--register", "ledger:register", "-o", "json")
KINDS = {
    "file": ("file", "sqlite"),
    "redis": ("redis", "sqlite"),
    "cluster": ("cluster", "sqlite"),
    "redis to postgres": ("redis", "postgres"),
}
"""Where the queue is, and where its updates are written."""


class Place:
    """An installation with a service, which queues updates in this process, and workers in processes of their own."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.home = machine.home
        self.on_postgres = isinstance(machine, ServerMachine)
        shutil.copy(HERE / "ledger.py", self.home)
        machine.rows(ledger.TABLE.format("SERIAL" if self.on_postgres else "INTEGER"))
        self.backend = backctl.open_backend(environ=machine.environment)
        self.cache = self.backend.cache
        ledger.register(self.cache)

    def put(self, **updates: int) -> None:
        for key, value in updates.items():
            self.cache.write_behind("ledger", key, value)

    def drain(self, lease_us: int = SHORT_US) -> DrainReport:
        """Drain once in this process. With a short lease, updates that killed workers have taken are taken too."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(draining, "LEASE_US", lease_us)
            return self.cache.drain()

    def run(self, point: str, number: int, *arguments: str, lease_us: int = LONG_US) -> Outcome:
        """Run a driver that is killed at a point."""
        command = self._command("SIGKILL", point, number, lease_us, *arguments)
        done = STARTER.run(command, stdin=b"", env=self.machine.environment, cwd=self.home, timeout_s=120)
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    @contextmanager
    def started(self, point: str, number: int, *arguments: str, lease_us: int = LONG_US) -> Iterator[Started]:
        """Start a driver that stops at a point, until it is continued."""
        command = self._command("SIGSTOP", point, number, lease_us, *arguments)
        process = STARTER.start(command, env=self.machine.environment, cwd=self.home)
        try:
            yield process
        finally:
            process.kill()

    def _command(self, number: str, point: str, passes: int, lease_us: int, *arguments: str) -> list[str]:
        words = DRAIN + arguments[1:] if arguments[0] == "drain" else arguments
        return [sys.executable, str(DRIVER), number, point, str(passes), str(lease_us), *words]

    def accepted(self) -> list[int]:
        """Return the numbers that a service was told to be durable."""
        path = self.home / "accepted"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []

    def ledger(self) -> dict[str, list[int]]:
        """Return what was ever written for each key, in order."""
        found: dict[str, list[int]] = {}
        for key, value in self.machine.rows("SELECT key, value FROM ledger ORDER BY number"):
            found.setdefault(str(key), []).append(int(str(value)))
        return dict(sorted(found.items()))

    def processes(self) -> list[int]:
        """Return how many rows each process wrote."""
        rows = self.machine.rows("SELECT count(*) FROM ledger GROUP BY process ORDER BY 1")
        return [int(str(number)) for (number,) in rows]

    def waiting(self) -> int:
        return sum(depth.waiting for depth in self.backend.queued_updates.queue().depths())

    def clear(self) -> None:
        """Remove what a test has left, which may have stopped the database."""
        self.backend.close()
        queue = self.backend.queued_updates.queue()
        queue.set_aside([depth.writer for depth in queue.depths()], "left by a test", now=0)
        queue.drop(None)
        self.cache.invalidate_all()
        self.machine.rows("DELETE FROM ledger")
        for name in ("accepted", "begun", "gate", "mended"):
            (self.home / name).unlink(missing_ok=True)

    def close(self) -> None:
        self.backend.close()


def once(keys: str) -> dict[str, list[int]]:
    """Return the ledger in which each of these keys has the value 1."""
    return {key: [1] for key in keys}


def stopped(process: Started) -> None:
    """Wait until a process has stopped at its point."""
    eventually(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0] == "T", "a stopped process")


def goes_on(process: Started) -> Outcome:
    """Continue a process that has stopped, and wait for its end."""
    process.send_signal(signal.SIGCONT)
    return ended(process)


def ended(process: Started) -> Outcome:
    """Wait for the end of a process."""
    done = process.communicate(timeout_s=PATIENCE_S)
    outcome = Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in outcome.err, outcome.err
    return outcome


@contextmanager
def place_at(folder: Path, servers: Servers, url: str, *settings: str, database: str = "sqlite") -> Iterator[Place]:
    """Yield a place whose queue is at `url` on Redis, or in a file without one."""
    with ExitStack() as cleanup:
        folder.mkdir(exist_ok=True)
        machine = fresh(folder)
        if database == "postgres":
            (folder / "storage").mkdir()
            (folder / "machine").mkdir()
            storage = ServerStorage(servers.postgres(18), folder / "storage")
            machine = storage.machine(folder / "machine")
            cleanup.callback(storage.forget, machine)
        lines = [f'redis.url = "{url}"', f'redis.namespace = "{secrets.token_hex(8)}"'] if url else []
        machine.configure("\n".join([*lines, *settings]))
        if database == "sqlite":
            machine.run("init").succeeded()
        cleanup.enter_context(pytest.MonkeyPatch.context()).setenv("HOME", str(machine.home))
        place = Place(machine)
        cleanup.callback(place.close)
        yield place


@contextmanager
def place_of(kind: str, folder: Path, servers: Servers, *settings: str) -> Iterator[Place]:
    """Yield a place of a kind in `KINDS`, on servers that several tests use."""
    queue, database = KINDS[kind]
    url = "" if queue == "file" else redis_url(servers, queue)
    with place_at(folder, servers, url, *settings, database=database) as place:
        yield place
