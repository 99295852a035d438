"""One transaction of the write side: accounts and their events, or neither."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from sqlalchemy import Engine
from sqlmodel import Session

from backctl.application.ports import AddressParser, Clock, IdSource
from backctl.domain.events import DomainEvent
from backctl.domain.keyring import Key
from backctl.domain.repositories import LoginFailures, UserRepository
from backctl.domain.values import Actor, UserId
from backctl.infrastructure.database import event_log
from backctl.infrastructure.database.engine import outcomes_of
from backctl.infrastructure.database.login_failures import SqlLoginFailures
from backctl.infrastructure.database.user_repository import SqlUserRepository


class SqlUnitOfWork:
    """Begins when entered, on SQLite taking the write lock at once; serves one transaction.

    A connection lost at COMMIT leaves the outcome open; the log tells whether the first event of it is there.
    """

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
        self._outcomes = outcomes_of(engine)
        self._audit_key = audit_key
        self._clock = clock
        self._new_id = new_id
        self._dry_run = dry_run
        self._trace_id = trace_id

    def __enter__(self) -> Self:
        try:
            with self._mapped_faults():
                self.session.connection()
        except BaseException:
            self.session.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._mapped_faults():
            self.session.close()
        if isinstance(error, Exception) and (fault := self._outcomes.fault_of(error)):
            raise fault from error

    def record(self, *events: DomainEvent) -> None:
        self._recorded += events

    def erase_events(self, subject: str) -> int:
        return event_log.erase(self.session.connection(), subject)

    def commit(self, actor: Actor, reason: str | None) -> None:
        with self._mapped_faults():
            first = None
            if events := [*self._accounts.write_back(), *self._recorded]:
                first = event_log.append(
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
                self._make_durable(first)
        self._accounts.settle()
        self.session.close()

    def _make_durable(self, first: UserId | None) -> None:
        self.session.flush()  # what fails from here on is the COMMIT
        try:
            self.session.commit()
        except Exception as error:
            if not self._outcomes.is_lost(error) or not self._outcomes.was_committed(first):
                raise

    @contextmanager
    def _mapped_faults(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            fault = self._outcomes.fault_of(error)
            if fault is None:
                raise
            raise fault from error
