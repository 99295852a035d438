"""Workers of write-behind, a writer, and what only a test may do with them."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, text
from tests.contracts.cache_levels import Between
from tests.contracts.conftest import Store
from tests.contracts.write_queues import SCORE, SECOND, Queued

from backctl.application.draining import Drain, Worker
from backctl.application.ports.write_behind import Taken
from backctl.application.write_behind import Writer
from backctl.application.write_behind_views import DrainReport
from backctl.domain.write_behind import QueuedValue, WriterId
from backctl.infrastructure.sql.update_target import SqlUpdateTarget

ATTEMPTS = 3
MINUTE = 60 * SECOND
DAY = 1440 * MINUTE


class Scores:
    """A writer that stores numbers in a table, and counts how often each row was written.

    It fails for the keys in `poison`. `during` runs once, after the rows are written.
    """

    def __init__(self, store: Store) -> None:
        self._engine = store.engine
        self.poison: dict[str, Exception] = {}
        self.during: Callable[[], object] = lambda: None
        self.calls: list[list[str]] = []
        with self._engine.begin() as connection:
            connection.execute(text("CREATE TABLE scores (key TEXT PRIMARY KEY, value TEXT, times INTEGER)"))
            connection.execute(text("CREATE TABLE written (key TEXT, value TEXT)"))

    def __call__(self, connection: Connection, updates: Mapping[str, Any]) -> None:
        self.calls.append(list(updates))
        for key in updates:
            if key in self.poison:
                raise self.poison[key]
        rows = [{"key": key, "value": str(value)} for key, value in updates.items()]
        connection.execute(text("INSERT INTO written VALUES (:key, :value)"), rows)
        connection.execute(
            text(
                "INSERT INTO scores VALUES (:key, :value, 1) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value, times = scores.times + 1"
            ),
            rows,
        )
        during, self.during = self.during, lambda: None
        during()

    def rows(self) -> dict[str, tuple[str, int]]:
        """Return the value of each key, and how often it was written."""
        with self._engine.connect() as connection:
            found = connection.execute(text("SELECT key, value, times FROM scores ORDER BY key"))
            return {key: (value, times) for key, value, times in found}

    def written(self) -> dict[str, list[int]]:
        """Return all values that were ever written for each key, in order."""
        found: dict[str, list[int]] = {}
        with self._engine.connect() as connection:
            for key, value in connection.execute(text("SELECT key, value FROM written")):
                found.setdefault(key, []).append(int(value))
        return found

    def clear(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(text("DELETE FROM scores"))
            connection.execute(text("DELETE FROM written"))

    def values(self) -> dict[str, str]:
        return {key: value for key, (value, _) in self.rows().items()}


class Workers:
    """Makes workers for a queue and a database. Pauses pass the time of the queue."""

    def __init__(self, queued: Queued, store: Store) -> None:
        self.queued = queued
        self.queue = Between(queued.queue)  # type: ignore[arg-type]  # passes any calls
        self._target = SqlUpdateTarget(lambda: store.engine)
        self.target = Between(self._target)  # type: ignore[arg-type]  # passes any calls
        self.scores = Scores(store)
        self.writers = {SCORE: Writer(self.scores)}
        self.warnings: list[str] = []
        self.pauses: list[float] = []
        self.during_pause: Callable[[], object] = lambda: None

    def worker(self, name: str = "w1") -> Worker:
        return Worker(
            queue=self.queue,
            target=self.target,
            writers=self.writers,
            name=name,
            clock=self.queued.clock,
            pause=self._paused,
            retrying=lambda number: None,
            warn=self.warnings.append,
            attempts=ATTEMPTS,
        )

    def drain(self, name: str = "w1", **options: Any) -> Drain:
        return Drain(self.worker(name), **options)

    def once(self, name: str = "w1", **options: Any) -> DrainReport:
        return self.drain(name, **options).run_once()

    def counts(self, **options: Any) -> tuple[int, int, int, int]:
        """Drain once; return how many updates were written, superseded, retried and given up."""
        report = self.once(**options)
        return report.written, report.superseded, report.retried, report.dead

    def put(self, key: str, value: object = 1, writer: WriterId = SCORE) -> int:
        return self.queued.put(key.encode(), str(value).encode(), writer)

    def written_before_a_failover(self, key: str, position: int) -> None:
        """Record an update in the database that the queue does not know."""
        update = Taken(SCORE, key.encode(), QueuedValue(b"0"), position, 0, 0, b"")
        self._target.apply(self.queued.queue.state().identity, SCORE.name, [update], lambda *_: None, now=0)

    def waiting(self) -> int:
        return sum(depth.waiting for depth in self.queued.queue.depths())

    def _paused(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.queued.pass_time(round(seconds * SECOND))
        self.during_pause()
