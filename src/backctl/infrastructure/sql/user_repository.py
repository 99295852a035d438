"""Stores accounts as aggregates, for one transaction."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

from sqlalchemy import Connection, Row, Select, Table, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from backctl.application.ports.environment import AddressParser, Clock
from backctl.domain.access import ADMINISTRATOR
from backctl.domain.errors import Conflict, TransactionAborted, UserChangedMeanwhile, UserNotFound
from backctl.domain.events import DomainEvent
from backctl.domain.quoting import quoted
from backctl.domain.repositories import AccountKeys, Holders
from backctl.domain.user import MfaState, User, email_taken, username_taken
from backctl.domain.values import (
    EARLIEST,
    LATEST,
    EmailAddress,
    Identity,
    Instant,
    PasswordHash,
    UserId,
    Username,
    folded,
    is_uuid,
)
from backctl.infrastructure.sql import former_names
from backctl.infrastructure.sql.engine import dialect_of, insert_many
from backctl.infrastructure.sql.misread import Misread
from backctl.infrastructure.sql.tables import UserRow

# SQLite names a violated constraint by its column, PostgreSQL by its own name.
_ID: Final = ("users.id", "pk_users")
_EMAIL_KEY: Final = ("users.email_key", "uq_users_email_key")
_USERNAME_KEY: Final = ("users.username_key", "uq_users_username_key")

_Key = tuple[str, str]
"""The column to compare with an identity, and its value."""

_table = cast(Table, UserRow.__table__)  # type: ignore[attr-defined]  # SQLModel's classes do not declare it
_users = _table.c
_COLUMNS: Final = {"id": "id", "email": "email_key", "username": "username_key"}

_NO_CHANGE: Final = {"last_login_at"}
"""The columns that a login writes. They do not make a new version, because nobody changed the account."""

# Built once, because building a statement takes SQLAlchemy five times as long as running it.
_ADD: Final = insert(_table)
_REMOVE: Final = delete(_table).where(_users.id == bindparam("of_id"), _users.version == bindparam("of_version"))
_LOCK: Final = {
    column: select(_table).where(_users[column] == bindparam("key")).with_for_update() for column in _COLUMNS.values()
}
_LOCK_ADMINISTRATORS: Final = (
    select(_table)
    .where(
        _users.role == ADMINISTRATOR,
        _users.is_active.is_(True),
        or_(_users.expires_at.is_(None), _users.expires_at > bindparam("now")),
    )
    .order_by(_users.id)
    .with_for_update()
)


@cache
def _lock_many(columns: tuple[str, ...]) -> Select[Any]:
    """Select by these columns only: an empty list for another column would keep PostgreSQL from using the indexes."""
    found = or_(*(_users[column].in_(bindparam(column, expanding=True)) for column in columns))
    return select(_table).where(found).order_by(_users.id).with_for_update()


@cache
def _change(names: tuple[str, ...]) -> Any:
    """Update only the changed columns, so that the database does not touch the indexes of the others."""
    changed = update(_table).where(_users.id == bindparam("of_id"), _users.version == bindparam("of_version"))
    return changed.values({name: bindparam(f"new_{name}") for name in (*names, "version")})


@dataclass(slots=True)
class _Known:
    """An account that was returned to the caller, and the values of its row."""

    user: User
    stored: dict[str, Any]
    version: int
    is_removed: bool = False

    def changes(self) -> dict[str, Any]:
        return {name: value for name, value in _columns(self.user).items() if self.stored[name] != value}


class SqlUserRepository:
    """The accounts of one transaction, with locked rows. Returns the same aggregate for repeated requests."""

    def __init__(self, connection: Callable[[], Connection], *, addresses: AddressParser, clock: Clock) -> None:
        self._connection = connection
        self._addresses = addresses
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._by_key: dict[_Key, str] = {}
        self._absent: set[_Key] = set()
        self._knows_administrators = False
        # Since the attempt began.
        self._handed_out: dict[str, None] = {}
        self._unsettled: set[str] = set()
        """The accounts whose row was locked or written in the attempt: a rollback of the attempt undoes that."""
        self._knew_administrators = False
        self._events: list[DomainEvent] = []
        """The events of accounts that were added together, which are not known."""

    def add(self, user: User) -> None:
        """Insert immediately, so that the unique keys decide. Raises EmailTaken, UsernameTaken."""
        columns = _columns(user)
        self._absent.clear()
        self._write(user, _ADD, {**columns, "id": user.id, "version": user.version})
        user.is_stored = True
        self._know(_Known(user, columns, user.version))

    def add_all(self, users: Sequence[User]) -> None:
        if not users:
            return
        now = self._clock()
        rows = [_columns(user) for user in users]
        values = [(*row.values(), user.id, user.version) for row, user in zip(rows, users, strict=True)]
        try:
            insert_many(self._connection(), _table, (*rows[0], "id", "version"), values)
        except IntegrityError as error:
            if not _is_taken(error):
                raise
            raise TransactionAborted(
                "another process has added one of the accounts at the same time", hint="repeat the command"
            ) from error
        self._absent.clear()
        for user, row in zip(users, rows, strict=True):
            user.is_stored = True
            self._events += user.take_events()
            if _administers(user, now):  # `lock_administrators` returns it from now on
                self._know(_Known(user, row, user.version))

    def get(self, ident: Identity) -> User:
        connection, key = self._connection(), self._key_of(ident)  # fails if the transaction has ended
        held = self._held(key)
        if held is not None:
            return self._hand_out(held)
        row = None
        if key not in self._absent:
            row = connection.execute(_LOCK[key[0]], {"key": key[1]}).one_or_none()
        if row is None:
            raise UserNotFound(ident.text)
        return self._hand_out(self._of_row(row))

    def lock(self, idents: Iterable[Identity]) -> None:
        keys = [self._key_of(ident) for ident in idents]
        asked: dict[str, list[str]] = {}
        for column, value in keys:
            asked.setdefault(column, []).append(value)
        if not asked:
            return
        for row in self._connection().execute(_lock_many(tuple(sorted(asked))), asked).all():
            self._of_row(row)
        self._absent.update(key for key in keys if key not in self._by_key)

    def lock_holders(self, keys: Sequence[AccountKeys]) -> None:
        # First only their ids, without SQLAlchemy's work on each value: an import asks for thousands of new accounts.
        connection = self._connection()
        conditions, values = list[str](), list[object]()
        for (kind, column), known in zip(_COLUMNS.items(), zip(*keys, strict=True), strict=False):
            asked = [key for key in known if key is not None]
            if asked:
                condition, value = dialect_of(connection).among(column, "uuid" if kind == "id" else "text", asked)
                conditions.append(condition)
                values += value
        if not conditions:
            return
        statement = f"SELECT id FROM users WHERE {' OR '.join(conditions)}"  # noqa: S608 - no values
        ids = connection.exec_driver_sql(statement, tuple(values)).scalars().all()
        if ids:
            for row in connection.execute(_lock_many(("id",)), {"id": list(map(str, ids))}).all():
                self._of_row(row)

    def holders(self, keys: AccountKeys) -> Holders:
        if not self._by_key:  # usual for a file of new accounts
            return Holders(None, None, None)
        return Holders(*map(self._holder, _COLUMNS.values(), keys))

    def _holder(self, column: str, key: str | None) -> User | None:
        if key is None or (column, key) not in self._by_key:
            return None
        held = self._held((column, key))
        if held is None and self._by_key[column, key] not in self._known:
            # A failed attempt has released its lock.
            row = self._connection().execute(_LOCK[column], {"key": key}).one_or_none()
            held = None if row is None else self._of_row(row)
        return None if held is None else self._hand_out(held)

    def _held(self, key: _Key) -> _Known | None:
        """Return the account of this transaction that has a key now."""
        held = self._known.get(self._by_key.get(key, ""))
        return held if held is not None and not held.is_removed and _keys_of(held.user)[key[0]] == key[1] else None

    def remove(self, user: User) -> None:
        """Delete immediately, so that this transaction no longer finds the account. Still records its events."""
        held = self._known[user.id]
        self._write(user, _REMOVE, {"of_id": user.id, "of_version": held.version})
        former_names.keep_last(self._connection(), user.id, held.stored)
        held.is_removed = True

    def lock_administrators(self) -> Sequence[User]:
        now = self._clock()
        if not self._knows_administrators:
            for row in self._connection().execute(_LOCK_ADMINISTRATORS, {"now": int(now)}).all():
                with suppress(ValueError):  # a damaged account administers nothing
                    self._of_row(row)
            self._knows_administrators = True
        # Use the aggregates, because the rows may not yet contain changes of this transaction.
        held = (held for held in self._known.values() if not held.is_removed and _administers(held.user, now))
        return [self._hand_out(each) for each in sorted(held, key=lambda each: each.user.id)]

    def begin_attempt(self) -> None:
        self._handed_out.clear()
        self._unsettled.clear()
        self._knew_administrators = self._knows_administrators

    def undo_attempt(self) -> None:
        """Forget every account that the attempt may have changed or locked. It will be read and locked again."""
        touched = self._unsettled | self._handed_out.keys()
        for user_id in touched:
            held = self._known.get(user_id)
            if held and (user_id in self._unsettled or held.user.take_events() or held.changes()):
                del self._known[user_id]
        self._knows_administrators = self._knew_administrators and all(map(self._known.get, touched))
        self._handed_out.clear()  # nothing is left to write, also if the next change is not an attempt
        self._events.clear()

    def write_back(self, *, everything: bool) -> list[DomainEvent]:
        """Write the changes of the returned accounts, and return and forget their recorded events.

        Raises EmailTaken, UsernameTaken, UserChangedMeanwhile.
        """
        events, self._events = self._events, []
        for user_id in list(self._known if everything else self._handed_out):
            held = self._known[user_id]
            recorded, changed = held.user.take_events(), held.changes()
            # A change that was reverted in this transaction is still a change: its events have the new version.
            is_new = any((event.version or 0) > held.version for event in recorded)
            if not held.is_removed and (changed or is_new):
                self._store(held, changed, is_new=is_new or changed.keys() != _NO_CHANGE)
            events += recorded
        return events

    def _store(self, held: _Known, changed: dict[str, Any], *, is_new: bool) -> None:
        """Write the columns; `is_new` makes them a new version of the account."""
        user, version = held.user, held.version + is_new
        values = {f"new_{name}": value for name, value in changed.items()}
        self._write(
            user,
            _change(tuple(changed)),
            {**values, "new_version": version, "of_id": user.id, "of_version": held.version},
        )
        former_names.keep_replaced(self._connection(), user.id, held.stored, changed)
        held.stored.update(changed)
        held.version = user.version = version
        if "email_key" in changed or "username_key" in changed:
            self._absent.clear()
            self._index(user)

    def _of_row(self, row: Row[Any]) -> _Known:
        """Return the account of a locked row."""
        held = self._known.get(row.id)
        if held is None:
            user = _user(row)
            held = _Known(user, _columns(user), row.version)
            self._know(held)
        return held

    def _know(self, held: _Known) -> None:
        self._known[held.user.id] = held
        self._unsettled.add(held.user.id)
        self._index(held.user)
        self._hand_out(held)

    def _hand_out(self, held: _Known) -> User:
        self._handed_out[held.user.id] = None
        return held.user

    def _index(self, user: User) -> None:
        self._by_key.update(dict.fromkeys(_keys_of(user).items(), user.id))

    def _key_of(self, ident: Identity) -> _Key:
        column = _COLUMNS[ident.kind]
        match ident.kind:
            case "id":
                return column, ident.text
            case "email":
                return column, self._addresses.key_of(ident.text)
            case "username":
                return column, folded(ident.text, "NFKC")

    def _write(self, user: User, statement: Any, values: dict[str, Any]) -> None:
        self._unsettled.add(user.id)
        try:
            written = self._connection().execute(statement, values)
        except IntegrityError as error:
            taken = _taken(error, user)
            if taken is None:
                raise
            raise taken from error
        if statement is not _ADD and written.rowcount != 1:
            raise UserChangedMeanwhile(
                f"{quoted(user.username.name)} was changed by someone else in the meantime",
                hint="check the account, then repeat the command",
            )


def _keys_of(user: User) -> dict[str, str]:
    return {"id": user.id, "email_key": user.email.key, "username_key": user.username.key}


def _administers(user: User, now: Instant) -> bool:
    return user.role == ADMINISTRATOR and user.is_active and (user.expires_at is None or user.expires_at > now)


def _taken(error: IntegrityError, user: User) -> Conflict | None:
    if _violates(error, _EMAIL_KEY):
        return email_taken(user.email.address)
    if _violates(error, _USERNAME_KEY):
        return username_taken(user.username.name)
    return None


def _is_taken(error: IntegrityError) -> bool:
    return _violates(error, (*_ID, *_EMAIL_KEY, *_USERNAME_KEY))


def _violates(error: IntegrityError, names: Sequence[str]) -> bool:
    rule = str(error.orig).partition("\n")[0]  # PostgreSQL's second line repeats the value, which can be any text
    return any(name in rule for name in names)


def _columns(user: User) -> dict[str, Any]:
    """Return the stored columns of an account, except id and version."""
    return {
        "email": user.email.address,
        "email_key": user.email.key,
        "email_domain": user.email.domain,
        "username": user.username.name,
        "username_key": user.username.key,
        "password_hash": user.password_hash.encoded if user.password_hash else None,
        "password_imported": user.password_imported,
        "role": user.role,
        "is_active": user.is_active,
        "expires_at": None if user.expires_at is None else int(user.expires_at),
        "must_change_password": user.must_change_password,
        "mfa_state": user.mfa_state,
        "last_login_at": None if user.last_login_at is None else int(user.last_login_at),
        "created_at": int(user.created_at),  # drivers would format an Instant as RFC 3339
        "updated_at": int(user.updated_at),
    }


def _user(row: Row[Any]) -> User:
    """Build the account without parsing the values again, because the rules may have become stricter since.

    Raises Misread for values of another type, or out of the range of time: another program has written them.
    """
    names = (row.email, row.email_key, row.email_domain, row.username, row.username_key)
    texts = (row.id, *names, row.role, row.mfa_state, row.password_hash or "")
    times = (row.created_at, row.updated_at, *(at for at in (row.expires_at, row.last_login_at) if at is not None))
    if (
        not all(type(text) is str for text in texts)
        or not is_uuid(row.id)
        or not all(type(number) is int for number in (*times, row.version))
        or not all(EARLIEST <= time <= LATEST for time in times)
    ):
        raise Misread("users", row.id)
    return User(
        id=UserId(row.id),
        email=EmailAddress(row.email, row.email_key, row.email_domain),
        username=Username(row.username, row.username_key),
        password_hash=None if row.password_hash is None else PasswordHash(row.password_hash, row.password_imported),
        role=row.role,
        is_active=row.is_active,
        expires_at=None if row.expires_at is None else Instant(row.expires_at),
        must_change_password=row.must_change_password,
        mfa_state=cast(MfaState, row.mfa_state),
        last_login_at=None if row.last_login_at is None else Instant(row.last_login_at),
        created_at=Instant(row.created_at),
        updated_at=Instant(row.updated_at),
        version=row.version,
    )
