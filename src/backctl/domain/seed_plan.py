"""The difference between seed files and a snapshot of the database, as a plan."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from backctl.domain.access import ADMINISTRATOR, DEFAULT_ROLE
from backctl.domain.errors import AccountAmbiguous, InvalidInput, LastAdministrator, SeedRepeated, UsernameTaken
from backctl.domain.quoting import quoted
from backctl.domain.repositories import AccountKeys
from backctl.domain.seed import (
    NO_VALUES,
    AccountSnapshot,
    AccountState,
    AccountValues,
    Action,
    Desired,
    Origin,
    Plan,
    PlannedChange,
    Prune,
    SeedUser,
    Summary,
    Value,
)
from backctl.domain.values import Instant, UserId

AT_ONCE: Final = 1000
"""Entries for which the snapshot is asked at once."""


class Planning:
    """Makes the changes of a plan one after another, so that a long plan need not be kept in memory.

    `summary` is complete after the last change.
    """

    def __init__(self, desired: Desired, snapshot: AccountSnapshot, *, prune: Prune | None, now: Instant) -> None:
        self._counts: dict[str, int] = dict.fromkeys(Summary._fields, 0)
        self._desired = desired
        self._snapshot = snapshot
        self._prune = prune
        self._now = now
        self._listed = _Listed()
        self._administrators: dict[UserId, Instant | None] = {}
        self._removals: list[PlannedChange] = []
        """The changes that could remove the last administrator. They follow those that can add one."""

    @property
    def summary(self) -> Summary:
        return Summary(**self._counts)

    def changes(self) -> Iterator[PlannedChange]:
        """Yield the changes in the order in which they must be applied. Can be called once.

        Raises SeedRepeated if two entries mean one account; AccountAmbiguous, UsernameTaken or InvalidInput if an entry
        does not fit the accounts; LastAdministrator, after all other changes, if no active administrator would be left.
        """
        self._administrators = {
            state.id: state.expires_at for state in self._snapshot.administrators() if _administers(state, self._now)
        }
        for change, state in self._every_change():
            self._count(change)
            if change is None:
                continue
            if state is not None and self._removes_administrator(change, state):
                self._removals.append(change)
                continue
            self._keep_administrators(change, state)
            yield change
        for change in self._removals:
            self._require_administrator(change)
            yield change

    def _every_change(self) -> "Iterator[tuple[PlannedChange | None, AccountState | None]]":
        """Yield the change of each entry, None if it changes nothing, and its account; then the pruned accounts."""
        entries = self._desired.entries()
        while chunk := list(islice(entries, AT_ONCE)):
            all_keys = [user.keys for _, user in chunk]
            for (_, user), keys in zip(chunk, all_keys, strict=True):
                self._listed.add(user, keys)
            accounts = _Accounts(self._snapshot.holders(all_keys))
            for (name, user), keys in zip(chunk, all_keys, strict=True):
                state = accounts.of(user, keys)
                if state is not None:
                    self._listed.match(user, state)
                yield self._change(name, user, state), state
        if self._prune is not None:
            for state in self._snapshot.seeded_by(self._desired.names):
                if not self._listed.has(state.id):
                    yield self._pruned(state), state

    def _change(self, name: str, user: SeedUser, state: AccountState | None) -> PlannedChange | None:
        if state is None:
            return None if user.state == "absent" else _creation(name, user)
        if user.state == "absent":
            return _existing("delete", name, user.origin, state)
        return _difference(name, user, state)

    def _pruned(self, state: AccountState) -> PlannedChange | None:
        name = state.seeded_by or ""
        if self._prune == "delete":
            return _existing("delete", name, None, state)
        if not state.is_active:
            return None
        return _existing("close", name, None, state, AccountValues(is_active=False), before={"is_active": True})

    def _count(self, change: PlannedChange | None) -> None:
        self._counts["unchanged" if change is None or change.action == "none" else change.action] += 1

    def _removes_administrator(self, change: PlannedChange, state: AccountState) -> bool:
        if state.id not in self._administrators:
            return False
        return _loses_role(change) or _ends_sooner(change, state.expires_at)

    def _keep_administrators(self, change: PlannedChange, state: AccountState | None) -> None:
        """Remember an account that is an administrator after a change."""
        # A new account without an id needs a key of its own.
        key = change.id or UserId(f"new {change.email}")
        if state is None:
            role, is_active = change.values.role, change.values.is_active
            expiry = change.values.expiry
            expires_at = None if expiry is None else expiry.counted_from(self._now)
        else:
            role = change.values.role or state.role
            is_active = state.is_active if change.values.is_active is None else change.values.is_active
            expiry = change.values.expiry
            expires_at = state.expires_at if expiry is None else expiry.at
        if role == ADMINISTRATOR and is_active and (expires_at is None or expires_at > self._now):
            self._administrators[key] = expires_at

    def _require_administrator(self, change: PlannedChange) -> None:
        """Apply one of `_removals` to the administrators. Raises LastAdministrator if no other is left."""
        user_id, expiry, name = change.id or UserId(""), change.values.expiry, quoted(change.username)
        ends = self._administrators.pop(user_id)
        others = self._administrators.values()
        if _loses_role(change) and not others:
            raise _refusal(change.origin, f"{name} is the last active administrator")
        if expiry is not None and expiry.at is not None and _ends_sooner(change, ends):
            ends = expiry.at
            if not any(other is None or other > ends for other in others):
                raise _refusal(
                    change.origin, f"no active administrator would be left after {ends}, when {name} expires"
                )
        if not _loses_role(change) and (ends is None or ends > self._now):
            self._administrators[user_id] = ends


def planned(desired: Desired, snapshot: AccountSnapshot, *, prune: Prune | None = None, now: Instant) -> Plan:
    """Return the plan that makes the snapshot match the seed files. Raises the errors of `Planning.changes`."""
    planning = Planning(desired, snapshot, prune=prune, now=now)
    changes = tuple(planning.changes())
    return Plan(desired.names, desired.files, changes, planning.summary, desired.reason)


# The entries of the files.


@dataclass(slots=True)
class _Listed:
    """What the entries so far are called and which accounts they mean, by 64-bit hashes to save memory."""

    ids: dict[int, Origin] = field(default_factory=dict)
    emails: dict[int, Origin] = field(default_factory=dict)
    usernames: dict[int, Origin] = field(default_factory=dict)
    matched: dict[int, Origin] = field(default_factory=dict)

    def add(self, user: SeedUser, keys: AccountKeys) -> None:
        """Raises SeedRepeated if an earlier entry has the same id or name."""
        for name, known, key in zip(_NAMED, (self.ids, self.emails, self.usernames), keys, strict=True):
            if key is None:
                continue
            number = hash(key)
            if number in known:
                raise _repeated(user, f"has the same {name} as", known[number])
            known[number] = user.origin

    def match(self, user: SeedUser, state: AccountState) -> None:
        """Raises SeedRepeated if an earlier entry means this account."""
        number = hash(state.id)
        if number in self.matched:
            raise _repeated(user, f"means the account {quoted(state.username)}, like", self.matched[number])
        self.matched[number] = user.origin

    def has(self, user_id: UserId) -> bool:
        return hash(user_id) in self.matched


_NAMED: Final = ("id", "e-mail address", "username")


def _repeated(user: SeedUser, what: str, first: Origin) -> SeedRepeated:
    return SeedRepeated(
        f"{user.origin}: the entry {what} the one at {first}", hint="keep one of the two entries, or correct one"
    )


class _Accounts:
    """The accounts that some entries could mean."""

    def __init__(self, states: Iterable[AccountState]) -> None:
        self._by_id: dict[str, AccountState] = {}
        self._by_email: dict[str, AccountState] = {}
        self._by_username: dict[str, AccountState] = {}
        for state in states:
            self._by_id[state.id] = state
            self._by_email[state.email_key] = state
            self._by_username[state.username_key] = state

    def of(self, user: SeedUser, keys: AccountKeys) -> AccountState | None:
        """Return the account with the entry's id, else the one with its e-mail address.

        Raises AccountAmbiguous if the e-mail address belongs to an account with another id, UsernameTaken if the
        username belongs to another account.
        """
        values = user.values
        by_id, by_email = self._by_id.get(keys.id or ""), self._by_email.get(keys.email or "")
        state = by_id or by_email
        if by_email is not None and keys.id is not None and by_email.id != keys.id:
            raise AccountAmbiguous(
                f"{user.origin}: the e-mail address {quoted(by_email.email)} belongs to the account {by_email.id}, "
                f"not to {keys.id}",
                hint="correct the id or the e-mail address",
            )
        holder = None if user.state == "absent" else self._by_username.get(keys.username or "")
        if values.username is not None and holder is not None and holder is not state:
            raise UsernameTaken(
                f"{user.origin}: the username {quoted(values.username.name)} belongs to {quoted(holder.email)}",
                hint=f"choose another username, or add 'id: {holder.id}' to the entry if it means that account",
            )
        return state


# The changes.


def _creation(name: str, user: SeedUser) -> PlannedChange:
    """Raises InvalidInput without an e-mail address or username."""
    values = user.values
    if values.email is None or values.username is None:
        missing = "email" if values.email is None else "username"
        raise InvalidInput(
            f"{user.origin}: there is no such account, and a new one needs '{missing}'",
            hint=f"add '{missing}' to the entry, or remove the entry",
        )
    return PlannedChange(
        action="create",
        seed=name,
        origin=user.origin,
        id=user.id,
        email=values.email.address,
        username=values.username.name,
        version=None,
        values=replace(values, role=values.role or DEFAULT_ROLE, is_active=user.state != "closed"),
    )


def _existing(
    action: Action,
    name: str,
    origin: Origin | None,
    state: AccountState,
    values: AccountValues = NO_VALUES,
    *,
    before: dict[str, Value] | None = None,
    compares: tuple[str, ...] = (),
) -> PlannedChange:
    return PlannedChange(
        action=action,
        seed=name,
        origin=origin,
        id=state.id,
        email=state.email,
        username=state.username,
        version=state.version,
        values=values,
        before=before or {},
        compares=compares,
    )


def _difference(name: str, user: SeedUser, state: AccountState) -> PlannedChange | None:
    """Return the change of an account that the entry means; None if the account is as declared."""
    wanted, expiry = user.values, user.values.expiry
    is_active: bool | None = user.state != "closed"
    email = wanted.email if wanted.email is not None and wanted.email.address != state.email else None
    username = wanted.username if wanted.username is not None and wanted.username.name != state.username else None
    role = wanted.role if wanted.role != state.role else None
    is_active = is_active if is_active != state.is_active else None
    expiry = expiry if expiry is not None and expiry.after is None and expiry.at != state.expires_at else None
    secrets = _secrets(wanted) if wanted.enforces_secrets else NO_VALUES
    differs = email is not None or username is not None or role is not None or is_active is not None
    if not differs and expiry is None and secrets is NO_VALUES:
        return None
    values = replace(secrets, email=email, username=username, role=role, is_active=is_active, expiry=expiry)
    compares = _compared(values, state)
    certain = [member for member in values.shown() if member not in compares]
    stored = _stored(state)
    before = {member: stored[member] for member in certain if member in stored}
    action: Action = "update" if certain else "none"
    if values.is_active is not None:
        action = "open" if values.is_active else "close"
    return _existing(action, name, user.origin, state, values, before=before, compares=compares)


def _secrets(values: AccountValues) -> AccountValues:
    """Return the secrets that an account gets unless it has them; NO_VALUES for none.

    A password is generated only for a new account.
    """
    password = None if values.password is not None and values.password.kind == "generate" else values.password
    has_password = password is not None or values.password_hash is not None
    if not has_password and values.mfa_secret is None:
        return NO_VALUES
    return AccountValues(
        must_change_password=values.must_change_password if has_password else None,
        password=password,
        password_hash=values.password_hash,
        mfa_secret=values.mfa_secret,
        enforces_secrets=True,
    )


def _compared(values: AccountValues, state: AccountState) -> tuple[str, ...]:
    """Return the members that a plan cannot compare with the account, because they are secret."""
    names = list[str]()
    if state.has_password:
        names += ("password", "password_hash", "must_change_password")
    if state.has_mfa:
        names.append("mfa_secret")
    return tuple(name for name in names if getattr(values, name) is not None)


def _stored(state: AccountState) -> dict[str, Value]:
    """Return the members of an account that are not secret, as a plan shows them."""
    return {
        "email": state.email,
        "username": state.username,
        "role": state.role,
        "is_active": state.is_active,
        "expires_at": None if state.expires_at is None else state.expires_at.isoformat(),
    }


# The rule of the last administrator.


def _administers(state: AccountState, now: Instant) -> bool:
    return state.role == ADMINISTRATOR and state.is_active and (state.expires_at is None or state.expires_at > now)


def _loses_role(change: PlannedChange) -> bool:
    """Whether an administrator is none after the change, whatever its expiry."""
    return change.action in ("close", "delete") or change.values.role is not None


def _ends_sooner(change: PlannedChange, ends: Instant | None) -> bool:
    expiry = change.values.expiry
    return expiry is not None and expiry.at is not None and (ends is None or expiry.at < ends)


def _refusal(origin: Origin | None, text: str) -> LastAdministrator:
    return LastAdministrator(
        text if origin is None else f"{origin}: {text}", hint="make another account an administrator first"
    )
