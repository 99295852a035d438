"""The cost of the event chain: one change of an account with the chain, and the same change without it, alternating.

`python -m benchmarks.chain ROUNDS` uses the installation that the environment names and prints the seconds of each
change as JSON. Both variants run the same use case, write the same rows, and are on disk when the change is done. The
variant without the chain numbers its rows itself: it has no chain head, no lock on it, and no MAC, so it cannot detect
changed or missing events. backctl has no such variant.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from time import perf_counter

from sqlalchemy import insert

import backctl
from backctl.application.accounts import AccountService
from backctl.application.attribution import Attribution
from backctl.application.ports.storage import UnitOfWork
from backctl.application.reactions import LoggedEvent
from backctl.backend import Backend
from backctl.domain.audit import MAC_BYTES, SALT_BYTES, RecordedEvent
from backctl.domain.canonical_json import canonical
from backctl.domain.events import DomainEvent
from backctl.domain.repositories import EventCriteria
from backctl.domain.values import Actor, EventId, Instant
from backctl.infrastructure.host import new_id, now
from backctl.infrastructure.sql import tables
from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork
from benchmarks.cases import CHAINED, PLAIN

_WARMING = 10
_ADD = insert(tables.events)
_NUMBERS = count(10**9)  # larger than every number of the chain


class PlainUnitOfWork(SqlUnitOfWork):
    """Writes the rows of the event log without linking them."""

    def _append(self, events: Sequence[DomainEvent]) -> list[LoggedEvent]:
        actor = canonical({"label": _ME.label, "os_user": _ME.os_user, "host": _ME.host}).decode()
        rows = [
            RecordedEvent(
                seq=next(_NUMBERS),
                id=new_id(),
                occurred_at=int(now()),
                type=event.type,
                subject=event.subject,
                actor=actor,
                reason=None,
                trace_id=None,
                audit_kid="none",
                data=canonical(event.data()).decode(),
                salt=os.urandom(SALT_BYTES),
                data_digest=bytes(MAC_BYTES),
                mac=bytes(MAC_BYTES),
            )
            for event in events
        ]
        self.session.connection().execute(_ADD, [row._asdict() for row in rows])
        return [
            LoggedEvent(row.seq, EventId(row.id), Instant(row.occurred_at), event)
            for row, event in zip(rows, events, strict=True)
        ]


_ME = Actor("benchmark", "nobody", "here")


def without_chain(accounts: AccountService) -> AccountService:
    transactions = accounts.transactions()

    def plain(*, by: Attribution, dry_run: bool, creates: bool = False) -> UnitOfWork:
        work = transactions.begin(by=by, dry_run=dry_run, creates=creates)
        work.__class__ = PlainUnitOfWork  # uses the same transaction on the same connection
        return work

    return replace(accounts, transactions=lambda: replace(transactions, begin=plain))


def changes(accounts: AccountService, username: str) -> Iterator[float]:
    """Deactivate and activate an account alternately. Yield the seconds of each change."""
    while True:
        for change in (accounts.deactivate, accounts.activate):
            yield _seconds(lambda change=change: change(username, by=Attribution(_ME)).changed)  # type: ignore[misc]


def _seconds(change: Callable[[], bool]) -> float:
    started = perf_counter()
    changed = change()
    seconds = perf_counter() - started
    if not changed:
        raise RuntimeError("nothing was changed")
    return seconds


def measure(backend: Backend, rounds: int) -> dict[str, list[float]]:
    """Measure the same number of changes of each kind, alternating, after a few that fill the caches."""
    accounts = backend.accounts
    sides = {CHAINED: changes(accounts, "person7"), PLAIN: changes(without_chain(accounts), "person8")}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for turn in range(-_WARMING, rounds):
        for name in names if turn % 2 else reversed(names):
            taken = next(sides[name])
            if turn >= 0:
                seconds[name].append(taken)
    for username in ("person7", "person8"):
        recorded = list(backend.audit.stream(EventCriteria(subjects=(accounts.show(username).id,))))
        if len(recorded) != rounds + _WARMING:
            raise RuntimeError(f"{len(recorded)} events of {username} were recorded")
    return seconds


if __name__ == "__main__":
    with backctl.open_backend() as backend:
        print(json.dumps(measure(backend, int(sys.argv[1]))))
