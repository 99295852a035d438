"""What the domain asks of its stores: one account at a time to change, many at a time to look at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar, get_args

from backctl.domain.errors import InvalidCursor, InvalidInput, quoted
from backctl.domain.values import Identity, Instant, UserId

if TYPE_CHECKING:
    from backctl.domain.lockout import RecentFailures
    from backctl.domain.mfa import Enrolment, StoredCode
    from backctl.domain.refresh_token import RefreshToken
    from backctl.domain.sessions import Cause, Session
    from backctl.domain.user import User
    from backctl.domain.values import SessionId

T_co = TypeVar("T_co", covariant=True)

PAGE_SIZE = 50
PAGE_SIZE_MAX = 1000

SortField = Literal["created_at", "email", "username", "id"]
SORT_FIELDS: tuple[SortField, ...] = get_args(SortField)


class UserRepository(Protocol):
    """The accounts a unit of work may change. Everything handed out is written back at its commit."""

    def add(self, user: "User") -> None:
        """Raises EmailTaken or UsernameTaken at the latest when the unit of work commits."""
        ...

    def get(self, ident: Identity) -> "User":
        """The account, locked for this transaction. Raises UserNotFound."""
        ...

    def lock(self, idents: Iterable[Identity]) -> None:
        """Lock those accounts that exist, in ascending order of id, so that `get` finds them locked.

        What is about to work on several accounts locks them all first: one after the other, in another order than
        somebody else's, each would wait for the other.
        """
        ...

    def remove(self, user: "User") -> None:
        """Take an account away that was handed out. Raises UserChangedMeanwhile."""
        ...

    def lock_administrators(self) -> "Sequence[User]":
        """Every account that can administer now, its row locked, in ascending order of id."""
        ...


class LoginFailures(Protocol):
    """The failed logins that still count, by account or by a name that no account has."""

    def of(self, key: str) -> "RecentFailures":
        """Those of a key, locked for this transaction, so that no failure beside it is lost."""
        ...

    def keep(self, key: str, failures: "RecentFailures", *, now: Instant) -> None:
        """Remember them, and forget some that expired before `now`."""
        ...

    def forget(self, key: str) -> None:
        """Count from nothing again, and end a lock."""
        ...


class SecondFactors(Protocol):
    """One-time codes and recovery codes, each of an account that is locked. They go away with it."""

    def of(self, user_id: UserId) -> "Enrolment | None": ...

    def enroll(self, user_id: UserId, enrolment: "Enrolment") -> None:
        """Keep it in place of whatever there was, recovery codes included."""
        ...

    def confirm(self, user_id: UserId, *, now: Instant) -> None: ...

    def use_step(self, user_id: UserId, step: int) -> bool:
        """Mark a step and all before it as used, in one statement; False when it was used before."""
        ...

    def move(self, user_id: UserId, *, secret: str, kid: str) -> None:
        """Keep the same secret under another key."""
        ...

    def not_under(self, kid: str, *, after: UserId | None, limit: int) -> "Sequence[UserId]":
        """Whose secrets are kept under another key than `kid`: the first ones past the id `after`, nothing locked."""
        ...

    def give_codes(self, user_id: UserId, codes: "Sequence[StoredCode]", *, now: Instant) -> None:
        """Keep these recovery codes in place of all others, used ones included."""
        ...

    def code_kids(self, user_id: UserId) -> Sequence[str]:
        """The keys under which recovery codes are kept that nobody has used."""
        ...

    def use_code(self, user_id: UserId, digest: str, *, now: Instant) -> bool:
        """Mark a recovery code as used, in one statement; False for one that is unknown or was used before."""
        ...

    def codes_left(self, user_id: UserId) -> int: ...

    def forget(self, user_id: UserId) -> None:
        """Let nothing be left of it."""
        ...


class SessionRepository(Protocol):
    """The sessions that a unit of work may change. Everything handed out is written back at its commit.

    Lock an account before its sessions. What is revoked is recorded by whatever revokes it.
    """

    def add(self, session: "Session") -> None:
        """Store a new session of an account that is locked."""
        ...

    def owner(self, digest: bytes) -> "tuple[UserId, SessionId] | None":
        """Whose refresh token this is and of which session, nothing locked; None for one that is unknown."""
        ...

    def get(self, session_id: str) -> "Session":
        """The session, locked for this transaction. Raises SessionNotFound."""
        ...

    def token(self, digest: bytes) -> "RefreshToken | None":
        """A refresh token of a session that is locked; None for one that is gone."""
        ...

    def use(self, digest: bytes, *, successor: bytes, now: Instant) -> bool:
        """Mark a refresh token as used, in one statement; False when it was used before, and stays as it is."""
        ...

    def retry(self, token: "RefreshToken", *, successor: bytes, now: Instant) -> None:
        """Put another in the place of the unused successor of a used token, which is void from now on."""
        ...

    def issue(self, token: "RefreshToken") -> None:
        """Store the next refresh token of a session that was added or handed out."""
        ...

    def revoke_all(self, user_id: UserId, cause: "Cause", *, now: Instant) -> int:
        """Revoke the sessions of a locked account that are open. How many that were."""
        ...

    def void_access_tokens(self, user_id: UserId, *, now: Instant) -> None:
        """Void every access token that the sessions of a locked account were given so far; the sessions go on."""
        ...

    def issued_to(self, jti: str) -> "UserId | None":
        """The account that an access token with this jti was issued to, as the log tells; None when none was."""
        ...

    def deny(self, jti: str, *, subject: str, expires_at: Instant, now: Instant) -> bool:
        """Void one access token, and remember it until it has expired; False when it was denied already.

        `subject` is the account it was issued to.
        """
        ...

    def barred_until(self, issuer: str) -> Instant | None:
        """Sessions of this issuer that were opened then or earlier are void; None when that never happened."""
        ...

    def bar(self, issuer: str, *, leeway: int, now: Instant) -> int:
        """Void every session of this issuer that was opened so far. How many of them were open.

        The bar moves to now. It stays where it is when it is up to `leeway` microseconds ahead, the skew of another
        machine's clock; one further ahead moves back. Sessions opened after it, by a clock that is ahead, are revoked
        one by one.
        """
        ...

    def sweep(self, before: Instant, *, limit: int) -> "Swept":
        """Remove what expired at `before` or earlier, at most `limit` rows of each kind."""
        ...


@dataclass(frozen=True, slots=True)
class Swept:
    """How much was removed. The refresh tokens of a removed session go uncounted with it."""

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
    """Raises InvalidInput for a page that nobody is given."""
    if not 1 <= size <= PAGE_SIZE_MAX:
        raise InvalidInput(f"a page has 1 to {PAGE_SIZE_MAX} items, not {size}", hint="use --all for all results")
    return size


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """Some of the answer. `next_cursor` continues it and is None at the end."""

    items: tuple[T_co, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Sort:
    """An order by one field; ties are broken by id in the same direction."""

    field: SortField = "created_at"
    descending: bool = False

    @classmethod
    def parse(cls, text: str) -> "Sort":
        """`email` ascending, `-email` descending. Raises InvalidInput naming the known fields."""
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
    """Which accounts. `search` is a substring of username or e-mail, compared by their keys; times are half-open:
    `created_after` ≤ created_at < `created_before`."""

    role: str | None = None
    is_active: bool | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    email_domain: str | None = None
    search: str | None = None


EVERY_USER = UserCriteria()
BY_CREATION = Sort()


@dataclass(frozen=True, slots=True)
class EventCriteria:
    """Which events; always by their sequence numbers, one way or the other. Times are half-open as in UserCriteria."""

    type: str | None = None
    subject: UserId | str | None = None
    since: Instant | None = None
    until: Instant | None = None
    trace_id: str | None = None


EVERY_EVENT = EventCriteria()


def is_newest_first(sort: str) -> bool:
    """Which way through the log `seq` or `-seq` asks for; events have no other order. Raises InvalidInput."""
    if sort not in ("seq", "-seq"):
        raise InvalidInput(
            f"cannot sort events by {quoted(sort)}", hint="use 'seq' for oldest first, '-seq' for newest first"
        )
    return sort == "-seq"


@dataclass(frozen=True, slots=True)
class SessionCriteria:
    """Which sessions: an account's, in the order in which they were opened."""

    user_id: UserId


Criteria = UserCriteria | EventCriteria | SessionCriteria


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in an order: the sort values of the last row seen. Opaque outside, checked when it comes back.

    It carries a digest of order and criteria, so a cursor of one question is not taken for another's.
    """

    order: str
    position: tuple[str | int, ...]

    def encode(self, criteria: Criteria) -> str:
        import base64  # only whoever pages on pays for these
        import json

        payload = json.dumps([_question(self.order, criteria), *self.position], separators=(",", ":"))
        return base64.urlsafe_b64encode(payload.encode()).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str, order: str, criteria: Criteria, shape: tuple[type[str] | type[int], ...]) -> "Cursor":
        """Read a cursor of this very question. Raises InvalidCursor for any other text."""
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
        # Keys and ids are printable and times fit a column; anything else would be an error of the database's driver.
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
