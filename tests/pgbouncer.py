"""A real PgBouncer before a PostgreSQL server: transactions share one connection. Also a server with TLS."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from tests.ports import free_port
from tests.programs import path_of
from tests.servers import PostgresServer

_NOBODY = 65534  # PgBouncer refuses to run as root
_PATIENCE_S = 30.0


class PgBouncer:
    """Pools the connections to one database in transaction mode, with a single connection to the server."""

    def __init__(
        self,
        server: PostgresServer,
        database: str,
        *,
        settings: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """`files` are written to its folder, `{folder}` in a setting stands for it."""
        self._server = server
        self._database = database
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
        for name, content in {
            "users": f'"tester" "{server.password}"\n'.encode(),
            "configuration": self._configuration(settings or {}).encode(),
            **(files or {}),
        }.items():
            (self._folder / name).touch(mode=0o600)
            (self._folder / name).write_bytes(content)
        if os.geteuid() == 0:
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, _NOBODY, _NOBODY)
        program = path_of("pgbouncer")
        assert program is not None
        account: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, self._folder / "configuration"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **account,
            )
        self._wait()

    def url(self, database: str | None = None, *, password: str | None = None, **parameters: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        login = f"tester:{self._server.password if password is None else password}"
        address = f"postgresql://{login}@127.0.0.1:{self.port}/{database or self._database}"
        return f"{address}?{query}" if query else address

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder)

    def _configuration(self, settings: Mapping[str, str]) -> str:
        every = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": f"{self._folder}/users",
            "pool_mode": "transaction",
            "default_pool_size": "1",
            **settings,
        }
        lines = (f"{name} = {value.format(folder=self._folder)}" for name, value in every.items())
        target = f"host=127.0.0.1 port={self._server.port} user=tester password={self._server.password}"
        return f"[databases]\n{self._database} = {target}\n[pgbouncer]\n" + "\n".join(lines) + "\n"

    def _wait(self) -> None:
        give_up = time.monotonic() + _PATIENCE_S
        while time.monotonic() < give_up and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                time.sleep(0.02)
            else:
                with psycopg.connect(self.url()) as connection:
                    connection.execute("SELECT 1")
                return
        raise AssertionError(f"PgBouncer does not start:\n{(self._folder / 'log').read_text()}")
