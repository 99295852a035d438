"""The stores under test. Every test in this folder runs on each of them."""

import secrets
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, text
from tests.contracts.cache_levels import Process, World
from tests.contracts.cache_stores import SECOND, STORES, Clock, Stored
from tests.contracts.write_queues import QueueAtClock, Queued
from tests.redis_stores import redis_servers, redis_url
from tests.servers import PostgresServer, Servers
from uuid_utils.compat import uuid7

from backctl.application.attribution import Attribution
from backctl.application.guard import Guard
from backctl.application.ports.cache import CacheStore
from backctl.application.ports.storage import Reader
from backctl.application.ports.write_behind import WriteQueue
from backctl.application.reactions import Reaction, ReportFailure
from backctl.application.transactions import Transactions
from backctl.domain.keyring import PURPOSES, Key, Keyring
from backctl.domain.user import User
from backctl.domain.values import Actor, EmailAddress, EventId, Identity, Instant, PasswordHash, UserId, Username
from backctl.infrastructure.addresses import EmailValidatorParser
from backctl.infrastructure.keyring.change import FileKeyringChange
from backctl.infrastructure.keyring.file import KeyFile
from backctl.infrastructure.postgres.connection import PostgresDatabase
from backctl.infrastructure.postgres.engine import postgres_engine
from backctl.infrastructure.postgres.migrator import create_schema
from backctl.infrastructure.postgres.reader import PostgresReader
from backctl.infrastructure.postgres.timeouts import Timeouts
from backctl.infrastructure.redis.cache import RedisCache
from backctl.infrastructure.sql.migrator import Founding
from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork
from backctl.infrastructure.sqlite.cache import SqliteCache
from backctl.infrastructure.sqlite.engine import sqlite_engine
from backctl.infrastructure.sqlite.migrator import create_database
from backctl.infrastructure.sqlite.queue import SqliteQueue
from backctl.infrastructure.sqlite.reader import SqliteReader

if TYPE_CHECKING:
    from tests.contracts.token_services import Services

START = Instant.parse("2026-11-22T09:00:00Z")
ACTOR = Actor("tester", "root", "box")
BY = Attribution(ACTOR)
PATIENCE_US = 30_000_000


def new_id() -> str:
    return str(uuid7())


def raise_it(reaction: str, error: Exception) -> None:
    raise AssertionError(f"{reaction} failed") from error


def a_user(name: str = "ada", **changes: object) -> User:
    """Return a new account whose values are derived from its name."""
    values: dict[str, object] = {
        "id": UserId(new_id()),
        "email": EmailAddress.of(f"{name}@example.org"),
        "username": Username.parse(name),
        "password_hash": PasswordHash("$2b$04$not-a-real-hash"),
        "role": "user",
        "now": START,
    }
    return User.create(**(values | changes))  # type: ignore[arg-type]  # each test names the arguments that it needs


@dataclass
class Store:
    """A new, complete database and objects to access it. `now` is the time of its clock."""

    engine: Engine
    open_reader: Callable[[], Reader]
    keyring: Keyring
    installation_id: str
    folder: Path
    now: Instant = START
    addresses: EmailValidatorParser = field(default_factory=EmailValidatorParser)

    def work(
        self,
        *,
        by: Attribution = BY,
        dry_run: bool = False,
        key: Key | None = None,
    ) -> SqlUnitOfWork:
        return SqlUnitOfWork(
            self.engine,
            by=by,
            addresses=self.addresses,
            audit_key=key or self.keyring.primary("audit"),
            clock=lambda: self.now,
            new_id=new_id,
            dry_run=dry_run,
        )

    def begin(self, *, by: Attribution, dry_run: bool, creates: bool = False) -> SqlUnitOfWork:
        return self.work(by=by, dry_run=dry_run)

    def begin_keyring(self, *, by: Attribution, dry_run: bool) -> FileKeyringChange:
        """Begin a change of the keyring in `folder`, which the test has created."""
        work = self.work(by=by, dry_run=dry_run)
        return FileKeyringChange(KeyFile(self.folder / "keyring.json"), work, timeout_us=PATIENCE_US, dry_run=dry_run)

    def transactions(
        self,
        *reactions: Reaction,
        pause: Callable[[int], None] = lambda number: None,
        report: ReportFailure = raise_it,
        guard: Guard | None = None,
    ) -> Transactions:
        return Transactions(self.begin, self.begin_keyring, pause, reactions, report, guard or Guard())

    def add(self, *users: User, reason: str | None = None, work: SqlUnitOfWork | None = None) -> None:
        """Store new accounts in one transaction."""
        with work or self.work(by=Attribution(ACTOR, reason)) as work:
            for user in users:
                work.users.add(user)
            work.commit()

    def change(self, ident: str, change: Callable[[User], object], *, meanwhile: str | None = None) -> None:
        """Change one account. The statement `meanwhile` runs between reading and writing it."""
        with self.work() as work:
            change(work.users.get(Identity.parse(ident)))
            if meanwhile is not None:
                work.session.execute(text(meanwhile))
            work.commit()

    def audit_keys(self, kids: Sequence[str]) -> dict[str, bytes]:
        assert kids
        return self.keyring.secrets("audit")


