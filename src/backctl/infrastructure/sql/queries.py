"""The statements of the read side, for the drivers of SQLite and PostgreSQL.

Names of tables, columns and orders come from constants in this module. Values are always passed as parameters and never
become part of a statement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from backctl.application.transfer import record
from backctl.domain.account_status import Status
from backctl.domain.errors import InvalidCursor
from backctl.domain.quoting import quoted
from backctl.domain.repositories import Cursor, SessionCriteria, Sort, SortField, UserCriteria
from backctl.domain.values import LATEST, Identity, Instant, UserId, folded, is_uuid
from backctl.infrastructure.sql.dialect import Dialect

Value = str | int | bool

# The columns of UserView, and the end of the last lock. In a page, the two keys for its cursor follow.
_USERS: Final = (
    "SELECT id, email, username, role, is_active, "
    "(SELECT f.locked_until FROM login_failures f WHERE f.key = CAST(users.id AS TEXT)), "
    "password_hash IS NOT NULL, must_change_password, mfa_state, expires_at, last_login_at, created_at, updated_at, "
    "version, password_imported FROM users"
)
_USERS_AND_KEYS: Final = _USERS.replace(" FROM users", ", email_key, username_key FROM users")
_PASSWORD: Final = "SELECT password_hash, password_imported FROM users"
_LAST_SEEN: Final = "SELECT at FROM seen_accounts"
# Columns in the order of MfaStatus.
_MFA: Final = (
    "SELECT id, username, mfa_state, m.algorithm, m.digits, m.period, m.enrolled_at, m.confirmed_at, "
    "(SELECT count(*) FROM recovery_codes c WHERE c.user_id = users.id AND c.used_at IS NULL) "
    "FROM users LEFT JOIN mfa_secrets m ON m.user_id = users.id"
)
# Columns in the order of Enrolment, after the state.
_FACTOR: Final = (
    "mfa_state, m.secret, m.kid, m.algorithm, m.digits, m.period, m.enrolled_at, m.confirmed_at, m.last_used_step"
)
# The table is small, because logins delete expired rows. Keys that are not ids belong to unknown names. As in
# `rows.lock_end`, a damaged end of a lock means no lock; SQLite sorts text after all numbers.
_ID_IN_KEY: Final = "CASE WHEN length(f.key) = 36 THEN f.key END"
_IS_LOCKED: Final = (
    "id IN (SELECT {} FROM login_failures f WHERE length(f.key) = 36 AND f.locked_until > {{}} "  # noqa: S608 - a number
    f"AND f.locked_until <= {LATEST:d})"
)
_COUNT: Final = "SELECT count(*) FROM users"
# The two requested columns, then the columns in the order of `Standing`. The CTE avoids repeating the parameters.
_STANDINGS: Final = (
    "WITH asked (sid, jti) AS (VALUES {pairs}) "
    "SELECT asked.sid, asked.jti, s.user_id, s.issuer, s.created_at, s.not_before, s.revoked_at, i.not_before, "
    "u.is_active, u.expires_at, r.jti IS NOT NULL FROM asked JOIN sessions s ON s.id = {sid} "
    "JOIN users u ON u.id = s.user_id LEFT JOIN token_issuers i ON i.issuer = s.issuer "
    "LEFT JOIN revoked_tokens r ON r.jti = asked.jti"
)
# Columns in the order of SessionView without `state`, with the issuer's not-before before `last_seen_at`.
_SESSIONS: Final = (
    "SELECT s.id, s.user_id, EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.session_id = s.id AND t.used_at IS NULL), "
    "s.client_id, s.issuer, s.audience, s.scope, s.created_at, s.issued_at, s.expires_at, s.ends_at, s.revoked_at, "
    "s.revoked_because, i.not_before, seen.at FROM sessions s LEFT JOIN token_issuers i ON i.issuer = s.issuer "
    "LEFT JOIN seen_sessions seen ON seen.session_id = s.id"
)


@dataclass(frozen=True, slots=True)
class _Order:
    """Columns that define a total order, their types in a cursor, and their places in the row of a page."""

    columns: tuple[str, ...]
    shape: tuple[type[str] | type[int], ...]
    places: tuple[int, ...]


VIEW_WIDTH: Final = 15
_ORDERS: Final[Mapping[SortField, _Order]] = {
    "created_at": _Order(("created_at", "id"), (int, str), (11, 0)),
    "email": _Order(("email_key",), (str,), (15,)),
    "username": _Order(("username_key",), (str,), (16,)),
    "id": _Order(("id",), (str,), (0,)),
}
_BY_ID: Final = "id"

# No key is longer: an address has at most 254 octets, and folding at most triples them. Longer terms are not folded,
# because normalising a long run of combining marks takes quadratic time; SQLite rejects patterns over 50,000 bytes.
_SEARCH_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    values: tuple[Value | list[str], ...]


class Conditions:
    """Conditions joined by AND, with their values in the order of the placeholders."""

    def __init__(self, dialect: Dialect) -> None:
        self._placeholder = dialect.placeholder
        self._parts: list[str] = []
        self.values: list[Value] = []

    def add(self, template: str, *values: Value) -> None:
        """Add a condition. `template` contains one `{}` for each value."""
        if all(map(storable, values)):
            self._parts.append(template.format(*[self._placeholder] * len(values)))
            self.values += values
        else:
            self.add_impossible()

    def add_given(self, template: str, value: Value | Instant | None) -> None:
        """Add a condition with one value, unless the value is None."""
        if value is not None:
            self.add(template, int(value) if isinstance(value, Instant) else value)

    def add_one_of(self, column: str, values: Sequence[str]) -> None:
        """Add the condition that a column has one of the values, unless there are none."""
        if values:
            possible = [value for value in values if storable(value)]
            holes = ", ".join("{}" for _ in possible)
            self.add(f"{column} IN ({holes})", *possible) if possible else self.add_impossible()

    def add_impossible(self) -> None:
        self._parts.append("1 = 0")

    def clause(self) -> str:
        return f" WHERE {' AND '.join(self._parts)}" if self._parts else ""


def one_user(ident: Identity, email_key: str, dialect: Dialect) -> Statement:
    """Select one account. `email_key` is the AddressParser's key of an identity that is an address; else unused."""
    where = _identity_condition(ident, email_key, dialect)
    return Statement(_USERS + where.clause(), tuple(where.values))


