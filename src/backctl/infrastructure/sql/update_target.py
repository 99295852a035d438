"""Writes the updates of write-behind to the database, each at most once.

The transaction that writes an update also records its position. An update that is taken from the queue again, after a
crash or a lost COMMIT, is recognised by its position and not written again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Engine, Text, bindparam, delete, event, or_, select, text, tuple_

from backctl.application.ports.write_behind import Taken, Write
from backctl.domain.errors import OutcomeUnknown, Unavailable
from backctl.domain.quoting import quoted
from backctl.infrastructure.sql.dialect import Dialect
from backctl.infrastructure.sql.engine import Outcomes, dialect_of, outcomes_of
from backctl.infrastructure.sql.tables import written_queues, written_updates

_STEP: Final = 5_000
"""How many rows one statement writes or forgets."""

# Locks the rows in the order of their keys, so that two workers never wait for each other. A row with a later position
# is locked but not returned.
_RECORD: Final = """
INSERT INTO written_updates (queue, writer, key, position, written_at)
SELECT CAST({0} AS text), CAST({0} AS text), given.key, given.position, CAST({0} AS bigint) FROM {1}
WHERE 1 = 1 ORDER BY given.key
ON CONFLICT (queue, writer, key) DO UPDATE SET position = excluded.position, written_at = excluded.written_at
WHERE written_updates.position < excluded.position RETURNING key
"""
# Runs last, because all workers of a queue lock this row.
_ADVANCE: Final = text(
    "INSERT INTO written_queues (queue, position) VALUES (:queue, :position) ON CONFLICT (queue) "
    "DO UPDATE SET position = excluded.position WHERE written_queues.position < excluded.position"
).bindparams(bindparam("queue", type_=Text), bindparam("position", type_=BigInteger))
_POSITION: Final = select(written_queues.c.position).where(written_queues.c.queue == bindparam("of_queue"))
_KEY: Final = (written_updates.c.queue, written_updates.c.writer, written_updates.c.key)
_FORGET: Final = delete(written_updates).where(
    tuple_(*_KEY).in_(
        select(*_KEY)
        .where(
            written_updates.c.written_at < bindparam("before", type_=BigInteger),
            or_(
                written_updates.c.queue == bindparam("of_queue"),
                written_updates.c.written_at < bindparam("others_before", type_=BigInteger),
            ),
        )
        .order_by(written_updates.c.written_at)
        .limit(_STEP)
        .with_for_update(skip_locked=True)
    )
)


class SqlUpdateTarget:
    """Writes updates in transactions of `engine()`, which is asked for the engine each time."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    def apply(self, queue: str, name: str, updates: Sequence[Taken], write: Write, *, now: int) -> int:
        in_order = sorted(updates, key=lambda update: update.key)
        with self._connected() as (connection, outcomes):
            with _mapped_faults(outcomes):
                newer = _recorded(connection, queue, name, in_order, now)
            if not newer:
                return 0
            _write(connection, outcomes, name, newer, write)
            with _mapped_faults(outcomes):
                position = max(update.position for update in newer)
                connection.execute(_ADVANCE, {"queue": queue, "position": position})
            _commit(connection, outcomes)
            return len(newer)

    def position(self, queue: str) -> int:
        with self._connected() as (connection, outcomes), _mapped_faults(outcomes):
            return connection.execute(_POSITION, {"of_queue": queue}).scalar() or 0

    def forget(self, queue: str, *, written_before: int, others_before: int) -> int:
        asked = {"of_queue": queue, "before": written_before, "others_before": others_before}
        with self._connected() as (connection, outcomes):
            with _mapped_faults(outcomes):
                forgotten = connection.execute(_FORGET, asked).rowcount
            _commit(connection, outcomes)
            return forgotten

    @contextmanager
    def _connected(self) -> Iterator[tuple[Connection, Outcomes]]:
        """Yield a connection in a transaction, which is rolled back unless it is committed."""
        engine = self._engine()
        outcomes = outcomes_of(engine)
        with _mapped_faults(outcomes):
            connection = engine.connect()
        try:
            with _mapped_faults(outcomes):
                connection.begin()
            yield connection, outcomes
        finally:
            with _mapped_faults(outcomes):
                connection.close()


def _recorded(connection: Connection, queue: str, name: str, updates: Sequence[Taken], now: int) -> list[Taken]:
    """Record the positions of updates in the order of their keys; return those whose key had none or an earlier one."""
    dialect, newer = dialect_of(connection), []
    for start in range(0, len(updates), _STEP):
        some = updates[start : start + _STEP]
        text, given = _recording(dialect, some)
        keys = {bytes(key) for (key,) in connection.exec_driver_sql(text, (queue, name, now, *given))}
        newer += [update for update in some if update.key in keys]
    return newer


def _recording(dialect: Dialect, updates: Sequence[Taken]) -> tuple[str, tuple[Any, ...]]:
    rows = [(update.key, update.position) for update in updates]
    table, values = dialect.given({"key": "bytea", "position": "bigint"}, rows)
    return _RECORD.format(dialect.placeholder, table), values


def _write(connection: Connection, outcomes: Outcomes, name: str, updates: Sequence[Taken], write: Write) -> None:
    """Call a writer. Raises its errors, and RuntimeError if it ended the transaction."""

    def refuse(_: Connection) -> None:
        raise RuntimeError(f"the writer {quoted(name)} must not commit: its updates are committed with their positions")

    with _mapped_faults(outcomes):
        connection.exec_driver_sql("SAVEPOINT writer")
    event.listen(connection, "commit", refuse)
    try:
        write(connection, updates)
    except Exception as error:
        fault = outcomes.fault_of(error)
        if isinstance(fault, Unavailable):
            raise fault from error
        raise  # for example a missing table of the writer, which is no fault of the database
    finally:
        event.remove(connection, "commit", refuse)
    try:
        connection.exec_driver_sql("RELEASE SAVEPOINT writer")
    except Exception as error:
        fault = outcomes.fault_of(error)
        if isinstance(fault, Unavailable):
            raise fault from error
        raise RuntimeError(f"the writer {quoted(name)} ended the transaction, or ignored an error in it") from error


def _commit(connection: Connection, outcomes: Outcomes) -> None:
    with _mapped_faults(outcomes):
        try:
            connection.commit()
        except Exception as error:
            fault = outcomes.fault_of(error)
            if fault is not None and outcomes.is_lost(error) and isinstance(fault, Unavailable):
                raise OutcomeUnknown(
                    fault.message, hint="try again; updates that were written are not written twice"
                ) from error
            raise


@contextmanager
def _mapped_faults(outcomes: Outcomes) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        fault = outcomes.fault_of(error)
        if fault is None:
            raise
        raise fault from error
