"""Machines that run the program, each with a separate home folder, and the storage of their accounts."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from tests.cli.conversation import converse
from tests.servers import PostgresServer
from tests.starter import SOURCE, STARTER


@dataclass(frozen=True)
class Outcome:
    """The result of a command. `out` and `err` are text; undecodable bytes are kept as surrogates."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """Return the error document on stderr of a command run with `-o json`."""
        return json.loads(self.err)["error"]

    def succeeded(self) -> "Outcome":
        assert self.code == 0, f"exit {self.code}\nstdout: {self.out}\nstderr: {self.err}"
        return self


class Machine:
    """Runs `python -m backctl` with a separate home folder. The bcrypt cost is low unless a test sets another."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / ".local" / "share" / "backctl"
        self.config_file = home / ".config" / "backctl" / "config.toml"
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(SOURCE),
            "BACKCTL_PASSWORDS_BCRYPT_COST": "4",
        }

    where = ""
    """How a question names the profile that is selected."""
    named = ""
    """How an error names it."""

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "backctl", *args]

    def run(
        self,
        *args: str,
        stdin: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        **popen: Any,
    ) -> Outcome:
        """Run to the end without a terminal. If `stdin` is None, standard input is an empty pipe."""
        data = stdin.encode() if isinstance(stdin, str) else stdin or b""
        command, environment = self.command(*args), {**self.environment, **(env or {})}
        if popen:
            done = subprocess.run(
                command, input=data, capture_output=True, env=environment, cwd=self.home, timeout=120, **popen
            )
        else:
            done = STARTER.run(command, stdin=data, env=environment, cwd=self.home, timeout_s=120)
        return Outcome(
            done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="surrogateescape")
        )

    def start(self, *args: str, env: Mapping[str, str] | None = None, **popen: Any) -> subprocess.Popen[bytes]:
        """Start without waiting. The caller supplies the pipes."""
        return subprocess.Popen(self.command(*args), env={**self.environment, **(env or {})}, cwd=self.home, **popen)

    def at_terminal(
        self, *args: str, keys: Sequence[tuple[str, str]] = (), env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run on a terminal of 100 columns. `keys` are pairs of a text to wait for and a text to type, in order.

        `out` contains both stdout and stderr.
        """
        environment = {**self.environment, "TERM": "xterm", "COLUMNS": "100", **(env or {})}
        done = converse(self.command(*args), keys, folder=self.home, environment=environment)
        return Outcome(done.code, done.screen.decode(errors="surrogateescape").replace("\r\n", "\n"), "")

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement on the database and return its rows; `?` marks the place of a value."""
        with sqlite3.connect(self.data / "backctl.db") as database:
            found = database.execute(statement, values).fetchall()
        database.close()
        return found

    def configure(self, text: str) -> None:
        """Write this TOML to the configuration file."""
        self.config_file.parent.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(text, encoding="utf-8")
        self.config_file.chmod(0o600)

    def stored(self) -> dict[str, object]:
        """Return the state outside the home folder: every row of every table, by table name."""
        return {}

    def create_user(self, name: str, *flags: str, email: str | None = None) -> dict[str, Any]:
        """Create an account without a password with the real command."""
        address = email or f"{name}@example.org"
        arguments = ("user", "create", address, "--username", name, "--no-password", "-o", "json", *flags)
        result: dict[str, Any] = self.run(*arguments).succeeded().json
        return result


class ServerMachine(Machine):
    """A machine whose selected profile `server` uses an installation on PostgreSQL."""

    where = " in profile server"
    named = " (profile server)"

    def __init__(self, home: Path, url: str, keyring: bytes) -> None:
        super().__init__(home)
        self._url = url
        self.config_file = home / "server.toml"
        secret = home / "url"
        secret.touch(mode=0o600)
        secret.write_text(url)
        self._profile = f'[profiles.server]\ndatabase.url_file = "{secret}"\n'
        self.configure("")
        self.data.mkdir(mode=0o700, parents=True)
        (self.data / "keyring.json").touch(mode=0o600)
        (self.data / "keyring.json").write_bytes(keyring)
        self.environment |= {"BACKCTL_CONFIG": str(self.config_file), "BACKCTL_PROFILE": "server"}

    def configure(self, text: str) -> None:
        super().configure(f"{text}\n{self._profile}")

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url) as database:
            cursor = database.execute(statement.replace("?", "%s"), values)
            return cursor.fetchall() if cursor.description else []

    def stored(self) -> dict[str, object]:
        found: dict[str, object] = {}
        with psycopg.connect(self._url) as database:
            for (table,) in database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
                found[table] = sorted(database.execute(f"SELECT t::text FROM {table} t").fetchall())
        return found


class Storage:
    """Where the machines of a test keep their accounts: each in a separate file, which does not exist yet."""

    def machine(self, folder: Path) -> Machine:
        """Return a new machine with its home in `folder`."""
        return Machine(_new_home(folder))

    def copy(self, machine: Machine, folder: Path) -> Machine:
        """Return another machine with the same accounts, events and keys, and its home in `folder`."""
        home = folder / "home"
        shutil.copytree(machine.home, home, symlinks=True)
        return Machine(home)

    def new_url(self, folder: Path) -> str:
        """Return the URL of a database without an installation."""
        return f"sqlite:///{folder}/accounts.db"

    def forget(self, machine: Machine) -> None:
        """Release the resources of a machine."""

    def close(self) -> None:
        """Release the databases that `new_url` created."""


class ServerStorage(Storage):
    """Each in a separate database on one server, copied from one that `backctl init` created."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._server = server
        self._template = server.create_database()
        self._taken: dict[Path, str] = {}
        self._empty: list[str] = []
        maker = Machine(_new_home(folder))
        maker.environment["BACKCTL_DATABASE_URL"] = server.url(self._template)
        maker.run("init").succeeded()
        self._keyring = (maker.data / "keyring.json").read_bytes()

    def machine(self, folder: Path) -> Machine:
        return self._take(self._template, _new_home(folder))

    def copy(self, machine: Machine, folder: Path) -> Machine:
        return self._take(self._taken[machine.home], _new_home(folder))

    def new_url(self, folder: Path) -> str:
        self._empty.append(self._server.create_database())
        return self._server.url(self._empty[-1])

    def forget(self, machine: Machine) -> None:
        self._server.drop_database(self._taken.pop(machine.home))

    def close(self) -> None:
        while self._empty:
            self._server.drop_database(self._empty.pop())

    def _take(self, template: str, home: Path) -> Machine:
        self._taken[home] = self._server.create_database(template)
        return ServerMachine(home, self._server.url(self._taken[home]), self._keyring)


def _new_home(folder: Path) -> Path:
    home = folder / "home"
    home.mkdir()
    return home