def password_of(ident: Identity, email_key: str, dialect: Dialect) -> Statement:
    """Select only the stored hash; see `one_user`."""
    where = _identity_condition(ident, email_key, dialect)
    return Statement(_PASSWORD + where.clause(), tuple(where.values))


def last_seen(user_id: UserId, dialect: Dialect) -> Statement:
    """Select when an account was last seen, if that is known."""
    return Statement(f"{_LAST_SEEN} WHERE user_id = {dialect.placeholder}", (user_id,))


def mfa_of(ident: Identity, email_key: str, dialect: Dialect) -> Statement:
    """Select the second factor; see `one_user`."""
    where = _identity_condition(ident, email_key, dialect)
    return Statement(_MFA + where.clause(), tuple(where.values))


def users(criteria: UserCriteria, sort: Sort, dialect: Dialect, *, now: Instant) -> Statement:
    """Select every matching account, in order. `now` decides the status of an account."""
    where = _user_conditions(criteria, dialect, now)
    return Statement(_USERS + where.clause() + _order_by(sort), tuple(where.values))


def users_page(
    criteria: UserCriteria, sort: Sort, dialect: Dialect, *, now: Instant, limit: int, after: Cursor | None, offset: int
) -> Statement:
    """Select at most `limit` accounts. The keys for cursors follow the VIEW_WIDTH columns of the view."""
    where = _user_conditions(criteria, dialect, now)
    if after is not None:
        # A row value, for which both databases use the index of the order.
        columns = ", ".join(_ORDERS[sort.field].columns)
        holes = ", ".join("{}" for _ in after.position)
        where.add(f"({columns}) {'<' if sort.descending else '>'} ({holes})", *after.position)
    text = _USERS_AND_KEYS + where.clause() + _order_by(sort)
    return Statement(f"{text} LIMIT {dialect.placeholder} OFFSET {dialect.placeholder}", (*where.values, limit, offset))


def exported_accounts(
    criteria: UserCriteria, dialect: Dialect, *, now: Instant, hashes: bool, factors: bool
) -> Statement:
    """Select the columns of an export for every matching account by id: those of `record.members`, then _FACTOR."""
    columns = ", ".join(record.members(hashes=hashes)) + (f", {_FACTOR}" if factors else "")
    joined = " LEFT JOIN mfa_secrets m ON m.user_id = users.id" if factors else ""
    where = _user_conditions(criteria, dialect, now)
    text = f"SELECT {columns} FROM users{joined}{where.clause()} ORDER BY id"  # noqa: S608 - constant names
    return Statement(text, tuple(where.values))


def user_count(criteria: UserCriteria, dialect: Dialect, *, now: Instant) -> Statement:
    where = _user_conditions(criteria, dialect, now)
    return Statement(_COUNT + where.clause(), tuple(where.values))


def standings(asked: Sequence[tuple[str, str]], dialect: Dialect) -> Statement:
    """Select the standing of access tokens by session and `jti`. The sessions must be valid ids."""
    pairs = ", ".join([f"({dialect.placeholder}, {dialect.placeholder})"] * len(asked))
    sid = dialect.as_id.format("asked.sid")
    return Statement(_STANDINGS.format(pairs=pairs, sid=sid), tuple(chain.from_iterable(asked)))


def sessions(user_id: UserId, dialect: Dialect) -> Statement:
    """Select every session of an account, oldest first."""
    return Statement(f"{_SESSIONS} WHERE s.user_id = {dialect.placeholder} ORDER BY s.id", (user_id,))


