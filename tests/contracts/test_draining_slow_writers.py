"""A writer that gets no answer in time holds nobody else back, and its updates are given up in the end."""

from collections.abc import Mapping
from functools import partial
from itertools import islice
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.contracts.cache_levels import Away
from tests.contracts.conftest import Store
from tests.contracts.draining import ATTEMPTS, MINUTE, Workers
from tests.contracts.write_queues import SCORE, SEEN, Queued

from backctl.application.drain_turns import Turns
from backctl.application.write_behind import Writer
from backctl.domain.errors import (
    BackctlError,
    DatabaseFull,
    DatabaseLocked,
    DatabaseUnavailable,
    KeyringLocked,
    KeyringMissing,
    ResourcesExhausted,
    TransactionAborted,
)
from backctl.domain.write_behind import WriterId

on_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
in_file = pytest.mark.parametrize("queued", ["sqlite"], indirect=True)
TIMED_OUT = partial(DatabaseUnavailable, "the database did not finish a statement in time")


@pytest.fixture
def workers(queued: Queued, store: Store) -> Workers:
    return Workers(queued, store)


class Stuck:
    """A writer that never gets an answer."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, connection: Connection, updates: Mapping[str, Any]) -> None:
        self.calls.append(list(updates))
        raise TIMED_OUT()


@on_sqlite
def test_an_update_that_always_times_out_is_given_up_and_the_others_are_written(workers: Workers) -> None:
    for number in range(40):
        workers.put(f"k{number}")
    workers.scores.poison = {"k17": TIMED_OUT()}
    assert workers.counts() == (39, 0, 1, 0)
    assert len(workers.scores.calls) < 20
    assert workers.warnings[0] == (
        "updates of score@1 are written in smaller batches: the database did not finish a statement in time"
    )
    assert workers.warnings[1:] == ["updates of score@1 were not written: 1 with DatabaseUnavailable"]
    for _ in range(ATTEMPTS - 1):
        workers.put("later")
        workers.queued.pass_time(MINUTE)
        calls = len(workers.scores.calls)
        assert workers.once().written == 1
        assert workers.scores.calls[calls:] == [["later"], ["k17"]]  # what has failed is tried apart from the others
    (dead,) = workers.queued.queue.dead()
    assert (dead.key, dead.attempts) == (b"k17", ATTEMPTS)
    assert dead.error == "the database did not finish a statement in time"
    assert workers.waiting() == 0


@on_sqlite
@pytest.mark.parametrize(
    "error", [TransactionAborted, DatabaseLocked, KeyringLocked, KeyringMissing, Away], ids=lambda kind: kind.__name__
)
def test_any_error_of_a_writer_counts_while_the_database_answers(workers: Workers, error: type[BackctlError]) -> None:
    for key in "abc":
        workers.put(key)
    workers.scores.poison = {"b": error("no", hint=None)}
    assert workers.counts() == (2, 0, 1, 0)


@on_sqlite
def test_a_writer_that_always_times_out_holds_no_other_writer_back(workers: Workers) -> None:
    stuck = Stuck()
    workers.writers[SEEN] = Writer(stuck)
    for number in range(20):
        workers.put(f"s{number}", 1, SEEN)
    for number in range(20):
        workers.put(f"k{number}")
    turns = iter(range(100))
    workers.drain(batch_size=8, stop=lambda: next(turns) == 8).run_once()
    assert len(workers.scores.rows()) == 20
    assert len(stuck.calls) < 6
    for _ in range(ATTEMPTS):
        workers.once(batch_size=8)
        workers.queued.pass_time(MINUTE)
    assert workers.waiting() == 0
    assert [dead.attempts for dead in workers.queued.queue.dead()] == 20 * [ATTEMPTS]


@on_sqlite
def test_a_batch_ends_after_a_call_that_times_out(workers: Workers) -> None:
    """Each can take as long as the database lets a statement take, and the lease of the batch must not end before."""
    batches: list[int] = []

    def write(connection: Connection, updates: Mapping[str, Any]) -> None:
        batches.append(workers.queue.calls.count("take"))
        raise TIMED_OUT()

    workers.writers = {SEEN: Writer(write)}
    for number in range(20):
        workers.put(f"s{number}", 1, SEEN)
    assert workers.counts() == (0, 0, 20, 0)
    assert len(batches) == len(set(batches)) == 22  # 20, then 2, then each alone


@on_sqlite
def test_batches_grow_again_when_a_writer_gets_answers(workers: Workers) -> None:
    for number in range(64):
        workers.put(f"k{number}")
    workers.scores.poison = {"k0": TIMED_OUT()}
    assert workers.counts(batch_size=16) == (63, 0, 1, 0)
    assert [len(call) for call in workers.scores.calls] == [16, 2, 1, 1, 2, 4, 8, 16, 16, 16]


@on_sqlite
def test_a_worker_that_follows_goes_on_beside_a_writer_that_times_out(workers: Workers) -> None:
    stuck = Stuck()
    workers.writers[SEEN] = Writer(stuck)
    workers.put("s", 1, SEEN)
    workers.put("k")
    report = workers.drain(stop=lambda: bool(list(workers.queued.queue.dead()))).follow()
    assert (report.written, report.retried, report.dead, report.waiting) == (1, ATTEMPTS - 1, 1, 0)
    assert not any("trying again" in warning for warning in workers.warnings)


@on_sqlite
def test_a_database_that_goes_away_during_a_call_of_a_writer_costs_no_attempt(workers: Workers) -> None:
    class GoesAway:
        def __call__(self, connection: Connection, updates: Mapping[str, Any]) -> None:
            workers.target.away = True
            raise TIMED_OUT()

    workers.writers = {SCORE: Writer(GoesAway())}
    workers.put("a")
    for _ in range(ATTEMPTS + 1):
        with pytest.raises(Away):
            workers.once()
        workers.target.away = False
    (taken,) = workers.queued.take(SCORE)
    assert taken.attempts == 0
    assert workers.warnings == []


@on_sqlite
@pytest.mark.parametrize("error", [DatabaseFull, ResourcesExhausted])
def test_a_full_disk_or_a_machine_without_memory_costs_no_attempt(workers: Workers, error: type[BackctlError]) -> None:
    workers.put("a")
    workers.put("b")
    workers.scores.poison = {"b": error("there is none left", hint=None)}
    with pytest.raises(error):
        workers.once()
    workers.scores.poison = {}
    assert workers.counts() == (2, 0, 0, 0)


@in_file
@pytest.mark.parametrize("store", ["postgres16", "postgres18"], indirect=True)
def test_a_statement_that_the_server_cancels_is_the_fault_of_its_update(workers: Workers) -> None:
    def write(connection: Connection, updates: Mapping[str, Any]) -> None:
        if "bad" in updates:
            connection.execute(text("SET LOCAL statement_timeout = 20"))
            connection.execute(text("SELECT pg_sleep(600)"))
        workers.scores(connection, updates)

    workers.writers = {SCORE: Writer(write)}
    for key in ("a", "bad", "c"):
        workers.put(key)
    assert workers.counts() == (2, 0, 1, 0)
    assert workers.scores.rows() == {"a": ("1", 1), "c": ("1", 1)}
    for _ in range(ATTEMPTS - 1):
        workers.queued.pass_time(MINUTE)
        workers.once()
    (dead,) = workers.queued.queue.dead()
    assert "did not finish a statement in time" in dead.error


def test_slow_writers_take_turns_with_the_others() -> None:
    turns, known = Turns(100), [WriterId(name, 1) for name in "abc"]
    a, b, c = known

    def taken(number: int) -> list[tuple[list[WriterId], int]]:
        """Return who is asked, if each of these turns finds something."""
        return [next(turns.each(known)) for _ in range(number)]

    assert taken(2) == 2 * [([a, b, c], 100)]
    assert [turns.slow_down(a, 100), turns.slow_down(a, 12), turns.slow_down(b, 5)] == [True, False, True]
    assert sorted(taken(3), key=str) == sorted([([a], 1), ([b], 1), ([c], 100)], key=str)
    assert len(list(islice(turns.each(known), 5))) == 3
    for _ in range(7):
        turns.speed_up(a)
        turns.speed_up(c)
    assert sorted(taken(2), key=str) == sorted([([a, c], 100), ([b], 1)], key=str)
