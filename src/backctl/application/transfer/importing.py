"""Import accounts: validate rows one by one, and write many of them in each transaction."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from backctl.application.account_steps import AccountSteps
from backctl.application.accounts import generate_password
from backctl.application.transfer.account_row import AccountRow, RowParser
from backctl.application.transfer.import_steps import HashMissing, ImportSteps, Mode, PreparedRow, RowOutcome
from backctl.application.transfer.journal import NO_JOURNAL, GeneratedPassword, ImportJournal
from backctl.application.transfer.raw_rows import BadRow, IgnoredRow, RawRow, Row
from backctl.domain.errors import BackctlError, OutcomeUnknown, RowRepeated, Unavailable, Unusable, WeakPassword
from backctl.domain.repositories import AccountKeys
from backctl.domain.values import EmailAddress, Identity, Secret, Username, folded

if TYPE_CHECKING:
    from backctl.application.attribution import Attribution
    from backctl.application.mfa_keys import MfaKeys
    from backctl.application.ports.environment import AddressParser, Clock, IdSource
    from backctl.application.ports.security import PasswordHasher
    from backctl.application.ports.storage import Reader, UnitOfWork
    from backctl.application.transactions import Transactions
    from backctl.domain.access import AccessPolicy
    from backctl.domain.password_policy import PasswordPolicy
    from backctl.domain.values import PasswordHash

BATCH_SIZE = 1000
"""Rows per transaction by default. More would make other writers wait longer and save little time."""
BATCH_SIZE_MAX = 10_000
PASSWORDS_AT_ONCE = 64
"""Passwords to hash for one transaction: some seconds of work, which an interruption can lose."""

Rows = Callable[[], Iterable[Row]]
"""Opens the input and returns its rows. Called a second time only after a guard was asked."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How accounts are imported.

    `update_secrets`: with the mode `upsert`, replace passwords and second factors too. `generate_passwords`: make a
    password for each new account that has none. `all_or_nothing`: keep all rows in memory and write them in one
    transaction, which any failed row undoes.
    """

    mode: Mode = "create"
    update_secrets: bool = False
    generate_passwords: bool = False
    all_or_nothing: bool = False
    batch_size: int = BATCH_SIZE


@dataclass(frozen=True, slots=True)
class ImportService:
    """Import accounts of this program, of Django, of Ory Kratos, or of a table."""

    transactions: "Callable[[], Transactions]"
    reader: "Callable[[], Reader]"
    addresses: "AddressParser"
    hasher: "Callable[[], PasswordHasher]"
    passwords: "Callable[[], PasswordPolicy]"
    access: "AccessPolicy"
    clock: "Clock"
    new_id: "IdSource"
    mfa_keys: "Callable[[], MfaKeys]"

    def run(
        self,
        rows: Rows,
        options: ImportOptions = ImportOptions(),  # noqa: B008 - immutable
        *,
        by: "Attribution",
        dry_run: bool = False,
        journal: ImportJournal = NO_JOURNAL,
        stop: Callable[[], bool] = lambda: False,
        see: Callable[[AccountRow], None] = lambda row: None,
    ) -> Iterator[list[RowOutcome]]:
        """Import the rows, and yield the outcomes of each transaction once it is durable.

        Lazy: reads and changes nothing until the outcomes are read. A row matches the account with its id, else the one
        with its e-mail address. Rows that fail do not affect the others, unless `options.all_or_nothing`. `stop` is
        called before each transaction and ends the run when it returns True. `see` receives each valid row. Only a
        guard that is due is asked at once, after a dry run that reads `rows` up to the first change.

        The iterator raises Unavailable, Unusable and the errors of `rows`; the changes before it stay.
        """
        guard = self.transactions().guard
        if dry_run:
            journal = journal.for_dry_run()
        elif guard.is_due:
            trial = self._run(rows(), options, by, True, journal.for_dry_run(), stop)
            if any(outcome.is_change for outcome in chain.from_iterable(trial)):
                guard.ask()
            else:
                dry_run = True  # nothing would change, and nobody was asked
        return self._run(rows(), options, by, dry_run, journal, stop, see)

    def _run(
        self,
        rows: Iterable[Row],
        options: ImportOptions,
        by: "Attribution",
        dry_run: bool,
        journal: ImportJournal,
        stop: Callable[[], bool],
        see: Callable[[AccountRow], None] = lambda row: None,
    ) -> Iterator[list[RowOutcome]]:
        parser = RowParser(addresses=self.addresses, hasher=self.hasher, passwords=self.passwords, access=self.access)
        steps = ImportSteps(
            AccountSteps(self.access, self.clock, self.new_id), self.mfa_keys, options.mode, options.update_secrets
        )
        run = _ImportRun(
            options,
            parser,
            self.hasher,
            self.passwords,
            self.reader,
            self.transactions(),
            steps,
            by,
            dry_run,
            journal,
            stop,
            see,
        )
        yield from run.together(rows) if options.all_or_nothing else run.in_batches(rows)


_Item = RowOutcome | PreparedRow
"""A row that has failed already, or one to import."""


_NAMED = ("id", "e-mail address", "username")


@dataclass(slots=True)
class _Earlier:
    """The lines on which the ids and names of a run occurred first, by 64-bit hashes to save memory."""

    ids: dict[int, int] = field(default_factory=dict)
    emails: dict[int, int] = field(default_factory=dict)
    usernames: dict[int, int] = field(default_factory=dict)

    def require_first(self, keys: AccountKeys, line: int) -> None:
        """Remember the keys of a row. Raises RowRepeated if an earlier row had one of them, also on the same line."""
        repeated = None
        for name, known, key in zip(_NAMED, (self.ids, self.emails, self.usernames), keys, strict=True):
            if key is None:
                continue
            place = hash(key)
            if place not in known:
                known[place] = line
            elif repeated is None:
                repeated = RowRepeated(
                    f"it has the same {name} as line {known[place]}", hint="keep one of the two rows, or correct one"
                )
        if repeated is not None:
            raise repeated


@dataclass(slots=True)
class _ImportRun:
    options: ImportOptions
    parser: RowParser
    hasher: "Callable[[], PasswordHasher]"
    passwords: "Callable[[], PasswordPolicy]"
    reader: "Callable[[], Reader]"
    transactions: "Transactions"
    steps: ImportSteps
    by: "Attribution"
    dry_run: bool
    journal: ImportJournal
    stop: Callable[[], bool]
    see: Callable[[AccountRow], None]
    earlier: _Earlier = field(default_factory=_Earlier)

    def in_batches(self, rows: Iterable[Row]) -> Iterator[list[RowOutcome]]:
        source = iter(rows)
        while not self.stop() and (items := self._gathered(source)):
            yield self._written([items], undo_all=False)

    def together(self, rows: Iterable[Row]) -> Iterator[list[RowOutcome]]:
        source, batches = iter(rows), list[list[_Item]]()
        while not self.stop() and (items := self._gathered(source)):
            batches.append(items)
        if batches and not self.stop():
            yield self._written(batches, undo_all=True)

    # Before a transaction.

    def _gathered(self, source: Iterator[Row]) -> list[_Item]:
        """Return the next rows, validated and with the hashes of their passwords; none at the end."""
        items = list[_Item]()
        slow = 0
        for raw in source:
            if isinstance(raw, IgnoredRow):
                continue
            item = self._checked(raw)
            items.append(item)
            slow += isinstance(item, PreparedRow) and self._has_password_to_hash(item.row)
            if len(items) == self.options.batch_size or slow == PASSWORDS_AT_ONCE:
                break
        return self._hashed(items) if slow else items

    def _checked(self, raw: RawRow | BadRow) -> _Item:
        if isinstance(raw, BadRow):
            return RowOutcome(raw.line, "failed", error=raw.error)
        row = None
        try:
            row = self.parser.parse(raw)
            resumed = None if row.email is None else self.journal.id_of(row.line, row.email.address)
            if resumed is not None and row.id is None:
                row = row._replace(id=resumed)
            keys = _keys_of(row)
            self.earlier.require_first(keys, row.line)
        except (Unavailable, Unusable):
            raise
        except BackctlError as error:
            email = row.email.address if row is not None and row.email is not None else _shown(raw)
            return RowOutcome(raw.line, "failed", None, email, error)
        self.see(row)
        return PreparedRow(row, keys, row.password_hash, resumed=resumed is not None and resumed == row.id)

    def _has_password_to_hash(self, row: AccountRow) -> bool:
        return row.password is not None or (self.options.generate_passwords and row.password_hash is None)

    def _hashed(self, items: Sequence[_Item]) -> list[_Item]:
        """Hash the passwords that accounts will get, on all processors. A dry run only compares them."""
        done, places, jobs = list(items), list[int](), list["tuple[Secret, PasswordHash | None]"]()
        for place, item in enumerate(items):
            if not isinstance(item, PreparedRow) or not self._has_password_to_hash(item.row):
                continue
            try:
                job = self._job(item.row)
            except WeakPassword as error:
                done[place] = _failed(item.row, error)
                continue
            if job is None:
                done[place] = item._replace(unhashed=not self.dry_run)
            else:
                places.append(place)
                jobs.append(job)
        for place, (password, _), made in zip(places, jobs, self.hasher().hash_all(jobs), strict=True):
            item = done[place]
            if isinstance(item, PreparedRow):
                generated = password if item.row.password is None else None
                unhashed = made is None and not self.dry_run
                done[place] = item._replace(password_hash=made, generated=generated, unhashed=unhashed)
        return done

    def _hash_missing(self, batches: Sequence[list[_Item]], prepared: PreparedRow) -> None:
        password = prepared.row.password or generate_password()
        (made,) = self.hasher().hash_all([(password, None)])
        generated = password if prepared.row.password is None else None
        for items in batches:
            for place, item in enumerate(items):
                if item is prepared:
                    items[place] = prepared._replace(password_hash=made, generated=generated, unhashed=False)

    def _job(self, row: AccountRow) -> "tuple[Secret, PasswordHash | None] | None":
        """Return the password to hash and the hash to compare it with; None if the row will not set a password.

        Raises WeakPassword for a password that was not checked yet, because the row lacks a name of the account.
        """
        account = next(filter(None, map(self.reader().find_user, _identities(row))), None)
        if account is None:
            return None if self.dry_run else (row.password or generate_password(), None)
        if self.options.mode != "upsert" or not self.options.update_secrets or row.password is None:
            return None
        email = row.email or EmailAddress.of(account.email)
        username = row.username or Username(account.username, folded(account.username, "NFKC"))
        self.passwords().check(row.password, email=email, username=username)
        return row.password, self.reader().password_of(Identity("id", account.id))

    # The transaction.

    def _written(self, batches: Sequence[list[_Item]], *, undo_all: bool) -> list[RowOutcome]:
        step = partial(self._step, batches, undo_all)
        try:
            outcomes = None
            while outcomes is None:
                try:
                    outcomes = self._transacted(batches, step)
                except HashMissing as missing:  # rare: hash outside the transaction, then repeat it
                    self._hash_missing(batches, missing.prepared)
        except OutcomeUnknown:
            self.journal.keep()
            raise
        except Exception:
            with suppress(BackctlError):  # the first error matters more, and a resumed import asks the database
                self.journal.undo()
            raise
        self.journal.keep()
        return outcomes

    def _transacted(
        self, batches: Sequence[list[_Item]], step: "Callable[[UnitOfWork | None], list[RowOutcome]]"
    ) -> list[RowOutcome]:
        if not any(isinstance(item, PreparedRow) for items in batches for item in items):
            return step(None)
        return self.transactions.run_any(step, commits=_has_changes, by=self.by, dry_run=self.dry_run)

    def _step(self, batches: Sequence[list[_Item]], undo_all: bool, work: "UnitOfWork | None") -> list[RowOutcome]:
        self.journal.undo()  # what an aborted attempt has written
        outcomes, generated = list[RowOutcome](), list[GeneratedPassword]()
        for items in batches:
            rows = [item for item in items if isinstance(item, PreparedRow)]
            imported = zip(rows, self.steps.importing(rows, work) if work is not None else (), strict=True)
            for item in items:
                if isinstance(item, RowOutcome):
                    outcomes.append(item)
                    continue
                prepared, outcome = next(imported)
                outcomes.append(outcome)
                if outcome.result == "created" and prepared.generated is not None:
                    username = None if prepared.row.username is None else prepared.row.username.name
                    generated.append(GeneratedPassword(outcome.id, outcome.email, username, prepared.generated))
        if undo_all and any(outcome.error is not None for outcome in outcomes):
            outcomes = [outcome._replace(result="undone") if outcome.is_change else outcome for outcome in outcomes]
            generated.clear()
        self.journal.write(outcomes, generated)
        return outcomes


def _has_changes(outcomes: Sequence[RowOutcome]) -> bool:
    return any(outcome.is_change for outcome in outcomes)


def _failed(row: AccountRow, error: BackctlError) -> RowOutcome:
    return RowOutcome(row.line, "failed", None, None if row.email is None else row.email.address, error)


def _keys_of(row: AccountRow) -> AccountKeys:
    email, username = row.email, row.username
    return AccountKeys(row.id, None if email is None else email.key, None if username is None else username.key)


def _identities(row: AccountRow) -> Iterator[Identity]:
    if row.id is not None:
        yield Identity("id", row.id)
    if row.email is not None:
        yield Identity("email", row.email.address)


def _shown(raw: RawRow) -> str | None:
    """Return what an invalid row gives as its e-mail address."""
    email = raw.members.get("email")
    return email if isinstance(email, str) else None
