"""Rules for the database that write-behind writes to: each update is written once, with a record of its position."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.event import listen
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from tests.contracts.conftest import Store, postgres_database

from backctl.application.ports.write_behind import Taken
from backctl.domain.errors import DatabaseUnavailable, OutcomeUnknown
from backctl.domain.write_behind import QueuedValue, WriterId
from backctl.infrastructure.postgres.connection import PostgresDatabase
from backctl.infrastructure.postgres.engine import postgres_engine
from backctl.infrastructure.sql.engine import outcomes_of
from backctl.infrastructure.sql.update_target import SqlUpdateTarget

NOW = 1_795_000_000_000_000
WRITER = WriterId("counts", 1)


def taken(key: str, position: int, value: str = "1") -> Taken:
    return Taken(WRITER, key.encode(), QueuedValue(value.encode()), position, NOW, 0, b"")


class Written:
    """A writer that stores its updates in a table of its own, and how often it was called."""

    def __init__(self, store: Store) -> None:
        self.engine = store.engine
        self.calls: list[list[str]] = []
        with self.engine.begin() as connection:
            connection.execute(text("CREATE TABLE counts (key TEXT PRIMARY KEY, value TEXT, times INTEGER)"))

    def __call__(self, connection: Connection, updates: Sequence[Taken]) -> None:
        self.calls.append([update.key.decode() for update in updates])
        connection.execute(
            text(
                "INSERT INTO counts VALUES (:key, :value, 1) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value, times = counts.times + 1"
            ),
            [{"key": update.key.decode(), "value": update.value.payload.decode()} for update in updates],
        )

    def rows(self) -> dict[str, tuple[str, int]]:
        with self.engine.connect() as connection:
            found = connection.execute(text("SELECT key, value, times FROM counts"))
            return {key: (value, times) for key, value, times in found}


@pytest.fixture
def written(store: Store) -> Written:
    return Written(store)


@pytest.fixture
def target(store: Store) -> SqlUpdateTarget:
    return SqlUpdateTarget(lambda: store.engine)


def test_an_update_is_written_once(target: SqlUpdateTarget, written: Written) -> None:
    assert target.apply("q1", "counts", [taken("b", 7), taken("a", 5)], written, now=NOW) == 2
    assert target.apply("q1", "counts", [taken("b", 7), taken("a", 5)], written, now=NOW + 1) == 0
    assert written.calls == [["a", "b"]]
    assert written.rows() == {"a": ("1", 1), "b": ("1", 1)}
    assert target.position("q1") == 7


def test_only_later_positions_are_written(target: SqlUpdateTarget, written: Written) -> None:
    target.apply("q1", "counts", [taken("a", 5), taken("b", 6)], written, now=NOW)
    assert target.apply("q1", "counts", [taken("a", 4), taken("b", 8), taken("c", 1)], written, now=NOW) == 2
    assert written.calls[1] == ["b", "c"]
    assert target.position("q1") == 8


def test_writers_and_queues_have_their_own_positions(target: SqlUpdateTarget, written: Written) -> None:
    target.apply("q1", "counts", [taken("a", 5)], written, now=NOW)
    assert target.apply("q2", "counts", [taken("a", 5)], written, now=NOW) == 1
    assert target.apply("q1", "others", [taken("a", 5)], written, now=NOW) == 1
    assert (target.position("q1"), target.position("q2"), target.position("q3")) == (5, 5, 0)


def test_a_later_version_of_a_writer_continues_its_positions(target: SqlUpdateTarget, written: Written) -> None:
    target.apply("q1", "counts", [taken("a", 5)._replace(writer=WriterId("counts", 2))], written, now=NOW)
    assert target.apply("q1", "counts", [taken("a", 4)], written, now=NOW) == 0


def test_nothing_is_written_without_updates(target: SqlUpdateTarget, written: Written) -> None:
    assert target.apply("q1", "counts", [], written, now=NOW) == 0
    assert (written.calls, target.position("q1")) == ([], 0)


@pytest.mark.parametrize("key", [b"", b"\x00\xff", b"'; --", "schlüssel".encode(), b"x" * 512], ids=repr)
def test_every_key_is_possible(target: SqlUpdateTarget, store: Store, key: bytes) -> None:
    found: list[bytes] = []

    def write(_: Connection, updates: Sequence[Taken]) -> None:
        found.extend(update.key for update in updates)

    for _ in range(2):
        target.apply("q1", "counts", [taken("a", 5)._replace(key=key), taken("b", 5)], write, now=NOW)
    assert sorted(found) == sorted([key, b"b"])


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_error_of_the_writer_changes_nothing(
    target: SqlUpdateTarget, written: Written, error: BaseException
) -> None:
    def fail(connection: Connection, updates: Sequence[Taken]) -> None:
        written(connection, updates)
        raise error

    with pytest.raises(type(error)) as caught:
        target.apply("q1", "counts", [taken("a", 5)], fail, now=NOW)
    assert caught.value is error
    assert (written.rows(), target.position("q1")) == ({}, 0)
    assert target.apply("q1", "counts", [taken("a", 5)], written, now=NOW) == 1


@pytest.mark.parametrize(
    "statement", ["INSERT INTO counts VALUES ('a', '1', 1), ('a', '1', 1)", "SELECT * FROM missing", "SELECT nothing"]
)
def test_a_statement_of_the_writer_that_fails_is_its_own_error(
    target: SqlUpdateTarget, written: Written, statement: str
) -> None:
    """It is not an error of the database, which would stop all other updates."""

    def fail(connection: Connection, updates: Sequence[Taken]) -> None:
        written(connection, updates)
        connection.execute(text(statement))

    with pytest.raises(SQLAlchemyError):
        target.apply("q1", "counts", [taken("b", 5)], fail, now=NOW)
    assert (written.rows(), target.position("q1")) == ({}, 0)


ENDINGS: dict[str, Callable[[Connection], object]] = {
    "commit": lambda connection: connection.commit(),
    "rollback": lambda connection: connection.rollback(),
    "close": lambda connection: connection.close(),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_writer_that_ends_the_transaction_changes_nothing(
    target: SqlUpdateTarget, written: Written, ending: str
) -> None:
    def end(connection: Connection, updates: Sequence[Taken]) -> None:
        written(connection, updates)
        ENDINGS[ending](connection)

    for _ in range(2):  # the first one leaves no broken connection behind
        with pytest.raises((RuntimeError, SQLAlchemyError), match=r"must not|ended the transaction|closed"):
            target.apply("q1", "counts", [taken("a", 5)], end, now=NOW)
        assert (written.rows(), target.position("q1")) == ({}, 0)


@pytest.mark.parametrize("word", ["COMMIT", "ROLLBACK"])
def test_a_writer_that_ends_the_transaction_with_a_statement_is_noticed(
    target: SqlUpdateTarget, written: Written, word: str
) -> None:
    def end(connection: Connection, updates: Sequence[Taken]) -> None:
        written(connection, updates)
        connection.exec_driver_sql(word)

    with pytest.raises(RuntimeError, match="ended the transaction"):
        target.apply("q1", "counts", [taken("a", 5)], end, now=NOW)
    assert (set(written.rows()), target.position("q1")) == ({"a"} if word == "COMMIT" else set(), 0)


def test_a_writer_may_use_savepoints(target: SqlUpdateTarget, written: Written) -> None:
    def write(connection: Connection, updates: Sequence[Taken]) -> None:
        written(connection, updates)
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(text("INSERT INTO counts VALUES ('x', '1', 1), ('x', '1', 1)"))
        with connection.begin_nested():
            connection.execute(text("INSERT INTO counts VALUES ('y', '1', 1)"))

    target.apply("q1", "counts", [taken("a", 5)], write, now=NOW)
    assert set(written.rows()) == {"a", "y"}


def test_two_workers_with_overlapping_keys_write_each_update_once(target: SqlUpdateTarget, written: Written) -> None:
    """They lock the keys in the same order, whatever the order of their updates, so neither is aborted."""
    updates = [taken(f"key-{number:03}", 100 + number) for number in range(200)]
    start = threading.Barrier(4)

    def apply(order: int) -> int:
        start.wait()
        some = updates[:: (-1) ** order]
        return sum(target.apply("q1", "counts", some[n : n + 150], written, now=NOW) for n in (0, 25, 50))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(apply, range(4))) == 200
    assert set(written.rows().values()) == {("1", 1)}
    assert target.position("q1") == 299


def test_a_lost_commit_that_was_done_is_not_repeated(
    target: SqlUpdateTarget, written: Written, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks after the server has committed."""
    with_lost_commit(store.engine, monkeypatch, done=True)
    with pytest.raises(OutcomeUnknown, match="lost"):
        target.apply("q1", "counts", [taken("a", 5)], written, now=NOW)
    monkeypatch.undo()
    assert target.apply("q1", "counts", [taken("a", 5)], written, now=NOW) == 0
    assert written.rows() == {"a": ("1", 1)}


