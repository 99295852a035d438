"""The repositories that units of work use to change state, and the criteria, sorting and paging of queries."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, Protocol, TypeVar, get_args

from backctl.domain.errors import InvalidCursor, InvalidInput
from backctl.domain.quoting import quoted
from backctl.domain.values import Identity, Instant, UserId

if TYPE_CHECKING:
    from backctl.domain.account_status import Status
    from backctl.domain.events import Outcome
    from backctl.domain.lockout import RecentFailures
    from backctl.domain.mfa import Enrolment, StoredCode
    from backctl.domain.refresh_token import RefreshToken
    from backctl.domain.sessions import Cause, Session
    from backctl.domain.user import MfaState, User
    from backctl.domain.values import SessionId

T_co = TypeVar("T_co", covariant=True)

PAGE_SIZE = 50
PAGE_SIZE_MAX = 1000

SortField = Literal["created_at", "email", "username", "id"]
SORT_FIELDS: tuple[SortField, ...] = get_args(SortField)


class AccountKeys(NamedTuple):
    """The id of an account and the keys under which its names are unique; None for unknown ones."""

    id: UserId | None
    email: str | None
    username: str | None


class Holders(NamedTuple):
    """The accounts that have an id, an e-mail key and a username key, each None without one."""

    by_id: "User | None"
    by_email: "User | None"
    by_username: "User | None"


class UserRepository(Protocol):
    """The accounts in a unit of work. Every returned account is written back at the commit."""

    def add(self, user: "User") -> None:
        """Add a new account. Raises EmailTaken or UsernameTaken, at the latest when the unit of work commits."""
        ...

    def add_all(self, users: "Sequence[User]") -> None:
        """Add new accounts, much faster than one by one. Their events follow those recorded so far.

        `lock_holders` must have found none of their ids and keys. Raises TransactionAborted if another transaction has
        added one of them since.
        """
        ...

    def get(self, ident: Identity) -> "User":
        """Return an account, locked for this transaction. Raises UserNotFound."""
        ...

    def lock_holders(self, keys: "Sequence[AccountKeys]") -> None:
        """Lock every account that has one of these ids or keys, in ascending order of id."""
        ...

    def holders(self, keys: "AccountKeys") -> "Holders":
        """Return the accounts that have these keys now; `lock_holders` must have been called with them.

        Does not find accounts that `add_all` added.
        """
        ...

    def lock(self, idents: Iterable[Identity]) -> None:
        """Lock those of the accounts that exist, in ascending order of id.

        Call this before you work on several accounts: transactions that lock the same accounts in different orders
        deadlock.
        """
        ...

    def remove(self, user: "User") -> None:
        """Remove an account that `get` returned. Raises UserChangedMeanwhile."""
        ...

    def lock_administrators(self) -> "Sequence[User]":
        """Lock and return all active administrators, in ascending order of id."""
        ...


class LoginFailures(Protocol):
    """The recent failed logins, by account or by unknown name."""

    def of(self, key: str) -> "RecentFailures":
        """Return the failures of a key, locked for this transaction so that no concurrent failure is lost."""
        ...

    def keep(self, key: str, failures: "RecentFailures", *, now: Instant) -> "Mapping[str, RecentFailures]":
        """Store the failures. Delete some that expired before `now`, and return these by their keys."""
        ...

    def locked_until(self, key: str) -> Instant | None:
        """Return the end of the last lock, which may have passed; None without one. Locks no row."""
        ...

    def forget(self, key: str) -> "RecentFailures":
        """Delete the failures, which also ends a lock, and return them."""
        ...

    def forget_unknown(self) -> None:
        """Delete the failures of all unknown names."""
        ...


class SecondFactors(Protocol):
    """The one-time codes and recovery codes of locked accounts. They are deleted with the account."""

    def of(self, user_id: UserId) -> "Enrolment | None": ...

    def enroll(self, user_id: UserId, enrolment: "Enrolment") -> None:
        """Store an enrolment; replaces the previous one and all recovery codes."""
        ...

    def enroll_all(self, enrolments: "Mapping[UserId, Enrolment]") -> None:
        """Store the enrolments of accounts that have none, much faster than one by one."""
        ...

    def confirm(self, user_id: UserId, *, now: Instant) -> None: ...

    def use_step(self, user_id: UserId, step: int, *, latest: int) -> bool:
        """Mark a step and all earlier ones as used, in one statement; False if the step was used before.

        Replaces a stored step after `latest`, which was used while the clock was ahead.
        """
        ...

    def use_steps_until(self, now: Instant) -> None:
        """Mark every step that this machine accepts at `now` as used, for all accounts."""
        ...

    def move(self, user_id: UserId, *, secret: str, kid: str) -> None:
        """Store the same secret, encrypted under another key."""
        ...

    def not_under(self, kid: str, *, after: UserId | None, limit: int) -> "Sequence[UserId]":
        """Return the first accounts after the id `after` whose secret is not under the key `kid`. Locks nothing."""
        ...

    def give_codes(self, user_id: UserId, codes: "Sequence[StoredCode]", *, now: Instant) -> None:
        """Store these recovery codes; replaces all others, including used ones."""
        ...

    def code_kids(self, user_id: UserId) -> Sequence[str]:
        """Return the kids of the account's unused recovery codes."""
        ...

    def use_code(self, user_id: UserId, digest: str, *, now: Instant) -> bool:
        """Mark a recovery code as used, in one statement; False if it is unknown or was used before."""
        ...

    def codes_left(self, user_id: UserId) -> int: ...

    def forget(self, user_id: UserId) -> None:
        """Delete the second factor and all recovery codes."""
        ...


