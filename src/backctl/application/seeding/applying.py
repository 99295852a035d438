"""Applies a plan: steps of the account service, many in each transaction."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from backctl.application.account_steps import AccountChanges, AccountSteps, NewAccount
from backctl.application.accounts import generate_password
from backctl.application.factor_steps import FactorSteps, GivenFactor, give
from backctl.application.seeding.staleness import keys_of, require_fresh
from backctl.application.transfer.journal import GeneratedPassword, ImportJournal
from backctl.application.views import Change
from backctl.domain.errors import InvalidInput, InvalidSeed, OutcomeUnknown, WeakPassword
from backctl.domain.mfa import Enrolment
from backctl.domain.one_time_codes import DEFAULT_TOTP, checked_secret
from backctl.domain.seed import Action, Plan, PlannedChange, SecretSource
from backctl.domain.user import User
from backctl.domain.values import EmailAddress, Identity, UserId, Username, folded

if TYPE_CHECKING:
    from backctl.application.attribution import Attribution
    from backctl.application.mfa_keys import MfaKeys
    from backctl.application.ports.security import PasswordHasher
    from backctl.application.ports.storage import Reader, UnitOfWork
    from backctl.application.seeding.secret_sources import SecretSources
    from backctl.application.transactions import Transactions
    from backctl.domain.password_policy import PasswordPolicy
    from backctl.domain.values import PasswordHash, Secret

BATCH_SIZE = 1000
"""Accounts that one transaction changes at most."""
PASSWORDS_AT_ONCE = 64
"""Passwords to hash for one transaction: some seconds of work, which an interruption can lose."""


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """`all_or_nothing`: make all changes in one transaction. `journal` receives generated passwords.

    `stop` is called before each transaction, and ends the run when it returns True.
    """

    all_or_nothing: bool = False
    journal: ImportJournal = field(default_factory=ImportJournal)
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """How many accounts were changed, by what happened to them. `names` are those of the seed files."""

    names: tuple[str, ...]
    created: int
    updated: int
    opened: int
    closed: int
    deleted: int
    unchanged: int


class _Prepared(NamedTuple):
    """A change and what takes too long for a transaction; see PreparedRow of an import.

    `unhashed`: the account has no password and would get one, but this is a dry run.
    """

    change: PlannedChange
    password_hash: "PasswordHash | None" = None
    generated: "Secret | None" = None
    factor: GivenFactor | None = None
    unhashed: bool = False

    def __repr__(self) -> str:
        return f"_Prepared({self.change.action!r}, {self.change.email!r})"


@dataclass(slots=True)
class Applying:
    """One run. Counts what it has changed, also in several calls of `run`."""

    transactions: "Transactions"
    reader: "Reader"
    accounts: AccountSteps
    hasher: "PasswordHasher"
    passwords: "Callable[[], PasswordPolicy]"
    mfa_keys: "Callable[[], MfaKeys]"
    secrets: "SecretSources"
    done: Counter[Action] = field(default_factory=Counter)
    same: int = 0
    """Accounts of the last call that had the declared secrets already."""
    pruned: int = 0
    """Deleted accounts that no file lists, so that later plans do not count them."""
    _hashes: "dict[SecretSource, PasswordHash]" = field(default_factory=dict, init=False, repr=False)
    _given: dict[SecretSource, GivenFactor] = field(default_factory=dict, init=False, repr=False)

    def run(
        self,
        plan: Plan,
        options: ApplyOptions,
        *,
        by: "Attribution",
        dry_run: bool,
        progress: Callable[[int], object],
    ) -> None:
        """Make the changes of a plan, and call `progress` with the number of accounts after each transaction.

        A dry run makes all changes in one transaction, so that each sees those before it. A guard that is due is asked
        before the first change. Raises InvalidSeed for a secret that is not valid, before anything is changed;
        PlanStale and LastAdministrator, after which the transactions before it stay.
        """
        self.same = 0
        if not plan.changes:
            return
        self._require_valid(plan.changes)
        guard = self.transactions.guard
        if not dry_run and guard.is_due and plan.summary.changes:
            guard.ask()
        batches = self._batches(plan.changes, dry_run=dry_run)
        if options.all_or_nothing or dry_run:
            batches = iter([list(chain.from_iterable(batches))])
        for batch in batches:
            if options.stop():
                return
            self._write(batch, options.journal, by, dry_run=dry_run)
            progress(len(batch))

    def counted(self) -> int:
        """Return how many accounts were changed that a plan made now counts as unchanged."""
        return self.done.total() - self.pruned

    def change(self, plan: Plan, *, earlier: int = 0) -> Change[ApplyReport]:
        """Return the report, after the last plan of the run was applied.

        `earlier` accounts were changed before that plan was made, which counts them as unchanged.
        """
        done = self.done
        compared = sum(change.action == "none" for change in plan.changes)
        report = ApplyReport(
            plan.names,
            created=done["create"],
            updated=done["update"],
            opened=done["open"],
            closed=done["close"],
            deleted=done["delete"],
            unchanged=plan.summary.unchanged - compared + self.same - earlier,
        )
        return Change(report, done.total() > 0)

    # Before a transaction.

    def _require_valid(self, changes: Sequence[PlannedChange]) -> None:
        """Check the secrets of all changes. Raises InvalidSeed with the line of the first that is not valid."""
        for change in changes:
            with _located(change):
                self._with_secrets(change)
                self._password(change)

    def _batches(self, changes: Sequence[PlannedChange], *, dry_run: bool) -> Iterator[list[_Prepared]]:
        batch = list[PlannedChange]()
        slow = 0
        for change in changes:
            batch.append(change)
            slow += change.values.password is not None and not (dry_run and change.action == "create")
            if len(batch) == BATCH_SIZE or slow == PASSWORDS_AT_ONCE:
                yield self._prepared(batch, dry_run=dry_run)
                batch, slow = [], 0
        if batch:
            yield self._prepared(batch, dry_run=dry_run)

    def _prepared(self, changes: Sequence[PlannedChange], *, dry_run: bool) -> list[_Prepared]:
        """Read the secrets of changes and hash their passwords. A dry run only compares them with stored ones."""
        prepared, places, jobs = list[_Prepared](), list[int](), list["tuple[Secret, PasswordHash | None]"]()
        for place, change in enumerate(changes):
            with _located(change):
                prepared.append(self._with_secrets(change))
                job = self._job(change)
            if job is None:
                continue
            if dry_run and job[1] is None:
                prepared[place] = prepared[place]._replace(unhashed=True)
            else:
                places.append(place)
                jobs.append(job)
        for place, (password, _), made in zip(places, jobs, self.hasher.hash_all(jobs), strict=True):
            source = changes[place].values.password
            generated = password if source is not None and source.kind == "generate" else None
            prepared[place] = prepared[place]._replace(password_hash=made, generated=generated)
        return prepared

    def _with_secrets(self, change: PlannedChange) -> _Prepared:
        values = change.values
        password_hash = None if values.password_hash is None else self._hash(values.password_hash)
        factor = None if values.mfa_secret is None else self._factor(values.mfa_secret)
        return _Prepared(change, password_hash, None, factor)

    def _hash(self, source: SecretSource) -> "PasswordHash":
        known = self._hashes.get(source)
        if known is None:
            known = self._hashes[source] = self.hasher.accept(self.secrets.secret(source))
        return known

    def _factor(self, source: SecretSource) -> GivenFactor:
        known = self._given.get(source)
        if known is None:
            secret = checked_secret(self.secrets.secret(source).reveal(), "the secret of mfa")
            known = self._given[source] = GivenFactor("on", secret, DEFAULT_TOTP)
        return known

    def _password(self, change: PlannedChange) -> "Secret | None":
        """Return the password of a variable or a file; None without one. Raises WeakPassword, InvalidInput."""
        from backctl.domain.password_policy import prepared_new

        source, values = change.values.password, change.values
        if source is None or source.kind == "generate":
            return None
        password = prepared_new(self.secrets.secret(source))
        email = values.email or EmailAddress.of(change.email)
        username = values.username or Username(change.username, folded(change.username, "NFKC"))
        self.passwords().check(password, email=email, username=username)
        return password

    def _job(self, change: PlannedChange) -> "tuple[Secret, PasswordHash | None] | None":
        """Return the password to hash, and the stored hash to compare it with; None without a password."""
        if change.values.password is None:
            return None
        password = self._password(change)
        if password is None:
            return generate_password(), None
        stored = None if change.id is None else self.reader.password_of(Identity("id", change.id))
        return password, stored

    # The transaction.

    def _write(self, batch: Sequence[_Prepared], journal: ImportJournal, by: "Attribution", *, dry_run: bool) -> None:
        if dry_run:
            journal = journal.for_dry_run()
        step = partial(self._step, batch, journal)
        try:
            made = self.transactions.run_any(step, commits=_has_changes, by=by, dry_run=dry_run)
        except OutcomeUnknown:
            journal.keep()
            raise
        except Exception:
            journal.undo()
            raise
        journal.keep()
        self.same += made.count("none")
        self.done.update(action for action in made if action != "none")
        self.pruned += sum(change.action == "delete" and change.origin is None for change, *_ in batch)

    def _step(self, batch: Sequence[_Prepared], journal: ImportJournal, work: "UnitOfWork") -> list[Action]:
        """Make all changes of a batch and return what was done to each account. Any error undoes the batch."""
        journal.undo()  # what an aborted attempt has written
        work.users.lock_administrators()  # administrators are always locked first, to avoid deadlocks
        work.users.lock_holders([keys_of(prepared.change) for prepared in batch])
        made, generated = list[Action](), list[GeneratedPassword]()
        creating = list[_Prepared]()
        for prepared in batch:
            require_fresh(prepared.change, *work.users.holders(keys_of(prepared.change)))
            if prepared.change.action == "create":
                creating.append(prepared)
                made.append("create")
                continue
            generated += self._create(creating, work)
            creating.clear()
            with _located(prepared.change):
                made.append(self._changed(prepared, work))
        generated += self._create(creating, work)
        journal.write((), generated)
        return made

    # New accounts.

    def _create(self, creating: Sequence[_Prepared], work: "UnitOfWork") -> list[GeneratedPassword]:
        """Create accounts, label them with their seeds, and return their generated passwords."""
        if not creating:
            return []
        now = self.accounts.clock()
        users, labelled, generated = list[User](), dict[str, list[UserId]](), list[GeneratedPassword]()
        enrolments = dict[UserId, Enrolment]()
        for prepared in creating:
            user = self.accounts.made(_new(prepared), now)
            if prepared.factor is not None:
                give(user, prepared.factor, now=now)
                enrolments[user.id] = self._factors.enrolment(prepared.factor, user.id, now=now)
            users.append(user)
            labelled.setdefault(prepared.change.seed, []).append(user.id)
            generated += _generated(prepared, user.id)
        work.users.add_all(users)
        work.second_factors.enroll_all(enrolments)
        work.write()
        for name, ids in labelled.items():
            work.label_seeded(ids, name)
        work.write()
        return generated

    # Existing accounts.

    def _changed(self, prepared: _Prepared, work: "UnitOfWork") -> Action:
        """Change an account and return what was done: `none` if it had the secrets already."""
        change, steps = prepared.change, self.accounts
        identity, values = Identity("id", change.id or ""), change.values
        if change.action == "delete":
            steps.deleting(identity, work, erase=False, if_exists=False)
            return "delete"
        changed = False
        if values.is_active is True:
            changed |= steps.activating(identity, work).changed
        changes = AccountChanges(values.email, values.username, values.role, values.expiry)
        changed |= steps.updating(identity, changes, work).changed
        user = work.users.get(identity)
        made = prepared.password_hash
        changed |= prepared.unhashed
        if made is not None and (user.password_hash is None or user.password_hash.encoded != made.encoded):
            steps.setting_password(identity, made, values.must_change_password is True, work)
            changed = True
        if prepared.factor is not None and self._factors.differs(user, prepared.factor, work):
            self._factors.replace(user, prepared.factor, work, now=steps.clock())
            changed = True
        if values.is_active is False:
            changed |= steps.deactivating(identity, work).changed
        return change.action if changed and change.action != "none" else "update" if changed else "none"

    @property
    def _factors(self) -> FactorSteps:
        return FactorSteps(self.mfa_keys)


def _has_changes(made: Sequence[Action]) -> bool:
    return any(action != "none" for action in made)


def _new(prepared: _Prepared) -> NewAccount:
    values = prepared.change.values
    if values.email is None or values.username is None or values.role is None:
        raise ValueError("the plan creates an account without a name or a role")
    return NewAccount(
        values.email,
        values.username,
        values.role,
        values.expiry,
        prepared.password_hash,
        values.must_change_password is True,
        prepared.change.id,
        values.is_active is not False,
    )


def _generated(prepared: _Prepared, user_id: "UserId") -> Iterator[GeneratedPassword]:
    if prepared.generated is not None:
        values, change = prepared.change.values, prepared.change
        email = change.email if values.email is None else values.email.address
        username = change.username if values.username is None else values.username.name
        yield GeneratedPassword(user_id, email, username, prepared.generated)


@contextmanager
def _located(change: PlannedChange) -> Iterator[None]:
    """Name the line of the seed file in an error about what it declares, such as a weak password."""
    try:
        yield
    except InvalidInput as error:
        if change.origin is None:
            raise
        better = f"choose a longer, less guessable password for {change.values.password}"
        hint = better if isinstance(error, WeakPassword) else error.hint
        raise InvalidSeed(f"{change.origin}: {error.message}", hint=hint) from error
