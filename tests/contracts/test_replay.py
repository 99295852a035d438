"""Events determine the state: replaying the event log reproduces every account."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from tests.contracts.conftest import START, Store, a_user, new_id

from backctl.application.event_views import EventView
from backctl.application.views import UserView
from backctl.domain.errors import BackctlError
from backctl.domain.events import LoginSucceeded
from backctl.domain.repositories import BY_CREATION, EVERY_EVENT, EVERY_USER
from backctl.domain.user import User
from backctl.domain.values import EmailAddress, Identity, Instant, PasswordHash, UserId, Username

OPERATIONS = 2_000
SECOND = 1_000_000
_MFA = {"MfaEnrolled": "pending", "MfaConfirmed": "on", "MfaDisabled": "off"}


def fold(events: Iterable[EventView]) -> dict[str, dict[str, Any]]:
    """Return every account as its events describe it."""
    accounts: dict[str, dict[str, Any]] = {}
    for event in events:
        data = event.data or {}
        if event.type == "UserCreated":
            accounts[event.subject] = {
                "id": event.subject,
                "email": data["email"],
                "username": data["username"],
                "role": data["role"],
                "is_active": True,
                "has_password": data["can_log_in"],
                "must_change_password": data["must_change"],
                "mfa": "off",
                "expires_at": None,
                "last_login_at": None,
                "created_at": event.occurred_at,
                "password_imported": data["imported"],
            }
        if event.type == "UserImported":
            accounts[event.subject] = imported(event.subject, data)
            continue
        account = accounts.get(event.subject)
        if account is None:
            continue
        match event.type:
            case "UserEmailChanged":
                account["email"] = data["new"]
            case "UserUsernameChanged":
                account["username"] = data["new"]
            case "UserRoleChanged":
                account["role"] = data["new"]
            case "UserExpiryChanged":
                account["expires_at"] = None if data["new"] is None else Instant.parse(str(data["new"]))
            case "UserActivated" | "UserDeactivated":
                account["is_active"] = event.type == "UserActivated"
            case "UserPasswordChanged":
                account |= {"has_password": True, "must_change_password": data["must_change"]}
                account["password_imported"] = data["imported"]
            case "UserPasswordChangeRequired":
                account["must_change_password"] = data["must_change"]
            case "UserPasswordRehashed":
                account["password_imported"] = False
            case "MfaEnrolled" | "MfaConfirmed" | "MfaDisabled":
                account["mfa"] = _MFA[event.type]
            case "LoginSucceeded":
                account["last_login_at"] = event.occurred_at
            case "UserDeleted":
                del accounts[event.subject]
        if "version" in data:
            account |= {"version": data["version"], "updated_at": event.occurred_at}
    return accounts


def imported(subject: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an account as the event of its import describes it."""
    same = ("email", "username", "role", "is_active", "mfa", "version")
    times = ("expires_at", "last_login_at", "created_at", "updated_at")
    return {
        "id": subject,
        **{name: data[name] for name in same},
        **{name: None if data[name] is None else Instant.parse(data[name]) for name in times},
        "has_password": data["can_log_in"],
        "must_change_password": data["must_change"],
        "password_imported": data["imported"],
    }


def row_of(view: UserView) -> dict[str, Any]:
    """Return the columns of the account. Locks are not columns of it, and the status follows from the others."""
    names = {member.name for member in fields(view)} - {"status", "locked_until"}
    return {name: getattr(view, name) for name in names}


def rehash(user: User, password_hash: PasswordHash, now: Instant) -> None:
    """A login does it, which needs a password."""
    if user.password_hash is not None:
        user.rehash_password(password_hash, now=now)


