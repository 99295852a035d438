"""Rules for searching the event log on every database: the same events as a plain filter, found through an index."""

import re
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contracts.conftest import START, Store

from backctl.application.attribution import Attribution
from backctl.application.event_views import EventView
from backctl.application.ports.storage import Reader
from backctl.domain.events import LoginFailed, LoginSucceeded, RefreshTokenReused, UserDeleted, types_with
from backctl.domain.repositories import EVERY_EVENT, EventCriteria
from backctl.domain.values import Actor, folded
from backctl.infrastructure.sql import event_queries
from backctl.infrastructure.sql.engine import dialect_of
from backctl.infrastructure.sql.queries import Statement

on_one_database = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

ACTORS = [
    Actor("billing", "www-data", "web1"),
    Actor("root", "root", "web1"),
    Actor("billing", "root", "web2"),
    Actor("root@web1", "deploy", "web2"),
    Actor('Ä "quoted" \\', "root", "web1"),
]
REASONS = [None, "left the team", "100% sure_thing", "Straße", "LEFT", "É", "K", "a!b"]
TRACES = [None, "a" * 32, "b" * 32]
SUBJECTS = ["s1", "s2", "s3", "unknown"]

MOMENTS = st.none() | st.integers(-1, 30).map(START.plus)
CRITERIA = st.builds(
    EventCriteria,
    types=st.lists(st.sampled_from(["UserDeleted", "LoginFailed", "LoginSucceeded", "Other"]), max_size=3).map(tuple),
    subjects=st.lists(st.sampled_from([*SUBJECTS, "s", "%"]), max_size=3).map(tuple),
    since=MOMENTS,
    until=MOMENTS,
    trace_id=st.none() | st.sampled_from(["a" * 32, "c" * 32]),
    by=st.none()
    | st.sampled_from(["billing", "root", "root@web1", "root@web2", "billing (root@web2)", "bill", "%", "", "\0"])
    | st.sampled_from([*(actor.label for actor in ACTORS), 'Ä "quoted" \\ (root@web1)', "ROOT", "@web1"]),
    outcome=st.none() | st.sampled_from(["success", "failure"]),
    reason_contains=st.none()
    | st.sampled_from(
        ["", "left", "LEFT THE", "%", "_", "100%", "STRASSE", "ß", "e\u0301", "k", "!", "z" * 9000, "\0"]
    ),
)


def record(store: Store, count: int = 40) -> None:
    """Append events of several kinds whose times do not follow the order of the log."""
    choices = product(REASONS, TRACES, ACTORS)
    for number, (reason, trace, actor) in zip(range(count), _scattered(list(choices)), strict=False):
        subject = SUBJECTS[number % len(SUBJECTS)]
        events = [
            LoginSucceeded(subject, must_change=False),
            LoginFailed(subject, "wrong"),
            UserDeleted(subject, False),
        ]
        store.now = START.plus((number * 7) % 29)
        with store.work(by=Attribution(actor, reason, trace)) as work:
            work.record(events[number % 3], RefreshTokenReused(subject, "a"))
            work.commit()


def _scattered(choices: list[Any]) -> Iterator[Any]:
    return (choices[(number * 37) % len(choices)] for number in range(len(choices)))


def fits(event: EventView, criteria: EventCriteria) -> bool:
    """Apply the criteria to one event in plain Python."""
    where = f"{event.os_user}@{event.host}"
    names = (event.actor, event.os_user, where, f"{event.actor} ({where})")
    reason = criteria.reason_contains
    return (
        (not criteria.types or event.type in criteria.types)
        and (not criteria.subjects or event.subject in criteria.subjects)
        and (criteria.since is None or event.occurred_at >= criteria.since)
        and (criteria.until is None or event.occurred_at < criteria.until)
        and criteria.trace_id in (None, event.trace_id)
        and (criteria.by is None or criteria.by in names)
        and (criteria.outcome is None or event.type in types_with(criteria.outcome))
        and (reason is None or (event.reason is not None and folded(reason, "NFC") in folded(event.reason, "NFC")))
    )


def all_pages(reader: Reader, criteria: EventCriteria, size: int, *, newest_first: bool) -> list[EventView]:
    found: list[EventView] = []
    cursor = None
    while True:
        page = reader.events(criteria, limit=size, cursor=cursor, newest_first=newest_first)
        assert len(page.items) == size or page.next_cursor is None
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


@on_one_database
@given(criteria=CRITERIA, size=st.integers(1, 20), newest_first=st.booleans())
def test_a_search_finds_what_a_plain_filter_finds(
    store: Store, criteria: EventCriteria, size: int, newest_first: bool
) -> None:
    reader = store.open_reader()
    if len(reader.events(EVERY_EVENT, limit=2).items) == 1:
        record(store)
    wanted = [event for event in reader.stream_events(EVERY_EVENT, newest_first=newest_first) if fits(event, criteria)]
    assert list(reader.stream_events(criteria, newest_first=newest_first)) == wanted
    assert all_pages(reader, criteria, size, newest_first=newest_first) == wanted


def test_a_search_by_more_subjects_than_searches_can_be_merged(store: Store) -> None:
    record(store)
    reader = store.open_reader()
    criteria = EventCriteria(subjects=("s1", *(f"x{number}" for number in range(600)), "s2"))
    wanted = [event for event in reader.stream_events(EVERY_EVENT) if event.subject in ("s1", "s2")]
    assert all_pages(reader, criteria, 7, newest_first=False) == wanted
    assert list(reader.stream_events(criteria)) == wanted