def test_a_lost_commit_that_was_not_done_is_repeated(
    target: SqlUpdateTarget, written: Written, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_lost_commit(store.engine, monkeypatch, done=False)
    with pytest.raises(OutcomeUnknown, match="lost"):
        target.apply("q1", "counts", [taken("a", 5)], written, now=NOW)
    monkeypatch.undo()
    assert target.apply("q1", "counts", [taken("a", 5)], written, now=NOW) == 1
    assert written.rows() == {"a": ("1", 1)}


def with_lost_commit(engine: Engine, monkeypatch: pytest.MonkeyPatch, *, done: bool) -> None:
    class LostError(Exception):
        pass

    outcomes: Any = type(outcomes_of(engine))
    fault_of, commit = outcomes.fault_of, engine.dialect.do_commit

    def lost(driver: Any) -> None:
        if done:
            commit(driver)
        raise LostError

    monkeypatch.setattr(engine.dialect, "do_commit", lost)
    monkeypatch.setattr(outcomes, "is_lost", lambda self, error: isinstance(error, LostError))
    monkeypatch.setattr(
        outcomes,
        "fault_of",
        lambda self, error: DatabaseUnavailable("lost") if isinstance(error, LostError) else fault_of(self, error),
    )


def statements(engine: Engine) -> list[str]:
    found: list[str] = []
    listen(engine, "before_cursor_execute", lambda *details: found.append(details[2]))
    return found


@pytest.mark.parametrize("number", [1, 1_000, 12_000])
def test_many_updates_take_few_statements(target: SqlUpdateTarget, store: Store, number: int) -> None:
    updates = [taken(f"key-{n}", 100 + n) for n in range(number)]
    found = statements(store.engine)
    assert target.apply("q1", "counts", updates, lambda connection, some: None, now=NOW) == number
    assert len(found) == 3 + -(-number // 5_000)  # the savepoint, its end, and the position of the queue
    assert target.apply("q1", "counts", updates, lambda connection, some: None, now=NOW) == 0


def test_old_positions_are_forgotten_in_steps(target: SqlUpdateTarget, written: Written, store: Store) -> None:
    old = [taken(f"key-{n}", 100 + n) for n in range(6_000)]
    target.apply("q1", "counts", old, lambda connection, some: None, now=NOW)
    target.apply("q1", "counts", [taken("new", 9_000)], written, now=NOW + 10)
    assert target.forget("q1", written_before=NOW, others_before=0) == 0
    assert [target.forget("q1", written_before=NOW + 10, others_before=0) for _ in range(3)] == [5_000, 1_000, 0]
    assert target.position("q1") == 9_000
    assert target.apply("q1", "counts", [taken("new", 9_000)], written, now=NOW + 20) == 0


def test_positions_of_other_queues_are_kept_longer(target: SqlUpdateTarget, written: Written) -> None:
    for queue in ("q1", "q2"):
        target.apply(queue, "counts", [taken("a", 5)], written, now=NOW)
    assert target.forget("q1", written_before=NOW + 1, others_before=NOW) == 1
    assert target.apply("q2", "counts", [taken("a", 5)], written, now=NOW) == 0
    assert target.forget("q1", written_before=NOW + 1, others_before=NOW + 1) == 1


@pytest.mark.parametrize("store", ["postgres16", "postgres18"], indirect=True)  # SQLite has one transaction at a time
def test_a_row_that_a_worker_writes_is_not_forgotten(target: SqlUpdateTarget, written: Written) -> None:
    target.apply("q1", "counts", [taken("a", 5)], written, now=NOW)
    forgotten: list[int] = []

    def write(connection: Connection, updates: Sequence[Taken]) -> None:
        with ThreadPoolExecutor(1) as pool:
            forgotten.append(pool.submit(target.forget, "q1", written_before=NOW + 1, others_before=0).result())

    target.apply("q1", "counts", [taken("a", 6)], write, now=NOW + 1)
    assert forgotten == [0]
    assert target.apply("q1", "counts", [taken("a", 6)], written, now=NOW + 2) == 0


def test_a_database_that_is_away_is_unavailable(servers: Any) -> None:
    server = servers.postgres(18)
    name = server.create_database()
    database: PostgresDatabase = postgres_database(server, name)
    target = SqlUpdateTarget(lambda: postgres_engine(database))
    from backctl.domain.errors import InstallationMissing

    with pytest.raises(InstallationMissing):
        target.position("q1")
    with pytest.raises(InstallationMissing):
        target.apply("q1", "counts", [taken("a", 5)], lambda connection, some: None, now=NOW)
    database.close()
