"""Invalidates the cache entries that changes to accounts, sessions and tokens affect.

No other module decides which entries those are.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from backctl.application.cached_accounts import key_of_email, key_of_id, key_of_username
from backctl.application.cached_standings import ALL, tag_of
from backctl.domain import events
from backctl.domain.errors import Unavailable, Unusable
from backctl.domain.values import is_uuid

if TYPE_CHECKING:
    from backctl.application.ports.environment import AddressParser
    from backctl.application.reactions import LoggedEvent
    from backctl.domain.events import DomainEvent

_WITHOUT_EFFECT: Final = (
    events.LoginFailed,
    events.LoginChallenged,
    events.SessionOpened,
    events.SessionRefreshed,
    events.UserSeeded,
)
"""Events of an account that affect no cache entry."""
_FOR_LOGINS: Final = (events.LoginSucceeded, events.UserLocked, events.UserLockEnded)
"""Events that affect the account, but not its sessions and tokens."""


class CacheReaction:
    """Invalidates cache entries after each commit. If the cache is not available, calls `warn` and lets them expire.

    `invalidate` receives the keys and the tags, `invalidate_all` invalidates all entries.
    """

    def __init__(
        self,
        invalidate: Callable[[Sequence[str], Sequence[str]], None],
        invalidate_all: Callable[[], object],
        addresses: "AddressParser",
        warn: Callable[[str], None],
    ) -> None:
        self._invalidate = invalidate
        self._invalidate_all = invalidate_all
        self._addresses = addresses
        self._warn = warn
        self._has_warned = False

    def __call__(self, logged: "Sequence[LoggedEvent]") -> None:
        keys: dict[str, None] = {}
        tags: dict[str, None] = {}
        everything = any(concerns_everything(one.event) for one in logged)
        for one in () if everything else logged:
            keys.update(dict.fromkeys(self._keys(one)))
            tags.update(dict.fromkeys(_tags(one.event)))
        if not keys and not tags and not everything:
            return
        try:
            if everything:
                self._invalidate_all()
            else:
                self._invalidate(list(keys), list(tags))
            self._has_warned = False
        except (Unavailable, Unusable) as error:
            if not self._has_warned:
                self._has_warned = True
                self._warn(
                    f"the change was saved, but services may use older cached data until it expires: {error.message}"
                )

    def _keys(self, logged: "LoggedEvent") -> list[str]:
        event = logged.event
        if isinstance(event, _WITHOUT_EFFECT) or not is_uuid(event.subject):
            return []
        keys = [key_of_id(event.subject)]
        if logged.erased:
            return keys
        match event:
            case (
                events.UserCreated(email=email, username=username) | events.UserImported(email=email, username=username)
            ):
                keys += [key_of_email(email, self._addresses), key_of_username(username)]
            case events.UserEmailChanged(old=old, new=new):
                keys += [key_of_email(old, self._addresses), key_of_email(new, self._addresses)]
            case events.UserUsernameChanged(old=old, new=new):
                keys += [key_of_username(old), key_of_username(new)]
        return keys


def concerns_everything(event: "DomainEvent") -> bool:
    """Whether an event affects all entries, including those of services."""
    return isinstance(event, events.DatabaseRestored)


def _tags(event: "DomainEvent") -> list[str]:
    if isinstance(event, events.IssuerTokensRevoked):
        return [ALL]
    if isinstance(event, (*_WITHOUT_EFFECT, *_FOR_LOGINS)) or not is_uuid(event.subject):
        return []
    if isinstance(event, events.AccessTokenRevoked) and event.jti == event.subject:
        return [ALL]  # the account is unknown
    return [tag_of(event.subject)]
