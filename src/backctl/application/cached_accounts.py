"""Reads accounts through the cache, for services.

The entry `user:ID` contains an account without secrets, as services see it. The entries `user:email:KEY` and
`user:username:KEY` contain its id. Entries are signed and expire after at most 30 seconds.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from backctl.application.cache_levels import Levels
from backctl.application.cache_values import Codec, Payload, Recipe, itself
from backctl.application.cache_views import WarmView
from backctl.application.views import Change, UserView
from backctl.domain.cache_entry import KEY_MAX
from backctl.domain.errors import UserNotFound
from backctl.domain.values import Identity, Instant, folded

if TYPE_CHECKING:
    from backctl.application.ports.environment import AddressParser, Clock
    from backctl.application.ports.storage import Reader

_MEMBERS: Final = tuple(field.name for field in fields(UserView))
_TIMES: Final = ("locked_until", "expires_at", "last_login_at", "created_at", "updated_at")
_FRESH_US: Final = 20_000_000
_STALE_US: Final = 10_000_000


def _encoded(user: UserView | None) -> Payload:
    if user is None:
        return b"null", False
    return json.dumps({name: getattr(user, name) for name in _MEMBERS}).encode(), False


def _decoded(payload: bytes, binary: bool) -> UserView | None:
    """Raises ValueError unless the members are those of an account; another version may have others."""
    members = json.loads(payload)
    if members is None:
        return None
    if not isinstance(members, dict) or tuple(members) != _MEMBERS:
        raise ValueError("not an account")
    for name in _TIMES:
        if members[name] is not None:
            members[name] = Instant(members[name])
    return UserView(**members)


def _always(value: object) -> Callable[[Any], Any]:
    return itself


USERS: Final = Recipe(Codec(_encoded, _decoded, _always, signed=True), _FRESH_US, _FRESH_US, _STALE_US)
"""How accounts are cached."""
_IDS: Final = USERS._replace(
    codec=Codec(lambda id_: (json.dumps(id_).encode(), False), lambda payload, _: json.loads(payload), _always, True)
)


def key_of_id(id_: str) -> str:
    return f"user:{id_}"


def key_of_email(email: str, addresses: "AddressParser") -> str:
    return f"user:email:{addresses.key_of(email)}"


def key_of_username(username: str) -> str:
    return f"user:username:{folded(username, 'NFKC')}"


@dataclass(frozen=True, slots=True)
class CachedAccounts:
    """Finds accounts by id, e-mail address or username."""

    levels: Levels
    reader: "Callable[[], Reader]"
    addresses: "AddressParser"
    clock: "Clock"

    def get(self, ident: str) -> UserView:
        """Return an account with its current status, because an expiry or the end of a lock invalidates no entry.

        Raises UserNotFound.
        """
        identity = Identity.parse(ident)
        user = self._by_id(identity.text) if identity.kind == "id" else self._by_name(identity)
        if user is None:
            raise UserNotFound(ident)
        return user.at(self.clock())

    def warm_all(
        self, users: Callable[[], Iterator[UserView]], progress: Callable[[], None], dry_run: bool
    ) -> Change[WarmView]:
        """Store accounts; see `warm`. `progress` is called after each."""
        accounts = stored = 0
        for user in users():
            accounts += 1
            if not dry_run:
                stored += self.warm(user)
            progress()
        view = WarmView(accounts, stored, 0 if dry_run else accounts - stored)
        return Change(view, changed=bool(accounts if dry_run else stored))

    def warm(self, user: UserView) -> bool:
        """Read an account and store it under its id and names. False if it was changed at the same time.

        Raises Unavailable, Unusable.
        """
        stored = self.levels.refresh(key_of_id(user.id), partial(self._find, Identity("id", user.id)), USERS)
        for name, key in (
            (user.email, key_of_email(user.email, self.addresses)),
            (user.username, key_of_username(user.username)),
        ):
            stored &= self.levels.refresh(key, partial(self._id_of, Identity.parse(name)), _IDS)
        return stored

    def _by_id(self, id_: str) -> UserView | None:
        find = partial(self._find, Identity("id", id_))
        user: UserView | None = self.levels.load(key_of_id(id_), find, USERS)
        return user

    def _by_name(self, identity: Identity) -> UserView | None:
        by_email = identity.kind == "email"
        key = key_of_email(identity.text, self.addresses) if by_email else key_of_username(identity.text)
        if len(key.encode()) > KEY_MAX:
            return self._find(identity)
        id_ = self.levels.load(key, partial(self._id_of, identity), _IDS)
        user = None if id_ is None else self._by_id(id_)
        if user is not None:
            now = key_of_email(user.email, self.addresses) if by_email else key_of_username(user.username)
            if now == key:
                return user
        elif id_ is None:
            return None
        return self._find(identity)  # the account was just renamed or deleted

    def _find(self, identity: Identity) -> UserView | None:
        return self.reader().find_user(identity)

    def _id_of(self, identity: Identity) -> str | None:
        user = self._find(identity)
        return None if user is None else user.id
