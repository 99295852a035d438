"""The use cases of roles and permissions."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backctl.application.access_views import AccessExplanation, AccessReason, AccessView, RoleView
from backctl.application.views import UserView
from backctl.domain.access import AccessPolicy, Permission, Role
from backctl.domain.account_status import obstacle_of
from backctl.domain.errors import RoleNotFound, UserNotFound
from backctl.domain.values import Identity

if TYPE_CHECKING:
    from backctl.application.ports.environment import Clock
    from backctl.application.ports.storage import Reader


@dataclass(frozen=True, slots=True)
class AccessService:
    policy: AccessPolicy
    reader: "Callable[[], Reader]"
    clock: "Clock"

    def roles(self) -> tuple[RoleView, ...]:
        """Return the built-in roles, then the configured roles."""
        return tuple(map(RoleView.of, self.policy))

    def role(self, name: str) -> RoleView:
        """Raises RoleNotFound."""
        return RoleView.of(self.policy.role(name))

    def assignable(self, role: str) -> str:
        """Return `role` if accounts can have it. Raises UnknownRole."""
        return self.policy.require_known(role)

    def check(self, ident: str, permission: str) -> AccessView:
        """Check whether an account has a permission now. Raises InvalidPermission, UserNotFound."""
        found = self.explain(ident, permission)
        return AccessView(found.ok, found.ident, found.user_id, found.permission, found.reason, found.granted_by)

    def explain(self, ident: str, permission: str) -> AccessExplanation:
        """Check whether an account has a permission now, and return the data that decides it.

        An inactive or expired account has no permissions, and neither has a role that is no longer configured.
        Raises InvalidPermission, UserNotFound.
        """
        wanted = Permission.asked(permission)
        user = self.reader().find_user(Identity.parse(ident))
        if user is None:
            raise UserNotFound(ident)
        role: Role | None = None
        with suppress(RoleNotFound):
            role = self.policy.role(user.role)
        granting = role.granting(wanted) if role else None
        reason = self._reason(user, role_known=role is not None, granted=granting is not None)
        return AccessExplanation(
            ok=reason == "granted",
            ident=ident,
            user_id=user.id,
            permission=permission,
            reason=reason,
            granted_by=granting.text if granting and reason == "granted" else None,
            role=user.role,
            role_permissions=tuple(held.text for held in role.permissions) if role else (),
            is_active=user.is_active,
            expires_at=user.expires_at,
        )

    def _reason(self, user: UserView, *, role_known: bool, granted: bool) -> AccessReason:
        obstacle = obstacle_of(is_active=user.is_active, expires_at=user.expires_at, now=self.clock())
        if obstacle is not None:
            return obstacle
        if not role_known:
            return "role_unknown"
        return "granted" if granted else "not_granted"
