"""Ports for the database: transactions, queries and maintenance. Adapters in `infrastructure` implement them.

Most imports are for type checkers only, so that importing this module loads little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from backctl.application.attribution import Attribution
from backctl.domain.values import EventId, Identity, Instant, PasswordHash, UserId

if TYPE_CHECKING:
    from backctl.application.database_views import BackupView, CheckView, DatabaseStatus, RestoreView, UpgradeView
    from backctl.application.event_views import EventView
    from backctl.application.login_views import MfaStatus
    from backctl.application.reactions import LoggedEvent
    from backctl.application.token_views import SessionView
    from backctl.application.transfer.record import AccountBlock
    from backctl.application.views import Change, UserView
    from backctl.domain.audit import ChainReport, Head
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
    from backctl.domain.seed import AccountSnapshot
    from backctl.domain.sessions import Standing


class Transaction(Protocol):
    """The part of a unit of work or a keyring change that the runner uses.

    Entering begins it; leaving without `commit` rolls back. In a dry run, `commit` does all its work and rolls back.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def commit(self) -> None:
        """Make the transaction durable. Raises the errors of the implementation's `commit`."""
        ...

    @property
    def committed(self) -> Sequence[LoggedEvent]:
        """The events of the transaction; empty until they are durable, and always empty in a dry run."""
        ...


class UnitOfWork(Transaction, Protocol):
    """One transaction, which saves state and the events that record it together or not at all."""

    users: UserRepository
    login_failures: LoginFailures

    @property
    def sessions(self) -> SessionRepository: ...

    @property
    def second_factors(self) -> SecondFactors: ...

    def record(self, *events: DomainEvent) -> None:
        """Add events that no aggregate recorded. They follow the events of the aggregates."""
        ...

    def erase_events(self, subject: str) -> int:
        """Erase the data of all events about `subject` so far; return how many had data. The chain stays valid."""
        ...

    def label_seeded(self, user_ids: Sequence[UserId], name: str) -> None:
        """Label accounts that this transaction has added with the name of their seed, and record `UserSeeded`."""
        ...

    def log_head(self) -> Head:
        """Return the end of the event log, before the events of this transaction. Locks nothing."""
        ...

    def write(self) -> None:
        """Write the changed aggregates within the transaction, which increments their versions.

        Raises EmailTaken, UsernameTaken, UserChangedMeanwhile.
        """
        ...

    def attempt(self) -> AbstractContextManager[None]:
        """Write the changes made in the `with` block when it ends; undo only those changes when it raises.

        Undoes rows and events, and raises the error again. Objects loaded before that are stale: load them again.
        The transaction stays usable unless the error is Unavailable, Unusable or not a BackctlError.
        """
        ...

    def commit(self) -> None:
        """Write the changed aggregates, append their events to the log, and commit.

        Raises EmailTaken, UsernameTaken, UserChangedMeanwhile; DatabaseLocked, DatabaseFull.
        """
        ...


class UnitOfWorkFactory(Protocol):
    def __call__(self, *, by: Attribution, dry_run: bool, creates: bool = False) -> UnitOfWork:
        """Return a unit of work that has not begun; `by` is recorded with its events. Loads the modules it needs.

        On a fresh machine, `creates` creates the installation, which only the creation of an account does; otherwise
        this raises InstallationMissing. Raises InvalidInput for an invalid reason before it opens anything.
        """
        ...


