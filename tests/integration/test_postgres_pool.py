"""The connection pool that the threads of a process share."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from tests.contracts.conftest import postgres_database
from tests.servers import POSTGRES_VERSIONS, PostgresServer, Servers

from backctl.domain.errors import DatabaseUnavailable, DatabaseUnusable
from backctl.infrastructure.postgres.connection import PostgresDatabase
from backctl.infrastructure.postgres.timeouts import Timeouts

SOON = Timeouts(connect_us=250_000, statement_us=5_000_000, lock_us=5_000_000)


@pytest.fixture(scope="module", params=POSTGRES_VERSIONS)
def server(request: pytest.FixtureRequest, servers: Servers) -> PostgresServer:
    return servers.postgres(request.param)


@pytest.fixture
def database(server: PostgresServer) -> Iterator[PostgresDatabase]:
    with server.database() as name:
        database = postgres_database(server, name, connections=2)
        yield database
        database.close()


def backend_of(connection: psycopg.Connection[Any]) -> int:
    return connection.info.backend_pid


def ask(database: PostgresDatabase) -> int:
    with database.connect(autocommit=True) as connection:
        connection.execute("SELECT 1")
        return backend_of(connection)


def test_a_connection_is_used_again_in_either_mode(database: PostgresDatabase) -> None:
    first = database.connect(autocommit=True)
    backend = backend_of(first)
    first.close()
    with database.connect() as again:
        assert (again.autocommit, backend_of(again)) == (False, backend)


def test_a_connection_closed_twice_is_given_out_once(database: PostgresDatabase) -> None:
    first = database.connect()
    first.close()
    first.close()
    one, other = database.connect(), database.connect()
    assert backend_of(one) != backend_of(other)
    one.close()
    other.close()


def test_a_connection_in_a_transaction_is_not_used_again(database: PostgresDatabase) -> None:
    first = database.connect()
    first.execute("SELECT 1")
    backend = backend_of(first)
    first.close()
    assert first.closed
    assert ask(database) != backend


def test_more_threads_than_connections_take_turns(database: PostgresDatabase) -> None:
    backends = set()
    barrier = threading.Barrier(8)

    def use(_: int) -> None:
        barrier.wait()
        for _ in range(20):
            backends.add(ask(database))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(use, range(8)))
    assert len(backends) <= 2


def test_when_all_are_in_use_for_too_long_that_is_said(server: PostgresServer) -> None:
    with server.database() as name:
        database = postgres_database(server, name, connections=1, limits=SOON)
        held = database.connect()
        with pytest.raises(DatabaseUnavailable, match=r"all 1 connections .* are in use"):
            database.connect()
        held.close()
        assert ask(database)
        database.close()


def test_a_connection_that_cannot_be_opened_takes_no_place(server: PostgresServer) -> None:
    database = PostgresDatabase(server.url("postgres", password="wrong"), label="x", limits=SOON, connections=1)
    for _ in range(3):
        with pytest.raises(DatabaseUnusable, match="rejected the login"):
            database.connect()


def test_what_is_in_use_when_all_are_closed_ends_when_it_is_given_back(database: PostgresDatabase) -> None:
    held, idle = database.connect(autocommit=True), database.connect(autocommit=True)
    idle.close()
    database.close()
    assert idle.closed
    assert held.execute("SELECT 1").fetchone() == (1,)
    held.close()
    assert held.closed
    assert ask(database)


def test_a_forked_child_opens_its_own_and_leaves_the_parents_alone(database: PostgresDatabase) -> None:
    held = database.connect(autocommit=True)
    backend = ask(database)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        held.close()
        os.write(writing, str(ask(database)).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        childs = int(pipe.read())
    os.waitpid(pid, 0)
    assert childs not in (backend, backend_of(held))
    assert held.execute("SELECT 1").fetchone() == (1,)
    held.close()
    assert ask(database) in (backend, backend_of(held))
