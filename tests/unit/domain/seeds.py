"""Seed entries and snapshots in memory, for tests of plans."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from backctl.domain.access import ADMINISTRATOR
from backctl.domain.repositories import AccountKeys
from backctl.domain.seed import (
    AccountState,
    AccountValues,
    Desired,
    Origin,
    Plan,
    PlannedChange,
    Prune,
    Seed,
    SeedUser,
    State,
)
from backctl.domain.seed_plan import planned
from backctl.domain.values import EmailAddress, Instant, UserId, Username

NOW = Instant.parse("2026-11-28T13:00:00Z")
SECOND = 1_000_000


def user_id(number: int) -> UserId:
    return UserId(f"01a20000-0000-7000-8000-{number:012x}")


class MemorySnapshot:
    """Accounts in memory. Counts how often it is asked for the holders of keys."""

    def __init__(self, states: Iterable[AccountState]) -> None:
        self.states = sorted(states)
        self.asked = 0

    def holders(self, keys: Sequence[AccountKeys]) -> Iterable[AccountState]:
        self.asked += 1
        ids, emails, usernames = (set(column) for column in zip(*keys, strict=True))
        return [
            state
            for state in self.states
            if state.id in ids or state.email_key in emails or state.username_key in usernames
        ]

    def seeded_by(self, names: Sequence[str]) -> Iterable[AccountState]:
        return [state for state in self.states if state.seeded_by in names]

    def administrators(self) -> Iterable[AccountState]:
        return [state for state in self.states if state.role == ADMINISTRATOR and state.is_active]


def account(
    number: int,
    name: str,
    *,
    role: str = "user",
    is_active: bool = True,
    expires_at: Instant | None = None,
    has_password: bool = True,
    has_mfa: bool = False,
    version: int = 1,
    seeded_by: str | None = None,
) -> AccountState:
    """Return an account whose address and username follow from `name`."""
    email, username = EmailAddress.of(f"{name}@example.org"), Username.parse(name)
    return AccountState(
        user_id(number),
        email.address,
        email.key,
        username.name,
        username.key,
        role,
        is_active,
        expires_at,
        has_password,
        has_mfa,
        version,
        seeded_by,
    )


def entry(
    name: str | None = None,
    *,
    line: int = 1,
    id: UserId | None = None,  # noqa: A002 - the member's own name
    state: State | None = None,
    email: str | None = None,
    **values: object,
) -> SeedUser:
    """Return an entry whose address and username follow from `name`, unless they are given."""
    if name is not None:
        values.setdefault("username", Username.parse(name))
        email = email or f"{name}@example.org"
    made = AccountValues(
        email=None if email is None else EmailAddress.of(email),
        **values,  # type: ignore[arg-type]  # each test names the values that it needs
    )
    return SeedUser(origin=Origin("seed.yaml", line), id=id, state=state, values=made)


def desired(*users: SeedUser, name: str = "ci") -> Desired:
    return Desired((Seed(name, "seed.yaml", users),))


def plan_of(
    users: Iterable[SeedUser], states: Iterable[AccountState] = (), *, prune: Prune | None = None, now: Instant = NOW
) -> Plan:
    return planned(desired(*users), MemorySnapshot(states), prune=prune, now=now)


def applied(plan: Plan, states: Iterable[AccountState], *, now: Instant = NOW) -> list[AccountState]:
    """Return the accounts after the changes of a plan. Checks after each change that all names are unique."""
    accounts = {state.id: state for state in states}
    for number, change in enumerate(plan.changes):
        if change.action == "delete":
            assert change.id is not None
            del accounts[change.id]
        elif change.action == "create":
            made = _created(change, change.id or user_id(10**9 + number), now)
            assert made.id not in accounts
            accounts[made.id] = made
        else:
            assert change.id is not None
            accounts[change.id] = _changed(accounts[change.id], change)
        for keys in ([state.email_key for state in accounts.values()], [s.username_key for s in accounts.values()]):
            assert len(set(keys)) == len(keys)
    return sorted(accounts.values())


def _created(change: PlannedChange, new_id: UserId, now: Instant) -> AccountState:
    values = change.values
    assert values.email is not None
    assert values.username is not None
    assert values.role is not None
    assert values.is_active is not None
    return AccountState(
        new_id,
        values.email.address,
        values.email.key,
        values.username.name,
        values.username.key,
        values.role,
        values.is_active,
        None if values.expiry is None else values.expiry.counted_from(now),
        has_password=values.password is not None or values.password_hash is not None,
        has_mfa=values.mfa_secret is not None,
        version=1,
        seeded_by=change.seed,
    )


def _changed(state: AccountState, change: PlannedChange) -> AccountState:
    values = change.values
    assert state.version == change.version
    if values.email is not None:
        state = state._replace(email=values.email.address, email_key=values.email.key)
    if values.username is not None:
        state = state._replace(username=values.username.name, username_key=values.username.key)
    if values.expiry is not None:
        state = state._replace(expires_at=values.expiry.at)
    return state._replace(
        role=values.role or state.role,
        is_active=state.is_active if values.is_active is None else values.is_active,
        has_password=state.has_password or values.password is not None or values.password_hash is not None,
        has_mfa=state.has_mfa or values.mfa_secret is not None,
        version=state.version + (change.action != "none"),
    )


def at_line(user: SeedUser, line: int) -> SeedUser:
    return replace(user, origin=Origin("seed.yaml", line))
