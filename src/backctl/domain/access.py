"""Roles, their permissions, and the rule that the last active administrator cannot be removed."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from backctl.domain.errors import InvalidConfiguration, InvalidPermission, LastAdministrator, RoleNotFound, UnknownRole
from backctl.domain.quoting import escaped, quoted

if TYPE_CHECKING:
    from backctl.domain.user import User
    from backctl.domain.values import Instant

ADMINISTRATOR = "admin"
DEFAULT_ROLE = "user"

_ROLE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")
_PERMISSION = re.compile(r"\*|[a-z][a-z0-9_]*:(?:\*|[a-z][a-z0-9_-]*)")
_PERMISSION_HINT = "write 'noun:verb', 'noun:*' or '*', e.g. 'user:deactivate'"


@dataclass(frozen=True, slots=True)
class Permission:
    """A permission `noun:verb`. `noun:*` grants every verb of a noun, and `*` grants everything."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a permission from the configuration. Raises InvalidConfiguration."""
        if not _PERMISSION.fullmatch(text):
            raise InvalidConfiguration(f"{quoted(text)} is not a permission", hint=_PERMISSION_HINT)
        return cls(text)

    @classmethod
    def asked(cls, text: str) -> Self:
        """Parse a permission that a caller checks. Raises InvalidPermission."""
        if not _PERMISSION.fullmatch(text):
            raise InvalidPermission(f"{quoted(text)} is not a permission", hint=_PERMISSION_HINT)
        return cls(text)

    def grants(self, wanted: "Permission") -> bool:
        if self.text in ("*", wanted.text):
            return True
        noun, _, verb = self.text.partition(":")
        return verb == "*" and wanted.text.startswith(f"{noun}:")


@dataclass(frozen=True, slots=True)
class Role:
    name: str
    description: str
    permissions: tuple[Permission, ...]
    builtin: bool = False

    def grants(self, wanted: Permission) -> bool:
        return self.granting(wanted) is not None

    def granting(self, wanted: Permission) -> Permission | None:
        """Return the first permission of the role that grants `wanted`, or None."""
        return next((permission for permission in self.permissions if permission.grants(wanted)), None)


def _builtin(name: str, description: str, *permissions: str) -> Role:
    return Role(name, description, tuple(map(Permission, permissions)), builtin=True)


BUILTIN_ROLES = (
    _builtin("user", "can manage its own account only", "self:*"),
    _builtin(
        "moderator",
        "can list, activate and deactivate accounts, and revoke tokens",
        "self:*",
        "user:list",
        "user:show",
        "user:history",
        "user:activate",
        "user:deactivate",
        "token:list",
        "token:revoke",
    ),
    _builtin("admin", "has every permission", "*"),
)


class AccessPolicy:
    """The roles of this installation: the three built-in roles and the configured ones."""

    def __init__(self, custom: Iterable[Role] = ()) -> None:
        """Raises InvalidConfiguration when the name of a custom role is malformed or built in."""
        roles = {role.name: role for role in BUILTIN_ROLES}
        for role in custom:
            if not _ROLE_NAME.fullmatch(role.name):
                raise InvalidConfiguration(
                    f"{quoted(role.name)} is not a role name",
                    hint="use up to 50 lower-case letters, digits, '_' or '-', starting with a letter",
                )
            if role.name in roles:
                raise InvalidConfiguration(f"the role {quoted(role.name)} is built in and cannot be redefined")
            roles[role.name] = role
        self._roles: Mapping[str, Role] = roles

    def __iter__(self) -> Iterator[Role]:
        return iter(self._roles.values())

    def role(self, name: str) -> Role:
        """Raises RoleNotFound."""
        try:
            return self._roles[name]
        except KeyError:
            raise RoleNotFound(f"there is no role {quoted(name)}", hint=self._known()) from None

    def require_known(self, name: str) -> str:
        """Return `name` if accounts can have this role. Raises UnknownRole."""
        if name not in self._roles:
            raise UnknownRole(f"there is no role {quoted(name)}", hint=self._known())
        return name

    def require_another_administrator(self, user: "User", administrators: "Sequence[User]") -> None:
        """Refuse to remove the last active administrator. The caller must have locked `administrators`.

        Raises LastAdministrator.
        """
        others = [other for other in administrators if other.id != user.id]
        if len(others) < len(administrators) and not others:
            raise LastAdministrator(
                f"{quoted(user.username.name)} is the last active administrator",
                hint="make another account an administrator first",
            )

    def require_administrator_beyond(
        self, user: "User", administrators: "Sequence[User]", moment: "Instant | None"
    ) -> None:
        """Refuse to let an administrator's account expire at `moment` when no other administrator's lasts longer.

        A later expiry than the current one is never refused. The caller must have locked `administrators`.
        Raises LastAdministrator.
        """
        if moment is None or (user.expires_at is not None and user.expires_at <= moment):
            return
        lasting = any(
            other.id != user.id and (other.expires_at is None or other.expires_at > moment) for other in administrators
        )
        if not lasting and any(other.id == user.id for other in administrators):
            raise LastAdministrator(
                f"no active administrator would be left after {moment}, when {quoted(user.username.name)} expires",
                hint="make another account an administrator first, or let one expire later",
            )

    def _known(self) -> str:
        return f"known roles: {escaped(', '.join(self._roles))}"
