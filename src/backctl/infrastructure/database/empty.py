"""The read side of a fresh machine: it answers as a database without rows, and makes nothing."""

from collections.abc import Iterator

from backctl.application.ports import AuditKeys
from backctl.application.views import EventView, UserView
from backctl.domain.audit import ChainReport
from backctl.domain.repositories import EventCriteria, Page, Sort, UserCriteria
from backctl.domain.values import Identity, PasswordHash
from backctl.infrastructure.database import queries


class EmptyReader:
    def find_user(self, ident: Identity) -> UserView | None:
        return None

    def password_of(self, ident: Identity) -> PasswordHash | None:
        return None

    def users(
        self, criteria: UserCriteria, sort: Sort, *, limit: int, cursor: str | None = None, offset: int = 0
    ) -> Page[UserView]:
        queries.user_cursor(cursor, criteria, sort)  # a wrong cursor is refused here too
        return Page(())

    def stream_users(self, criteria: UserCriteria, sort: Sort) -> Iterator[UserView]:
        return iter(())

    def count_users(self, criteria: UserCriteria) -> int:
        return 0

    def events(self, criteria: EventCriteria, *, limit: int, cursor: str | None = None) -> Page[EventView]:
        queries.event_cursor(cursor, criteria)
        return Page(())

    def stream_events(self, criteria: EventCriteria) -> Iterator[EventView]:
        return iter(())

    def verify_chain(self, keys: AuditKeys) -> ChainReport:
        """Nothing happened, and no key is asked for."""
        return ChainReport(0, 0)
