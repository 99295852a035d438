"""Views of roles and permissions."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from backctl.domain.values import Instant, UserId

if TYPE_CHECKING:
    from backctl.domain.access import Role

AccessReason = Literal["granted", "not_granted", "inactive", "expired", "role_unknown"]


@dataclass(frozen=True, slots=True)
class RoleView:
    SPARE: ClassVar = ("builtin",)

    name: str
    description: str
    builtin: bool
    permissions: tuple[str, ...]

    @classmethod
    def of(cls, role: "Role") -> Self:
        return cls(role.name, role.description, role.builtin, tuple(permission.text for permission in role.permissions))


@dataclass(frozen=True, slots=True)
class AccessView:
    """Whether an account has a permission now. `reason` is a stable word; `granted_by` is the matching permission."""

    ok: bool
    ident: str
    user_id: UserId
    permission: str
    reason: AccessReason
    granted_by: str | None


@dataclass(frozen=True, slots=True)
class AccessExplanation:
    """An AccessView with the data that it was computed from."""

    ok: bool
    ident: str
    user_id: UserId
    permission: str
    reason: AccessReason
    granted_by: str | None
    role: str
    role_permissions: tuple[str, ...]
    is_active: bool
    expires_at: Instant | None
