"""Run imports on a store, and look at what they did."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.contracts.conftest import BY, Store, new_id

from backctl.application.guard import Guard
from backctl.application.mfa_keys import MfaKeys
from backctl.application.ports.storage import Reader
from backctl.application.transactions import Transactions
from backctl.application.transfer.import_steps import RowOutcome
from backctl.application.transfer.importing import ImportOptions, ImportService
from backctl.application.transfer.journal import NO_JOURNAL, ImportJournal, resumed_ids
from backctl.application.transfer.raw_rows import BadRow, IgnoredRow, RawRow
from backctl.domain.access import AccessPolicy
from backctl.domain.password_policy import PasswordPolicy
from backctl.domain.repositories import BY_CREATION, EVERY_EVENT, EVERY_USER
from backctl.domain.user import User
from backctl.domain.values import Identity, PasswordHash, Secret
from backctl.infrastructure.crypto.field_ciphers import KeyCiphers
from backctl.infrastructure.crypto.password_hasher import BcryptHasher

on_one_database = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
"""For tests of the service that do not depend on the database."""

Members = dict[str, object]

FOREIGN_HASH = "$2a$04$abcdefghijklmnopqrstuuE5dHqkWbKEFkjf.Y0Uc2rLjAD1/gYmG"
OTHER_HASH = "$2y$04$abcdefghijklmnopqrstuuF5dHqkWbKEFkjf.Y0Uc2rLjAD1/gYmG"
TOTP_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
OTHER_TOTP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def a_row(name: str, **members: object) -> Members:
    return {"email": f"{name}@example.org", "username": name} | members


def people(count: int) -> list[Members]:
    return [a_row(f"user{number}") for number in range(count)]


def raw(rows: Iterable[Members | BadRow | IgnoredRow]) -> list[RawRow | BadRow | IgnoredRow]:
    """Number the rows from 1. A row may have a line of its own as the member `line`."""
    made = list[RawRow | BadRow | IgnoredRow]()
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            members = dict(row)
            line = members.pop("line", number)
            assert isinstance(line, int)
            made.append(RawRow(line, members))
        else:
            made.append(row)
    return made


@dataclass
class Importer:
    store: Store
    guard: Guard = field(default_factory=Guard)
    hasher: BcryptHasher = field(default_factory=lambda: BcryptHasher(4))
    pauses: list[int] = field(default_factory=list)
    """The numbers of the repeated attempts."""
    reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = self.store.open_reader()

    @property
    def keys(self) -> MfaKeys:
        return MfaKeys(lambda: self.store.keyring, KeyCiphers)

    def transactions(self) -> Transactions:
        return self.store.transactions(guard=self.guard, pause=self.pauses.append)

    def service(self) -> ImportService:
        return ImportService(
            transactions=self.transactions,
            reader=lambda: self.reader,
            addresses=self.store.addresses,
            hasher=lambda: self.hasher,
            passwords=lambda: PasswordPolicy(8, lambda password: False),
            access=AccessPolicy(),
            clock=lambda: self.store.now,
            new_id=new_id,
            mfa_keys=lambda: self.keys,
        )

    def blocks(
        self,
        rows: Sequence[Members | BadRow | IgnoredRow],
        *,
        dry_run: bool = False,
        journal: ImportJournal = NO_JOURNAL,
        stop: Callable[[], bool] = lambda: False,
        **options: Any,
    ) -> Iterator[list[RowOutcome]]:
        """Return what `run` yields: the outcomes of each transaction."""
        return self.service().run(
            lambda: raw(rows), ImportOptions(**options), by=BY, dry_run=dry_run, journal=journal, stop=stop
        )

    def run(self, *rows: Members | BadRow | IgnoredRow, **options: Any) -> list[RowOutcome]:
        return [outcome for block in self.blocks(rows, **options) for outcome in block]

    def results(self, *rows: Members | BadRow | IgnoredRow, **options: Any) -> list[str]:
        """Return the result of each row, or the code of its error."""
        return codes(self.run(*rows, **options))

    def user(self, ident: str) -> User:
        with self.store.work() as work:
            return work.users.get(Identity.parse(ident))

    def names(self) -> dict[str, str]:
        """Return the usernames of all accounts by their e-mail addresses."""
        return {view.email: view.username for view in self.reader.stream_users(EVERY_USER, BY_CREATION)}

    def events(self) -> list[tuple[str, Mapping[str, object]]]:
        found = self.reader.stream_events(EVERY_EVENT)
        return [(event.type, event.data or {}) for event in found if event.type != "InstallationCreated"]

    def event_types(self) -> list[str]:
        return [type_ for type_, _ in self.events()]

    def fits(self, ident: str, password: str) -> bool:
        return BcryptHasher(4).verify(Secret(password), self.user(ident).password_hash)


@dataclass
class MeddlingHasher(BcryptHasher):
    """Does something after the accounts were looked up and before their transaction, once."""

    meddle: Callable[[], object]

    def __post_init__(self) -> None:
        super().__init__(4)

    def hash_all(self, jobs: Sequence[tuple[Secret, PasswordHash | None]]) -> list[PasswordHash | None]:
        self.meddle()
        self.meddle = lambda: None
        return super().hash_all(jobs)


def codes(outcomes: Iterable[RowOutcome]) -> list[str]:
    return [outcome.result if outcome.error is None else outcome.error.code for outcome in outcomes]


@dataclass
class MemoryFile:
    """A file of a journal. `calls` shows what an import asked for: a for append, k for keep, u for undo."""

    content: bytes = b""
    kept: int = 0
    calls: str = ""
    fails: Exception | None = None

    def append(self, lines: bytes) -> None:
        self.calls += "a"
        if self.fails is not None:
            self.content += lines[: len(lines) // 2]
            raise self.fails
        self.content += lines

    def keep(self) -> None:
        self.calls += "k"
        self.kept = len(self.content)

    def undo(self) -> None:
        self.calls += "u"
        self.content = self.content[: self.kept]

    def lines(self) -> Iterator[bytes]:
        return iter(self.content.splitlines(keepends=True))

    def close(self) -> None: ...

    @property
    def durable(self) -> bytes:
        return self.content[: self.kept]


def lines(content: bytes) -> list[dict[str, object]]:
    """Return the objects of JSON lines."""
    return [json.loads(line) for line in content.splitlines()]


def resuming(results: MemoryFile, secrets: MemoryFile | None = None) -> ImportJournal:
    """Return the journal of a run that continues another."""
    return ImportJournal(results, secrets, resumed=resumed_ids(results.lines()))