class SessionRepository(Protocol):
    """The sessions in a unit of work. Every returned session is written back at the commit.

    Lock an account before its sessions. Each method that revokes something records the event.
    """

    def add(self, session: "Session") -> None:
        """Store a new session of a locked account."""
        ...

    def owner(self, digest: bytes) -> "tuple[UserId, SessionId] | None":
        """Return the account and session of a refresh token; None for an unknown token. Locks nothing."""
        ...

    def get(self, session_id: str) -> "Session":
        """Return a session, locked for this transaction. Raises SessionNotFound."""
        ...

    def token(self, digest: bytes) -> "RefreshToken | None":
        """Return a refresh token of a locked session; None if it was removed."""
        ...

    def use(self, digest: bytes, *, successor: bytes, now: Instant) -> bool:
        """Mark a refresh token as used, in one statement; False, and no change, if it was used before."""
        ...

    def retry(self, token: "RefreshToken", *, successor: bytes, now: Instant) -> None:
        """Replace the unused successor of a used token; the old successor is void from now on."""
        ...

    def issue(self, token: "RefreshToken") -> None:
        """Store the next refresh token of a session that was added or returned."""
        ...

    def revoke_all(self, user_id: UserId, cause: "Cause", *, now: Instant) -> int:
        """Revoke all open sessions of a locked account; return their number."""
        ...

    def void_access_tokens(self, user_id: UserId, *, now: Instant) -> None:
        """Void all access tokens issued so far to a locked account; its sessions stay open."""
        ...

    def issued_to(self, jti: str) -> "UserId | None":
        """Return the account to which the token `jti` was issued according to the event log, or None."""
        ...

    def deny(self, jti: str, *, subject: str, expires_at: Instant, now: Instant) -> bool:
        """Void one access token and store that until it expires; False if it was void already.

        `subject` is the account to which it was issued.
        """
        ...

    def barred_until(self, issuer: str) -> Instant | None:
        """Return the time up to which sessions of this issuer are void, inclusive; None if `bar` was never called."""
        ...

    def issuers(self) -> Sequence[str]:
        """Return the issuers of the sessions that were not revoked."""
        ...

    def bar(self, issuer: str, *, leeway: int, now: Instant) -> int:
        """Void all sessions of this issuer opened so far; return how many of them were open.

        Moves the bar to `now`. A bar that is at most `leeway` microseconds ahead, because of another machine's clock,
        stays; one further ahead moves back. Sessions opened after the bar, by a clock that is ahead, are revoked one by
        one.
        """
        ...

    def end_all(self, issuer: str, *, leeway: int, now: Instant) -> int:
        """Void all sessions of every issuer, those of `issuer` also if it has none; return how many were open.

        See `bar`. Their cause is `restored`.
        """
        ...

    def sweep(self, before: Instant, *, limit: int) -> "Swept":
        """Remove rows that expired at `before` or earlier, at most `limit` of each kind."""
        ...


@dataclass(frozen=True, slots=True)
class Swept:
    """The number of removed rows, without the refresh tokens that were removed with their session."""

    sessions: int = 0
    refresh_tokens: int = 0
    revocations: int = 0

    @property
    def total(self) -> int:
        return self.sessions + self.refresh_tokens + self.revocations

    def plus(self, other: "Swept") -> "Swept":
        return Swept(
            self.sessions + other.sessions,
            self.refresh_tokens + other.refresh_tokens,
            self.revocations + other.revocations,
        )


def checked_page_size(size: int) -> int:
    """Return `size` if it is a valid page size. Raises InvalidInput."""
    if not 1 <= size <= PAGE_SIZE_MAX:
        raise InvalidInput(f"a page has 1 to {PAGE_SIZE_MAX} items, not {size}", hint="use --all for all results")
    return size


