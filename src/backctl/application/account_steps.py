"""Changes of accounts, each a step in an open unit of work, for `AccountService` and for code that combines them.

Steps are fast: passwords are checked and hashed before the transaction starts.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backctl.application.views import Change, UserDeletion, UserView
from backctl.domain.access import ADMINISTRATOR, AccessPolicy
from backctl.domain.errors import UserChangedMeanwhile, UserNotFound
from backctl.domain.quoting import quoted
from backctl.domain.values import EmailAddress, Expiry, Identity, PasswordHash, UserId, Username

if TYPE_CHECKING:
    from backctl.application.ports.environment import Clock, IdSource
    from backctl.application.ports.storage import UnitOfWork
    from backctl.domain.user import User
    from backctl.domain.values import Instant


@dataclass(frozen=True, slots=True)
class NewAccount:
    """The validated data of a new account. Without a hash, password logins are impossible."""

    email: EmailAddress
    username: Username
    role: str
    expiry: Expiry | None = None
    password_hash: PasswordHash | None = None
    must_change_password: bool = False
    id: UserId | None = None
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class AccountChanges:
    """Validated changes of an account; None leaves a value unchanged.

    `if_version` is the version that the caller read.
    """

    email: EmailAddress | None = None
    username: Username | None = None
    role: str | None = None
    expiry: Expiry | None = None
    if_version: int | None = None
    must_change_password: bool | None = None


@dataclass(frozen=True, slots=True)
class AccountSteps:
    """One method for each change. Each raises the same errors as the method of `AccountService`."""

    access: AccessPolicy
    clock: "Clock"
    new_id: "IdSource"

    def creating(self, new: NewAccount, work: "UnitOfWork") -> Change[UserView]:
        """Create an account."""
        now = self.clock()
        user = self.made(new, now)
        work.users.add(user)
        work.write()
        return Change(UserView.of(user, locked_until=None, now=now), changed=True)

    def made(self, new: NewAccount, now: "Instant") -> "User":
        """Return a new account that is not stored yet."""
        from backctl.domain.user import User  # imports all events, which queries do not need

        user = User.create(
            id=UserId(self.new_id()) if new.id is None else new.id,
            email=new.email,
            username=new.username,
            password_hash=new.password_hash,
            role=new.role,
            now=now,
            must_change_password=new.must_change_password,
        )
        if new.expiry is not None:
            user.set_expiry(new.expiry.counted_from(now), now=now)
        if not new.is_active:
            user.deactivate(now=now)
        return user

    def setting_password(
        self, identity: Identity, password_hash: PasswordHash, must_change: bool, work: "UnitOfWork"
    ) -> Change[UserView]:
        """Set the password, revoke all sessions, and end a lock after failed logins."""
        user, now = work.users.get(identity), self.clock()
        user.change_password(password_hash, must_change=must_change, now=now)
        work.sessions.revoke_all(user.id, "password_changed", now=now)
        work.record(*work.login_failures.forget(user.id).end_of_lock(user.id, now=now, cleared_by="password_changed"))
        work.write()
        return Change(UserView.of(user, locked_until=None, now=now), changed=True)

    def updating(self, identity: Identity, changes: AccountChanges, work: "UnitOfWork") -> Change[UserView]:
        """Change the values that are not None."""
        role, expiry = changes.role, changes.expiry
        administrators = work.users.lock_administrators() if role is not None or expiry is not None else ()
        user = work.users.get(identity)
        if changes.if_version is not None and user.version != changes.if_version:
            raise UserChangedMeanwhile(
                f"{quoted(user.username.name)} has version {user.version}, not {changes.if_version}",
                hint="look at the account again, then repeat the command",
            )
        now, changed = self.clock(), False
        if changes.email is not None:
            changed |= user.change_email(changes.email, now=now)
        if changes.username is not None:
            changed |= user.rename(changes.username, now=now)
        if changes.must_change_password is not None:
            changed |= user.require_password_change(changes.must_change_password, now=now)
        if role is not None:
            if role != ADMINISTRATOR:
                self.access.require_another_administrator(user, administrators)
            if user.assign_role(role, now=now):
                work.sessions.void_access_tokens(user.id, now=now)
                changed = True
        if expiry is not None:
            moment = expiry.counted_from(now)
            self.access.require_administrator_beyond(user, administrators, moment)
            expired = user.has_expired(now)
            if user.set_expiry(moment, now=now):
                if expired or user.has_expired(now):  # sessions that ended with the account stay ended
                    work.sessions.revoke_all(user.id, "expired", now=now)
                changed = True
        if changed:
            work.write()
        return Change(_view(user, work, now), changed)

    def assigning(self, role: str, identity: Identity, work: "UnitOfWork") -> Change[UserView]:
        """Assign a role, which must exist."""
        return self.updating(identity, AccountChanges(role=role), work)

    def activating(self, identity: Identity, work: "UnitOfWork") -> Change[UserView]:
        """Activate an account."""
        user, now = work.users.get(identity), self.clock()
        changed = user.activate(now=now)
        if changed:
            work.write()
        return Change(_view(user, work, now), changed)

    def unlocking(self, identity: Identity, work: "UnitOfWork") -> Change[UserView]:
        """End a lock after failed logins and delete the failures. Changes nothing without a lock."""
        user, now = work.users.get(identity), self.clock()
        failures = work.login_failures.of(user.id)
        changed = failures.seen(now).locked_until is not None
        if changed:
            work.login_failures.forget(user.id)
            work.record(*failures.end_of_lock(user.id, now=now, cleared_by="unlocked"))
            work.write()
        return Change(_view(user, work, now), changed)

    def deactivating(self, identity: Identity, work: "UnitOfWork") -> Change[UserView]:
        """Deactivate an account and revoke its sessions."""
        administrators = work.users.lock_administrators()
        user = work.users.get(identity)
        self.access.require_another_administrator(user, administrators)
        now = self.clock()
        changed = user.deactivate(now=now)
        if changed:
            work.sessions.revoke_all(user.id, "deactivated", now=now)
            work.write()
        return Change(_view(user, work, now), changed)

    def deleting(self, identity: Identity, work: "UnitOfWork", *, erase: bool, if_exists: bool) -> Change[UserDeletion]:
        """Delete an account and its sessions; `erase` also erases the data of its events."""
        administrators = work.users.lock_administrators()
        try:
            user = work.users.get(identity)
        except UserNotFound:
            if not if_exists:
                raise
            return Change(UserDeletion(None, None, None, erased_events=0), changed=False)
        self.access.require_another_administrator(user, administrators)
        work.users.remove(user)
        user.delete(erased=erase, now=self.clock())
        work.login_failures.forget(user.id)
        erased = work.erase_events(user.id) if erase else 0
        work.write()  # after the erasure, so that the deletion event keeps its data
        return Change(UserDeletion(user.id, user.email.address, user.username.name, erased), changed=True)


def _view(user: "User", work: "UnitOfWork", now: "Instant") -> UserView:
    return UserView.of(user, locked_until=work.login_failures.locked_until(user.id), now=now)
