"""Databases on real servers, and a TCP proxy that can cut connections."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from tests.servers import POSTGRES_VERSIONS, PostgresServer, Servers

import backctl
from backctl.application.reactions import Reaction
from backctl.backend import Backend
from backctl.infrastructure.postgres.connection import PostgresDatabase
from backctl.infrastructure.postgres.timeouts import Timeouts

Fate = Literal["pass", "cut before", "cut after"]
Judge = Callable[[bytes], Fate]

COMMIT = b"COMMIT\0"
"""The complete statement in the protocol, which does not match READ COMMITTED."""


def once(word: bytes, fate: Fate, then: Callable[[], object] = lambda: None) -> Judge:
    """Apply `fate` to the first block that contains `word`, after calling `then`; pass all others."""
    waiting = [True]

    def judge(block: bytes) -> Fate:
        if word in block and waiting:
            waiting.clear()
            then()
            return fate
        return "pass"

    return judge


class Wire:
    """A TCP proxy to a server. `judge` decides for every block on its way to the server whether to pass it on, or to
    cut the connection before or after the server receives it, so that no answer arrives."""

    def __init__(self, port: int, judge: Judge) -> None:
        self._server_port = port
        self._judge = judge
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def refuse(self) -> None:
        """Accept no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._server_port)) as server:
            cut = threading.Event()
            back = threading.Thread(target=self._bring_back, args=(server, client, cut), daemon=True)
            back.start()
            self._carry(client, server, cut)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join()

    def _carry(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError):
            while block := client.recv(65536):
                fate = self._judge(block)
                if fate == "cut before":
                    return
                if fate == "cut after":
                    cut.set()  # set it first, because the answer can arrive at once
                server.sendall(block)
                if fate == "cut after":
                    server.shutdown(socket.SHUT_WR)
                    while server.recv(65536):  # the server has processed the block when it closes the connection
                        continue
                    return

    def _bring_back(self, server: socket.socket, client: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError):
            while not cut.is_set() and (block := server.recv(65536)):
                if cut.is_set():
                    return
                client.sendall(block)
        if not cut.is_set():  # the server closed the connection, or died
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


_PATIENT = [f"BACKCTL_DATABASE_{name}TIMEOUT" for name in ("", "CONNECT_", "STATEMENT_", "LOCK_")]


class Ground:
    """A database on a server, whose keyring is in `folder`, and several ways to access it."""

    def __init__(self, server: PostgresServer, name: str, folder: Path, cleanup: ExitStack) -> None:
        self.server = server
        self.name = name
        self.folder = folder
        self._cleanup = cleanup

    def backend(
        self,
        *,
        judge: Judge | None = None,
        keyring: str = "keyring.json",
        reactions: Sequence[Reaction] = (),
        **settings: str,
    ) -> Backend:
        """Open a backend, through its own proxy if `judge` is given. A setting is given as `DATABASE_TIMEOUT="2s"`."""
        url = self.server.url(self.name)
        if judge is not None:
            wire = Wire(self.server.port, judge)
            self._cleanup.callback(wire.refuse)
            self.wire = wire
            url = url.replace(f":{self.server.port}/", f":{wire.port}/")
        environ = {
            "BACKCTL_DATABASE_URL": url,
            "BACKCTL_KEYRING_PATH": str(self.folder / keyring),
            "BACKCTL_PASSWORDS_BCRYPT_COST": "4",
            **dict.fromkeys(_PATIENT, "60s"),  # on a busy machine, a server needs some time to restart
        }
        named = {f"BACKCTL_{name}": value for name, value in settings.items()}
        return self._cleanup.enter_context(backctl.open_backend(environ=environ | named, reactions=reactions))

    def at(self, name: str) -> "Ground":
        """Return the same for another database of the server."""
        return Ground(self.server, name, self.folder, self._cleanup)

    def database(self, *, lock_us: int = 60_000_000) -> PostgresDatabase:
        """Return the driver's database object, for operations that no service offers."""
        limits = Timeouts(connect_us=60_000_000, statement_us=60_000_000, lock_us=lock_us)
        database = PostgresDatabase(self.server.url(self.name), label=self.name, limits=limits)
        self._cleanup.callback(database.close)
        return database

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL in a separate transaction, independent of any command."""
        with self.connect() as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.url(self.name))


@pytest.fixture(params=POSTGRES_VERSIONS)
def bare(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Ground]:
    """Yield an empty database, without an installation."""
    server = servers.postgres(request.param)
    with server.database() as name, ExitStack() as cleanup:
        yield Ground(server, name, tmp_path, cleanup)


@pytest.fixture
def ground(bare: Ground) -> Ground:
    """Return an installation with the accounts `root`, an administrator, and `ada`."""
    with bare.backend() as backend:
        me = backend.by("setup")
        assert backend.initialise(by=me).changed
        backend.accounts.create(email="root@example.org", username="root", role="admin", by=me)
        backend.accounts.create(email="ada@example.org", username="ada", by=me)
    return bare
