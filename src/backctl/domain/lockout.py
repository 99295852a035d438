"""Rules for failed logins and account locks. They do no I/O; the time is a parameter.

Ten failures within fifteen minutes lock an account for fifteen minutes (NIST SP 800-63B-4 §3.2.2 allows at most a
hundred in a row). Unknown names are locked in the same way, so that a lock does not reveal which accounts exist.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from backctl.domain.account_status import LOCK_US, lock_in_force
from backctl.domain.events import (
    DomainEvent,
    LoginChallenged,
    LoginFailed,
    LoginSucceeded,
    UserLocked,
    UserLockEnded,
)
from backctl.domain.user import User
from backctl.domain.values import Instant, is_uuid

FAILURES_MAX = 10
WINDOW_US = 15 * 60 * 1_000_000

Outcome = Literal["ok", "must_change", "mfa_required", "refused", "locked"]
"""`must_change`: the password is right, but must be changed first. `mfa_required`: the password is right, but a code of
the second factor is required too."""

Proof = Literal["totp", "recovery_code", "missing", "wrong"]
"""The result of checking the second factor: the kind of code that was right, or that it was missing or wrong."""

Clearing = Literal["password_changed", "unlocked"]
"""What ends a lock early."""

NOBODY = "unknown"
"""The subject of a failed login with an unknown name. The name is not recorded: it may be a mistyped password."""


@dataclass(frozen=True, slots=True)
class RecentFailures:
    """The recent failed logins, oldest first. While the account is locked: the end of the lock, and the number of
    logins refused since it began."""

    at: tuple[Instant, ...] = ()
    locked_until: Instant | None = None
    refused: int = 0

    def seen(self, now: Instant) -> "RecentFailures":
        """Return what still applies at `now`. A clock that was set back does not lengthen a lock."""
        if self.locked_until is not None:
            until = lock_in_force(self.locked_until, now)
            if until is None:
                return RecentFailures()  # the failures expire with the lock
            return RecentFailures(self.at, until, self.refused)
        return RecentFailures(tuple(min(at, now) for at in self.at if at > now - WINDOW_US))

    def after_one_more(self, now: Instant) -> "RecentFailures":
        """Add a failure at `now`. During a lock it is only counted, so that an attacker cannot prolong the lock."""
        recent = self.seen(now)
        if recent.locked_until is not None:
            return replace(recent, refused=recent.refused + 1)
        at = (*recent.at, now)
        return RecentFailures(at, now.plus(LOCK_US) if len(at) >= FAILURES_MAX else None)

    def end_of_lock(
        self, subject: str, *, now: Instant, cleared_by: Clearing | None = None
    ) -> "tuple[UserLockEnded, ...]":
        """Return the event for a lock that ended before `now` or was cleared; otherwise nothing.

        Also nothing for a lock of an unknown name that refused no login.
        """
        if self.locked_until is None or (subject == NOBODY and self.refused == 0):
            return ()
        if self.locked_until <= now:
            return (UserLockEnded(subject, attempts=self.refused, cause="expired", at=now),)
        if cleared_by is None:
            return ()
        return (UserLockEnded(subject, attempts=self.refused, cause=cleared_by, at=now),)

    def expires_at(self) -> Instant | None:
        """Return when all of it expires; None if there is nothing to expire."""
        if self.locked_until is not None:
            return self.locked_until
        return self.at[-1].plus(WINDOW_US) if self.at else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a login, the failures to store, and the events to record."""

    outcome: Outcome
    failures: RecentFailures
    events: tuple[DomainEvent, ...]

    @property
    def ok(self) -> bool:
        return self.outcome in ("ok", "must_change")


def asks_for_code(user: User | None, failures: RecentFailures, *, fits: bool, now: Instant) -> bool:
    """Whether everything but the second factor is right. Otherwise the caller must not learn that there is one."""
    return (
        user is not None
        and fits
        and user.mfa_state == "on"
        and user.login_obstacle(now=now) is None
        and failures.seen(now).locked_until is None
    )


def judge(
    user: User | None, failures: RecentFailures, *, fits: bool, now: Instant, proof: Proof = "missing"
) -> Verdict:
    """Decide a login as `user`, None for an unknown name; `fits` says whether the password is right.

    For every cause the outcome is `refused`; only the log records the cause. A lock overrides even the right password,
    so that guessing during a lock reveals nothing. `proof` is used only if the account has a second factor. A missing
    code is not a failure and does not reset the failures; otherwise somebody with the password could guess codes
    without limit.
    """
    recent = failures.seen(now)
    subject = user.id if user is not None else NOBODY
    if recent.locked_until is not None:
        return Verdict("locked", recent.after_one_more(now), ())
    ended: tuple[DomainEvent, ...] = failures.end_of_lock(subject, now=now)
    cause: str | None = "unknown" if user is None else "wrong" if not fits else user.login_obstacle(now=now)
    second_factor = None
    if cause is None and user is not None and user.mfa_state == "on":
        if proof == "missing":
            return Verdict("mfa_required", recent, (*ended, LoginChallenged(subject, at=now)))
        if proof == "wrong":
            cause = "code"
        else:
            second_factor = proof
    if cause is None:
        must_change = user is not None and user.must_change_password
        succeeded = LoginSucceeded(subject, must_change=must_change, second_factor=second_factor, at=now)
        return Verdict("must_change" if must_change else "ok", RecentFailures(), (*ended, succeeded))
    recent = recent.after_one_more(now)
    events = (*ended, LoginFailed(subject, cause=cause, at=now))
    if recent.locked_until is not None and user is not None:
        events += (UserLocked(subject, until=recent.locked_until.isoformat(), at=now),)
    return Verdict("refused", recent, events)


def ended_locks(swept: Mapping[str, RecentFailures], *, now: Instant) -> Iterator[UserLockEnded]:
    """Yield the events for the locks among failures that have expired, by their keys."""
    for key, failures in swept.items():
        yield from failures.end_of_lock(key if is_uuid(key) else NOBODY, now=now)
