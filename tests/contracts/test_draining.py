"""The worker of write-behind, with every queue and every database: what was queued is written exactly once."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import event
from tests.contracts.cache_levels import Away
from tests.contracts.conftest import Store
from tests.contracts.draining import ATTEMPTS, DAY, MINUTE, Workers
from tests.contracts.write_queues import SCORE, SCORE_2, SECOND, SEEN, Queued

from backctl.application.draining import LEASE_US, Drain
from backctl.application.write_behind import Writer
from backctl.domain.errors import OutcomeUnknown, TransactionAborted, Unusable
from backctl.domain.write_behind import QueuedValue
from backctl.infrastructure.sqlite.queue import SqliteQueue

on_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
"""For each queue, with one database."""
in_file = pytest.mark.parametrize("queued", ["sqlite"], indirect=True)
"""For each database, with one queue."""


@pytest.fixture
def workers(queued: Queued, store: Store) -> Workers:
    return Workers(queued, store)


@on_sqlite
def test_updates_are_written_and_leave_the_queue(workers: Workers) -> None:
    for key, value in (("a", 1), ("b", 2), ("a", 3)):
        workers.put(key, value)
    report = workers.once()
    assert (report.written, report.superseded, report.waiting, report.unknown_writers) == (2, 0, 0, ())
    assert workers.scores.rows() == {"a": ("3", 1), "b": ("2", 1)}
    assert workers.scores.calls == [["a", "b"]]
    assert workers.counts() == (0, 0, 0, 0)


@in_file
def test_every_database_is_written_to(workers: Workers) -> None:
    workers.put("ada", 1)
    assert workers.counts() == (1, 0, 0, 0)
    workers.put("ada", 2)
    assert workers.counts() == (1, 0, 0, 0)
    assert workers.scores.rows() == {"ada": ("2", 2)}


@on_sqlite
def test_a_worker_that_is_killed_before_it_acknowledges_writes_nothing_twice(workers: Workers) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    workers.put("a", 1)
    workers.queue.before["acknowledge"] = kill
    with pytest.raises(Killed):
        workers.once()
    assert workers.counts() == (0, 0, 0, 0)  # the lease has not ended
    workers.queued.pass_time(LEASE_US + 1)
    assert workers.counts() == (0, 1, 0, 0)
    assert workers.scores.rows() == {"a": ("1", 1)}
    assert workers.waiting() == 0


@on_sqlite
def test_a_worker_whose_lease_ended_writes_nothing_twice(workers: Workers) -> None:
    def overtake() -> None:
        workers.queued.pass_time(LEASE_US + 1)
        assert workers.counts() == (1, 0, 0, 0)

    workers.put("a", 1)
    workers.target.before["apply"] = overtake
    assert workers.counts() == (0, 1, 0, 0)
    assert workers.scores.rows() == {"a": ("1", 1)}
    assert workers.waiting() == 0


@on_sqlite
def test_a_value_that_is_queued_while_an_older_one_is_written_is_written_next(workers: Workers) -> None:
    workers.put("a", 1)
    workers.queue.before["acknowledge"] = lambda: workers.put("a", 2)
    assert workers.once().waiting == 1
    assert workers.scores.values() == {"a": "1"}
    assert workers.counts() == (1, 0, 0, 0)
    assert workers.scores.rows() == {"a": ("2", 2)}


@on_sqlite
def test_one_bad_update_does_not_stop_the_others_and_is_given_up_in_the_end(workers: Workers) -> None:
    for key in "abcdefg":
        workers.put(key)
    workers.scores.poison = {"d": ValueError("not a number\nsecond line")}
    assert workers.counts() == (6, 0, 1, 0)
    assert workers.warnings == ["updates of score@1 were not written: 1 with ValueError"]
    assert workers.counts() == (0, 0, 0, 0)  # it is not due yet
    for wait in (1, 2):
        workers.queued.pass_time(wait * SECOND - 1)
        assert workers.counts() == (0, 0, 0, 0)
        workers.queued.pass_time(1)
        assert workers.counts() == ((0, 0, 1, 0) if wait < ATTEMPTS - 1 else (0, 0, 0, 1))
    assert "d" not in workers.scores.rows()
    (dead,) = workers.queued.queue.dead()
    assert (dead.key, dead.attempts, dead.error) == (b"d", ATTEMPTS, "ValueError: not a number")


def let_die(workers: Workers) -> None:
    """Put a value for the key `a`, and let all attempts to write it fail."""
    workers.put("a", 1)
    workers.scores.poison = {"a": ValueError()}
    for _ in range(ATTEMPTS):
        workers.once()
        workers.queued.pass_time(MINUTE)


@on_sqlite
def test_a_dead_update_is_written_after_it_was_requeued(workers: Workers) -> None:
    let_die(workers)
    assert [dead.error for dead in workers.queued.queue.dead()] == ["ValueError"]
    workers.scores.poison = {}
    assert workers.queued.queue.requeue(None) == 1
    assert workers.counts() == (1, 0, 0, 0)


@on_sqlite
def test_a_newer_value_wins_over_a_dead_one_that_is_requeued_later(workers: Workers) -> None:
    let_die(workers)
    workers.scores.poison = {}
    workers.put("a", 2)
    assert workers.counts() == (1, 0, 0, 0)
    workers.queued.queue.requeue(None)
    assert workers.counts() == (0, 1, 0, 0)
    assert workers.scores.values() == {"a": "2"}


@on_sqlite
def test_the_error_of_a_dead_update_is_safe_to_show(workers: Workers) -> None:
    workers.put("a", 1)
    token = "eyJhbGciOiJub25lIn0.e30.c2lnbmF0dXJl"
    workers.scores.poison = {"a": ValueError(f"\x1b[2J {token} {'x' * 1000}")}
    for _ in range(ATTEMPTS):
        workers.once()
        workers.queued.pass_time(MINUTE)
    (dead,) = workers.queued.queue.dead()
    assert dead.error.startswith("ValueError: \\x1b[2J eyJ… xxx")
    assert len(dead.error) < 320


@on_sqlite
def test_a_value_that_another_program_damaged_is_given_up(workers: Workers) -> None:
    workers.queued.queue.put(SCORE, b"a", QueuedValue(b"{"), limit=10)
    workers.put("b", 2)
    assert workers.counts() == (1, 0, 1, 0)
    assert workers.scores.values() == {"b": "2"}


@on_sqlite
def test_updates_of_unknown_writers_are_left_to_others(workers: Workers) -> None:
    for writer in (SCORE, SCORE_2, SEEN):
        workers.put("a", 1, writer)
    report = workers.once()
    assert (report.written, report.waiting, report.unknown_writers) == (1, 2, ("score@2", "seen@1"))
    workers.writers[SCORE_2] = Writer(workers.scores)
    assert workers.counts() == (1, 0, 0, 0)

    drain = workers.drain()
    drain.set_aside_unknown()
    assert (drain.report().set_aside, drain.report().waiting) == (1, 0)
    assert [str(dead.writer) for dead in workers.queued.queue.dead()] == ["seen@1"]


@on_sqlite
def test_versions_of_a_writer_never_undo_each_other(workers: Workers) -> None:
    workers.writers[SCORE_2] = Writer(workers.scores)
    for first, second in ((SCORE, SCORE_2), (SCORE_2, SCORE)):
        workers.put("a", 1, first)
        workers.put("a", 2, second)
        workers.once()
        assert (workers.scores.values(), workers.waiting()) == ({"a": "2"}, 0)


@on_sqlite
def test_batches_are_bounded_and_stop_in_between(workers: Workers) -> None:
    for number in range(10):
        workers.put(f"k{number}")
    sizes: list[int] = []
    report = workers.once(batch_size=3, progress=sizes.append, stop=lambda: len(sizes) == 2)
    assert (sizes, report.written, report.waiting) == ([3, 3], 6, 4)
    assert workers.once(batch_size=3).written == 4


@on_sqlite
def test_a_run_ends_although_updates_are_queued_all_the_time(workers: Workers) -> None:
    numbers = count()

    def queue_more(_: int) -> None:
        for _ in range(3):
            workers.put(f"k{next(numbers)}")

    queue_more(0)
    assert workers.once(batch_size=1, progress=queue_more).written == 3


# A database or a queue that fails.


@on_sqlite
@pytest.mark.parametrize("call", ["position", "apply"])
def test_a_database_that_is_away_costs_no_attempt(workers: Workers, call: str) -> None:
    workers.put("a")
    workers.put("b")
    for _ in range(ATTEMPTS + 1):
        workers.target.before[call] = raising(Away("away"))
        with pytest.raises(Away):
            workers.once()
    (first, second) = workers.queued.take(SCORE)
    assert (first.attempts, second.attempts) == (0, 0)
    workers.queued.queue.retry([first, second], after_us=0)
    assert workers.counts() == (2, 0, 0, 0)


@on_sqlite
def test_what_was_written_before_the_database_went_away_is_acknowledged(workers: Workers) -> None:
    workers.writers[SEEN] = Writer(workers.scores)
    workers.put("a", 1, SCORE)
    workers.put("b", 1, SEEN)
    workers.target.after["apply"] = lambda: workers.target.before.update(apply=raising(Away("away")))
    with pytest.raises(Away):
        workers.once()
    assert workers.waiting() == 1
    assert workers.counts() == (1, 0, 0, 0)
    assert workers.scores.rows() == {"a": ("1", 1), "b": ("1", 1)}


@on_sqlite
@pytest.mark.parametrize("error", [TransactionAborted("deadlock"), OutcomeUnknown("lost")], ids=["deadlock", "commit"])
def test_a_transaction_that_the_database_aborted_is_tried_again(workers: Workers, error: Exception) -> None:
    workers.put("a")
    hook = workers.target.before if isinstance(error, TransactionAborted) else workers.target.after
    hook["apply"] = raising(error)
    report = workers.once()
    assert (report.written + report.superseded, report.waiting) == (1, 0)
    assert workers.scores.rows() == {"a": ("1", 1)}


@on_sqlite
def test_a_worker_that_is_stopped_looks_no_longer_for_the_update_that_fails(workers: Workers) -> None:
    for key in "abcd":
        workers.put(key)
    workers.scores.poison = {"b": ValueError()}
    report = workers.once(stop=lambda: bool(workers.scores.calls))
    assert (report.written, report.retried, report.waiting) == (0, 0, 4)
    assert workers.counts() == (3, 0, 1, 0)


@on_sqlite
def test_a_worker_that_follows_waits_longer_each_time_and_goes_on(workers: Workers) -> None:
    workers.put("a", 1)
    failures = count()

    def fail() -> None:
        if next(failures) < 7:
            workers.target.before["position"] = fail
            raise Away("the database does not answer")

    workers.target.before["position"] = fail
    report = workers.drain(stop=lambda: bool(workers.scores.rows())).follow()
    assert report.written == 1
    assert round(sum(workers.pauses)) == 1 + 2 + 4 + 8 + 16 + 30 + 30
    assert workers.warnings == [
        "updates cannot be written, trying again: the database does not answer",
        "updates can be written again",
    ]


@on_sqlite
def test_a_worker_that_follows_ends_at_once_when_it_is_stopped(workers: Workers) -> None:
    stopped: list[bool] = []
    workers.during_pause = lambda: stopped.append(True) if len(workers.pauses) == 3 else None
    workers.target.away = True
    workers.put("a")
    report = workers.drain(stop=lambda: bool(stopped)).follow()
    assert (len(workers.pauses), report.written, report.waiting) == (3, 0, 1)
    workers.queue.away = True
    assert workers.drain(stop=lambda: True).follow().waiting is None


@on_sqlite
def test_a_worker_that_follows_waits_so_that_updates_of_a_key_replace_each_other(workers: Workers) -> None:
    values = count()
    workers.during_pause = lambda: workers.put("a", next(values))
    report = workers.drain(stop=lambda: len(workers.pauses) >= 20).follow()
    assert report.written <= 4
    assert next(values) == 20


@on_sqlite
def test_a_worker_that_follows_does_not_begin_with_a_database_that_is_unusable(workers: Workers) -> None:
    class Broken(Unusable):
        pass

    workers.put("a")
    workers.target.before["position"] = raising(Broken("broken"))
    with pytest.raises(Broken):
        workers.drain().follow()
    workers.target.after["apply"] = lambda: workers.target.before.update(position=raising(Broken("broken")))
    workers.during_pause = lambda: workers.put("b")
    report = workers.drain(stop=lambda: len(workers.scores.rows()) == 2).follow()
    assert report.written == 2


# A queue that lost updates.


@on_sqlite
def test_a_queue_that_lost_its_last_updates_undoes_nothing_and_hides_nothing_later(workers: Workers) -> None:
    before = workers.queued.queue.state()
    position = workers.put("a", 1)
    workers.put("b", 2)
    workers.written_before_a_failover("a", position + SECOND)
    assert workers.counts() == (1, 1, 0, 0)
    assert workers.scores.values() == {"b": "2"}
    assert workers.queued.queue.state() == (before.identity, position + SECOND)
    (warning,) = workers.warnings
    assert "has lost its last updates" in warning
    workers.put("a", 3)  # although the clock stands still
    assert workers.counts() == (1, 0, 0, 0)
    assert workers.scores.values() == {"a": "3", "b": "2"}
    assert len(workers.warnings) == 1


@on_sqlite
def test_updates_that_another_worker_writes_meanwhile_are_no_loss(workers: Workers) -> None:
    def write_elsewhere() -> None:
        workers.put("b", 2)
        assert workers.counts() == (1, 0, 0, 0)

    workers.put("a", 1)
    identity = workers.queued.queue.state().identity
    workers.queue.after["state"] = write_elsewhere
    assert workers.counts() == (1, 0, 0, 0)
    assert workers.queued.queue.state().identity == identity
    assert workers.warnings == []


# Positions that are no longer needed.


@on_sqlite
def test_positions_are_forgotten_after_a_week(workers: Workers, store: Store) -> None:
    def positions() -> int:
        with store.engine.connect() as connection:
            return len(connection.exec_driver_sql("SELECT key FROM written_updates").all())

    for key in "abc":
        workers.put(key)
    workers.once()
    workers.queued.pass_time(6 * DAY)
    workers.once()
    assert positions() == 3
    workers.put("d", 1, SEEN)
    workers.queued.pass_time(2 * DAY)
    workers.once()
    assert positions() == 3  # an update waits since the sixth day
    workers.writers[SEEN] = Writer(workers.scores)
    workers.once()
    assert positions() == 1


@on_sqlite
def test_positions_are_kept_as_long_as_a_dead_update_could_be_written_again(workers: Workers) -> None:
    let_die(workers)
    workers.scores.poison = {}
    workers.put("a", 2)
    workers.once()
    workers.queued.pass_time(30 * DAY)
    workers.once()
    workers.queued.queue.requeue(None)
    assert workers.counts() == (0, 1, 0, 0)
    assert workers.scores.values() == {"a": "2"}


@in_file
def test_positions_of_other_machines_are_kept(workers: Workers, tmp_path: Path) -> None:
    """Each machine has a queue in a file, and forgets only what it wrote."""
    let_die(workers)
    workers.scores.poison = {}
    workers.put("a", 2)
    workers.once()
    workers.queued.pass_time(30 * DAY)
    elsewhere = SqliteQueue(
        tmp_path / "elsewhere" / "queue.db", installation="inst-1", timeout_us=SECOND, clock=workers.queued.clock
    )
    elsewhere.put(SCORE, b"b", QueuedValue(b"1"), limit=1)
    assert Drain(workers.worker()._replace(queue=elsewhere)).run_once().written == 1
    elsewhere.close()
    workers.queued.queue.requeue(None)
    assert workers.counts() == (0, 1, 0, 0)
    assert workers.scores.values() == {"a": "2", "b": "1"}


@on_sqlite
def test_a_database_that_goes_away_after_the_last_update_hides_no_report(workers: Workers) -> None:
    workers.put("a")
    workers.target.before["forget"] = raising(Away("away"))
    assert workers.counts() == (1, 0, 0, 0)


# Many updates.


@in_file
def test_many_updates_of_few_keys_take_few_statements(workers: Workers, store: Store) -> None:
    statements: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    for number in range(1000):
        workers.put(f"k{number % 50}", number)
    assert workers.once().written == 50
    assert len(statements) <= 20
    assert workers.scores.values() == {f"k{number % 50}": str(number) for number in range(950, 1000)}


def raising(error: Exception) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail
