"""The checks of `db check`: the database's pages, its schema, and its accounts against the event log.

Every check uses a snapshot, and none changes the database.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy import Connection, inspect

from backctl.application.ports.storage import HealthProbe
from backctl.domain.quoting import quoted
from backctl.infrastructure.probes import RESTORE, Finding, Probe, fail, ok, warn
from backctl.infrastructure.sql.comparison import (
    PARTS,
    Difference,
    Part,
    Schema,
    added,
    differences,
    missing_tables,
    read_schema,
)
from backctl.infrastructure.sql.damage import find
from backctl.infrastructure.sql.engine import dialect_of

_NAMED = 10  # the limit of differences to list
_DAMAGED_NAMED = 1_000  # each one must be corrected
_LOOK = f"run '{{backctl}} audit verify', then {RESTORE}"

# Compare sets instead of looking up each row: PostgreSQL's ids need a cast, so no index would help.
_UNRECORDED = """
SELECT CAST(id AS TEXT) FROM users EXCEPT SELECT subject FROM events WHERE type IN ('UserCreated', 'UserImported')
"""
_LOST = """
SELECT subject FROM events WHERE type IN ('UserCreated', 'UserImported')
EXCEPT SELECT CAST(id AS TEXT) FROM users
EXCEPT SELECT subject FROM events WHERE type = 'UserDeleted'
"""
_LOG = """
SELECT (SELECT count(*) FROM events), (SELECT min(seq) FROM events), (SELECT max(seq) FROM events), head.seq,
       last.mac = head.mac
FROM event_head AS head LEFT JOIN events AS last ON last.seq = head.seq WHERE head.id = 1
"""


@dataclass(frozen=True, slots=True)
class Examined:
    """How to examine one kind of database.

    `snapshot` opens a read-only snapshot and raises SchemaOutdated or SchemaTooNew for another revision than this
    program's. `model` returns the expected schema, as this kind of database reads it back. `beside` returns
    objects that someone added to backctl's tables, such as `trigger x`; `others` returns the names of other tables.
    """

    snapshot: Callable[[], AbstractContextManager[Connection]]
    model: Callable[[], Schema]
    integrity: Callable[[Connection], Finding]
    beside: Callable[[Connection], Iterable[str]]
    others: Callable[[Connection], Sequence[str]] = lambda connection: ()


def probes(examined: Examined) -> tuple[HealthProbe, ...]:
    """Return the checks. A failed check can explain the failures after it."""

    def probe(check: str, look: Callable[[Connection], Finding]) -> Probe:
        def see() -> Finding:
            with examined.snapshot() as connection:
                return look(connection)

        return Probe(check, see)

    def compared(part: Part) -> Probe:
        inner = probe(f"schema.{part}", within(part))

        def see() -> Finding:
            examined.model()  # before the snapshot, so that no check needs two connections at once
            return inner.look()

        return Probe(inner.check, see)

    def tables(connection: Connection) -> Finding:
        found = read_schema(inspect(connection))
        compared = _compared([*missing_tables(found), *added(examined.beside(connection))], "table")
        others = _some(list(map(quoted, examined.others(connection))), separator=", ")
        return ok(f"{compared.text}; other tables: {others}") if others and compared.status == "ok" else compared

    def within(part: Part) -> Callable[[Connection], Finding]:
        return lambda connection: _compared(
            differences(part, examined.model(), read_schema(inspect(connection))),
            {"columns": "column", "indices": "index", "constraints": "constraint"}[part],
        )

    return (
        probe("database.revision", lambda connection: ok("the schema revision is current")),
        probe("database.integrity", examined.integrity),
        probe("schema.tables", tables),
        *map(compared, PARTS),
        probe("contents.values", _values),
        probe("contents.accounts", _accounts),
        probe("contents.events", _log),
    )


def _compared(found: Iterable[Difference], what: str) -> Finding:
    missing: list[str] = []
    others: list[str] = []
    for difference in found:
        (missing if difference.missing else others).append(difference.text)
    if missing:
        return fail(_some(missing + others), f"{RESTORE}, or undo the manual changes")
    if others:
        return warn(_some(others), "backctl neither uses nor maintains it")
    return ok(f"every {what} matches the expected schema")


def _values(connection: Connection) -> Finding:
    found = list(find(lambda text: connection.exec_driver_sql(text).all(), dialect_of(connection)))
    if found:
        return fail(
            f"impossible values in {_some(list(map(str, found)), limit=_DAMAGED_NAMED)}",
            "correct them, or restore the database from a backup",
        )
    return ok("every value has the type and the range of its column")


def _accounts(connection: Connection) -> Finding:
    unrecorded = _ids(connection, _UNRECORDED)
    lost = _ids(connection, _LOST)
    if unrecorded:
        return fail(f"accounts without a creation event: {_some(unrecorded)}", _LOOK)
    if lost:
        return fail(f"accounts that disappeared without a deletion event: {_some(lost)}", _LOOK)
    count = connection.exec_driver_sql("SELECT count(*) FROM users").scalar_one()
    return ok(f"accounts: {count}, each with its creation event")


def _log(connection: Connection) -> Finding:
    row = connection.exec_driver_sql(_LOG).first()
    if row is None:
        return fail("the event log has no head", _LOOK)
    count, first, last, head, ends_there = row
    if (count, head) == (0, 0):
        return ok("no events")
    if (first, last, count) != (1, head, head):
        return fail(f"{count} events from {first} to {last}, but the head is at {head}", _LOOK)
    if not ends_there:
        return fail(f"the head does not match event {last}", _LOOK)
    return ok(f"events: {count}, without gaps; the head matches the last event")


def _ids(connection: Connection, statement: str) -> list[str]:
    return [quoted(str(ident)) for (ident,) in connection.exec_driver_sql(statement)]


def _some(texts: list[str], limit: int = _NAMED, separator: str = "; ") -> str:
    more = f"; and {len(texts) - limit} more" if len(texts) > limit else ""
    return separator.join(texts[:limit]) + more
