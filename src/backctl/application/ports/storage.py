"""What use cases need of the database: transactions, queries and its care; adapters in `infrastructure` provide it.

Only the types are used here: nothing of what they name is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from backctl.application.attribution import Attribution
from backctl.domain.values import Identity, Instant, PasswordHash, UserId

if TYPE_CHECKING:
    from backctl.application.database_views import BackupView, CheckView, DatabaseStatus, UpgradeView
    from backctl.application.event_views import EventView
    from backctl.application.login_views import MfaStatus
    from backctl.application.reactions import LoggedEvent
    from backctl.application.token_views import SessionView
    from backctl.application.views import Change, UserView
    from backctl.domain.audit import ChainReport
    from backctl.domain.events import DomainEvent
    from backctl.domain.repositories import (
        EventCriteria,
        LoginFailures,
        Page,
        SecondFactors,
        SessionRepository,
        Sort,
        UserCriteria,
        UserRepository,
    )
    from backctl.domain.sessions import Standing


class Transaction(Protocol):
    """What the runner needs of a unit of work and of a keyring change.

    Entering begins it; leaving without `commit` rolls back. `dry_run` makes `commit` do all its work and roll back.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def commit(self) -> None:
        """Make it durable. Raises what the transaction's own `commit` raises."""
        ...

    @property
    def committed(self) -> Sequence[LoggedEvent]:
        """The events of the transaction once they are durable; none before, and none in a dry run."""
        ...


class UnitOfWork(Transaction, Protocol):
    """One transaction: the state and its events, or neither."""

    users: UserRepository
    login_failures: LoginFailures

    @property
    def sessions(self) -> SessionRepository: ...

    @property
    def second_factors(self) -> SecondFactors: ...

    def record(self, *events: DomainEvent) -> None:
        """Have events appended that no aggregate recorded, after those of the aggregates."""
        ...

    def erase_events(self, subject: str) -> int:
        """Blank the data of everything recorded about `subject` so far; the chain holds. How many had any."""
        ...

    def write(self) -> None:
        """Write the changed aggregates, within the transaction: each has its next version then.

        Raises EmailTaken, UsernameTaken, UserChangedMeanwhile.
        """
        ...

    def attempt(self) -> AbstractContextManager[None]:
        """What is done within is written at its end, or undone when it raises; the transaction goes on either way.

        Undone are rows and events alike, and whatever was handed out must be asked for once more. Passes on what is
        raised. Only Unavailable, Unusable and what is no BackctlError leave a transaction that cannot go on.
        """
        ...

    def commit(self) -> None:
        """Write the changed aggregates, append their events to the log, make it all durable.

        Raises EmailTaken, UsernameTaken, UserChangedMeanwhile; DatabaseLocked, DatabaseFull.
        """
        ...


class UnitOfWorkFactory(Protocol):
    def __call__(self, *, by: Attribution, dry_run: bool, creates: bool = False) -> UnitOfWork:
        """A unit of work not yet begun, with who acts and why. Everything it needs is loaded when this returns.

        `creates` is for use cases that can succeed where there is nothing yet: on a fresh machine they make the
        installation. All others find it empty, and nothing is made. Raises InvalidInput for the reason before anything
        is opened.
        """
        ...


class Reader(Protocol):
    """The read side: rows straight into views, one statement each."""

    def find_user(self, ident: Identity) -> UserView | None: ...

    def mfa_of(self, ident: Identity) -> MfaStatus | None:
        """The second factor of an account, of one without any too; None without the account."""
        ...

    def password_of(self, ident: Identity) -> PasswordHash | None:
        """The stored hash of an account; None without the account or without a password."""
        ...

    def users(
        self, criteria: UserCriteria, sort: Sort, *, limit: int, cursor: str | None = None, offset: int = 0
    ) -> Page[UserView]:
        """At most `limit` accounts, from the cursor (cheap at any depth) or after `offset` of them (not so)."""
        ...

    def stream_users(self, criteria: UserCriteria, sort: Sort) -> Iterator[UserView]:
        """All of them in constant memory, from one snapshot."""
        ...

    def count_users(self, criteria: UserCriteria) -> int: ...

    def sessions(self, user_id: UserId, *, now: Instant, limit: int, cursor: str | None = None) -> Page[SessionView]:
        """At most `limit` sessions of an account, the oldest first."""
        ...

    def stream_sessions(self, user_id: UserId, *, now: Instant) -> Iterator[SessionView]:
        """All of them in constant memory, from one snapshot."""
        ...

    def standings(self, asked: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Standing]:
        """By session and `jti`, what is known of access tokens whose sessions still exist. One statement for all."""
        ...

    def events(
        self, criteria: EventCriteria, *, limit: int, cursor: str | None = None, newest_first: bool = False
    ) -> Page[EventView]: ...

    def stream_events(self, criteria: EventCriteria, *, newest_first: bool = False) -> Iterator[EventView]: ...

    def verify_chain(self, keys: AuditKeys) -> ChainReport:
        """Walk the event log from one snapshot."""
        ...


AuditKeys = Callable[[Sequence[str]], dict[str, bytes]]
"""kid → key of every audit key, given the kids of those that a log was written with. Called when there is a log."""


class HealthProbe(Protocol):
    """Looks at one part of the installation without changing it."""

    @property
    def check(self) -> str:
        """The stable name of the check, e.g. `keyring.valid`."""
        ...

    def examine(self) -> CheckView:
        """Raises BackctlError when that part is not usable: a failure with its hint."""
        ...


class DatabaseCare(Protocol):
    """Looks after a database as a whole."""

    def status(self) -> DatabaseStatus:
        """What the database holds, at any revision. Raises DatabaseUnusable when it does not belong to backctl."""
        ...

    def upgrade(self, *, by: Attribution, dry_run: bool) -> Change[UpgradeView]:
        """Bring the schema to the revision of this program, once, however many try at the same time, and record it.

        Only under the keyring that belongs to it. Raises DatabaseMissing, SchemaTooNew, DatabaseLocked, DatabaseFull,
        KeyringMismatch and what the keyring's file raises; then nothing has changed.
        """
        ...

    def probes(self) -> tuple[HealthProbe, ...]:
        """The checks of schema and contents, in the order in which one explains the next."""
        ...

    def back_up(self, file: str) -> BackupView:
        """Copy the database as it is at this moment to a new file, whole or not at all.

        Raises FileTaken, FolderUnusable, DatabaseFull, and UsageError where the database's own tools make copies.
        """
        ...