def change(chance: random.Random, store: Store, user: User, now: Instant) -> None:
    """Make a random change to an account; a refused one leaves it unchanged."""
    number = chance.randrange(10**6)
    password = PasswordHash(f"$2b$12${number}", imported=chance.random() < 0.5)
    expiry = chance.choice([None, now.plus(number * SECOND)])
    operations = (
        lambda: user.change_email(store.addresses.parse(f"{chance.choice('Aa')}{number}@example.org"), now=now),
        lambda: user.rename(Username.parse(f"{chance.choice('Aa')}bc{number}"), now=now),
        lambda: user.assign_role(chance.choice(["user", "moderator"]), now=now),
        lambda: user.set_expiry(expiry, now=now),
        lambda: user.activate(now=now),
        lambda: user.deactivate(now=now),
        lambda: user.change_password(password, must_change=chance.random() < 0.5, now=now),
        lambda: rehash(user, PasswordHash(password.encoded), now),
        lambda: user.require_password_change(chance.random() < 0.5, now=now),
        lambda: user.enroll_mfa(algorithm="sha1", digits=6, period=30, now=now),
        lambda: user.confirm_mfa(now=now),
        lambda: user.disable_mfa(now=now),
        lambda: user.renew_recovery_codes(10, now=now),
    )
    try:
        chance.choice(operations)()
    except BackctlError:
        return


def an_import(chance: random.Random, number: int, now: Instant) -> User:
    """Return an account with random values."""

    def moment() -> Instant:
        return now.plus(chance.randrange(-6 * 10**16, 7 * 10**15))

    created_at = moment()
    return User.import_(
        id=UserId(new_id()),
        email=EmailAddress.of(f"imported{number}@example.org"),
        username=Username.parse(f"imported{number}"),
        password_hash=chance.choice([None, PasswordHash("$2b$12$x"), PasswordHash("$2y$12$x", imported=True)]),
        role=chance.choice(["user", "moderator"]),
        is_active=chance.random() < 0.5,
        expires_at=chance.choice([None, moment()]),
        must_change_password=chance.random() < 0.5,
        mfa_state=chance.choice(["off", "pending", "on"]),
        last_login_at=chance.choice([None, moment()]),
        created_at=created_at,
        updated_at=created_at.plus(chance.randrange(10**15)),
        version=chance.randrange(1, 9),
    )


def test_the_events_of_a_random_history_give_back_every_account(store: Store) -> None:
    chance = random.Random(20261126)
    known: list[str] = []
    kept: list[str] = []
    done = 0
    while done < OPERATIONS:
        store.now = store.now.plus(chance.randrange(-SECOND, 10 * SECOND))  # also backwards
        with store.work() as work:
            for _ in range(chance.randrange(1, 6)):
                done += 1
                now = Instant(max(START, store.now.plus(chance.randrange(-1000, 1000))))
                if len(known) < 5 or chance.random() < 0.05:
                    user = a_user(f"new{done}", now=now)
                    if chance.random() < 0.3:
                        user.set_expiry(now.plus(done * SECOND), now=now)
                    work.users.add(user)
                    known.append(user.id)
                    continue
                if chance.random() < 0.02:
                    several = [an_import(chance, done + place, now) for place in range(chance.choice([1, 25]))]
                    work.users.add_all(several)
                    work.write()
                    known += [user.id for user in several]
                    done += len(several)
                    continue
                user = work.users.get(Identity("id", chance.choice(known)))
                if chance.random() < 0.02:
                    work.users.remove(user)
                    user.delete(erased=False, now=now)
                    known.remove(user.id)
                    continue
                if chance.random() < 0.1:
                    user.log_in(now=now)
                    work.record(LoginSucceeded(user.id, must_change=False, at=now))
                    work.write()
                    continue
                change(chance, store, user, now)
                if chance.random() < 0.3:
                    work.write()
            if chance.random() < 0.9:
                work.commit()
                kept = list(known)
        known = list(kept)
    reader = store.open_reader()
    rows = {view.id: row_of(view) for view in reader.stream_users(EVERY_USER, BY_CREATION)}
    folded = fold(reader.stream_events(EVERY_EVENT))
    assert len(rows) > 20
    assert folded.keys() == rows.keys()
    for ident, row in rows.items():
        assert folded[ident] == row
