"""The details of one account. A module of its own, because most commands do not need them."""

from dataclasses import dataclass, fields
from typing import Self

from backctl.application.views import UserView
from backctl.domain.values import Instant


@dataclass(frozen=True, slots=True)
class UserDetails(UserView):
    """An account, and when it was last seen: None unless a service has reported it with the writer `last_seen`."""

    last_seen_at: Instant | None

    @classmethod
    def seen(cls, user: UserView, last_seen_at: Instant | None) -> Self:
        """Return the details of an account."""
        members = {member.name: getattr(user, member.name) for member in fields(UserView)}
        return cls(**members, last_seen_at=last_seen_at)
