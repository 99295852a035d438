"""The User aggregate: one account, its rules, and the events that record its changes."""

from dataclasses import dataclass, field, replace
from typing import Literal

from backctl.domain.account_status import Obstacle, obstacle_of
from backctl.domain.errors import EmailTaken, MfaAlreadyOn, MfaNotOn, MfaNotPending, UsernameTaken
from backctl.domain.events import (
    DomainEvent,
    MfaConfirmed,
    MfaDisabled,
    MfaEnrolled,
    RecoveryCodesRenewed,
    RecoveryCodeUsed,
    UserActivated,
    UserCreated,
    UserDeactivated,
    UserDeleted,
    UserEmailChanged,
    UserExpiryChanged,
    UserImported,
    UserPasswordChanged,
    UserPasswordChangeRequired,
    UserPasswordRehashed,
    UserRoleChanged,
    UserUsernameChanged,
)
from backctl.domain.quoting import escaped, quoted
from backctl.domain.values import EmailAddress, Instant, PasswordHash, UserId, Username

MfaState = Literal["off", "pending", "on"]


@dataclass(slots=True, eq=False, kw_only=True)
class User:
    """An account. Change it only through its methods, which enforce the rules and record the events.

    Without a `password_hash`, password logins are impossible. At `expires_at` the account expires, for example a
    break-glass account. The repository increments `version` at every write; `is_stored` is False for a new account.
    """

    id: UserId
    email: EmailAddress
    username: Username
    password_hash: PasswordHash | None
    role: str
    is_active: bool
    expires_at: Instant | None
    must_change_password: bool
    mfa_state: MfaState
    last_login_at: Instant | None
    created_at: Instant
    updated_at: Instant
    version: int
    is_stored: bool = True
    _recorded: list[DomainEvent] = field(default_factory=list, repr=False)

    @property
    def password_imported(self) -> bool:
        """Whether another program made the password hash."""
        return self.password_hash is not None and self.password_hash.imported

    @classmethod
    def create(
        cls,
        *,
        id: UserId,  # noqa: A002 - the member's own name
        email: EmailAddress,
        username: Username,
        password_hash: PasswordHash | None,
        role: str,
        now: Instant,
        must_change_password: bool = False,
    ) -> "User":
        """Create an active account. The caller must check with the AccessPolicy that the role exists."""
        user = cls(
            id=id,
            email=email,
            username=username,
            password_hash=password_hash,
            role=role,
            is_active=True,
            expires_at=None,
            must_change_password=must_change_password,
            mfa_state="off",
            last_login_at=None,
            created_at=now,
            updated_at=now,
            version=1,
            is_stored=False,
        )
        user._recorded.append(
            UserCreated(
                id,
                email=email.address,
                username=username.name,
                role=role,
                can_log_in=password_hash is not None,
                must_change=must_change_password,
                imported=user.password_imported,
                at=now,
                version=1,
            )
        )
        return user

    @classmethod
    def import_(
        cls,
        *,
        id: UserId,  # noqa: A002 - the member's own name
        email: EmailAddress,
        username: Username,
        password_hash: PasswordHash | None,
        role: str,
        is_active: bool,
        expires_at: Instant | None,
        must_change_password: bool,
        mfa_state: MfaState,
        last_login_at: Instant | None,
        created_at: Instant,
        updated_at: Instant,
        version: int,
    ) -> "User":
        """Create an account as a record describes it. The caller must check with the AccessPolicy that the role exists.

        `updated_at` must not be before `created_at`, and `version` must be at least 1.
        """
        user = cls(
            id=id,
            email=email,
            username=username,
            password_hash=password_hash,
            role=role,
            is_active=is_active,
            expires_at=expires_at,
            must_change_password=must_change_password,
            mfa_state=mfa_state,
            last_login_at=last_login_at,
            created_at=created_at,
            updated_at=updated_at,
            version=version,
            is_stored=False,
        )
        created = created_at.isoformat()
        user._recorded.append(
            UserImported(
                id,
                email=email.address,
                username=username.name,
                role=role,
                can_log_in=password_hash is not None,
                must_change=must_change_password,
                imported=user.password_imported,
                is_active=is_active,
                mfa=mfa_state,
                expires_at=None if expires_at is None else expires_at.isoformat(),
                last_login_at=None if last_login_at is None else last_login_at.isoformat(),
                created_at=created,
                updated_at=created if updated_at == created_at else updated_at.isoformat(),
                version=version,
            )
        )
        return user

    def change_email(self, email: EmailAddress, *, now: Instant) -> bool:
        """Change the e-mail address; False if it is the same. The repository checks whether it is taken."""
        if self.email.address == email.address:
            return False
        event = UserEmailChanged(self.id, old=self.email.address, new=email.address)
        self.email = email
        return self._changed(event, now)

    def rename(self, username: Username, *, now: Instant) -> bool:
        """Change the username; False if it is the same. The repository checks whether it is taken."""
        if self.username.name == username.name:
            return False
        event = UserUsernameChanged(self.id, old=self.username.name, new=username.name)
        self.username = username
        return self._changed(event, now)

    def assign_role(self, role: str, *, now: Instant) -> bool:
        """Change the role; False if it is the same. Check role and administrators with the AccessPolicy first."""
        if self.role == role:
            return False
        event = UserRoleChanged(self.id, old=self.role, new=role)
        self.role = role
        return self._changed(event, now)

    def set_expiry(self, moment: Instant | None, *, now: Instant) -> bool:
        """Set the expiry, None for never; False if it is the same. Check administrators with the AccessPolicy first."""
        if self.expires_at == moment:
            return False
        old, new = (None if end is None else end.isoformat() for end in (self.expires_at, moment))
        self.expires_at = moment
        return self._changed(UserExpiryChanged(self.id, old=old, new=new), now)

    def delete(self, *, erased: bool, now: Instant) -> None:
        """Record the deletion; the repository removes the row. Check administrators with the AccessPolicy first."""
        self._recorded.append(UserDeleted(self.id, erased=erased, at=now))

    def activate(self, *, now: Instant) -> bool:
        """Activate the account; False if it is already active."""
        return self._set_active(True, UserActivated(self.id), now)

    def deactivate(self, *, now: Instant) -> bool:
        """Deactivate the account; False if it is inactive. Check administrators with the AccessPolicy first."""
        return self._set_active(False, UserDeactivated(self.id), now)

    def change_password(self, password_hash: PasswordHash, *, must_change: bool, now: Instant) -> None:
        """Set the password; `must_change` requires the owner to change it at the next login.

        Always a change, even for the same password, because the salt is new.
        """
        self.password_hash = password_hash
        self.must_change_password = must_change
        self._changed(UserPasswordChanged(self.id, must_change=must_change, imported=self.password_imported), now)

    def require_password_change(self, must_change: bool, *, now: Instant) -> bool:
        """Set whether the owner must change the password at the next login; False if it is the same."""
        if self.must_change_password == must_change:
            return False
        self.must_change_password = must_change
        return self._changed(UserPasswordChangeRequired(self.id, must_change=must_change), now)

    def rehash_password(self, password_hash: PasswordHash, *, now: Instant) -> None:
        """Replace the hash by a better one of the same password."""
        self.password_hash = password_hash
        self._changed(UserPasswordRehashed(self.id), now)

    def enroll_mfa(self, *, algorithm: str, digits: int, period: int, now: Instant) -> None:
        """Enroll the account in one-time codes, pending until confirmed. Replaces an unconfirmed enrolment.

        Always a change, because the secret is new. Raises MfaAlreadyOn.
        """
        if self.mfa_state == "on":
            raise MfaAlreadyOn(
                f"{quoted(self.username.name)} already has a second factor",
                hint="remove it with '{backctl} user mfa disable', then enroll again",
            )
        self.mfa_state = "pending"
        self._changed(MfaEnrolled(self.id, algorithm=algorithm, digits=digits, period=period), now)

    def confirm_mfa(self, *, now: Instant) -> None:
        """Confirm the second factor: every login requires a code from now on. Raises MfaNotPending."""
        require_mfa_pending(self.mfa_state, self.username.name)
        self.mfa_state = "on"
        self._changed(MfaConfirmed(self.id), now)

    def disable_mfa(self, *, now: Instant) -> bool:
        """Remove the second factor, confirmed or pending; False if there is none."""
        if self.mfa_state == "off":
            return False
        event = MfaDisabled(self.id, was=self.mfa_state)
        self.mfa_state = "off"
        return self._changed(event, now)

    def renew_recovery_codes(self, count: int, *, now: Instant) -> None:
        """Record that the recovery codes were replaced. Raises MfaNotOn without a second factor."""
        if self.mfa_state != "on":
            raise MfaNotOn(
                f"{quoted(self.username.name)} has no second factor, so it has no recovery codes",
                hint="run '{backctl} user mfa enroll' first",
            )
        self._recorded.append(RecoveryCodesRenewed(self.id, count=count, at=now))

    def use_recovery_code(self, *, left: int, now: Instant) -> None:
        """Record that a recovery code was used; `left` codes remain."""
        self._recorded.append(RecoveryCodeUsed(self.id, left=left, at=now))

    def log_in(self, *, now: Instant) -> None:
        """Set the time of the last login, which `LoginSucceeded` records. The version stays the same."""
        self.last_login_at = now

    def login_obstacle(self, *, now: Instant) -> Obstacle | None:
        """Return why logins fail even with the right password, or None."""
        return obstacle_of(is_active=self.is_active, expires_at=self.expires_at, now=now)

    def has_expired(self, now: Instant) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def take_events(self) -> list[DomainEvent]:
        """Return and clear the events since the last call, in order; the unit of work appends them to the log."""
        recorded, self._recorded = self._recorded, []
        return recorded

    def _set_active(self, target: bool, event: DomainEvent, now: Instant) -> bool:
        if self.is_active == target:
            return False
        self.is_active = target
        return self._changed(event, now)

    def _changed(self, event: DomainEvent, now: Instant) -> bool:
        self.updated_at = max(now, self.created_at)  # the clock may have been set back
        version = self.version + 1 if self.is_stored else self.version
        self._recorded.append(replace(event, at=self.updated_at, version=version))
        return True


def require_mfa_pending(state: str, username: str) -> None:
    """Raises MfaNotPending when the account has no unconfirmed second factor."""
    if state == "on":
        raise MfaNotPending(f"the second factor of {quoted(username)} is already confirmed")
    if state != "pending":
        raise MfaNotPending(
            f"{quoted(username)} has no second factor to confirm", hint="run '{backctl} user mfa enroll' first"
        )


def email_taken(address: str) -> EmailTaken:
    return EmailTaken(f"the e-mail address {quoted(address)} belongs to another account", hint=_see(address))


def username_taken(name: str) -> UsernameTaken:
    return UsernameTaken(f"the username {quoted(name)} belongs to another account", hint=_see(name))


def _see(ident: str) -> str:
    import shlex

    return f"run '{{backctl}} user show {shlex.quote(escaped(ident))}' to see that account"
