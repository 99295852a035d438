"""One transaction of the write side. Commits the changes of its stores and their events, both or neither."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from backctl.application.attribution import Attribution
from backctl.application.ports.environment import AddressParser, Clock, IdSource
from backctl.application.reactions import LoggedEvent
from backctl.domain.audit import Head
from backctl.domain.errors import BackctlError, DatabaseDamaged, Unavailable, Unusable
from backctl.domain.events import DomainEvent
from backctl.domain.keyring import Key
from backctl.domain.repositories import LoginFailures, UserRepository
from backctl.domain.values import EventId, UserId
from backctl.infrastructure.sql import event_log, former_names
from backctl.infrastructure.sql.engine import dialect_of, insert_many, outcomes_of
from backctl.infrastructure.sql.login_failures import SqlLoginFailures
from backctl.infrastructure.sql.misread import ABOUT_VALUES
from backctl.infrastructure.sql.user_repository import SqlUserRepository

if TYPE_CHECKING:
    from backctl.infrastructure.sql.second_factors import SqlSecondFactors
    from backctl.infrastructure.sql.session_repository import SqlSessionRepository


class Store(Protocol):
    """A part of a unit of work that returns objects and writes them back at the commit."""

    def write_back(self, *, everything: bool) -> Iterable[DomainEvent]:
        """Write the changes within the transaction, and return and forget the events recorded for them.

        Without `everything`, checking the objects returned since the last attempt began is enough.
        """
        ...

    def begin_attempt(self) -> None:
        """Mark the beginning of an attempt. `undo_attempt` undoes everything from now on."""
        ...

    def undo_attempt(self) -> None:
        """Forget the objects and events since the attempt began. Their rows are unchanged and unlocked again."""
        ...


_S = TypeVar("_S", bound=Store)


class SqlUnitOfWork:
    """One transaction. Begins when entered; on SQLite, it takes the write lock then.

    The stores write in the order in which they joined, which is the order of their locks. Their events follow the same
    order and are appended at the commit, because appending locks the head of the chain. If the connection is lost at
    COMMIT, the first event in the log shows whether the commit succeeded.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        by: Attribution,
        addresses: AddressParser,
        audit_key: Key,
        clock: Clock,
        new_id: IdSource,
        dry_run: bool,
    ) -> None:
        self.session = Session(engine, autoflush=False, expire_on_commit=False, close_resets_only=False)
        self._stores: list[Store] = []
        self.users: UserRepository = self._joined(
            SqlUserRepository(self.session.connection, addresses=addresses, clock=clock)
        )
        self.login_failures: LoginFailures = SqlLoginFailures(self.session.connection)
        self._recorded: list[DomainEvent] = []
        self._events: list[DomainEvent] = []
        self._erased: set[int] = set()
        """The indices of the events to append without their data."""
        self._outcomes = outcomes_of(engine)
        self._by = by
        self._audit_key = audit_key
        self._clock = clock
        self._new_id = new_id
        self._reserved: EventId | None = None
        self.committed: Sequence[LoggedEvent] = ()
        self._dry_run = dry_run

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
        fault = self._outcomes.fault_of(error) if isinstance(error, Exception) else None
        if isinstance(error, ABOUT_VALUES) or isinstance(fault, DatabaseDamaged):
            fault = self._damage(fault or error) or fault
        with self._mapped_faults():
            self.session.close()
        if fault is not None:
            raise fault from error

    def _damage(self, error: BaseException | None) -> DatabaseDamaged | None:
        from backctl.infrastructure.sql.damage import explanation

        with suppress(SQLAlchemyError):  # the error that ended the transaction matters more
            connection = self.session.connection()
            return explanation(error, lambda text: connection.exec_driver_sql(text).all(), dialect_of(connection))
        return None

    @cached_property
    def sessions(self) -> "SqlSessionRepository":
        from backctl.infrastructure.sql.session_repository import SqlSessionRepository  # few changes need it

        return self._joined(SqlSessionRepository(self.session.connection))

    @cached_property
    def second_factors(self) -> "SqlSecondFactors":
        from backctl.infrastructure.sql.second_factors import SqlSecondFactors  # few changes need it

        return SqlSecondFactors(self.session.connection)

    def record(self, *events: DomainEvent) -> None:
        self._recorded += events

    def record_first(self, event: DomainEvent) -> None:
        """Put an event before all others of this transaction."""
        self._events.insert(0, event)
        self._erased = {place + 1 for place in self._erased}

    def erase_events(self, subject: str) -> int:
        pending = {place for place, event in enumerate(self._events) if event.subject == subject} - self._erased
        self._erased |= pending
        former_names.forget(self.session.connection(), subject)
        return event_log.erase(self.session.connection(), subject) + len(pending)

    def label_seeded(self, user_ids: Sequence[UserId], name: str) -> None:
        from backctl.domain.events import UserSeeded
        from backctl.infrastructure.sql.tables import seeded_accounts

        if not user_ids:
            return
        with self._mapped_faults():
            rows = [(user_id, name) for user_id in user_ids]
            insert_many(self.session.connection(), seeded_accounts, ("user_id", "name"), rows)
        self.record(*(UserSeeded(user_id, name=name) for user_id in user_ids))

    def log_head(self) -> Head:
        with self._mapped_faults():
            return event_log.head(self.session.connection())

    def reserve_event_id(self) -> EventId:
        """Return the id of the first event of this transaction, so that staged files can be named after it."""
        self._reserved = EventId(self._new_id())
        return self._reserved

    def _next_id(self) -> str:
        reserved, self._reserved = self._reserved, None
        return reserved or self._new_id()

    def write(self) -> None:
        self._write(everything=False)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        self._savepoint("SAVEPOINT attempt")
        for store in self._stores:
            store.begin_attempt()
        before, erased = len(self._events), set(self._erased)
        try:
            yield
            self.write()
        except (Unavailable, Unusable):  # the whole transaction is lost
            raise
        except BackctlError:
            self._savepoint("ROLLBACK TO SAVEPOINT attempt")
            self._savepoint("RELEASE SAVEPOINT attempt")
            for store in self._stores:
                store.undo_attempt()
            del self._events[before:]
            self._erased = erased
            self._recorded.clear()
            raise
        self._savepoint("RELEASE SAVEPOINT attempt")

    def commit(self) -> None:
        with self._mapped_faults():
            self._write(everything=True)
            logged = self._append(self._events) if self._events else []
            if self._dry_run:
                self.session.rollback()
            else:
                self._make_durable(logged[0].id if logged else None)
                self.committed = tuple(logged)
        self.session.close()

    def _write(self, *, everything: bool) -> None:
        with self._mapped_faults():
            for store in self._stores:
                self._events += store.write_back(everything=everything)
        self._events += self._recorded
        self._recorded.clear()

    def _savepoint(self, statement: str) -> None:
        with self._mapped_faults():
            self.session.connection().exec_driver_sql(statement)

    def _joined(self, store: _S) -> _S:
        self._stores.append(store)
        return store

    def _append(self, events: Sequence[DomainEvent]) -> list[LoggedEvent]:
        return event_log.append(
            self.session.connection(),
            events,
            key=self._audit_key,
            by=self._by,
            now=self._clock(),
            new_id=self._next_id,
            erased=self._erased,
        )

    def _make_durable(self, first: EventId | None) -> None:
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
