"""Whether a saved plan still fits the accounts that it changes. Other accounts may have changed."""

from collections.abc import Iterable
from itertools import islice
from typing import Final, Protocol

from backctl.application.seeding.plan import NEW_PLAN
from backctl.domain.errors import PlanStale
from backctl.domain.quoting import quoted
from backctl.domain.repositories import AccountKeys
from backctl.domain.seed import AccountSnapshot, PlannedChange
from backctl.domain.values import UserId

_AT_ONCE: Final = 1000


class Versioned(Protocol):
    """An account as far as staleness depends on it."""

    @property
    def id(self) -> UserId: ...

    @property
    def version(self) -> int: ...


def keys_of(change: PlannedChange) -> AccountKeys:
    """Return the keys by which the accounts are found that can make a change stale."""
    email, username = change.values.email, change.values.username
    return AccountKeys(change.id, None if email is None else email.key, None if username is None else username.key)


def require_fresh(
    change: PlannedChange,
    by_id: Versioned | None,
    by_email: Versioned | None,
    by_username: Versioned | None,
) -> None:
    """Raise PlanStale unless the account is as it was when the plan was made.

    Takes the accounts that have the keys of `keys_of`.
    """
    name = quoted(change.username)
    if change.action == "create":
        if by_id is not None or by_email is not None or by_username is not None:
            raise _stale(f"{name} was to be created, but an account with its id, address or name exists now")
        return
    if by_id is None:
        raise _stale(f"the account {name} no longer exists")
    if by_id.version != change.version:
        raise _stale(f"the account {name} has version {by_id.version} now, and had version {change.version}")
    for holder, value in ((by_email, change.after.get("email")), (by_username, change.after.get("username"))):
        if holder is not None and holder.id != change.id:
            raise _stale(f"{quoted(str(value))}, which {name} was to get, belongs to another account now")


def require_all_fresh(changes: Iterable[PlannedChange], snapshot: AccountSnapshot) -> None:
    """Raise PlanStale unless the accounts of all changes are as they were when the plan was made."""
    rest = iter(changes)
    while chunk := list(islice(rest, _AT_ONCE)):
        keys = [keys_of(change) for change in chunk]
        found = list(snapshot.holders(keys))
        by_id = {state.id: state for state in found}
        by_email = {state.email_key: state for state in found}
        by_username = {state.username_key: state for state in found}
        for change, known in zip(chunk, keys, strict=True):
            require_fresh(
                change,
                None if known.id is None else by_id.get(known.id),
                None if known.email is None else by_email.get(known.email),
                None if known.username is None else by_username.get(known.username),
            )


def _stale(text: str) -> PlanStale:
    return PlanStale(f"the plan is out of date: {text}", hint=NEW_PLAN)
