"""A process that runs long transactions in a row pauses between them, so that other processes get the lock."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from backctl.infrastructure.sqlite.engine import Turns, sqlite_engine


class Clock:
    """A clock that advances when a test sleeps or moves it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path, clock: Clock) -> Iterator[Engine]:
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE seen (number INTEGER)")
    turns = Turns(lambda: clock.now, clock.sleep)
    engine = sqlite_engine(path, timeout_us=0, expected=None, turns=turns)
    yield engine
    engine.dispose()


def transaction(engine: Engine, clock: Clock, *, seconds: float, commits: bool = True) -> None:
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO seen VALUES (1)"))
        clock.now += seconds
        if commits:
            connection.commit()


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "rolled back"])
@pytest.mark.parametrize(("seconds", "left"), [(0.02, [0.004]), (0.1, [0.02]), (60.0, [0.05]), (0.004, []), (0.0, [])])
def test_a_long_transaction_is_followed_by_a_rest_in_which_the_lock_is_free(
    engine: Engine, clock: Clock, seconds: float, left: list[float], commits: bool
) -> None:
    transaction(engine, clock, seconds=seconds, commits=commits)
    assert clock.slept == []
    transaction(engine, clock, seconds=0)
    transaction(engine, clock, seconds=0)
    assert clock.slept == left


def test_a_rest_that_was_had_already_is_not_had_again(engine: Engine, clock: Clock) -> None:
    transaction(engine, clock, seconds=0.02)
    clock.now += 0.003
    transaction(engine, clock, seconds=0.02)
    clock.now += 0.004
    transaction(engine, clock, seconds=0)
    assert clock.slept == [0.001]


def test_while_it_rests_another_process_gets_the_lock(tmp_path: Path, engine: Engine, clock: Clock) -> None:
    got = []

    def take_the_lock(seconds: float) -> None:
        with closing(sqlite3.connect(tmp_path / "some.db", timeout=0, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            got.append(seconds)

    turns = Turns(lambda: clock.now, take_the_lock)
    patient = sqlite_engine(tmp_path / "some.db", timeout_us=0, expected=None, turns=turns)
    transaction(patient, clock, seconds=1)
    transaction(patient, clock, seconds=0)
    patient.dispose()
    assert len(got) == 1
