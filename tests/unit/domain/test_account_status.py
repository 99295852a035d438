from dataclasses import fields
from typing import Any

import pytest

from backctl.application.views import UserView
from backctl.domain.account_status import LOCK_US, STATUSES, Status, lock_in_force, obstacle_of, status_of
from backctl.domain.values import Instant

NOW = Instant.parse("2026-11-22T09:00:00Z")
PAST, FUTURE = NOW.plus(-1), NOW.plus(1)


@pytest.mark.parametrize(
    ("is_active", "expires_at", "locked_until", "status"),
    [
        (True, None, None, "active"),
        (True, FUTURE, PAST, "active"),
        (True, FUTURE, NOW, "active"),
        (True, None, FUTURE, "locked"),
        (True, NOW, None, "expired"),
        (True, PAST, FUTURE, "expired"),
        (False, None, None, "closed"),
        (False, PAST, FUTURE, "closed"),
        (False, FUTURE, PAST, "closed"),
    ],
)
def test_closed_precedes_expired_and_expired_precedes_locked(
    is_active: bool, expires_at: Instant | None, locked_until: Instant | None, status: Status
) -> None:
    assert status in STATUSES
    assert status_of(is_active=is_active, expires_at=expires_at, locked_until=locked_until, now=NOW) == status
    obstacle = {"closed": "inactive", "expired": "expired"}.get(status)
    assert obstacle_of(is_active=is_active, expires_at=expires_at, now=NOW) == obstacle


def test_a_lock_ends_at_its_end_and_is_not_lengthened_by_a_clock_that_was_set_back() -> None:
    assert lock_in_force(None, NOW) is None
    assert lock_in_force(NOW, NOW) is None
    assert lock_in_force(FUTURE, NOW) == FUTURE
    assert lock_in_force(NOW.plus(LOCK_US + 1), NOW) == NOW + LOCK_US


def test_a_cached_view_gets_its_current_status() -> None:
    members: dict[str, Any] = {field.name: None for field in fields(UserView)}
    view = UserView(**{**members, "is_active": True, "expires_at": NOW.plus(10), "locked_until": FUTURE})
    seen = [view.at(NOW.plus(passed)) for passed in (0, 1, 10)]
    assert [(one.status, one.locked_until) for one in seen] == [("locked", FUTURE), ("active", None), ("expired", None)]
