"""The changes of an import, as a step that works on many rows in an open unit of work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from backctl.application.account_steps import AccountChanges, AccountSteps
from backctl.application.factor_steps import FactorSteps
from backctl.domain.access import DEFAULT_ROLE
from backctl.domain.errors import (
    AccountAmbiguous,
    BackctlError,
    IdTaken,
    InvalidInput,
    Unavailable,
    Unusable,
)
from backctl.domain.mfa import Enrolment
from backctl.domain.quoting import quoted
from backctl.domain.repositories import AccountKeys
from backctl.domain.user import User, email_taken, username_taken
from backctl.domain.values import Identity, Instant, UserId

if TYPE_CHECKING:
    from backctl.application.mfa_keys import MfaKeys
    from backctl.application.ports.storage import UnitOfWork
    from backctl.application.transfer.account_row import AccountRow
    from backctl.domain.values import PasswordHash, Secret

Mode = Literal["create", "upsert", "skip"]
"""What happens to a row whose account exists: it fails, updates the account, or changes nothing."""

Result = Literal["created", "updated", "unchanged", "failed", "undone"]
"""What became of a row. `undone`: it would have changed something, but another row failed and all were undone."""


class RowOutcome(NamedTuple):
    """What became of one row. `id` is None if the row failed, `error` is None if it did not."""

    line: int
    result: Result
    id: UserId | None = None
    email: str | None = None
    error: BackctlError | None = None

    @property
    def is_change(self) -> bool:
        return self.result in ("created", "updated")


class PreparedRow(NamedTuple):
    """A valid row, and what takes too long for a transaction.

    `password_hash` is the hash to store: that of the row, or one of its password; None if there is none, or if the
    account already has this password. `generated` is the password behind it, if this program made it. `unhashed`: the
    row has a password, but it was not hashed, because the account exists. `resumed`: an earlier run has created the
    account, unless its transaction was lost.
    """

    row: "AccountRow"
    keys: AccountKeys
    password_hash: "PasswordHash | None" = None
    generated: "Secret | None" = None
    unhashed: bool = False
    resumed: bool = False


class HashMissing(Exception):
    """A row creates an account, although its account existed when passwords were hashed.

    An earlier row or another process has changed the names of that account since, or deleted it.
    """

    def __init__(self, prepared: PreparedRow) -> None:
        super().__init__(f"the row on line {prepared.row.line} needs a hash")
        self.prepared = prepared


@dataclass(frozen=True, slots=True)
class ImportSteps:
    """Creates and updates accounts. `mfa_keys` is called for the first second factor."""

    accounts: AccountSteps
    mfa_keys: "Callable[[], MfaKeys]"
    mode: Mode
    update_secrets: bool

    def importing(self, rows: Sequence[PreparedRow], work: "UnitOfWork") -> list[RowOutcome]:
        """Import rows in order; a row that fails does not affect the others.

        Raises Unavailable, Unusable, HashMissing and whatever is not a BackctlError.
        """
        if self.mode == "upsert":
            work.users.lock_administrators()  # administrators are always locked first, to avoid deadlocks
        work.users.lock_holders([prepared.keys for prepared in rows])
        new, now = _NewAccounts(work), self.accounts.clock()
        outcomes = []
        for prepared in rows:
            try:
                outcomes.append(self._imported(prepared, new, now, work))
            except (Unavailable, Unusable):
                raise
            except BackctlError as error:
                email = prepared.row.email
                address = None if email is None else email.address
                outcomes.append(RowOutcome(prepared.row.line, "failed", None, address, error))
        new.write()
        return outcomes

    def _imported(self, prepared: PreparedRow, new: "_NewAccounts", now: Instant, work: "UnitOfWork") -> RowOutcome:
        row = prepared.row
        by_id, by_email, by_username = work.users.holders(prepared.keys)
        if prepared.resumed and by_id is not None:
            return _outcome(row, "unchanged", by_id)
        user = by_id or by_email
        if user is None:
            if row.username is not None and by_username is not None:
                raise username_taken(row.username.name)
            user = self._new(prepared, new, now)
            return _outcome(row, "created", user)
        if self.mode == "create":
            raise email_taken(user.email.address) if user is by_email else _id_taken(user.id)
        _require_one_account(row, user, by_email, by_username)
        if self.mode == "skip":
            return _outcome(row, "unchanged", user)
        if not self._differs(user, prepared, now, work):
            return _outcome(row, "unchanged", user)
        new.write()  # in the order of the rows: accounts that the change needs, and names that it frees
        with work.attempt():
            changed = self._update(user, prepared, now, work)
        return _outcome(row, "updated" if changed else "unchanged", user)

    # New accounts.

    def _new(self, prepared: PreparedRow, new: "_NewAccounts", now: Instant) -> User:
        row = prepared.row
        if row.email is None or row.username is None:
            missing = "email" if row.email is None else "username"
            raise InvalidInput(
                f"there is no such account, and a new one needs {missing}",
                hint=f"add {missing}, or name the column with '--map COLUMN={missing}'",
            )
        if prepared.unhashed:
            raise HashMissing(prepared)
        updated_at = row.updated_at
        created_at = row.created_at
        if created_at is None:
            created_at = now if updated_at is None else min(now, updated_at)
        user = User.import_(
            id=row.id or UserId(self.accounts.new_id()),
            email=row.email,
            username=row.username,
            password_hash=prepared.password_hash,
            role=row.role or DEFAULT_ROLE,
            is_active=row.is_active is not False,
            expires_at=None if row.expiry is None else row.expiry.counted_from(now),
            must_change_password=row.must_change_password is True,
            mfa_state="off" if row.factor is None else row.factor.state,
            last_login_at=row.last_login_at,
            created_at=created_at,
            updated_at=max(now, created_at) if updated_at is None else updated_at,
            version=row.version or 1,
        )
        if row.factor is not None:
            new.enrolments[user.id] = self._factors.enrolment(row.factor, user.id, now=now)
        new.users.append(user)
        return user

    # Existing accounts.

    def _differs(self, user: User, prepared: PreparedRow, now: Instant, work: "UnitOfWork") -> bool:
        """Whether the row would change the account."""
        row = prepared.row
        return (
            (row.email is not None and row.email.address != user.email.address)
            or (row.username is not None and row.username.name != user.username.name)
            or (row.role is not None and row.role != user.role)
            or (row.is_active is not None and row.is_active != user.is_active)
            or (row.expiry is not None and row.expiry.counted_from(now) != user.expires_at)
            or (row.must_change_password is not None and row.must_change_password != user.must_change_password)
            or self._has_new_password(user, prepared)
            or self._has_new_factor(user, prepared, work)
        )

    def _has_new_password(self, user: User, prepared: PreparedRow) -> bool:
        # A generated password is for a new account: this one was added after the look-up.
        made = prepared.password_hash if self.update_secrets and prepared.generated is None else None
        return made is not None and (user.password_hash is None or user.password_hash.encoded != made.encoded)

    def _has_new_factor(self, user: User, prepared: PreparedRow, work: "UnitOfWork") -> bool:
        factor = prepared.row.factor if self.update_secrets else None
        return factor is not None and self._factors.differs(user, factor, work)

    def _update(self, user: User, prepared: PreparedRow, now: Instant, work: "UnitOfWork") -> bool:
        row, identity, steps = prepared.row, Identity("id", user.id), self.accounts
        has_new_password = self._has_new_password(user, prepared)
        changes = AccountChanges(
            row.email,
            row.username,
            row.role,
            row.expiry,
            must_change_password=None if has_new_password else row.must_change_password,
        )
        changed = steps.updating(identity, changes, work).changed
        if row.is_active is not None:
            switching = steps.activating if row.is_active else steps.deactivating
            changed |= switching(identity, work).changed
        if has_new_password and prepared.password_hash is not None:
            steps.setting_password(identity, prepared.password_hash, row.must_change_password is True, work)
            changed = True
        if self._has_new_factor(user, prepared, work) and row.factor is not None:
            self._factors.replace(user, row.factor, work, now=now)
            changed = True
        return changed

    @property
    def _factors(self) -> FactorSteps:
        return FactorSteps(self.mfa_keys)


@dataclass(slots=True)
class _NewAccounts:
    """The new accounts that are not written yet: many rows take few statements together."""

    work: "UnitOfWork"
    users: list[User] = field(default_factory=list)
    enrolments: dict[UserId, Enrolment] = field(default_factory=dict)

    def write(self) -> None:
        """Write the accounts, then their second factors. Raises TransactionAborted."""
        if self.users:
            self.work.users.add_all(self.users)
            if self.enrolments:
                self.work.second_factors.enroll_all(self.enrolments)
            self.work.write()
            self.users, self.enrolments = [], {}


def _outcome(row: "AccountRow", result: Result, user: User) -> RowOutcome:
    return RowOutcome(row.line, result, user.id, user.email.address if row.email is None else row.email.address)


def _id_taken(user_id: UserId) -> IdTaken:
    return IdTaken(
        f"there is already an account with the id {user_id}", hint=f"run '{{backctl}} user show {user_id}' to see it"
    )


def _require_one_account(row: "AccountRow", user: User, by_email: User | None, by_username: User | None) -> None:
    """Raises AccountAmbiguous, UsernameTaken."""
    if by_email is not None and by_email is not user:
        raise AccountAmbiguous(
            f"its id belongs to {quoted(user.username.name)}, and its e-mail address to "
            f"{quoted(by_email.username.name)}",
            hint="correct the id or the e-mail address",
        )
    if row.username is not None and by_username is not None and by_username is not user:
        raise username_taken(row.username.name)
