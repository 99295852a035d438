"""The options that select accounts."""

from typing import Annotated, NamedTuple

from typer import Option

from backctl.domain.repositories import UserCriteria
from backctl.domain.values import Instant


class Filters(NamedTuple):
    """Selects accounts by their members."""

    role: Annotated[str | None, Option("--role", metavar="NAME", help="Only with this role.")] = None
    active: Annotated[bool | None, Option("--active/--inactive", help="Only active or only inactive accounts.")] = None
    created_after: Annotated[
        str | None, Option("--created-after", metavar="TIME", help="Only created at this time or later.")
    ] = None
    created_before: Annotated[
        str | None, Option("--created-before", metavar="TIME", help="Only created before this time.")
    ] = None
    email_domain: Annotated[
        str | None, Option("--email-domain", metavar="DOMAIN", help="Only with an address in this domain.")
    ] = None
    search: Annotated[
        str | None, Option("--search", metavar="TEXT", help="Only with this text in the username or the address.")
    ] = None

    def criteria(self) -> UserCriteria:
        """Raises InvalidInput for a time that cannot be read."""
        return UserCriteria(
            role=self.role,
            is_active=self.active,
            created_after=Instant.parse(self.created_after) if self.created_after is not None else None,
            created_before=Instant.parse(self.created_before) if self.created_before is not None else None,
            email_domain=self.email_domain,
            search=self.search,
        )
