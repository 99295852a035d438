"""Services in processes of their own, and machines whose cache is on one of several stores."""

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli.accounts import Person, fresh, populate
from tests.cli.machines import Machine
from tests.servers import Servers

DRIVER = Path(__file__).with_name("cache_driver.py")
PATIENCE_S = 60.0
STORES = ("sqlite", "redis", "cluster")
PEOPLE = (Person("root", "admin"), Person("ada"), Person("bob"))
ACTIVE = {"active": True, "role": "user"}
INACTIVE = {"active": False, "role": "user"}


class Talk:
    """Requests to a service, and its answers."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests = requests
        self._answers = answers
        self._unread = b""

    def tell(self, *request: object) -> None:
        os.write(self._requests, json.dumps(request).encode() + b"\n")

    def hear(self) -> Any:
        give_up = time.monotonic() + PATIENCE_S
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, give_up - time.monotonic()))
            assert ready, "the service does not answer"
            block = os.read(self._answers, 65536)
            assert block, "the service has ended"
            self._unread += block
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def ask(self, *request: object) -> Any:
        self.tell(*request)
        return self.hear()

    def end(self) -> None:
        """End the requests, and wait until the process has ended."""
        os.close(self._requests)
        assert os.read(self._answers, 1) == b""
        os.close(self._answers)


class Service(Talk):
    """A process that runs the driver. Tests can `freeze` and `thaw` it."""

    def __init__(self, machine: Machine) -> None:
        source = machine.environment["PYTHONPATH"]
        with (machine.home / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(DRIVER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**machine.environment, "PYTHONPATH": f"{source}:{Path(source).parent}"},
                cwd=machine.home,
            )
        self.pid = self._process.pid
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        super().__init__(self._process.stdin.fileno(), self._process.stdout.fileno())

    def freeze(self) -> None:
        """Stop the process, and wait until it has stopped."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def services(machine: Machine, count: int) -> Iterator[list[Service]]:
    """Start services, and end them after the `with` block."""
    started = [Service(machine) for _ in range(count)]
    try:
        yield started
    finally:
        for service in started:
            service.close()


def machine_on(folder: Path, url: str, *settings: str) -> Machine:
    """Return a machine with the accounts of `PEOPLE`, whose cache is on Redis, or in a file without `url`."""
    machine = fresh(folder)
    populate(machine, PEOPLE)
    lines = [f'redis.url = "{url}"', f'redis.namespace = "{secrets.token_hex(8)}"'] if url else []
    machine.configure("\n".join([*lines, *settings]))
    return machine


def url_of(store: str, servers: Servers) -> str:
    """Return the URL of a server that several tests use."""
    match store:
        case "sqlite":
            return ""
        case "cluster":
            return servers.cluster().url()
        case _:
            return servers.redis().url()


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until the condition holds."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.02)


def loads(path: Path) -> list[int]:
    """Return the ids of the processes that loaded the content of a file."""
    counted = Path(f"{path}.loads")
    return [int(line) for line in counted.read_text().split()] if counted.exists() else []


def is_cached(service: Service, source: Path) -> bool:
    """Whether the second of two reads does not load the value."""
    service.ask("load", "probe", str(source))
    before = len(loads(source))
    service.ask("load", "probe", str(source))
    return len(loads(source)) == before
