"""Accounts as aggregates, for one transaction."""

from collections.abc import Sequence
from typing import Any, Final, cast

from sqlalchemy import or_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from sqlmodel import Session, col, select

from backctl.application.ports import AddressParser, Clock
from backctl.domain.access import ADMINISTRATOR
from backctl.domain.errors import Conflict, EmailTaken, UserChangedMeanwhile, UsernameTaken, UserNotFound, quoted
from backctl.domain.events import DomainEvent
from backctl.domain.user import MfaState, User
from backctl.domain.values import EmailAddress, Identity, Instant, PasswordHash, UserId, Username, folded
from backctl.infrastructure.database.tables import UserRow

# How SQLite and PostgreSQL name the broken rule: by its column, by its constraint.
_EMAIL_KEY: Final = ("users.email_key", "uq_users_email_key")
_USERNAME_KEY: Final = ("users.username_key", "uq_users_username_key")


class SqlUserRepository:
    """The accounts of one session. An account asked for twice is the same aggregate."""

    def __init__(self, session: Session, *, addresses: AddressParser, clock: Clock) -> None:
        self._session = session
        self._addresses = addresses
        self._clock = clock
        self._known: dict[str, tuple[User, UserRow]] = {}
        self._removed: set[str] = set()
        self._versions: list[tuple[User, int]] = []  # a rollback takes the rows' own away

    def add(self, user: User) -> None:
        """Insert at once: the unique keys decide. Raises EmailTaken, UsernameTaken."""
        row = UserRow(**_columns(user), id=user.id, version=user.version)
        self._session.add(row)
        self._flush(user)
        self._known[user.id] = (user, row)

    def get(self, ident: Identity) -> User:
        match ident.kind:
            case "id":
                found = col(UserRow.id) == ident.text
            case "email":
                found = col(UserRow.email_key) == self._addresses.key_of(ident.text)
            case "username":
                found = col(UserRow.username_key) == folded(ident.text, "NFKC")
        row = self._session.exec(select(UserRow).where(found).with_for_update()).one_or_none()
        if row is None:
            raise UserNotFound(ident.text)
        return self._aggregate(row)

    def remove(self, user: User) -> None:
        """Delete at once, so that nothing of this transaction finds it again. Its events are recorded all the same."""
        self._session.delete(self._known[user.id][1])
        self._flush(user)
        self._removed.add(user.id)

    def lock_administrators(self) -> Sequence[User]:
        now = self._clock()
        rows = self._session.exec(
            select(UserRow)
            .where(
                UserRow.role == ADMINISTRATOR,
                col(UserRow.is_active).is_(True),
                or_(col(UserRow.expires_at).is_(None), col(UserRow.expires_at) > int(now)),
            )
            .order_by(col(UserRow.id))
            .with_for_update()
        )
        # One that this unit of work closed a moment ago is still open in its row.
        return [user for user in map(self._aggregate, rows) if _administers(user, now)]

    def write_back(self) -> list[DomainEvent]:
        """Store what changed in the accounts handed out, and take the events they recorded.

        Raises EmailTaken, UsernameTaken, UserChangedMeanwhile.
        """
        events = []
        for user, row in self._known.values():
            if user.id in self._removed:
                events += user.take_events()
                continue
            changed = {name: value for name, value in _columns(user).items() if getattr(row, name) != value}
            if changed:
                for name, value in changed.items():
                    setattr(row, name, value)
                row.version += 1
                self._flush(user)
            self._versions.append((user, row.version))
            events += user.take_events()
        return events

    def settle(self) -> None:
        """Tell the accounts which version of them is stored now, or would be after a dry run."""
        for user, version in self._versions:
            user.version = version

    def _aggregate(self, row: UserRow) -> User:
        if row.id not in self._known:
            self._known[row.id] = (_user(row), row)
        return self._known[row.id][0]

    def _flush(self, user: User) -> None:
        try:
            self._session.flush()
        except StaleDataError as error:
            raise UserChangedMeanwhile(
                f"{quoted(user.username.name)} was changed by somebody else meanwhile",
                hint="look at the account again, then repeat the command",
            ) from error
        except IntegrityError as error:
            taken = _taken(error, user)
            if taken is None:
                raise
            raise taken from error


def _administers(user: User, now: Instant) -> bool:
    return user.role == ADMINISTRATOR and user.is_active and (user.expires_at is None or user.expires_at > now)


def _taken(error: IntegrityError, user: User) -> Conflict | None:
    rule = str(error.orig).partition("\n")[0]  # PostgreSQL's next line repeats the value, which may say anything
    if any(name in rule for name in _EMAIL_KEY):
        return EmailTaken(
            f"the e-mail address {quoted(user.email.address)} belongs to another account",
            hint="look at it with 'backctl user show'",
        )
    if any(name in rule for name in _USERNAME_KEY):
        return UsernameTaken(
            f"the username {quoted(user.username.name)} belongs to another account",
            hint="look at it with 'backctl user show'",
        )
    return None


def _columns(user: User) -> dict[str, Any]:
    """What is stored of an account, but for its id and version."""
    return {
        "email": user.email.address,
        "email_key": user.email.key,
        "email_domain": user.email.domain,
        "username": user.username.name,
        "username_key": user.username.key,
        "password_hash": user.password_hash.encoded if user.password_hash else None,
        "role": user.role,
        "is_active": user.is_active,
        "expires_at": None if user.expires_at is None else int(user.expires_at),
        "must_change_password": user.must_change_password,
        "mfa_state": user.mfa_state,
        "created_at": int(user.created_at),  # drivers print an int as itself, an Instant in RFC 3339
        "updated_at": int(user.updated_at),
    }


def _user(row: UserRow) -> User:
    """What was stored was valid when it was; rules may have become stricter since, so nothing is parsed again."""
    return User(
        id=UserId(row.id),
        email=EmailAddress(row.email, row.email_key, row.email_domain),
        username=Username(row.username, row.username_key),
        password_hash=None if row.password_hash is None else PasswordHash(row.password_hash),
        role=row.role,
        is_active=row.is_active,
        expires_at=None if row.expires_at is None else Instant(row.expires_at),
        must_change_password=row.must_change_password,
        mfa_state=cast(MfaState, row.mfa_state),
        created_at=Instant(row.created_at),
        updated_at=Instant(row.updated_at),
        version=row.version,
    )
