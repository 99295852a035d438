"""One transaction of the write side: accounts and their events, or neither."""

from types import TracebackType
from typing import Self

from sqlalchemy import Engine
from sqlmodel import Session

from backctl.application.ports import AddressParser, Clock, IdSource
from backctl.domain.events import DomainEvent
from backctl.domain.keyring import Key
from backctl.domain.repositories import LoginFailures, UserRepository
from backctl.domain.values import Actor
from backctl.infrastructure.database import event_log
from backctl.infrastructure.database.faults import fault_of, mapped_faults
from backctl.infrastructure.database.login_failures import SqlLoginFailures
from backctl.infrastructure.database.user_repository import SqlUserRepository


class SqlUnitOfWork:
    """Begins when entered, taking SQLite's write lock at once; serves one transaction."""

    def __init__(
        self,
        engine: Engine,
        *,
        addresses: AddressParser,
        audit_key: Key,
        clock: Clock,
        new_id: IdSource,
        dry_run: bool,
        trace_id: str | None = None,
    ) -> None:
        self.session = Session(engine, autoflush=False, expire_on_commit=False, close_resets_only=False)
        self._accounts = SqlUserRepository(self.session, addresses=addresses, clock=clock)
        self.users: UserRepository = self._accounts
        self.login_failures: LoginFailures = SqlLoginFailures(self.session.connection)
        self._recorded: list[DomainEvent] = []
        self._database = engine.url.database or ""
        self._audit_key = audit_key
        self._clock = clock
        self._new_id = new_id
        self._dry_run = dry_run
        self._trace_id = trace_id

    def __enter__(self) -> Self:
        try:
            with mapped_faults(self._database):
                self.session.connection()
        except BaseException:
            self.session.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with mapped_faults(self._database):
            self.session.close()
        if isinstance(error, Exception) and (fault := fault_of(error, self._database)):
            raise fault from error

    def record(self, *events: DomainEvent) -> None:
        self._recorded += events

    def erase_events(self, subject: str) -> int:
        return event_log.erase(self.session.connection(), subject)

    def commit(self, actor: Actor, reason: str | None) -> None:
        with mapped_faults(self._database):
            events = [*self._accounts.write_back(), *self._recorded]
            if events:
                event_log.append(
                    self.session.connection(),
                    events,
                    key=self._audit_key,
                    actor=actor,
                    reason=reason,
                    trace_id=self._trace_id,
                    now=self._clock(),
                    new_id=self._new_id,
                )
            if self._dry_run:
                self.session.rollback()
            else:
                self.session.commit()
        self._accounts.settle()
        self.session.close()
