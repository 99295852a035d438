"""A separate machine for each test: an empty home folder, no configuration, and the real program in a process.

The tests of a module marked `every_database` also run with a profile for PostgreSQL 18, and in long runs for PostgreSQL
16, except for tests marked `embedded`, which are about files or a fresh machine. The contract suites run on both.

In a module that lists accounts in `PEOPLE`, a test can use `installed`, a private installation with these accounts, or
`untouched`, a shared one that it must not change.
"""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.cli.accounts import populate
from tests.cli.files import contents
from tests.cli.machines import Machine, Outcome, ServerMachine, ServerStorage, Storage
from tests.cli.next_release import make_next_release
from tests.programs import path_of
from tests.servers import POSTGRES_VERSIONS, PostgresServer, PostgresVersion, Servers

__all__ = ["SAMPLE", "Machine", "Outcome", "ServerMachine", "Storage"]

SAMPLE = Path(__file__).parent / "sample_program"
collect_ignore = [] if path_of("pgbouncer") else ["test_pgbouncer.py"]
VERSIONS: dict[str, PostgresVersion] = {"postgres16": 16, "postgres18": 18}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of marked modules on every database."""
    definition = metafunc.definition
    if "storage" not in metafunc.fixturenames or definition.get_closest_marker("every_database") is None:
        return
    embedded = definition.get_closest_marker("embedded") is not None
    names = ["sqlite"] if embedded else ["sqlite", "postgres18", pytest.param("postgres16", marks=pytest.mark.long)]
    metafunc.parametrize("storage", names, indirect=True, scope="module")


@pytest.fixture(scope="session")
def on_server(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Callable[[PostgresVersion], ServerStorage]:
    """Return a function that returns the storage on a server. It creates the template installation once."""

    @cache
    def storage(version: PostgresVersion) -> ServerStorage:
        return ServerStorage(servers.postgres(version), tmp_path_factory.mktemp("storage"))

    return storage


@pytest.fixture(scope="module", params=POSTGRES_VERSIONS, ids=lambda version: f"postgres{version}")
def server(request: pytest.FixtureRequest, servers: Servers) -> PostgresServer:
    """Return a server. A test with this fixture runs on each PostgreSQL version."""
    return servers.postgres(request.param)


@pytest.fixture
def database(server: PostgresServer) -> Iterator[str]:
    """Yield the name of an empty database on the server."""
    with server.database() as name:
        yield name


@pytest.fixture(scope="session")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the PYTHONPATH of a program that is one revision ahead of this one."""
    return make_next_release(tmp_path_factory.mktemp("next"))


@pytest.fixture(scope="module")
def storage(request: pytest.FixtureRequest, on_server: Callable[[PostgresVersion], ServerStorage]) -> Iterator[Storage]:
    name = getattr(request, "param", "sqlite")
    storage = Storage() if name == "sqlite" else on_server(VERSIONS[name])
    yield storage
    storage.close()


@pytest.fixture
def machine(tmp_path: Path, storage: Storage) -> Iterator[Machine]:
    machine = storage.machine(tmp_path)
    yield machine
    storage.forget(machine)


@pytest.fixture(scope="module")
def prepared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, storage: Storage
) -> Iterator[Machine]:
    """Yield an installation with the accounts in PEOPLE of the module. Tests must not change it."""
    machine = storage.machine(tmp_path_factory.mktemp("prepared"))
    populate(machine, request.module.PEOPLE)
    yield machine
    storage.forget(machine)


@pytest.fixture
def untouched(prepared: Machine) -> Iterator[Machine]:
    """Yield the shared installation, and check at the end that no file and no row has changed."""
    before = (contents(prepared.home), prepared.stored())
    yield prepared
    assert (contents(prepared.home), prepared.stored()) == before


@pytest.fixture
def installed(prepared: Machine, tmp_path: Path, storage: Storage) -> Iterator[Machine]:
    """Yield a copy of the shared installation, which tests can change."""
    machine = storage.copy(prepared, tmp_path)
    yield machine
    storage.forget(machine)


@pytest.fixture
def newer(installed: Machine, next_release: Path) -> Machine:
    """Return a copy of the installation whose program is one revision ahead of its database."""
    installed.environment["PYTHONPATH"] = str(next_release)
    return installed


@pytest.fixture
def sample(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that runs the program made for the tests in place of the real one."""
    monkeypatch.setattr(machine, "command", lambda *args: [sys.executable, str(SAMPLE), *args])
    return machine
