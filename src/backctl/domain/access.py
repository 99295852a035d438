"""Roles, the permissions they carry, and the rule that somebody can always administer."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from backctl.domain.errors import (
    InvalidConfiguration,
    LastAdministrator,
    RoleNotFound,
    UnknownRole,
    escaped,
    quoted,
)

if TYPE_CHECKING:
    from backctl.domain.user import User

ADMINISTRATOR = "admin"
DEFAULT_ROLE = "user"

_ROLE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")
_PERMISSION = re.compile(r"\*|[a-z][a-z0-9_]*:(?:\*|[a-z][a-z0-9_-]*)")


@dataclass(frozen=True, slots=True)
class Permission:
    """`noun:verb`; `noun:*` grants every verb of a noun and `*` everything."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises InvalidConfiguration: permissions come from the configuration only."""
        if not _PERMISSION.fullmatch(text):
            raise InvalidConfiguration(
                f"{quoted(text)} is not a permission", hint="write 'noun:verb', 'noun:*' or '*', e.g. 'user:deactivate'"
            )
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
        return any(permission.grants(wanted) for permission in self.permissions)


def _builtin(name: str, description: str, *permissions: str) -> Role:
    return Role(name, description, tuple(map(Permission, permissions)), builtin=True)


BUILTIN_ROLES = (
    _builtin("user", "owns an account and nothing else", "self:*"),
    _builtin(
        "moderator",
        "keeps order among accounts",
        "self:*",
        "user:list",
        "user:show",
        "user:history",
        "user:activate",
        "user:deactivate",
        "token:list",
        "token:revoke",
    ),
    _builtin("admin", "may do everything", "*"),
)


class AccessPolicy:
    """The roles of this installation: the three built in, and those the configuration names."""

    def __init__(self, custom: Iterable[Role] = ()) -> None:
        """Raises InvalidConfiguration when a custom role's name is malformed or built in."""
        roles = {role.name: role for role in BUILTIN_ROLES}
        for role in custom:
            if not _ROLE_NAME.fullmatch(role.name):
                raise InvalidConfiguration(
                    f"{quoted(role.name)} is not a role name",
                    hint="up to 50 lower-case letters, digits, '_' or '-', starting with a letter",
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
        """The name, when it can be given to an account. Raises UnknownRole."""
        if name not in self._roles:
            raise UnknownRole(f"there is no role {quoted(name)}", hint=self._known())
        return name

    def require_another_administrator(self, user: "User", administrators: "Sequence[User]") -> None:
        """Refuse to take the last active administrator away. `administrators` must be locked by the caller.

        Raises LastAdministrator.
        """
        others = [other for other in administrators if other.id != user.id]
        if len(others) < len(administrators) and not others:
            raise LastAdministrator(
                f"{quoted(user.username.name)} is the last active administrator",
                hint="make another account an administrator first",
            )

    def _known(self) -> str:
        return f"known roles: {escaped(', '.join(self._roles))}"
