"""What services answer: frozen, without secrets. The order of the members is the order of the columns.

`TABLE` names the few that a table on a terminal has room for.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, Self, TypeVar

from backctl.domain.values import Instant, UserId

if TYPE_CHECKING:
    from backctl.domain.access import Role
    from backctl.domain.mfa import Enrolment
    from backctl.domain.user import User

AccessReason = Literal["granted", "not_granted", "inactive", "expired", "role_unknown"]

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Change(Generic[T_co]):
    """What a mutation left behind, and whether it changed anything."""

    value: T_co
    changed: bool


@dataclass(frozen=True, slots=True)
class UserView:
    TABLE: ClassVar = ("username", "email", "role", "is_active", "created_at")

    id: UserId
    email: str
    username: str
    role: str
    is_active: bool
    has_password: bool
    must_change_password: bool
    mfa: str
    expires_at: Instant | None
    created_at: Instant
    updated_at: Instant
    version: int

    @classmethod
    def of(cls, user: "User") -> Self:
        return cls(
            id=user.id,
            email=user.email.address,
            username=user.username.name,
            role=user.role,
            is_active=user.is_active,
            has_password=user.password_hash is not None,
            must_change_password=user.must_change_password,
            mfa=user.mfa_state,
            expires_at=user.expires_at,
            created_at=user.created_at,
            updated_at=user.updated_at,
            version=user.version,
        )


@dataclass(frozen=True, slots=True)
class UserExistence:
    """Whether an identity names an account, and which."""

    ident: str
    exists: bool
    id: UserId | None


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """Whether a password, and a code where the account asks for one, open an account.

    `must_change`: they do, and the password has to be changed before anything else. `mfa_required`: the password is
    right, and a code has to be given with it. `user_id` and `second_factor` are None unless it is `ok`, the latter
    also where no code was asked for. `recovery_codes_left` is told when one was used.
    """

    ident: str
    ok: bool
    outcome: Literal["ok", "must_change", "mfa_required", "refused", "locked"]
    locked_until: Instant | None
    user_id: UserId | None = None
    second_factor: Literal["totp", "recovery_code"] | None = None
    recovery_codes_left: int | None = None


@dataclass(frozen=True, slots=True)
class MfaStatus:
    """The second factor of an account. `mfa` is `off`, `pending` until a code has confirmed it, or `on`."""

    id: UserId
    username: str
    mfa: str
    algorithm: str | None
    digits: int | None
    period: int | None
    enrolled_at: Instant | None
    confirmed_at: Instant | None
    recovery_codes_left: int

    @classmethod
    def of(cls, user: "User", enrolment: "Enrolment | None", *, recovery_codes_left: int) -> Self:
        return cls(
            id=user.id,
            username=user.username.name,
            mfa=user.mfa_state,
            algorithm=enrolment.settings.algorithm if enrolment else None,
            digits=enrolment.settings.digits if enrolment else None,
            period=enrolment.settings.period if enrolment else None,
            enrolled_at=enrolment.enrolled_at if enrolment else None,
            confirmed_at=enrolment.confirmed_at if enrolment else None,
            recovery_codes_left=recovery_codes_left,
        )


@dataclass(frozen=True, slots=True)
class UserDeletion:
    """The account that is gone, all None when there was none, and how many of its events were erased."""

    TABLE: ClassVar = ("username", "email", "erased_events")

    id: UserId | None
    email: str | None
    username: str | None
    erased_events: int


@dataclass(frozen=True, slots=True)
class AccessView:
    """Whether an account may do something now. `reason` is a stable word, `granted_by` the permission that grants."""

    ident: str
    permission: str
    allowed: bool
    reason: AccessReason
    granted_by: str | None


@dataclass(frozen=True, slots=True)
class AccessExplanation:
    """An AccessView with everything that it was worked out from."""

    ident: str
    permission: str
    allowed: bool
    reason: AccessReason
    granted_by: str | None
    id: UserId
    role: str
    role_permissions: tuple[str, ...]
    is_active: bool
    expires_at: Instant | None


@dataclass(frozen=True, slots=True)
class EventView:
    """One event. `data` is None once erased."""

    TABLE: ClassVar = ("seq", "occurred_at", "type", "actor", "reason", "data")

    seq: int
    id: str
    occurred_at: Instant
    type: str
    subject: str
    actor: str
    os_user: str
    host: str
    reason: str | None
    trace_id: str | None
    data: dict[str, object] | None


@dataclass(frozen=True, slots=True)
class ChainView:
    """The outcome of a walk along the event chain; `broken_seq` is the first event that does not hold."""

    intact: bool
    events: int
    erased: int
    broken_seq: int | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class RoleView:
    name: str
    description: str
    builtin: bool
    permissions: tuple[str, ...]

    @classmethod
    def of(cls, role: "Role") -> Self:
        return cls(role.name, role.description, role.builtin, tuple(permission.text for permission in role.permissions))
