"""An installation to log in to, on every database."""

import re
import shutil
import sqlite3
from base64 import b32decode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bcrypt
import psycopg
import pytest
from tests.servers import PostgresServer, Servers

import backctl
from backctl.application.attribution import Attribution
from backctl.application.authentication import AuthenticationService
from backctl.application.event_views import EventView
from backctl.application.login_views import PasswordCheck
from backctl.application.mfa import MfaService
from backctl.backend import Backend
from backctl.domain.one_time_codes import totp
from backctl.domain.values import Actor, Instant, Secret, UserId
from backctl.infrastructure.crypto.password_hasher import BcryptHasher

GOOD = "correct horse battery"
ACTOR = Actor("gate", "www", "web-1")
COST = 5
STEP = 30_000_000
"""The time step of a one-time code in microseconds."""

Work = Callable[..., tuple[list[int], list[str]]]
"""Returns the bcrypt costs and SQL statements of one check of an identity, a password and an optional code."""

NOW = Instant.parse("2100-01-01T00:00:00Z")


class Place:
    """A database file and a keyring in one folder, with access that does not depend on the program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/accounts.db"

    def open(self) -> Backend:
        environ = {
            "BACKCTL_DATABASE_URL": self.url,
            "BACKCTL_KEYRING_PATH": f"{self.folder}/keys.json",
            "BACKCTL_PASSWORDS_BCRYPT_COST": str(COST),
        }
        return backctl.open_backend(environ=environ)

    @contextmanager
    def copied(self, folder: Path) -> "Iterator[Place]":
        """Yield a copy of the accounts in another folder."""
        shutil.copytree(self.folder, folder)
        yield Place(folder)

    def execute(self, statement: str, *values: object) -> list[Any]:
        with closing(sqlite3.connect(self.folder / "accounts.db")) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def contents(self) -> bytes:
        """Return every stored byte."""
        return b"".join(file.read_bytes() for file in self.folder.iterdir())

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Collect the statements of connections opened in the `with` block; the list is complete after the block."""
        found: list[str] = []
        connect = sqlite3.connect

        def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*arguments, **options)
            connection.set_trace_callback(found.append)
            return connection

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite3, "connect", traced)
            yield found


class ServerPlace(Place):
    """The same for a database on a server."""

    def __init__(self, folder: Path, server: PostgresServer, name: str) -> None:
        super().__init__(folder)
        self._server = server
        self._name = name
        self.url = server.url(name)

    @contextmanager
    def copied(self, folder: Path) -> Iterator[Place]:
        shutil.copytree(self.folder, folder)
        with self._server.database(self._name) as name:
            yield ServerPlace(folder, self._server, name)

    def execute(self, statement: str, *values: object) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement.replace("?", "%s"), values)
            return cursor.fetchall() if cursor.description else []

    def contents(self) -> bytes:
        tables = self.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = [self.execute(f"SELECT t::text FROM {table} t") for (table,) in tables]
        return super().contents() + repr(rows).encode()

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        with self._server.statements(self._name) as found:
            yield found


