"""What the use cases ask of the world outside; adapters in `infrastructure` answer."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from backctl.application.views import CheckView, EventView, UserView
from backctl.domain.repositories import EventCriteria, Page, Sort, UserCriteria, UserRepository
from backctl.domain.values import Actor, EmailAddress, Identity, Instant, PasswordHash, Secret, UserId

if TYPE_CHECKING:
    from backctl.domain.audit import ChainReport

Clock = Callable[[], Instant]
"""The present moment, as the caller is to believe it."""

IdSource = Callable[[], UserId]
"""A new UUIDv7 (RFC 9562 §5.7) at each call."""


class AddressParser(Protocol):
    """Judges the syntax of e-mail addresses without asking the network."""

    def parse(self, text: str) -> EmailAddress:
        """Raises InvalidEmail."""
        ...

    def key_of(self, text: str) -> str:
        """The key a stored address would have: enough to look one up, cheaper than `parse`. Never raises."""
        ...


class PasswordHasher(Protocol):
    """Turns prepared passwords into PasswordHash values. Slow on purpose."""

    def begin(self, password: Secret) -> Callable[[], PasswordHash]:
        """Start hashing beside the caller, who goes on and asks for the result later."""
        ...


class UnitOfWork(Protocol):
    """One transaction: the state and its events, or neither.

    Entering begins it; leaving without `commit` rolls back. `dry_run` makes `commit` do all its work and roll back.
    """

    users: UserRepository

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def erase_events(self, subject: str) -> int:
        """Blank the data of everything recorded about `subject` so far; the chain holds. How many had any."""
        ...

    def commit(self, actor: Actor, reason: str | None) -> None:
        """Write the changed aggregates, append their events to the log, make it all durable.

        Raises EmailTaken, UsernameTaken, UserChangedMeanwhile; DatabaseLocked, DatabaseFull.
        """
        ...


class UnitOfWorkFactory(Protocol):
    def __call__(self, *, dry_run: bool) -> UnitOfWork:
        """A unit of work not yet begun. Everything it needs is loaded when this returns."""
        ...


class Reader(Protocol):
    """The read side: rows straight into views, one statement each."""

    def find_user(self, ident: Identity) -> UserView | None: ...

    def users(
        self, criteria: UserCriteria, sort: Sort, *, limit: int, cursor: str | None = None, offset: int = 0
    ) -> Page[UserView]:
        """At most `limit` accounts, from the cursor (cheap at any depth) or after `offset` of them (not so)."""
        ...

    def stream_users(self, criteria: UserCriteria, sort: Sort) -> Iterator[UserView]:
        """All of them in constant memory, from one snapshot."""
        ...

    def count_users(self, criteria: UserCriteria) -> int: ...

    def events(self, criteria: EventCriteria, *, limit: int, cursor: str | None = None) -> Page[EventView]: ...

    def stream_events(self, criteria: EventCriteria) -> Iterator[EventView]: ...

    def verify_chain(self, keys: "AuditKeys") -> "ChainReport":
        """Walk the event log from one snapshot."""
        ...


AuditKeys = Callable[[], dict[str, bytes]]
"""kid → key of every audit key; asked for only when there is a chain to check."""


class HealthProbe(Protocol):
    """Looks at one part of the installation without changing it."""

    @property
    def check(self) -> str:
        """The stable name of the check, e.g. `keyring.valid`."""
        ...

    def examine(self) -> CheckView:
        """Raises BackctlError when that part is not usable: a failure with its hint."""
        ...
