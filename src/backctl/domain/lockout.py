"""How many failed logins are too many, and what follows: pure rules, time passed in.

Ten failures within fifteen minutes lock an account for fifteen minutes (NIST SP 800-63B-4 §3.2.2 asks for at most a
hundred in a row). Names that no account has are counted alike, or the lock itself would tell them apart.
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
"""`must_change`: the password is right, and its owner has to choose another before anything else. `mfa_required`: the
password is right, and a code of the second factor is needed beside it."""

Proof = Literal["totp", "recovery_code", "missing", "wrong"]
"""What became of the second factor: which kind of code was right, that none was given, or that it was wrong."""

NOBODY = "unknown"
"""The subject of a failed login under a name that no account has. The name itself may be somebody's password."""


@dataclass(frozen=True, slots=True)
class RecentFailures:
    """The failed logins that still count, oldest first, and until when they lock the account, if they do."""

    at: tuple[Instant, ...] = ()
    locked_until: Instant | None = None

    def seen(self, now: Instant) -> "RecentFailures":
        """What of it still holds at `now`. A clock set back makes no lock longer than it was meant to be."""
        if self.locked_until is not None:
            if self.locked_until <= now:
                return RecentFailures()  # the failures have served their time with the lock
            return RecentFailures(self.at, min(self.locked_until, now.plus(LOCK_US)))
        return RecentFailures(tuple(min(at, now) for at in self.at if at > now - WINDOW_US))

    def after_one_more(self, now: Instant) -> "RecentFailures":
        """With a failure at `now`. While locked nothing is counted, so no attacker can prolong the lock."""
        recent = self.seen(now)
        if recent.locked_until is not None:
            return recent
        at = (*recent.at, now)
        return RecentFailures(at, now.plus(LOCK_US) if len(at) >= FAILURES_MAX else None)

    def expires_at(self) -> Instant | None:
        """From when on all of it is forgotten; None when there is nothing to forget."""
        if self.locked_until is not None:
            return self.locked_until
        return self.at[-1].plus(WINDOW_US) if self.at else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a login, what is to be remembered, and what is to be recorded."""

    outcome: Outcome
    failures: RecentFailures
    events: tuple[DomainEvent, ...]

    @property
    def ok(self) -> bool:
        return self.outcome in ("ok", "must_change")


def asks_for_code(user: User | None, failures: RecentFailures, *, fits: bool, now: Instant) -> bool:
    """Whether all else is in order, so that the second factor decides. Nobody else learns that there is one."""
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
    """Decide over a login as `user`, None when nobody has that name; `fits` says whether the password is right.

    Whatever is wrong, the answer is `refused`, and only the log knows the cause. A lock goes before everything, the
    right password included: who guesses on must not learn when he has found it. `proof` means something only where the
    account has a second factor. A missing code is no failure, nor does it forget any: who has the password could else
    guess codes without an end.
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
