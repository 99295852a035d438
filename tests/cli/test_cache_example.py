"""The web application in the document about the cache, with several workers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from tests.cli.conftest import Machine
from tests.cli.documents import ROOT, blocks
from tests.cli.ratelimits import on
from tests.cli.test_cache import DOCUMENT
from tests.ports import free_port, guarded
from tests.redis_stores import redis_url
from tests.servers import Servers

DEADLINE_S = 60
WORKERS = 3


class Application:
    """A running application. The access log names the worker that answered each request."""

    def __init__(self, machine: Machine) -> None:
        (program,) = [block for block in blocks(DOCUMENT, "python") if block.file == "app.py"]
        folder = machine.home / "application"
        folder.mkdir()
        (folder / "app.py").write_text(program.text)
        (command,) = re.findall(r"`gunicorn (--workers 3 app:app)`", (ROOT / DOCUMENT).read_text(encoding="utf-8"))
        port = free_port()
        self._address = f"http://127.0.0.1:{port}"
        self._log = folder / "log"
        options = ["--bind", f"127.0.0.1:{port}", "--access-logfile", str(self._log), "--access-logformat", "%(p)s"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, *command.split()],
            cwd=folder,
            env=machine.environment,
            start_new_session=True,
        )
        self._guard = guarded(self._process, folder)
        self.wait_for(self._answers)

    def get(self, path: str) -> Any:
        with urlopen(self._address + path, timeout=30) as response:
            return json.load(response)

    def workers(self) -> set[str]:
        return set(self._log.read_text().split())

    def wait_for(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def everywhere(self, path: str, expected: dict[str, object]) -> bool:
        """Whether enough answers in a row are as expected for all workers to have given some."""
        return all(expected.items() <= self.get(path).items() for _ in range(10 * WORKERS))

    def close(self) -> None:
        os.kill(self._process.pid, signal.SIGTERM)
        self._process.wait(DEADLINE_S)
        self._guard.communicate(b"\n")

    def _answers(self) -> bool:
        assert self._process.poll() is None
        try:
            self.get("/greetings/you")
        except URLError:
            return False
        return True


@pytest.fixture(params=["file", "redis"])
def shared(request: pytest.FixtureRequest, machine: Machine, servers: Servers) -> Machine:
    return machine if request.param == "file" else on(machine, redis_url(servers, request.param))


@pytest.fixture
def application(shared: Machine) -> Iterator[Application]:
    shared.run("init").succeeded()
    shared.run("user", "create", "ada@example.org", "--username", "ada", "--no-password").succeeded()
    running = Application(shared)
    yield running
    running.close()


def test_every_worker_sees_a_change(shared: Machine, application: Application) -> None:
    application.wait_for(
        lambda: (
            application.everywhere("/users/ada", {"username": "ada", "is_active": True})
            and len(application.workers()) > 1
        )
    )
    shared.run("user", "deactivate", "ada").succeeded()
    application.wait_for(lambda: application.everywhere("/users/ada", {"is_active": False}))
    shared.run("user", "update", "ada", "--username", "lovelace").succeeded()
    application.wait_for(lambda: application.everywhere("/users/lovelace", {"username": "lovelace"}))


def test_the_results_of_a_function_are_shared(shared: Machine, application: Application) -> None:
    assert application.get("/greetings/Ada") == {"text": "Hello Ada"}
    found = shared.run("cache", "explain", "greeting:Ada", "-o", "json").succeeded().json
    assert (found["state"], found["tags"]) == ("fresh", [{"tag": "greetings", "current": True}])
    shared.run("cache", "invalidate", "--tag", "greetings").succeeded()
    assert shared.run("cache", "get", "greeting:Ada").code == 3
    application.wait_for(
        lambda: application.get("/greetings/Ada") and shared.run("cache", "get", "greeting:Ada").code == 0
    )