# Through an index.

SEARCHES = {
    "type": EventCriteria(types=("UserDeleted",)),
    "types": EventCriteria(types=("UserDeleted", "LoginFailed")),
    "subject": EventCriteria(subjects=("s1",)),
    "subjects": EventCriteria(subjects=("s1", "s2")),
    "many subjects": EventCriteria(subjects=tuple(f"s{number}" for number in range(60))),
    "since": EventCriteria(since=START.plus(999_900)),
    "until": EventCriteria(until=START.plus(100)),
    "period": EventCriteria(since=START.plus(500_000), until=START.plus(500_100)),
    "trace": EventCriteria(trace_id="a" * 32),
    "actor": EventCriteria(by="billing"),
    "system user": EventCriteria(by="rare"),
    "user and host": EventCriteria(by="rare@web1"),
    "full actor": EventCriteria(by="nightly (rare@web1)"),
    "failure": EventCriteria(outcome="failure"),
    "success": EventCriteria(outcome="success"),
    "reason": EventCriteria(reason_contains="ticket"),
    "types since": EventCriteria(types=("UserDeleted", "LoginFailed"), since=START.plus(999_900)),
    "success since": EventCriteria(outcome="success", since=START.plus(999_900)),
    "actor since": EventCriteria(by="nightly", since=START.plus(999_900)),
    "reason since": EventCriteria(reason_contains="ticket", since=START.plus(999_900)),
    "reason by": EventCriteria(reason_contains="ticket", by="nightly", types=("UserDeleted", "LoginFailed")),
    "subject types": EventCriteria(subjects=("s1", "s2"), types=("UserDeleted", "LoginFailed"), outcome="failure"),
}

FREQUENT = {"success", "many subjects"}
WHOLE_LOG = re.compile(
    r"SCAN events(?! USING INDEX ix_)|events USING INTEGER PRIMARY KEY \(rowid[<>]|Seq Scan on events"
)

_FILL = """
INSERT INTO events
(seq, id, occurred_at, type, subject, actor, reason, trace_id, audit_kid, data, salt, data_digest, mac)
SELECT number + 1, {id}, {start} + 100 * number,
       CASE WHEN number % 500 = 0 THEN 'UserDeleted' WHEN number % 499 = 0 THEN 'LoginFailed' ELSE 'LoginSucceeded' END,
       CASE WHEN number % 501 < 60 THEN 's' ELSE 't' END || (number % 501),
       CASE WHEN number % 503 = 0 THEN '{{"host":"web1","label":"nightly","os_user":"rare"}}'
            WHEN number % 504 = 0 THEN '{{"host":"web1","label":"billing","os_user":"www"}}'
            ELSE '{{"host":"web1","label":"app","os_user":"www"}}' END,
       CASE WHEN number % 505 = 0 THEN 'ticket ' || number END,
       CASE WHEN number % 506 = 0 THEN '{trace}' END, 'audit-1', '{{}}', {salt}, {digest}, {digest}
FROM numbers
"""
_NUMBERS = (
    "WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 10000) "
)


@pytest.fixture
def filled(store: Store) -> Store:
    """A log of 10,000 events."""
    if dialect_of_store(store).has_loose_types:
        details = {"id": "printf('%036d', number)", "salt": "zeroblob(16)", "digest": "zeroblob(32)"}
        before = _NUMBERS
        fill = before + _FILL.format(start=int(START), trace="a" * 32, **details)
    else:
        details = {
            "id": "CAST(lpad(CAST(number AS text), 32, '0') AS uuid)",
            "salt": "decode(repeat('00', 16), 'hex')",
            "digest": "decode(repeat('00', 32), 'hex')",
        }
        fill = _FILL.format(start=int(START), trace="a" * 32, **details)
        fill = fill.replace("FROM numbers", "FROM generate_series(1, 10000) AS numbers (number)")
    with store.engine.begin() as connection:
        connection.exec_driver_sql(fill.replace("%", "%%") if "generate_series" in fill else fill)
    with store.engine.begin() as connection:
        if not dialect_of_store(store).has_loose_types:
            connection.exec_driver_sql("ANALYZE events")
    return store


def dialect_of_store(store: Store) -> Any:
    with store.engine.connect() as connection:
        return dialect_of(connection)


def plan(store: Store, statement: Statement) -> list[str]:
    with store.engine.connect() as connection:
        if dialect_of(connection).has_loose_types:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement.text}", statement.values).all()
            return [row[3] for row in rows]
        rows = connection.exec_driver_sql(f"EXPLAIN {statement.text}", statement.values).all()
        return [row[0] for row in rows]


def test_every_filter_uses_an_index(filled: Store) -> None:
    dialect = dialect_of_store(filled)
    for (name, criteria), newest_first, after in product(SEARCHES.items(), (False, True), (None, 5000)):
        page = event_queries.events_page(criteria, dialect, limit=51, after=after, newest_first=newest_first)
        statements = [page]
        if name not in FREQUENT:  # to read most of the log, PostgreSQL reads all of it
            statements.append(event_queries.events(criteria, dialect, newest_first=newest_first))
        for statement in statements:
            steps = plan(filled, statement)
            assert not [step for step in steps if WHOLE_LOG.search(step)], (name, newest_first, after, steps)
            # In the order of the log, an index search that only filters reads the log too.
            walks = [
                step for step, rest in pairwise(steps) if "using pk_events" in step and "Cond: (seq = " not in rest
            ]
            assert not walks or name in FREQUENT, (name, newest_first, after, steps)