def require_period(begin: Instant | None, end: Instant | None, *, hint: str) -> None:
    """Raise InvalidInput if no time is at `begin` or later and before `end`."""
    if begin is not None and end is not None and begin >= end:
        raise InvalidInput("the period ends before it begins", hint=hint)


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """One page of results. `next_cursor` continues after it and is None on the last page."""

    items: tuple[T_co, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Sort:
    """An order by one field; ties are broken by id in the same direction."""

    field: SortField = "created_at"
    descending: bool = False

    @classmethod
    def parse(cls, text: str) -> "Sort":
        """Parse a field such as `email`, or `-email` for descending. Raises InvalidInput with the known fields."""
        name = text.removeprefix("-")
        for field in SORT_FIELDS:
            if name == field:
                return cls(field, text.startswith("-"))
        raise InvalidInput(
            f"cannot sort by {quoted(text)}",
            hint=f"sort by one of {', '.join(SORT_FIELDS)}; put '-' before it to reverse the order",
        )

    def __str__(self) -> str:
        return f"-{self.field}" if self.descending else self.field


@dataclass(frozen=True, slots=True)
class UserCriteria:
    """Selects accounts that match every given member; a tuple matches if it is empty or one of its values does.

    Times are half-open: `created_after` ≤ created_at < `created_before`. `locked` selects every account with a lock
    after failed logins; `statuses` selects by the derived status. `expires_before` includes expired accounts, and
    `last_login_before` includes accounts that nobody has logged in to. `search` is a substring of the username or
    e-mail key.
    """

    roles: tuple[str, ...] = ()
    statuses: "tuple[Status, ...]" = ()
    locked: bool = False
    created_after: Instant | None = None
    created_before: Instant | None = None
    expires_before: Instant | None = None
    last_login_before: Instant | None = None
    mfa: "tuple[MfaState, ...]" = ()
    must_change_password: bool = False
    no_password: bool = False
    email_domain: str | None = None
    search: str | None = None


EVERY_USER = UserCriteria()
BY_CREATION = Sort()


@dataclass(frozen=True, slots=True)
class EventCriteria:
    """Selects the events that match every member. Times are half-open, as in UserCriteria.

    - `types`: of one of these types, such as `UserCreated`.
    - `subjects`: about one of these subjects. The subject of an event about an account is the account's id.
    - `by`: made by this actor: the label, the system user, `USER@HOST` or `LABEL (USER@HOST)`, exactly.
    - `outcome`: see `backctl.domain.events.Outcome`.
    - `reason_contains`: with this text in the reason, in any case.
    """

    types: tuple[str, ...] = ()
    subjects: tuple[UserId | str, ...] = ()
    since: Instant | None = None
    until: Instant | None = None
    trace_id: str | None = None
    by: str | None = None
    outcome: "Outcome | None" = None
    reason_contains: str | None = None


EVERY_EVENT = EventCriteria()


def is_newest_first(sort: str) -> bool:
    """Whether the order of events is `-seq`; the only other order is `seq`. Raises InvalidInput."""
    if sort not in ("seq", "-seq"):
        raise InvalidInput(
            f"cannot sort events by {quoted(sort)}", hint="use 'seq' for oldest first, '-seq' for newest first"
        )
    return sort == "-seq"


@dataclass(frozen=True, slots=True)
class SessionCriteria:
    """Selects the sessions of an account, oldest first."""

    user_id: UserId


Criteria = UserCriteria | EventCriteria | SessionCriteria


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in a sorted result: the sort values of the last row. Opaque to clients, and validated when decoded.

    It contains a digest of order and criteria, so that a cursor works only with its own query.
    """

    order: str
    position: tuple[str | int, ...]

    def encode(self, criteria: Criteria) -> str:
        import base64  # imported only when paging
        import json

        payload = json.dumps([_question(self.order, criteria), *self.position], separators=(",", ":"))
        return base64.urlsafe_b64encode(payload.encode()).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str, order: str, criteria: Criteria, shape: tuple[type[str] | type[int], ...]) -> "Cursor":
        """Decode a cursor of this query. Raises InvalidCursor for any other text."""
        import base64
        import json

        try:
            if len(text) > 4096:
                raise ValueError
            payload = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        except (ValueError, RecursionError):
            raise InvalidCursor(
                f"{quoted(text)} is not a cursor", hint="use next_cursor of the previous page"
            ) from None
        if not isinstance(payload, list) or not payload or payload[0] != _question(order, criteria):
            raise InvalidCursor(
                "the cursor belongs to another query", hint="keep the filters and --sort of the previous page"
            )
        position = tuple(payload[1:])
        # Keys and ids are printable and times fit a column; the database driver would fail on anything else.
        if tuple(map(type, position)) != shape or any(
            abs(part) >= 2**63 if isinstance(part, int) else not part.isprintable() for part in position
        ):
            raise InvalidCursor(f"{quoted(text)} is not a cursor", hint="use next_cursor of the previous page")
        return cls(order, position)


def _question(order: str, criteria: Criteria) -> str:
    import base64
    import hashlib

    text = f"{order}\0{criteria!r}"
    return base64.b64encode(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:9]).decode()
