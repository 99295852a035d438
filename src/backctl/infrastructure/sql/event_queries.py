"""The statements that read the event log, for the drivers of SQLite and PostgreSQL.

Each filter uses an index, in the order of the log. For a filter with several values, the statement merges one ordered
search for each value, so that the databases read only the rows of the page. The times of events may not be in that
order, so a search by time alone sorts the numbers of the events that it finds.
"""

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from backctl.domain.canonical_json import canonical
from backctl.domain.repositories import Cursor, EventCriteria
from backctl.domain.values import REASON_MAX, EventId, Identity, folded
from backctl.infrastructure.sql.dialect import Dialect
from backctl.infrastructure.sql.queries import Conditions, Statement, Value, storable

# Columns in the order of `RowReader._event`. The name of a subject that is not an account is the subject itself.
_EVENTS: Final = (
    "SELECT seq, id, occurred_at, type, subject, "
    "COALESCE((SELECT username FROM users WHERE users.id = {as_id}), (SELECT name FROM former_names WHERE user_id = "
    "subject AND kind = 'username' AND at_deletion), subject), actor, reason, trace_id, data FROM "
)
_ROWS: Final = "SELECT seq, id, occurred_at, type, subject, actor, reason, trace_id, data FROM events"
_NAMED: Final = (
    "SELECT CAST(id AS TEXT) FROM users WHERE {kind}_key = {hole} "
    "UNION ALL SELECT user_id FROM former_names WHERE key = {hole} AND kind = '{kind}'"
)
_SEQUENCES: Final = {False: "seq", True: "-seq"}
"""The name of the order in a cursor; `True` is newest first."""
_MERGED_MAX: Final = 50
"""The maximum number of merged searches (SQLite allows 500). With more, the database sorts the result of one search."""
_RARE_MAX: Final = 4
"""The maximum number of types for which a search by type is faster than one by time."""
_FULL_ACTOR: Final = re.compile(r"(?P<label>.+) \((?P<os_user>.+)@(?P<host>[^@]+)\)")


_REASON: Final = 7  # its place in a row
_REASON_SEARCH_MAX: Final = 4 * REASON_MAX  # normalizing a longer text can take long
REASONS_COMPARED: Final = 1000
"""The number of events to read at once when reasons are compared."""


class _Search(NamedTuple):
    """One value of a filter: a condition with `{}` for each of its values. No event matches two of the same filter."""

    template: str
    values: tuple[Value, ...]


class _Span(NamedTuple):
    """The part of the log that a statement returns: its order, the maximum length, and the number that it follows."""

    newest_first: bool
    limit: int | None = None
    after: int | None = None

    @property
    def direction(self) -> str:
        return " DESC" if self.newest_first else ""

    def ordered(self, found: Statement, dialect: Dialect, *, seq: str = "seq") -> Statement:
        """Add the order and the limit to a statement."""
        text = f"{found.text} ORDER BY {seq}{self.direction}"
        if self.limit is None:
            return Statement(text, found.values)
        return Statement(f"{text} LIMIT {dialect.placeholder}", (*found.values, self.limit))


_NOTHING: Final = _Search("1 = 0", ())


def events(criteria: EventCriteria, dialect: Dialect, *, newest_first: bool) -> Statement:
    """Select every matching event, in order. Does not compare the text of reasons; see `reason_filter`."""
    return _select(criteria, dialect, _Span(newest_first))


def events_page(
    criteria: EventCriteria, dialect: Dialect, *, limit: int, after: int | None, newest_first: bool
) -> Statement:
    """Select at most `limit` events after the number `after`. Does not compare the text of reasons."""
    return _select(criteria, dialect, _Span(newest_first, limit, after))


def one_event(ident: int | EventId, dialect: Dialect) -> Statement:
    where = Conditions(dialect)
    where.add("seq = {}" if isinstance(ident, int) else "id = {}", ident)
    return Statement(f"{_events(dialect)}events{where.clause()}", tuple(where.values))


def accounts_named(ident: Identity, email_key: str, dialect: Dialect) -> Statement:
    """Select the ids of the accounts that have or had a name. `email_key` is as in `queries.one_user`."""
    key = email_key if ident.kind == "email" else folded(ident.text, "NFKC")
    return Statement(_NAMED.format(kind=ident.kind, hole=dialect.placeholder), (key, key))


def reason_filter(criteria: EventCriteria) -> Callable[[Sequence[Any]], bool] | None:
    """Return a function that tells whether a row has the text in its reason, in any case; None if no text is wanted.

    Python compares the reasons, because the databases fold the case of letters differently.
    """
    if criteria.reason_contains is None:
        return None
    if len(criteria.reason_contains) > _REASON_SEARCH_MAX:
        return lambda row: False
    text = folded(criteria.reason_contains, "NFC")
    return lambda row: text in folded(row[_REASON], "NFC")


def event_cursor(text: str | None, criteria: EventCriteria, *, newest_first: bool) -> int | None:
    """Return the number in a cursor. Raises InvalidCursor."""
    if text is None:
        return None
    (seq,) = Cursor.decode(text, _SEQUENCES[newest_first], criteria, (int,)).position
    return int(seq)


def next_event_cursor(seq: int, criteria: EventCriteria, *, newest_first: bool) -> str:
    return Cursor(_SEQUENCES[newest_first], (seq,)).encode(criteria)


