"""The options that select accounts."""

from typing import Annotated, NamedTuple

from typer import Option

from backctl.domain.repositories import UserCriteria
from backctl.presentation.times import Now, past_time


class Filters(NamedTuple):
    """Selects accounts by their members."""

    role: Annotated[str | None, Option("--role", metavar="NAME", help="Only with this role.")] = None
    active: Annotated[bool | None, Option("--active/--inactive", help="Only active or only inactive accounts.")] = None
    created_after: Annotated[
        str | None,
        Option("--created-after", metavar="TIME", help="Only created at this time or later; 7d is 7 days ago."),
    ] = None
    created_before: Annotated[
        str | None,
        Option("--created-before", metavar="TIME", help="Only created before this time; 7d is 7 days ago."),
    ] = None
    email_domain: Annotated[
        str | None, Option("--email-domain", metavar="DOMAIN", help="Only with an address in this domain.")
    ] = None
    search: Annotated[
        str | None, Option("--search", metavar="TEXT", help="Only with this text in the username or the address.")
    ] = None

    def criteria(self, now: Now) -> UserCriteria:
        """Raises InvalidInput for a time that cannot be read."""
        return UserCriteria(
            role=self.role,
            is_active=self.active,
            created_after=past_time(self.created_after, now),
            created_before=past_time(self.created_before, now),
            email_domain=self.email_domain,
            search=self.search,
        )