class Reader(Protocol):
    """The read side: each method runs one statement and turns its rows into views, except `account_snapshot`."""

    def find_user(self, ident: Identity) -> UserView | None: ...

    def last_seen(self, user_id: UserId) -> Instant | None:
        """Return when an account was last seen; None if that is unknown."""
        ...

    def mfa_of(self, ident: Identity) -> MfaStatus | None:
        """Return the second-factor status of an account, whether it has one or not; None for an unknown account."""
        ...

    def password_of(self, ident: Identity) -> PasswordHash | None:
        """Return the password hash of an account; None for an unknown account or one without a password."""
        ...

    def users(
        self, criteria: UserCriteria, sort: Sort, *, limit: int, cursor: str | None = None, offset: int = 0
    ) -> Page[UserView]:
        """Return at most `limit` accounts after the cursor, or after the first `offset` (slow for large offsets)."""
        ...

    def stream_users(self, criteria: UserCriteria, sort: Sort) -> Iterator[UserView]:
        """Yield all matching accounts in constant memory, from one snapshot."""
        ...

    def export_accounts(self, criteria: UserCriteria, *, hashes: bool, factors: bool) -> Iterator[AccountBlock]:
        """Yield all matching accounts by id in constant memory, from one snapshot.

        `hashes` adds the columns of password hashes, `factors` the second factors, whose secrets stay encrypted.
        """
        ...

    def account_snapshot(self) -> AbstractContextManager[AccountSnapshot]:
        """Return one snapshot for several questions about accounts. Holds a connection while it is open."""
        ...

    def count_users(self, criteria: UserCriteria) -> int: ...

    def sessions(self, user_id: UserId, *, now: Instant, limit: int, cursor: str | None = None) -> Page[SessionView]:
        """Return at most `limit` sessions of an account, oldest first."""
        ...

    def stream_sessions(self, user_id: UserId, *, now: Instant) -> Iterator[SessionView]:
        """Yield all sessions of an account in constant memory, from one snapshot."""
        ...

    def standings(self, asked: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Standing]:
        """Return the standing of each (session id, `jti`) whose session still exists. Runs one statement for all."""
        ...

    def events(
        self, criteria: EventCriteria, *, limit: int, cursor: str | None = None, newest_first: bool = False
    ) -> Page[EventView]: ...

    def stream_events(self, criteria: EventCriteria, *, newest_first: bool = False) -> Iterator[EventView]:
        """Yield all matching events in constant memory, from one snapshot."""
        ...

    def find_event(self, ident: int | EventId) -> EventView | None:
        """Return the event with this number or id."""
        ...

    def accounts_named(self, ident: Identity) -> tuple[UserId, ...]:
        """Return the accounts that have or had this name, including deleted accounts, the newest first.

        Erased accounts have no names.
        """
        ...

    def verify_chain(self, keys: AuditKeys) -> ChainReport:
        """Verify the chain of the event log from one snapshot."""
        ...


AuditKeys = Callable[[Sequence[str]], dict[str, bytes]]
"""Returns every audit key by kid, given the kids that the log names. Called only if there is a log."""


class HealthProbe(Protocol):
    """Checks one part of the installation without changing it."""

    @property
    def check(self) -> str:
        """The stable name of the check, e.g. `keyring.valid`."""
        ...

    def examine(self) -> CheckView:
        """Run the check. Raises BackctlError when the part is unusable; callers report that as a failed check."""
        ...


class Restored(NamedTuple):
    """The result of a restore. `events` are those of `Settle`, once they are durable; none in a dry run."""

    change: Change[RestoreView]
    events: Sequence[LoggedEvent]


class Settle(Protocol):
    """A step that every copy needs before it replaces a database; see `DatabaseCare.restore`."""

    def __call__(self, work: UnitOfWork, installation_id: str, *, copy: Head, replaced: Head | None) -> int:
        """End all sessions and record it. Return how many sessions were open. Write all changes.

        `copy` and `replaced` are the ends of both logs; `replaced` is None if it is unknown.
        """
        ...


class DatabaseCare(Protocol):
    """Maintenance of a database: status, upgrades, checks, backups, and replacing it by a backup."""

    def status(self) -> DatabaseStatus:
        """Describe the database, at any revision. Raises DatabaseUnusable when it does not belong to backctl."""
        ...

    def upgrade(self, *, by: Attribution, dry_run: bool) -> Change[UpgradeView]:
        """Upgrade the schema to the revision of this program and record it. Concurrent callers upgrade it only once.

        Requires the keyring of this database. Raises InstallationMissing, SchemaTooNew, DatabaseLocked, DatabaseFull,
        KeyringMismatch and the errors of reading the keyring; nothing has changed then.
        """
        ...

    def probes(self) -> tuple[HealthProbe, ...]:
        """Return the checks of schema and contents. A failed check can explain the failures after it."""
        ...

    def back_up(self, file: str) -> BackupView:
        """Copy a snapshot of the database to a new file, completely or not at all.

        Raises FileTaken, FolderUnusable, DatabaseFull, and UsageError for a database that has its own backup tools.
        """
        ...

    def restore(self, file: str, settle: Settle, *, by: Attribution, dry_run: bool) -> Restored:
        """Replace the database by a copy, after `settle` has changed the copy; `file` itself is not changed.

        The database has all of its old contents or all of the new ones, even if the process is killed. Other processes
        may use it meanwhile; they then see the new contents. A copy of the replaced database is kept. Without a
        database, the copy becomes the database. A database that has its own tools is not changed; the result names
        their commands. Raises InvalidInput for a file that cannot be read, DatabaseUnusable, DatabaseMismatch,
        SchemaTooNew, KeyringMismatch, DatabaseLocked, DatabaseFull, DiskFull, FolderUnusable, OutcomeUnknown, and the
        errors of reading the keyring. Except for OutcomeUnknown, nothing has changed then.
        """
        ...