@pytest.fixture(params=["sqlite", "postgres16", "postgres18"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with ExitStack() as cleanup:
        if request.param == "sqlite":
            yield sqlite_store(request.getfixturevalue("sqlite_template"), tmp_path, cleanup)
        else:
            template = request.getfixturevalue(f"{request.param}_template")
            yield postgres_store(template, tmp_path, cleanup)


@pytest.fixture
def reader(store: Store) -> Reader:
    return store.open_reader()


@pytest.fixture
def services(store: Store) -> "Iterator[Services]":
    """Yield the services on a store with the administrator `root` and the account `ada`."""
    from tests.contracts.token_services import Services

    store.add(a_user("root", role="admin"), a_user("ada"))
    services = Services(store)
    yield services
    assert services.reader.verify_chain(store.audit_keys).intact


@dataclass(frozen=True)
class Template:
    """A complete database to copy for each test, which is faster than a migration."""

    path: Path
    installation_id: str
    keyring: Keyring


def founding(installation_id: str, keyring: Keyring) -> Founding:
    return Founding(installation_id=installation_id, keyring=keyring, by=BY, now=START, event_id=EventId(new_id()))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    template = Template(tmp_path_factory.mktemp("template") / "backctl.db", str(uuid.uuid4()), a_keyring())
    create_database(template.path, founding(template.installation_id, template.keyring))
    return template


def sqlite_store(template: Template, folder: Path, cleanup: ExitStack) -> Store:
    path = folder / "backctl.db"
    shutil.copy(template.path, path)
    addresses = EmailValidatorParser()
    engine = sqlite_engine(path, timeout_us=PATIENCE_US)
    cleanup.callback(engine.dispose)

    def open_reader() -> Reader:
        reader = SqliteReader(path, timeout_us=PATIENCE_US, addresses=addresses, clock=lambda: made.now)
        cleanup.callback(reader.close)
        return reader

    made = Store(engine, open_reader, template.keyring, template.installation_id, folder)
    return made


@dataclass(frozen=True)
class PostgresTemplate:
    """A complete database on a server, to be copied."""

    server: PostgresServer
    name: str
    installation_id: str
    keyring: Keyring


@pytest.fixture(scope="session")
def postgres16_template(servers: Servers) -> PostgresTemplate:
    return postgres_template(servers.postgres(16))


@pytest.fixture(scope="session")
def postgres18_template(servers: Servers) -> PostgresTemplate:
    return postgres_template(servers.postgres(18))


def postgres_template(server: PostgresServer) -> PostgresTemplate:
    template = PostgresTemplate(server, server.create_database(), str(uuid.uuid4()), a_keyring())
    database = postgres_database(server, template.name)
    make_schema(database, template.installation_id, template.keyring)
    database.close()  # a database with connections cannot be copied
    return template


def make_schema(database: PostgresDatabase, installation_id: str, keyring: Keyring) -> None:
    made = create_schema(database, founding(installation_id, keyring), before_commit=lambda: None, dry_run=False)
    assert made is not None


def postgres_database(server: PostgresServer, name: str, **changes: Any) -> PostgresDatabase:
    limits = Timeouts(connect_us=PATIENCE_US, statement_us=PATIENCE_US, lock_us=PATIENCE_US)
    options: dict[str, Any] = {"label": f"postgresql://tester@server/{name}", "limits": limits}
    return PostgresDatabase(server.url(name), **(options | changes))


def postgres_store(template: PostgresTemplate, folder: Path, cleanup: ExitStack) -> Store:
    name = cleanup.enter_context(template.server.database(template.name))
    database = postgres_database(template.server, name)
    addresses = EmailValidatorParser()
    engine = postgres_engine(database)
    cleanup.callback(database.close)
    cleanup.callback(engine.dispose)

    def open_reader() -> Reader:
        return PostgresReader(database, addresses=addresses, clock=lambda: made.now)

    made = Store(engine, open_reader, template.keyring, template.installation_id, folder)
    return made


def a_keyring() -> Keyring:
    """Return a keyring with one symmetric key for each purpose except signing, which these tests do not use."""
    purposes = [purpose for purpose in PURPOSES if purpose != "sign"]
    return Keyring(
        tuple(
            Key.symmetric(f"{purpose}-1", purpose, bytes([number]) * 32, created="2026-11-22T09:00:00Z")
            for number, purpose in enumerate(purposes, start=1)
        )
    )


@pytest.fixture(params=STORES)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stored]:
    kind: str = request.param
    clock, namespace, path = Clock(), f"t{secrets.token_hex(6)}", tmp_path / "cache" / "cache.db"
    stores: list[CacheStore] = []

    def open_store(installation: str = "inst-1", space: str = namespace) -> CacheStore:
        if kind == "sqlite":
            stores.append(SqliteCache(path, installation=installation, timeout_us=30 * SECOND, clock=clock))
        else:
            url = redis_url(request.getfixturevalue("servers"), kind)
            stores.append(RedisCache(redis_servers(url), namespace=space, installation=installation))
        return stores[-1]

    yield Stored(open_store(), clock, open_store, path)
    for store in stores:
        store.close()


@pytest.fixture
def on_redis(stored: Stored) -> Stored:
    """A store on Redis, where others can write too."""
    assert stored.redis is not None
    return stored


@pytest.fixture(params=STORES)
def queued(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queued]:
    kind: str = request.param
    clock, namespace, path = Clock(), f"t{secrets.token_hex(6)}", tmp_path / "queue" / "queue.db"
    queues: list[WriteQueue] = []

    def open_queue(installation: str = "inst-1", space: str = namespace) -> WriteQueue:
        if kind == "sqlite":
            queues.append(SqliteQueue(path, installation=installation, timeout_us=30 * SECOND, clock=clock))
        else:
            opened = redis_servers(redis_url(request.getfixturevalue("servers"), kind))
            queues.append(QueueAtClock(opened, namespace=space, installation=installation, clock=clock))
        return queues[-1]

    yield Queued(open_queue(), clock, open_queue, path)
    for queue in queues:
        queue.close()


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Processes that share a store. `stored` covers the other kinds of servers, which differ only below it."""
    kind: str = request.param
    namespace = f"t{secrets.token_hex(6)}"
    stores: list[CacheStore] = []

    def open_store() -> CacheStore:
        if kind == "sqlite":
            path = tmp_path / "cache.db"
            stores.append(SqliteCache(path, installation="inst-1", timeout_us=30 * SECOND, clock=made.times.clock))
        else:
            url = redis_url(request.getfixturevalue("servers"), kind)
            stores.append(RedisCache(redis_servers(url), namespace=namespace, installation="inst-1"))
        return stores[-1]

    made = World(open_store)
    yield made
    for store in stores:
        store.close()


@pytest.fixture(params=[100, 0], ids=["with memory", "without memory"])
def process(request: pytest.FixtureRequest, world: World) -> Process:
    return world.process(memory=request.param)
