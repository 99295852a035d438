"""Rules for failed logins and account locks. They do no I/O; the time is a parameter.

Ten failures within fifteen minutes lock an account for fifteen minutes (NIST SP 800-63B-4 §3.2.2 allows at most a
hundred in a row). Unknown names are locked in the same way, so that a lock does not reveal which accounts exist.
"""

from dataclasses import dataclass
from typing import Literal

from backctl.domain.events import DomainEvent, LoginChallenged, LoginFailed, LoginSucceeded, UserLocked
from backctl.domain.user import User
from backctl.domain.values import Instant

FAILURES_MAX = 10
WINDOW_US = 15 * 60 * 1_000_000
LOCK_US = 15 * 60 * 1_000_000

Outcome = Literal["ok", "must_change", "mfa_required", "refused", "locked"]
"""`must_change`: the password is right, but must be changed first. `mfa_required`: the password is right, but a code of
the second factor is required too."""

Proof = Literal["totp", "recovery_code", "missing", "wrong"]
"""The result of checking the second factor: the kind of code that was right, or that it was missing or wrong."""

NOBODY = "unknown"
"""The subject of a failed login with an unknown name. The name is not recorded: it may be a mistyped password."""


@dataclass(frozen=True, slots=True)
class RecentFailures:
    """The recent failed logins, oldest first, and the end of the lock, if the account is locked."""

    at: tuple[Instant, ...] = ()
    locked_until: Instant | None = None

    def seen(self, now: Instant) -> "RecentFailures":
        """Return what still applies at `now`. A clock that was set back does not lengthen a lock."""
        if self.locked_until is not None:
            if self.locked_until <= now:
                return RecentFailures()  # the failures expire with the lock
            return RecentFailures(self.at, min(self.locked_until, now.plus(LOCK_US)))
        return RecentFailures(tuple(min(at, now) for at in self.at if at > now - WINDOW_US))

    def after_one_more(self, now: Instant) -> "RecentFailures":
        """Add a failure at `now`. Failures during a lock are not added, so that an attacker cannot prolong it."""
        recent = self.seen(now)
        if recent.locked_until is not None:
            return recent
        at = (*recent.at, now)
        return RecentFailures(at, now.plus(LOCK_US) if len(at) >= FAILURES_MAX else None)

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
        return Verdict("locked", recent, (LoginFailed(subject, cause="locked", at=now),))
    cause: str | None = "unknown" if user is None else "wrong" if not fits else user.login_obstacle(now=now)
    second_factor = None
    if cause is None and user is not None and user.mfa_state == "on":
        if proof == "missing":
            return Verdict("mfa_required", recent, (LoginChallenged(subject, at=now),))
        if proof == "wrong":
            cause = "code"
        else:
            second_factor = proof
    if cause is None:
        must_change = user is not None and user.must_change_password
        succeeded = LoginSucceeded(subject, must_change=must_change, second_factor=second_factor, at=now)
        return Verdict("must_change" if must_change else "ok", RecentFailures(), (succeeded,))
    recent = recent.after_one_more(now)
    events: tuple[DomainEvent, ...] = (LoginFailed(subject, cause=cause, at=now),)
    if recent.locked_until is not None and user is not None:
        events += (UserLocked(subject, until=recent.locked_until.isoformat(), at=now),)
    return Verdict("refused", recent, events)
