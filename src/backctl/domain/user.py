"""The User aggregate: one account, its rules, and the events of what was done to it."""

from dataclasses import dataclass, field, replace
from typing import Literal

from backctl.domain.errors import MfaAlreadyOn, MfaNotOn, MfaNotPending, quoted
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
    UserPasswordChanged,
    UserPasswordRehashed,
    UserRoleChanged,
    UserUsernameChanged,
)
from backctl.domain.values import EmailAddress, Instant, PasswordHash, UserId, Username

MfaState = Literal["off", "pending", "on"]


@dataclass(slots=True, eq=False, kw_only=True)
class User:
    """An account. Change it through its methods only: they keep the rules and record the events.

    `password_hash` None means that nobody can log in with a password. `expires_at` ends a break-glass account by
    itself. `version` counts the stored states and is the repository's to advance; `is_stored` says that there is one.
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
    created_at: Instant
    updated_at: Instant
    version: int
    is_stored: bool = True
    _recorded: list[DomainEvent] = field(default_factory=list, repr=False)

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
        """A new, active account. The role must exist; the caller asks the AccessPolicy."""
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
                at=now,
                version=1,
            )
        )
        return user

    def change_email(self, email: EmailAddress, *, now: Instant) -> bool:
        """False when it has this very spelling already. Whether it is taken, the repository finds out."""
        if self.email.address == email.address:
            return False
        event = UserEmailChanged(self.id, old=self.email.address, new=email.address)
        self.email = email
        return self._changed(event, now)

    def rename(self, username: Username, *, now: Instant) -> bool:
        """False when it has this very spelling already. Whether it is taken, the repository finds out."""
        if self.username.name == username.name:
            return False
        event = UserUsernameChanged(self.id, old=self.username.name, new=username.name)
        self.username = username
        return self._changed(event, now)

    def assign_role(self, role: str, *, now: Instant) -> bool:
        """False when it has this role. The caller asks the AccessPolicy, about administrators too."""
        if self.role == role:
            return False
        event = UserRoleChanged(self.id, old=self.role, new=role)
        self.role = role
        return self._changed(event, now)

    def set_expiry(self, moment: Instant | None, *, now: Instant) -> bool:
        """End the account at `moment`, or never; False when that is so. Ask the AccessPolicy about administrators."""
        if self.expires_at == moment:
            return False
        old, new = (None if end is None else end.isoformat() for end in (self.expires_at, moment))
        self.expires_at = moment
        return self._changed(UserExpiryChanged(self.id, old=old, new=new), now)

    def delete(self, *, erased: bool, now: Instant) -> None:
        """Record the end; the repository removes the account. Ask the AccessPolicy about administrators first."""
        self._recorded.append(UserDeleted(self.id, erased=erased, at=now))

    def activate(self, *, now: Instant) -> bool:
        """Open the account; False when it is open already."""
        return self._set_active(True, UserActivated(self.id), now)

    def deactivate(self, *, now: Instant) -> bool:
        """Close the account; False when it is closed already. Ask the AccessPolicy about administrators first."""
        return self._set_active(False, UserDeactivated(self.id), now)

    def change_password(self, password_hash: PasswordHash, *, must_change: bool, now: Instant) -> None:
        """Give the account another password; `must_change` obliges its owner to choose one at the next login.

        Always a change, with the same password too: it has a new salt.
        """
        self.password_hash = password_hash
        self.must_change_password = must_change
        self._changed(UserPasswordChanged(self.id, must_change=must_change), now)

    def rehash_password(self, password_hash: PasswordHash, *, now: Instant) -> None:
        """Keep the password under a better hash."""
        self.password_hash = password_hash
        self._changed(UserPasswordRehashed(self.id), now)

    def enroll_mfa(self, *, algorithm: str, digits: int, period: int, now: Instant) -> None:
        """Give it one-time codes that count once they are confirmed; those that wait for it are replaced.

        Always a change, for the secret is another. Raises MfaAlreadyOn.
        """
        if self.mfa_state == "on":
            raise MfaAlreadyOn(
                f"{quoted(self.username.name)} already has a second factor",
                hint="remove it with 'backctl user mfa disable', then enroll again",
            )
        self.mfa_state = "pending"
        self._changed(MfaEnrolled(self.id, algorithm=algorithm, digits=digits, period=period), now)

    def confirm_mfa(self, *, now: Instant) -> None:
        """Ask for a code at every login from now on. Raises MfaNotPending."""
        require_mfa_pending(self.mfa_state, self.username.name)
        self.mfa_state = "on"
        self._changed(MfaConfirmed(self.id), now)

    def disable_mfa(self, *, now: Instant) -> bool:
        """Ask for no code any more; False when none is asked for and none waits to be confirmed."""
        if self.mfa_state == "off":
            return False
        event = MfaDisabled(self.id, was=self.mfa_state)
        self.mfa_state = "off"
        return self._changed(event, now)

    def renew_recovery_codes(self, count: int, *, now: Instant) -> None:
        """Record that it has other recovery codes. Raises MfaNotOn: without a second factor they would open nothing."""
        if self.mfa_state != "on":
            raise MfaNotOn(
                f"{quoted(self.username.name)} has no second factor, so it has no recovery codes",
                hint="run 'backctl user mfa enroll' first",
            )
        self._recorded.append(RecoveryCodesRenewed(self.id, count=count, at=now))

    def use_recovery_code(self, *, left: int, now: Instant) -> None:
        """Record that one of its recovery codes was used up."""
        self._recorded.append(RecoveryCodeUsed(self.id, left=left, at=now))

    def login_obstacle(self, *, now: Instant) -> Literal["inactive", "expired"] | None:
        """Why nobody can log in although the password is right; None when somebody can."""
        if not self.is_active:
            return "inactive"
        return "expired" if self.has_expired(now) else None

    def has_expired(self, now: Instant) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def take_events(self) -> list[DomainEvent]:
        """What happened since the last call, in order; the unit of work appends them to the log."""
        recorded, self._recorded = self._recorded, []
        return recorded

    def _set_active(self, target: bool, event: DomainEvent, now: Instant) -> bool:
        if self.is_active == target:
            return False
        self.is_active = target
        return self._changed(event, now)

    def _changed(self, event: DomainEvent, now: Instant) -> bool:
        self.updated_at = max(now, self.created_at)  # a clock set back must not date a change before the account
        version = self.version + 1 if self.is_stored else self.version
        self._recorded.append(replace(event, at=self.updated_at, version=version))
        return True


def require_mfa_pending(state: str, username: str) -> None:
    """Raises MfaNotPending when there is nothing to confirm."""
    if state == "on":
        raise MfaNotPending(f"the second factor of {quoted(username)} is already confirmed")
    if state != "pending":
        raise MfaNotPending(
            f"{quoted(username)} has no second factor to confirm", hint="run 'backctl user mfa enroll' first"
        )