def _events(dialect: Dialect) -> str:
    return _EVENTS.format(as_id=dialect.as_id_if_possible.format("subject"))


def _select(criteria: EventCriteria, dialect: Dialect, span: _Span) -> Statement:
    filters = _filters(criteria)
    if _is_search_by_time(criteria):
        # A plus turns a column into an expression, so that the database does not read the whole log in order.
        where = _conditions(criteria, dialect, filters, span, seq="+seq")
        found = Statement(f"SELECT seq FROM events{where.clause()}", tuple(where.values))  # noqa: S608 - no value in it
        if span.limit is not None:
            found = span.ordered(found, dialect, seq="+seq")
        text = f"{_events(dialect)}events WHERE seq IN ({found.text}) ORDER BY seq{span.direction}"
        return Statement(text, found.values)
    merged = next((searches for searches in filters if 1 < len(searches) <= _MERGED_MAX), None)
    if merged is None:
        where = _conditions(criteria, dialect, filters, span)
        return span.ordered(Statement(f"{_events(dialect)}events{where.clause()}", tuple(where.values)), dialect)
    others = [searches for searches in filters if searches is not merged]
    parts = []
    for search in merged:
        where = _conditions(criteria, dialect, [[search], *others], span)
        part = Statement(_ROWS + where.clause(), tuple(where.values))
        if span.limit is not None:  # PostgreSQL would sort everything that the searches find
            part = span.ordered(part, dialect)
            part = Statement(f"SELECT * FROM ({part.text}) AS part", part.values)  # noqa: S608 - no value in it
        parts.append(part)
    union = Statement(" UNION ALL ".join(part.text for part in parts), tuple(chain(*(part.values for part in parts))))
    found = span.ordered(union, dialect)
    return Statement(f"{_events(dialect)}({found.text}) AS found ORDER BY seq{span.direction}", found.values)


def _conditions(
    criteria: EventCriteria, dialect: Dialect, filters: Sequence[Sequence[_Search]], span: _Span, *, seq: str = "seq"
) -> Conditions:
    """Return the conditions of the criteria. `filters` replace the members that accept several values."""
    where = Conditions(dialect)
    for searches in filters:
        _add_any(where, searches)
    where.add_given("occurred_at >= {}", criteria.since)
    where.add_given("occurred_at < {}", criteria.until)
    where.add_given("trace_id = {}", criteria.trace_id)
    if criteria.reason_contains is not None:
        where.add("reason IS NOT NULL")
    if span.after is not None:
        where.add(f"{seq} {'<' if span.newest_first else '>'} {{}}", span.after)
    return where


def _is_search_by_time(criteria: EventCriteria) -> bool:
    """Whether the time is the most selective filter."""
    return (
        (criteria.since is not None or criteria.until is not None)
        and not (
            criteria.subjects or criteria.by is not None or criteria.trace_id or criteria.reason_contains is not None
        )
        and not 0 < len(_types(criteria)) <= _RARE_MAX
    )


def _filters(criteria: EventCriteria) -> list[list[_Search]]:
    """Return the searches of each filter that accepts several values, the most selective first."""
    found = [
        [_Search("subject = {}", (subject,)) for subject in dict.fromkeys(criteria.subjects)],
        [] if criteria.by is None else _by_actor(criteria.by),
        [_Search("type = {}", (type_,)) for type_ in _types(criteria)],
    ]
    impossible = [_NOTHING] if criteria.outcome is not None and not found[-1] else []
    return [searches for searches in (*found, impossible) if searches]


def _types(criteria: EventCriteria) -> tuple[str, ...]:
    """Return the types that match. Empty: all types, or no type if an outcome is given."""
    types = tuple(dict.fromkeys(criteria.types))
    if criteria.outcome is None:
        return types
    from backctl.domain.events import types_with

    fitting = types_with(criteria.outcome)
    return tuple(type_ for type_ in types if type_ in fitting) if types else fitting


def _by_actor(by: str) -> list[_Search]:
    """Return the searches for each way to name an actor; see `EventCriteria`."""
    if not storable(by):
        return [_NOTHING]
    found = [
        _Search("actor_label = {}", (by,)),
        _Search("actor_os_user = {} AND actor_label <> {}", (by, by)),
    ]
    os_user, at, host = by.rpartition("@")
    if os_user and at and host:
        start = canonical({"host": host}).decode()[:-1] + ","  # `host` is the first member of the canonical form
        found.append(
            _Search(
                "actor_os_user = {} AND actor_label <> {} AND substr(actor, 1, {}) = {}",
                (os_user, by, len(start), start),
            )
        )
    if full := _FULL_ACTOR.fullmatch(by):
        found.append(_Search("actor_label = {} AND actor = {}", (full["label"], canonical(full.groupdict()).decode())))
    return found


def _add_any(where: Conditions, searches: Sequence[_Search]) -> None:
    """Add a condition that an event matches one of the searches."""
    values = [value for search in searches for value in search.values]
    if len(searches) == 1:
        where.add(searches[0].template, *values)
        return
    column, _, rest = searches[0].template.partition(" = ")
    if rest == "{}" and len(searches) == len(values):
        where.add(f"{column} IN ({', '.join(['{}'] * len(values))})", *values)
    else:
        where.add(f"({' OR '.join(f'({search.template})' for search in searches)})", *values)
