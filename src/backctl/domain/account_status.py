"""The status of an account: one rule for logins, permissions, sessions, lists and views.

Separate from the entity, which imports all events, because queries use it.
"""

from typing import Literal, get_args

from backctl.domain.values import Instant

Obstacle = Literal["inactive", "expired"]
"""Why an account cannot be used, whatever the password."""

Status = Literal["active", "closed", "expired", "locked"]
STATUSES: tuple[Status, ...] = get_args(Status)

LOCK_US = 15 * 60 * 1_000_000
"""How long an account is locked after too many failed logins."""


def obstacle_of(*, is_active: bool, expires_at: Instant | None, now: Instant) -> Obstacle | None:
    """Return why nobody can use an account, or None. Inactive takes precedence over expired."""
    if not is_active:
        return "inactive"
    return "expired" if expires_at is not None and expires_at <= now else None


def lock_in_force(locked_until: Instant | None, now: Instant) -> Instant | None:
    """Return the end of a lock; None if it has ended. A clock that was set back does not lengthen a lock."""
    if locked_until is None or locked_until <= now:
        return None
    return min(locked_until, now.plus(LOCK_US))


def status_of(*, is_active: bool, expires_at: Instant | None, locked_until: Instant | None, now: Instant) -> Status:
    """Return the status of an account at `now`.

    If several apply, the one that lasts longest takes precedence: `closed` lasts until an operator activates the
    account, `expired` until an operator extends it, and `locked` until the lock ends. An account without a password is
    `active` too, because tokens can be issued for it.
    """
    match obstacle_of(is_active=is_active, expires_at=expires_at, now=now):
        case "inactive":
            return "closed"
        case "expired":
            return "expired"
        case None:
            return "active" if lock_in_force(locked_until, now) is None else "locked"
