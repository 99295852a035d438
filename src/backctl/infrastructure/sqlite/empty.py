"""A fresh machine: reads find no rows, changes find no accounts, and nothing is created."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from backctl.application.event_views import EventView
from backctl.application.login_views import MfaStatus
from backctl.application.ports.storage import AuditKeys
from backctl.application.views import UserView
from backctl.domain.audit import ChainReport
from backctl.domain.errors import SessionNotFound, UserNotFound
from backctl.domain.quoting import quoted
from backctl.domain.repositories import (
    EventCriteria,
    LoginFailures,
    Page,
    SecondFactors,
    SessionCriteria,
    SessionRepository,
    Sort,
    Swept,
    UserCriteria,
    UserRepository,
)
from backctl.domain.values import EventId, Identity, Instant, PasswordHash, SessionId, UserId
from backctl.infrastructure.sql import event_queries, queries

if TYPE_CHECKING:
    from backctl.application.reactions import LoggedEvent
    from backctl.application.token_views import SessionView
    from backctl.domain.events import DomainEvent
    from backctl.domain.lockout import RecentFailures
    from backctl.domain.refresh_token import RefreshToken
    from backctl.domain.sessions import Cause, Session, Standing
    from backctl.domain.user import User


class EmptyReader:
    def find_user(self, ident: Identity) -> UserView | None:
        return None

    def mfa_of(self, ident: Identity) -> MfaStatus | None:
        return None

    def password_of(self, ident: Identity) -> PasswordHash | None:
        return None

    def users(
        self, criteria: UserCriteria, sort: Sort, *, limit: int, cursor: str | None = None, offset: int = 0
    ) -> Page[UserView]:
        queries.user_cursor(cursor, criteria, sort)  # reject an invalid cursor here too
        return Page(())

    def stream_users(self, criteria: UserCriteria, sort: Sort) -> Iterator[UserView]:
        return iter(())

    def count_users(self, criteria: UserCriteria) -> int:
        return 0

    def sessions(self, user_id: UserId, *, now: Instant, limit: int, cursor: str | None = None) -> "Page[SessionView]":
        queries.session_cursor(cursor, SessionCriteria(user_id))
        return Page(())

    def stream_sessions(self, user_id: UserId, *, now: Instant) -> "Iterator[SessionView]":
        return iter(())

    def standings(self, asked: Sequence[tuple[str, str]]) -> "dict[tuple[str, str], Standing]":
        return {}

    def events(
        self, criteria: EventCriteria, *, limit: int, cursor: str | None = None, newest_first: bool = False
    ) -> Page[EventView]:
        event_queries.event_cursor(cursor, criteria, newest_first=newest_first)
        return Page(())

    def stream_events(self, criteria: EventCriteria, *, newest_first: bool = False) -> Iterator[EventView]:
        return iter(())

    def find_event(self, ident: int | EventId) -> EventView | None:
        return None

    def accounts_named(self, ident: Identity) -> tuple[UserId, ...]:
        return ()

    def verify_chain(self, keys: AuditKeys) -> ChainReport:
        """Return an empty report. Needs no key."""
        return ChainReport(0, 0)


class EmptyUnitOfWork:
    """For use cases that change existing data: they find nothing, and their events are discarded."""

    def __init__(self) -> None:
        self.users: UserRepository = _NoUsers()
        self.login_failures: LoginFailures = _NoLoginFailures()
        self.sessions: SessionRepository = _NoSessions()

    @property
    def second_factors(self) -> SecondFactors:
        """Raise RuntimeError: callers need an account first."""
        raise RuntimeError("there are no accounts, so no second factor can exist")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: there is no transaction."""

    def record(self, *events: "DomainEvent") -> None:
        """Do nothing: there is no event log yet."""

    def erase_events(self, subject: str) -> int:
        return 0

    def write(self) -> None:
        """Do nothing: there are no changes."""

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Do nothing: there is nothing to undo."""
        yield

    def commit(self) -> None:
        """Do nothing: there is nothing to commit."""

    @property
    def committed(self) -> "Sequence[LoggedEvent]":
        return ()


class _NoUsers:
    def add(self, user: "User") -> None:
        raise RuntimeError("begin the unit of work with creates=True to add an account")

    def get(self, ident: Identity) -> "User":
        raise UserNotFound(ident.text)

    def lock(self, idents: Iterable[Identity]) -> None:
        """Do nothing: there are no accounts."""

    def remove(self, user: "User") -> None:
        """Raise UserNotFound: there are no accounts."""
        raise UserNotFound(user.id)

    def lock_administrators(self) -> "Sequence[User]":
        return ()


class _NoLoginFailures:
    def of(self, key: str) -> "RecentFailures":
        from backctl.domain.lockout import RecentFailures

        return RecentFailures()

    def keep(self, key: str, failures: "RecentFailures", *, now: Instant) -> "dict[str, RecentFailures]":
        """Do nothing: there is no account to lock out."""
        return {}

    def forget(self, key: str) -> "RecentFailures":
        """Do nothing: there are no failures."""
        return self.of(key)


class _NoSessions:
    def add(self, session: "Session") -> None:
        raise RuntimeError("there are no accounts, so no session can be added")

    def owner(self, digest: bytes) -> tuple[UserId, SessionId] | None:
        return None

    def get(self, session_id: str) -> "Session":
        raise SessionNotFound(
            f"there is no session {quoted(session_id)}",
            hint="run '{backctl} token list IDENT' to list the sessions of an account",
        )

    def token(self, digest: bytes) -> "RefreshToken | None":
        return None

    def use(self, digest: bytes, *, successor: bytes, now: Instant) -> bool:
        return False

    def retry(self, token: "RefreshToken", *, successor: bytes, now: Instant) -> None:
        """Do nothing: there are no tokens."""

    def issue(self, token: "RefreshToken") -> None:
        raise RuntimeError("there are no sessions, so no token can be issued")

    def revoke_all(self, user_id: UserId, cause: "Cause", *, now: Instant) -> int:
        return 0

    def void_access_tokens(self, user_id: UserId, *, now: Instant) -> None:
        """Do nothing: there are no tokens."""

    def issued_to(self, jti: str) -> UserId | None:
        return None

    def deny(self, jti: str, *, subject: str, expires_at: Instant, now: Instant) -> bool:
        return False

    def barred_until(self, issuer: str) -> Instant | None:
        return None

    def bar(self, issuer: str, *, leeway: int, now: Instant) -> int:
        return 0

    def sweep(self, before: Instant, *, limit: int) -> Swept:
        return Swept()