def sessions_page(user_id: UserId, dialect: Dialect, *, limit: int, after: Cursor | None) -> Statement:
    where = Conditions(dialect)
    where.add("s.user_id = {}", user_id)
    if after is not None:
        where.add("s.id > {}", *after.position)
    return Statement(f"{_SESSIONS}{where.clause()} ORDER BY s.id LIMIT {dialect.placeholder}", (*where.values, limit))


def session_cursor(text: str | None, criteria: SessionCriteria) -> Cursor | None:
    """Parse a cursor. Raises InvalidCursor."""
    if text is None:
        return None
    cursor = Cursor.decode(text, _BY_ID, criteria, (str,))
    return _with_an_id(cursor, text)


def next_session_cursor(last: str, criteria: SessionCriteria) -> str:
    return Cursor(_BY_ID, (last,)).encode(criteria)


def user_cursor(text: str | None, criteria: UserCriteria, sort: Sort) -> Cursor | None:
    """Parse a cursor. Raises InvalidCursor."""
    if text is None:
        return None
    order = _ORDERS[sort.field]
    cursor = Cursor.decode(text, str(sort), criteria, order.shape)
    return _with_an_id(cursor, text) if order.columns[-1] == "id" else cursor


def _with_an_id(cursor: Cursor, text: str) -> Cursor:
    if not is_uuid(str(cursor.position[-1])):  # PostgreSQL's type accepts nothing else
        raise InvalidCursor(f"invalid cursor {quoted(text)}", hint="use the next_cursor of the previous page")
    return cursor


def next_user_cursor(last: Sequence[str | int], criteria: UserCriteria, sort: Sort) -> str:
    """Return the cursor after `last`, a row of `users_page`."""
    position = tuple(last[place] for place in _ORDERS[sort.field].places)
    return Cursor(str(sort), position).encode(criteria)


def _identity_condition(ident: Identity, email_key: str, dialect: Dialect) -> Conditions:
    where = Conditions(dialect)
    match ident.kind:
        case "id":
            where.add("id = {}", ident.text)
        case "email":
            where.add("email_key = {}", email_key)
        case "username":
            where.add("username_key = {}", folded(ident.text, "NFKC"))
    return where


def _user_conditions(criteria: UserCriteria, dialect: Dialect, now: Instant) -> Conditions:
    where = Conditions(dialect)
    where.add_one_of("role", criteria.roles)
    if criteria.statuses:
        _add_statuses(where, criteria.statuses, dialect, now)
    if criteria.locked:
        where.add(_IS_LOCKED.format(dialect.as_id.format(_ID_IN_KEY)), int(now))
    where.add_given("created_at >= {}", criteria.created_after)
    where.add_given("created_at < {}", criteria.created_before)
    where.add_given("expires_at < {}", criteria.expires_before)
    where.add_given("(last_login_at IS NULL OR last_login_at < {})", criteria.last_login_before)
    where.add_one_of("mfa_state", criteria.mfa)
    if criteria.must_change_password:
        where.add("must_change_password = TRUE")
    if criteria.no_password:
        where.add("password_hash IS NULL")
    if criteria.email_domain is not None:
        where.add("email_domain = {}", folded(criteria.email_domain, "NFC"))
    if criteria.search is not None:
        if len(criteria.search) <= _SEARCH_MAX:
            patterns = (_pattern(folded(criteria.search, form)) for form in ("NFC", "NFKC"))
            where.add("(email_key LIKE {} ESCAPE '!' OR username_key LIKE {} ESCAPE '!')", *patterns)
        else:
            where.add_impossible()
    return where


def _add_statuses(where: Conditions, statuses: Sequence[Status], dialect: Dialect, now: Instant) -> None:
    """Add the condition that `status_of` returns one of these."""
    is_locked = _IS_LOCKED.format(dialect.as_id.format(_ID_IN_KEY))
    usable = "is_active = TRUE AND (expires_at IS NULL OR expires_at > {})"
    conditions: Mapping[Status, tuple[str, int]] = {
        "closed": ("is_active <> TRUE", 0),
        "expired": ("is_active = TRUE AND expires_at <= {}", 1),
        "locked": (f"{usable} AND {is_locked}", 2),
        "active": (f"{usable} AND NOT {is_locked}", 2),
    }
    chosen = [conditions[status] for status in dict.fromkeys(statuses)]
    times = sum(number for _, number in chosen)
    where.add(f"({' OR '.join(f'({template})' for template, _ in chosen)})", *[int(now)] * times)


def _order_by(sort: Sort) -> str:
    direction = " DESC" if sort.descending else ""
    return f" ORDER BY {', '.join(column + direction for column in _ORDERS[sort.field].columns)}"


def storable(value: Value) -> bool:
    """Whether a driver accepts the value. No database contains text with a NUL or an unpaired surrogate."""
    if not isinstance(value, str):
        return True
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _pattern(term: str) -> str:
    for special in "!%_":
        term = term.replace(special, f"!{special}")
    return f"%{term}%"
