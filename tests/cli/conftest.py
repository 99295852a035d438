"""A machine of its own for every test: an empty home, nothing configured, the real binary in a process.

The tests of a module marked `every_database` run again with a profile that leads to PostgreSQL, but for those marked
`embedded`: they are about files, or about a machine where nothing was made yet.
"""

import json
import os
import pty
import select
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.servers import PostgresServer, PostgresVersion, Servers

_SOURCE = Path(__file__).parents[2] / "src"


@dataclass(frozen=True)
class Outcome:
    """How a command ended. `out` and `err` are text; undecodable bytes are kept as surrogates."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error document on stderr of a command run with `-o json`."""
        return json.loads(self.err)["error"]

    def succeeded(self) -> "Outcome":
        assert self.code == 0, f"exit {self.code}\nstdout: {self.out}\nstderr: {self.err}"
        return self


class Machine:
    """Runs `python -m backctl` with a home of its own. Hashes cost little here unless a test says otherwise."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / ".local" / "share" / "backctl"
        self.config_file = home / ".config" / "backctl" / "config.toml"
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(_SOURCE),
            "BACKCTL_PASSWORDS_BCRYPT_COST": "4",
        }

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "backctl", *args]

    def run(
        self,
        *args: str,
        stdin: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        **popen: Any,
    ) -> Outcome:
        """Run to the end without a terminal. `stdin` None is an empty pipe."""
        data = stdin.encode() if isinstance(stdin, str) else stdin or b""
        done = subprocess.run(
            self.command(*args),
            input=data,
            capture_output=True,
            env={**self.environment, **(env or {})},
            cwd=self.home,
            timeout=120,
            check=False,
            **popen,
        )
        return Outcome(
            done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="surrogateescape")
        )

    def start(self, *args: str, env: Mapping[str, str] | None = None, **popen: Any) -> subprocess.Popen[bytes]:
        """Start without waiting; pipes are the caller's to give."""
        return subprocess.Popen(self.command(*args), env={**self.environment, **(env or {})}, cwd=self.home, **popen)

    def at_terminal(
        self, *args: str, keys: Sequence[tuple[str, str]] = (), env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run on a terminal of 100 columns. `keys` are (what to wait for, what to type) in order.

        What the command writes to the terminal, stdout and stderr alike, is `out`.
        """
        master, slave = pty.openpty()
        process = subprocess.Popen(
            self.command(*args),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**self.environment, "TERM": "xterm", "COLUMNS": "100", **(env or {})},
            cwd=self.home,
            start_new_session=True,
        )
        os.close(slave)
        screen, seen = b"", 0
        waiting = [(prompt.encode(), answer.encode()) for prompt, answer in keys]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            ready, _, _ = select.select([master], [], [], 0.1)
            if ready:
                try:
                    block = os.read(master, 65536)
                except OSError:  # Linux says EIO when the last writer is gone
                    break
                if not block:
                    break
                screen += block
            if waiting and (at := screen.find(waiting[0][0], seen)) >= 0:
                seen = at + len(waiting[0][0])
                os.write(master, waiting.pop(0)[1])
        os.close(master)
        code = process.wait(timeout=10)
        return Outcome(code, screen.decode(errors="surrogateescape").replace("\r\n", "\n"), "")

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement of one's own finds or does in the database; values stand where it says `?`."""
        with sqlite3.connect(self.data / "backctl.db") as database:
            found = database.execute(statement, values).fetchall()
        database.close()
        return found

    def create_user(self, name: str, *flags: str, email: str | None = None) -> dict[str, Any]:
        """An account without a password, made by the real command."""
        address = email or f"{name}@example.org"
        arguments = ("user", "create", address, "--username", name, "--no-password", "-o", "json", *flags)
        result: dict[str, Any] = self.run(*arguments).succeeded().json
        return result


class ServerMachine(Machine):
    """A machine with a profile `server`, which is the one in force: an installation on PostgreSQL without accounts."""

    def __init__(self, home: Path, url: str, keyring: bytes) -> None:
        super().__init__(home)
        self._url = url
        secret, configuration = home / "url", home / "server.toml"
        for path in (secret, configuration):
            path.touch(mode=0o600)
        secret.write_text(url)
        configuration.write_text(f'[profiles.server]\ndatabase.url_file = "{secret}"\n')
        self.data.mkdir(mode=0o700, parents=True)
        (self.data / "keyring.json").touch(mode=0o600)
        (self.data / "keyring.json").write_bytes(keyring)
        self.environment |= {"BACKCTL_CONFIG": str(configuration), "BACKCTL_PROFILE": "server"}

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url) as database:
            cursor = database.execute(statement.replace("?", "%s"), values)
            return cursor.fetchall() if cursor.description else []


class Storage:
    """Where the machines of a test keep their accounts: each in a file of its own."""

    def machine(self, folder: Path) -> Machine:
        """A new machine, its home in `folder`."""
        return Machine(_new_home(folder))

    def new_url(self, folder: Path) -> str:
        """The URL of a database in which nothing was made yet."""
        return f"sqlite:///{folder}/accounts.db"

    def forget(self, machine: Machine) -> None:
        """Give back what a machine took."""


class ServerStorage(Storage):
    """Each in a database of its own on one server, copied from one that `backctl init` made."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._server = server
        self._template = server.create_database()
        self._taken: dict[Path, str] = {}
        maker = Machine(_new_home(folder))
        maker.environment["BACKCTL_DATABASE_URL"] = server.url(self._template)
        maker.run("init").succeeded()
        self._keyring = (maker.data / "keyring.json").read_bytes()

    def machine(self, folder: Path) -> Machine:
        home = _new_home(folder)
        self._taken[home] = self._server.create_database(self._template)
        return ServerMachine(home, self._server.url(self._taken[home]), self._keyring)

    def new_url(self, folder: Path) -> str:
        self._taken[folder] = self._server.create_database()
        return self._server.url(self._taken[folder])

    def forget(self, machine: Machine) -> None:
        self._server.drop_database(self._taken.pop(machine.home))

    def close(self) -> None:
        for name in (*self._taken.values(), self._template):
            self._server.drop_database(name)


def _new_home(folder: Path) -> Path:
    home = folder / "home"
    home.mkdir()
    return home


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of marked modules on every database."""
    definition = metafunc.definition
    if "storage" not in metafunc.fixturenames or definition.get_closest_marker("every_database") is None:
        return
    embedded = definition.get_closest_marker("embedded") is not None
    names = ["sqlite"] if embedded else ["sqlite", "postgres16", "postgres18"]
    metafunc.parametrize("storage", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def storage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, servers: Servers
) -> Iterator[Storage]:
    version: PostgresVersion | None = {"postgres16": 16, "postgres18": 18}.get(getattr(request, "param", ""))  # type: ignore[assignment]  # the dictionary says so
    if version is None:
        yield Storage()
        return
    on_server = ServerStorage(servers.postgres(version), tmp_path_factory.mktemp("storage"))
    yield on_server
    on_server.close()


@pytest.fixture
def machine(tmp_path: Path, storage: Storage) -> Iterator[Machine]:
    machine = storage.machine(tmp_path)
    yield machine
    storage.forget(machine)