@dataclass
class Services:
    """An installation with accounts in every state, and its own clock."""

    place: Place
    backend: Backend
    now: Instant = NOW

    def authentication(self, *, cost: int = COST) -> AuthenticationService:
        service = self.backend.authentication
        return replace(service, clock=lambda: self.now, hasher=BcryptHasher(cost))

    def check(self, ident: str, password: str = GOOD, *, code: str | None = None, cost: int = COST) -> PasswordCheck:
        given = None if code is None else Secret(code)
        return self.authentication(cost=cost).authenticate(ident, Secret(password), given, by=Attribution(ACTOR))

    def fail(self, ident: str, times: int) -> list[str]:
        return [self.check(ident, "wrong horse battery").outcome for _ in range(times)]

    def database(self, statement: str, *values: object) -> list[Any]:
        return self.place.execute(statement, *values)

    def hash_of(self, username: str) -> str:
        return str(self.database("SELECT password_hash FROM users WHERE username = ?", username)[0][0])

    def store_hash(self, username: str, encoded: bytes) -> None:
        self.database("UPDATE users SET password_hash = ? WHERE username = ?", encoded.decode(), username)

    def events(self, ident: str = "ada") -> list[EventView]:
        return list(self.backend.accounts.history(ident, limit=1000).items)

    def id_of(self, username: str) -> UserId:
        return self.backend.accounts.show(username).id

    @property
    def mfa(self) -> MfaService:
        return replace(self.backend.mfa, clock=lambda: self.now)

    def enroll(self, ident: str) -> bytes:
        """Enroll a second factor without confirming it. Return its secret."""
        return b32decode(self.mfa.enroll(ident, by=Attribution(ACTOR)).value.secret.reveal())

    def give_factor(self, ident: str) -> "Factor":
        """Enroll and confirm a second factor. That uses the current time step, so the clock moves to the next one."""
        secret, codes = self.enroll(ident), self.mfa.new_recovery_codes()
        self.mfa.confirm(ident, Secret(totp(secret, self.now)), codes, by=Attribution(ACTOR))
        self.now = self.now.plus(STEP)
        return Factor(self, secret, tuple(code.reveal() for code in codes))

    def log(self) -> list[EventView]:
        return list(self.backend.audit.stream())

    def last(self) -> EventView:
        return self.log()[-1]


@dataclass
class Factor:
    """An authenticator and the recovery codes."""

    services: Services
    secret: bytes
    recovery_codes: tuple[str, ...]

    def code(self, ahead: int = 0) -> str:
        """Return the code of the current time step, or of the step `ahead` steps later."""
        return totp(self.secret, self.services.now.plus(ahead * STEP))


@pytest.fixture(scope="module", params=["sqlite", "postgres16", "postgres18"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Place:
    """Return an installation with accounts in every state, to be copied."""
    folder = tmp_path_factory.mktemp("original")
    place = Place(folder)
    if request.param != "sqlite":
        server = servers.postgres(16 if request.param == "postgres16" else 18)
        place = ServerPlace(folder, server, server.create_database())
    with place.open() as backend:
        backend.initialise(by=Attribution(ACTOR))
        for name in ("ada", "closed", "expired", "must"):
            backend.accounts.create(
                email=f"{name}@example.org",
                username=name,
                password=Secret(GOOD),
                must_change_password=name == "must",
                by=Attribution(ACTOR),
            )
        backend.accounts.create(email="none@example.org", username="none", by=Attribution(ACTOR))
        backend.accounts.deactivate("closed", by=Attribution(ACTOR))
    place.execute("UPDATE users SET expires_at = ? WHERE username = 'expired'", int(NOW))
    return place


@pytest.fixture
def services(original: Place, tmp_path: Path) -> Iterator[Services]:
    with original.copied(tmp_path / "services") as place, place.open() as backend:
        yield Services(place, backend)
        assert backend.audit.verify().ok


@pytest.fixture
def work_of(services: Services, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Return a function that measures one check: its bcrypt costs, and its SQL statements without values."""
    costs: list[int] = []
    hash_password = bcrypt.hashpw

    def counted(password: bytes, setting: bytes) -> bytes:
        costs.append(int(setting[4:6]))
        return hash_password(password, setting)

    def work(ident: str, password: str, code: str | None = None) -> tuple[list[int], list[str]]:
        services.check("must")  # loads what only the first use loads
        services.backend.close()
        costs.clear()
        with services.place.statements() as statements:
            services.check(ident, password, code=code)
            services.backend.close()
        return list(costs), [re.sub(r"X?'(?:[^']|'')*'|\$?\b\d+\b", "?", text) for text in statements]

    monkeypatch.setattr(bcrypt, "hashpw", counted)
    return work
