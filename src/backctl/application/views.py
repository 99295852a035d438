"""Results of services: frozen, without secrets. The order of the members is the order of the columns.

Five class variables describe a list of views as a table on a terminal:

- `TABLE` names the members that it shows, in order; by default all.
- `SPARE` names the members that a narrow terminal shortens and then drops, the least important first. Others are
  never dropped.
- `BROKEN` names the members that a narrow terminal breaks into several lines, even within a word.
- `PLURAL` is the plural for messages, as in "no accounts found".
- `BELOW` is a pair of members: the second, such as a hint, is printed below the first.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Generic, Self, TypeGuard, TypeVar

from backctl.domain.account_status import Status, lock_in_force, status_of
from backctl.domain.values import Instant, UserId

if TYPE_CHECKING:
    from backctl.domain.errors import BackctlError
    from backctl.domain.user import User


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Change(Generic[T_co]):
    """The result of a mutation, and whether it changed anything."""

    value: T_co
    changed: bool


def is_change(outcome: "Change[T] | BackctlError") -> TypeGuard[Change[T]]:
    """Whether a mutation succeeded and changed something."""
    return isinstance(outcome, Change) and outcome.changed


@dataclass(frozen=True, slots=True)
class UserView:
    """An account. `status` and `locked_until` are those at the time of reading.

    `locked_until` is the end of a lock after failed logins, or None without one. `status_of` defines `status`.
    `last_login_at` is None if nobody has logged in to the account.
    """

    PLURAL: ClassVar = "accounts"
    TABLE: ClassVar = ("username", "email", "role", "status", "created_at")
    SPARE: ClassVar = ("created_at", "role")

    id: UserId
    email: str
    username: str
    role: str
    status: Status
    is_active: bool
    locked_until: Instant | None
    has_password: bool
    must_change_password: bool
    mfa: str
    expires_at: Instant | None
    last_login_at: Instant | None
    created_at: Instant
    updated_at: Instant
    version: int
    password_imported: bool

    @classmethod
    def of(cls, user: "User", *, locked_until: Instant | None, now: Instant) -> Self:
        """Return the view of an account at `now`. `locked_until` is the end of its last lock, which may have passed."""
        return cls(
            id=user.id,
            email=user.email.address,
            username=user.username.name,
            role=user.role,
            status=status_of(is_active=user.is_active, expires_at=user.expires_at, locked_until=locked_until, now=now),
            is_active=user.is_active,
            locked_until=lock_in_force(locked_until, now),
            has_password=user.password_hash is not None,
            must_change_password=user.must_change_password,
            mfa=user.mfa_state,
            expires_at=user.expires_at,
            last_login_at=user.last_login_at,
            created_at=user.created_at,
            updated_at=user.updated_at,
            version=user.version,
            password_imported=user.password_imported,
        )

    def at(self, now: Instant) -> Self:
        """Return the account with its status at `now`, for example for a cached view."""
        status = status_of(
            is_active=self.is_active, expires_at=self.expires_at, locked_until=self.locked_until, now=now
        )
        return replace(self, status=status, locked_until=lock_in_force(self.locked_until, now))


@dataclass(frozen=True, slots=True)
class UserExistence:
    """Whether an identity names an account, and the id of that account."""

    ok: bool
    ident: str
    user_id: UserId | None


@dataclass(frozen=True, slots=True)
class UserCount:
    """How many accounts there are."""

    count: int


@dataclass(frozen=True, slots=True)
class UserDeletion:
    """The deleted account (all None if there was none), and the number of its events that were erased."""

    TABLE: ClassVar = ("username", "email", "erased_events")

    id: UserId | None
    email: str | None
    username: str | None
    erased_events: int
