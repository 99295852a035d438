"""Desired state: the accounts that seed files declare, and the changes that make a snapshot of the database match them.

A plan is a pure function of seed files and one snapshot. It contains the sources of secrets, never secrets.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, get_args

from backctl.domain.quoting import escaped
from backctl.domain.repositories import AccountKeys
from backctl.domain.values import EmailAddress, Expiry, Instant, UserId, Username

SecretKind = Literal["env", "file", "generate"]
State = Literal["active", "closed", "absent"]
Prune = Literal["close", "delete"]
"""What happens to the accounts that a seed created and no longer lists."""
Action = Literal["create", "update", "open", "close", "delete", "none"]
"""`open` and `close` may change other members too."""
ACTIONS: tuple[Action, ...] = get_args(Action)

Value = str | int | bool | None
"""A member's value as plans show it. Times are RFC 3339, durations are microseconds."""


class Origin(NamedTuple):
    """Where something is declared. Entries that are generated together have the same origin."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{escaped(self.file)}, line {self.line}"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret comes from: the environment variable or the file `name`, or a generator, whose name is empty.

    The path of a file is absolute or relative to the current folder, no longer to the seed file.
    """

    kind: SecretKind
    name: str = ""

    def __str__(self) -> str:
        return f"{{{self.kind}: {self.name or 'true'}}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountValues:
    """Values of an account; None for those that are not given or do not change.

    An `expiry` after a duration applies to new accounts only. `password` and `password_hash` cannot be combined.
    `enforces_secrets`: apply secrets to an account that exists, too, unless it has the same ones, but
    never a generated password.
    """

    email: EmailAddress | None = None
    username: Username | None = None
    role: str | None = None
    is_active: bool | None = None
    expiry: Expiry | None = None
    must_change_password: bool | None = None
    password: SecretSource | None = None
    password_hash: SecretSource | None = None
    mfa_secret: SecretSource | None = None
    enforces_secrets: bool = False

    def shown(self) -> dict[str, Value]:
        """Return the given members as a plan shows them, with the sources of secrets."""
        expiry = self.expiry
        members: dict[str, Value] = {
            "email": None if self.email is None else self.email.address,
            "username": None if self.username is None else self.username.name,
            "role": self.role,
            "is_active": self.is_active,
            "expires_in": None if expiry is None else expiry.after,
            "must_change_password": self.must_change_password,
            "password": _text(self.password),
            "password_hash": _text(self.password_hash),
            "mfa_secret": _text(self.mfa_secret),
        }
        given: dict[str, Value] = {name: value for name, value in members.items() if value is not None}
        if expiry is not None and expiry.after is None:
            given["expires_at"] = None if expiry.at is None else expiry.at.isoformat()
        return given


NO_VALUES = AccountValues()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedUser:
    """One account that a seed file declares. It has an `email`, an `id` or both; None means not given.

    The defaults of the file have been filled in. `state` decides about `is_active`, which is not given in `values`; an
    account without a state is active.
    """

    origin: Origin
    id: UserId | None = None
    state: State | None = None
    values: AccountValues

    @property
    def keys(self) -> AccountKeys:
        email, username = self.values.email, self.values.username
        return AccountKeys(self.id, None if email is None else email.key, None if username is None else username.key)


@dataclass(frozen=True, slots=True)
class Seed:
    """One seed file. Accounts that it creates are labelled with its `name`. `users` can be iterated repeatedly."""

    name: str
    file: str
    users: Iterable[SeedUser]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """What all seed files of one command declare together."""

    seeds: tuple[Seed, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(seed.name for seed in self.seeds))

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(seed.file for seed in self.seeds)

    @property
    def reason(self) -> str | None:
        """The reason of all files; None if they do not agree."""
        reasons = {seed.reason for seed in self.seeds}
        return reasons.pop() if len(reasons) == 1 else None

    def entries(self) -> Iterator[tuple[str, SeedUser]]:
        """Yield the entries of all files in order, each with the name of its seed."""
        for seed in self.seeds:
            for user in seed.users:
                yield seed.name, user


class AccountState(NamedTuple):
    """An account in a snapshot. `seeded_by` is the name of the seed that created it, None for other accounts."""

    id: UserId
    email: str
    email_key: str
    username: str
    username_key: str
    role: str
    is_active: bool
    expires_at: Instant | None
    has_password: bool
    has_mfa: bool
    version: int
    seeded_by: str | None = None


class AccountSnapshot(Protocol):
    """The accounts at one point in time: all calls see the same state."""

    def holders(self, keys: Sequence[AccountKeys]) -> Iterable[AccountState]:
        """Return each account that has one of these ids or keys once, in any order."""
        ...

    def seeded_by(self, names: Sequence[str]) -> Iterable[AccountState]:
        """Return the accounts that seeds with these names created, by id."""
        ...

    def administrators(self) -> Iterable[AccountState]:
        """Return all accounts that are active and have the role of administrators, expired ones too, by id."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """What happens to one account.

    `email`, `username` and `version` are those of the account before the change; of a new account, the declared names
    and None. `id` is None for a new account whose id is not declared. `values` are those that change, all of a new
    account; none for a deletion. `before` has the values of members that change, without secrets. `origin` is None if
    no file lists the account any more.

    `compares` names members of `values` that change only if the stored ones differ, which a plan cannot know. With the
    action `none`, there are no others.
    """

    action: Action
    seed: str
    origin: Origin | None
    id: UserId | None
    email: str
    username: str
    version: int | None
    values: AccountValues = NO_VALUES
    before: Mapping[str, Value] = field(default_factory=dict)
    compares: tuple[str, ...] = ()

    @property
    def after(self) -> dict[str, Value]:
        """The values that change, as a plan shows them, without those that are only compared."""
        return {name: value for name, value in self.values.shown().items() if name not in self.compares}


class Summary(NamedTuple):
    """How many accounts a plan changes, by action."""

    create: int = 0
    update: int = 0
    open: int = 0
    close: int = 0
    delete: int = 0
    unchanged: int = 0

    @property
    def changes(self) -> int:
        """The number of accounts that change."""
        return sum(self) - self.unchanged


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes that make the database match seed files, in the order in which they must be applied."""

    names: tuple[str, ...]
    files: tuple[str, ...]
    changes: tuple[PlannedChange, ...]
    summary: Summary
    reason: str | None = None
    """The reason of the files, unless they do not agree."""

    def sources(self) -> Iterator[tuple[Origin, SecretSource]]:
        """Yield the sources of the secrets that the changes need, each with the place that names it."""
        for change in self.changes:
            values, origin = change.values, change.origin or Origin("", 1)
            for source in (values.password, values.password_hash, values.mfa_secret):
                if source is not None:
                    yield origin, source


def _text(source: SecretSource | None) -> str | None:
    return None if source is None else str(source)
