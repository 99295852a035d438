"""The use cases of roles."""

from dataclasses import dataclass

from backctl.application.views import RoleView
from backctl.domain.access import AccessPolicy


@dataclass(frozen=True, slots=True)
class AccessService:
    policy: AccessPolicy

    def roles(self) -> tuple[RoleView, ...]:
        """The built-in roles, then those of the configuration."""
        return tuple(map(RoleView.of, self.policy))

    def role(self, name: str) -> RoleView:
        """Raises RoleNotFound."""
        return RoleView.of(self.policy.role(name))
