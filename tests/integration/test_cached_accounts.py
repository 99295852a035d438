"""What services read through the cache, after every change of accounts, sessions, tokens and second factors."""

import sqlite3
import time
from base64 import b32decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import backctl
from backctl.application.attribution import Attribution
from backctl.application.ports.storage import UnitOfWork
from backctl.application.reactions import LoggedEvent
from backctl.application.transfer.importing import ImportOptions
from backctl.application.transfer.raw_rows import RawRow
from backctl.application.views import UserView
from backctl.backend import Backend
from backctl.domain.errors import BackctlError, TokenReused, TokenRevoked, UserNotFound
from backctl.domain.events import event_types
from backctl.domain.one_time_codes import totp
from backctl.domain.values import Actor, Expiry, Instant, Secret
from backctl.infrastructure.host import now

BY = Attribution(Actor("gate", "www", "web-1"))
GOOD, BETTER = Secret("correct horse battery"), Secret("better horse battery")
NAMES = ("ada", "bob", "eve", "new", "ADA", "Ada@Example.org", "ada@example.org", "new@example.org", "eve@example.org")


@dataclass
class Place:
    folder: Path
    opened: list[Backend] = field(default_factory=list)

    def open(self, *reactions: Any, **settings: str) -> Backend:
        environ = {
            "BACKCTL_DATABASE_URL": f"sqlite:///{self.folder}/accounts.db",
            "BACKCTL_KEYRING_PATH": f"{self.folder}/keys.json",
            "BACKCTL_PASSWORDS_BCRYPT_COST": "4",
            "BACKCTL_TOKENS_REVOCATION_MAX_AGE": "1m",
        }
        environ.update((f"BACKCTL_{name.upper()}", value) for name, value in settings.items())
        self.opened.append(backctl.open_backend(environ=environ, reactions=reactions))
        return self.opened[-1]

    @property
    def cache(self) -> Path:
        return self.folder / "cache.db"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Backends that share a database, but not the data folder of the process."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    made = Place(tmp_path)
    yield made
    for backend in made.opened:
        backend.close()


@dataclass
class World:
    """An installation: who changes it, who reads it through the cache, and who reads its database."""

    changing: Backend
    reading: Backend
    database: Backend
    place: Place
    events: list[str]
    tokens: list[Secret] = field(default_factory=list)
    refresh: dict[str, Secret] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def issue(self, name: str) -> None:
        issued = self.changing.tokens.issue(name, pair=True, by=BY).value
        assert issued.access_token is not None
        assert issued.refresh_token is not None
        self.tokens.append(issued.access_token)
        self.refresh[name] = issued.refresh_token

    def enroll(self, name: str = "ada") -> bytes:
        return b32decode(self.changing.mfa.enroll(name, by=BY).value.secret.reveal())

    def confirm(self, name: str = "ada") -> tuple[Secret, ...]:
        mfa, secret = self.changing.mfa, self.enroll(name)
        codes = mfa.new_recovery_codes()
        mfa.confirm(name, Secret(totp(secret, now())), codes, by=BY)
        return codes

    def log_in(self, name: str, password: Secret = GOOD, code: Secret | None = None) -> str:
        return self.changing.authentication.authenticate(name, password, code, by=BY).outcome

    def cached(self) -> list[object]:
        return [
            *(outcome(self.reading.accounts.get, ident) for ident in (*NAMES, *self.ids.values())),
            *(outcome(self.reading.tokens.verify, token) for token in self.tokens),
        ]

    def stored(self) -> list[object]:
        return [
            *(outcome(self.database.accounts.show, ident) for ident in (*NAMES, *self.ids.values())),
            *(outcome(self.database.tokens.verify, token) for token in self.tokens),
        ]


def outcome(act: Callable[..., object], argument: object) -> object:
    try:
        return act(argument)
    except BackctlError as error:
        return type(error), str(error)


@pytest.fixture(params=["the same process", "another process"])
def world(request: pytest.FixtureRequest, place: Place) -> World:
    """Ada, Bob and Eve with a session each; Eve has no password."""
    events: list[str] = []

    def note(logged: list[LoggedEvent]) -> None:
        events.extend(one.event.type for one in logged)

    changing = place.open(note, tokens_grace="1m")
    changing.initialise(by=BY)
    # Without a memory, another process must follow at once.
    reading = changing if request.param == "the same process" else place.open(cache_memory_entries="0")
    database = place.open(tokens_revocation_max_age="0s")
    made = World(changing, reading, database, place, events)
    for name in ("ada", "bob", "eve"):
        password = None if name == "eve" else GOOD
        created = changing.accounts.create(email=f"{name}@example.org", username=name, password=password, by=BY)
        made.ids[name] = created.value.id
        made.issue(name)
    return made


def each(name: str) -> Callable[[World], object]:
    """Return the mutation that applies a step to Ada and Bob in one transaction."""

    def change(world: World) -> None:
        step = getattr(world.changing.accounts.steps, name)
        for found in world.changing.accounts.change_each(["ada", "bob"], step, by=BY):
            assert not isinstance(found, BackctlError)

    return change


def label(world: World) -> None:
    view = world.changing.accounts.create(email="new@example.org", username="new", by=BY).value
    world.cached()

    def step(work: UnitOfWork) -> bool:
        work.label_seeded([view.id], "ci")
        return True

    world.changing.accounts.transactions().run_any(step, commits=bool, by=BY)


def failing_logins(world: World) -> None:
    while world.log_in("ada", BETTER) != "locked":
        pass


def login_after_a_lock(world: World) -> None:
    failing_logins(world)
    assert world.log_in("ada", BETTER) == "locked"
    world.changing.accounts.set_password("ada", BETTER, by=BY)


def unlock(world: World) -> None:
    failing_logins(world)
    world.cached()
    assert world.changing.accounts.unlock("ada", by=BY).changed


def rehash(world: World) -> None:
    backend = world.place.open(passwords_bcrypt_cost="5")
    assert backend.authentication.authenticate("ada", GOOD, by=BY).outcome == "ok"


def reuse(world: World) -> None:
    impatient = world.place.open(tokens_grace="0s")
    impatient.tokens.refresh(world.refresh["ada"], by=BY)
    with pytest.raises(TokenReused):
        impatient.tokens.refresh(world.refresh["ada"], by=BY)


def retry(world: World) -> None:
    world.changing.tokens.refresh(world.refresh["ada"], by=BY)
    world.changing.tokens.refresh(world.refresh["ada"], by=BY)


def session_of(world: World, name: str) -> str:
    return world.changing.sessions.page(name).items[0].id


def jti_of(world: World, number: int) -> str:
    return world.changing.tokens.verify(world.tokens[number], offline=True).jti


def login_with_a_recovery_code(world: World) -> None:
    codes = world.confirm()
    assert world.log_in("ada") != "ok"
    assert world.log_in("ada", code=codes[0]) == "ok"


def disable(world: World) -> None:
    world.confirm()
    world.issue("ada")
    world.cached()
    world.changing.mfa.disable("ada", by=BY)


def recreate(world: World) -> None:
    world.changing.accounts.delete("ada", by=BY)
    world.cached()
    world.changing.accounts.create(email="ada@example.org", username="ada", role="moderator", by=BY)


def import_rows(*rows: Mapping[str, object]) -> Callable[[World], object]:
    """Return the mutation that imports rows, with the passwords and second factors of accounts that exist."""

    def change(world: World) -> None:
        options = ImportOptions("upsert", update_secrets=True)
        raw = [RawRow(number, dict(row)) for number, row in enumerate(rows, start=1)]
        for outcomes in world.changing.imports.run(lambda: raw, options, by=BY):
            assert [outcome.error for outcome in outcomes] == [None] * len(rows)

    return change


def swap_names(world: World) -> None:
    accounts = world.changing.accounts
    accounts.update("ada", username="new", email="new@example.org", by=BY)
    accounts.update("bob", username="ada", email="ada@example.org", by=BY)
    accounts.update("new", username="bob", email="bob@example.org", by=BY)


def replace_keyring(world: World) -> None:
    world.confirm()
    world.cached()
    world.stored()  # both keep the lost keys for ten seconds, so that they compare sessions and not signatures
    (world.place.folder / "keys.json").unlink()
    assert world.changing.keyring_replacement.replace(by=BY).changed


def expire(world: World) -> None:
    world.changing.accounts.update("ada", expiry=Expiry(at=Instant(now() - 1_000_000)), by=BY)


@dataclass(frozen=True)
class Mutation:
    act: Callable[[World], object]
    events: frozenset[str]


def mutation(act: Callable[[World], object], *events: str) -> Mutation:
    return Mutation(act, frozenset(events))


def restore(world: World) -> None:
    """Restore a copy with other accounts, while the cache contains the present ones."""
    world.changing.database.back_up(str(world.place.folder / "copy.db"))
    world.changing.accounts.deactivate("bob", by=BY)
    world.changing.accounts.update("ada", username="new", role="admin", by=BY)
    world.issue("eve")
    assert world.cached() == world.stored()
    world.changing.database.restore(str(world.place.folder / "copy.db"), by=BY)
    assert all(outcome(world.database.tokens.verify, token)[0] is TokenRevoked for token in world.tokens)  # type: ignore[index]


MUTATIONS = {
    "create": mutation(
        lambda w: w.changing.accounts.create(email="new@example.org", username="new", by=BY), "UserCreated"
    ),
    "create again": mutation(recreate, "UserDeleted", "UserCreated"),
    "import": mutation(import_rows({"email": "new@example.org", "username": "new"}), "UserImported"),
    "import many": mutation(
        import_rows(
            *({"email": f"many{number}@example.org", "username": f"many{number}"} for number in range(30)),
            {"email": "new@example.org", "username": "NEW", "is_active": False},
        ),
        "UserImported",
    ),
    "import over accounts": mutation(
        import_rows(
            {"email": "ada@example.org", "username": "new", "role": "moderator", "must_change_password": True},
            {"email": "bob@example.org", "username": "ada", "password": "better horse battery"},
            {"email": "eve@example.org", "is_active": False, "mfa": "on", "totp_secret": "GEZDGNBVGY3TQOJQ"},
        ),
        "UserUsernameChanged",
        "UserPasswordChangeRequired",
        "UserRoleChanged",
        "UserPasswordChanged",
        "UserDeactivated",
        "MfaConfirmed",
        "SessionsRevoked",
    ),
    "label": mutation(label, "UserSeeded"),
    "ensure": mutation(
        lambda w: w.changing.accounts.ensure(
            email="ada@example.org", username="ada", role="admin", create=pytest.fail, update=True, by=BY
        ),
        "UserRoleChanged",
    ),
    "e-mail": mutation(lambda w: w.changing.accounts.update("ada", email="new@example.org", by=BY), "UserEmailChanged"),
    "username": mutation(lambda w: w.changing.accounts.update("ada", username="new", by=BY), "UserUsernameChanged"),
    "username in capitals": mutation(
        lambda w: w.changing.accounts.update("ada", username="ADA", by=BY), "UserUsernameChanged"
    ),
    "swapped names": mutation(swap_names, "UserUsernameChanged", "UserEmailChanged"),
    "role": mutation(lambda w: w.changing.accounts.update("ada", role="admin", by=BY), "UserRoleChanged"),
    "assigned role": mutation(lambda w: w.changing.accounts.assign_role("ada", "admin", by=BY), "UserRoleChanged"),
    "later expiry": mutation(
        lambda w: w.changing.accounts.update("ada", expiry=Expiry(after=10**12), by=BY), "UserExpiryChanged"
    ),
    "past expiry": mutation(expire, "UserExpiryChanged"),
    "password": mutation(
        lambda w: w.changing.accounts.set_password("ada", BETTER, by=BY), "UserPasswordChanged", "SessionsRevoked"
    ),
    "password to change": mutation(
        lambda w: w.changing.accounts.set_password("ada", BETTER, must_change_password=True, by=BY),
        "UserPasswordChanged",
    ),
    "first password": mutation(lambda w: w.changing.accounts.set_password("eve", BETTER, by=BY), "UserPasswordChanged"),
    "deactivate": mutation(
        lambda w: w.changing.accounts.deactivate("ada", by=BY), "UserDeactivated", "SessionsRevoked"
    ),
    "activate": mutation(
        lambda w: (
            w.changing.accounts.deactivate("ada", by=BY),
            w.cached(),
            w.changing.accounts.activate("ada", by=BY),
        ),
        "UserDeactivated",
        "UserActivated",
    ),
    "delete": mutation(lambda w: w.changing.accounts.delete("ada", by=BY), "UserDeleted"),
    "delete and erase": mutation(lambda w: w.changing.accounts.delete("ada", erase=True, by=BY), "UserDeleted"),
    "deactivate many": mutation(each("deactivating"), "UserDeactivated", "SessionsRevoked"),
    "failing logins": mutation(failing_logins, "LoginFailed", "UserLocked"),
    "login": mutation(lambda w: w.log_in("ada"), "LoginSucceeded"),
    "end of a lock": mutation(login_after_a_lock, "UserLockEnded", "UserPasswordChanged"),
    "unlock": mutation(unlock, "UserLockEnded"),
    "enroll": mutation(lambda w: w.enroll(), "MfaEnrolled"),
    "confirm": mutation(lambda w: w.confirm(), "MfaConfirmed", "SessionsRevoked"),
    "recovery code": mutation(login_with_a_recovery_code, "LoginChallenged", "RecoveryCodeUsed"),
    "recovery codes": mutation(
        lambda w: (w.confirm(), w.changing.mfa.renew_recovery_codes("ada", w.changing.mfa.new_recovery_codes(), by=BY)),
        "RecoveryCodesRenewed",
    ),
    "disable": mutation(disable, "MfaDisabled"),
    "cancel enrolment": mutation(
        lambda w: (w.enroll(), w.cached(), w.changing.mfa.disable("ada", by=BY)), "MfaDisabled"
    ),
    "re-encrypt": mutation(lambda w: (w.confirm(), w.cached(), w.changing.mfa.reencrypt(by=BY))),
    "issue": mutation(lambda w: w.issue("ada"), "SessionOpened"),
    "refresh": mutation(lambda w: w.changing.tokens.refresh(w.refresh["ada"], by=BY), "SessionRefreshed"),
    "retry": mutation(retry, "SessionRefreshed"),
    "revoke a token": mutation(lambda w: w.changing.tokens.revoke(w.tokens[0], by=BY), "AccessTokenRevoked"),
    "revoke by refresh token": mutation(lambda w: w.changing.tokens.revoke(w.refresh["ada"], by=BY), "SessionRevoked"),
    "revoke a jti": mutation(lambda w: w.changing.tokens.revoke_jti(jti_of(w, 0), by=BY), "AccessTokenRevoked"),
    "revoke a session": mutation(lambda w: w.changing.sessions.revoke(session_of(w, "ada"), by=BY), "SessionRevoked"),
    "revoke the sessions of an account": mutation(
        lambda w: w.changing.sessions.revoke_user("ada", by=BY), "SessionsRevoked"
    ),
    "replace a lost keyring": mutation(replace_keyring, "KeyringReplaced", "MfaDisabled", "IssuerTokensRevoked"),
    "restored": mutation(lambda w: w.changing.database.restored(by=BY), "DatabaseRestored", "IssuerTokensRevoked"),
    "restore": mutation(restore, "DatabaseRestored", "IssuerTokensRevoked"),
    "revoke all": mutation(lambda w: w.changing.sessions.revoke_all(by=BY), "IssuerTokensRevoked"),
    "sweep": mutation(lambda w: w.changing.sessions.sweep(by=BY)),
}
ELSEWHERE = {"UserPasswordRehashed", "RefreshTokenReused"}
"""Events that other settings than those of `MUTATIONS` cause; see the tests below."""
NOT_ABOUT_ACCOUNTS = {
    "InstallationCreated",
    "SchemaUpgraded",
    "KeyAdded",
    "KeyImported",
    "KeyPromoted",
    "KeyRetired",
    "KeyDestroyed",
    "KeyringRewrapped",
    "KeyExported",
    "AccountsExported",
    "RateLimitReset",
}


def test_every_event_about_accounts_is_exercised() -> None:
    exercised = frozenset[str]().union(*(mutation.events for mutation in MUTATIONS.values()))
    assert exercised | ELSEWHERE | NOT_ABOUT_ACCOUNTS == set(event_types())
    assert not exercised & NOT_ABOUT_ACCOUNTS


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_after_every_change_the_cache_answers_as_the_database(world: World, mutation: Mutation) -> None:
    assert world.cached() == world.cached() == world.stored()
    assert world.place.cache.exists()
    world.events.clear()
    mutation.act(world)
    assert mutation.events <= set(world.events)
    expected = world.stored()
    assert world.cached() == expected
    assert world.cached() == expected


@pytest.mark.parametrize("mutation", [rehash, reuse])
def test_a_change_by_a_process_with_other_settings(world: World, mutation: Callable[[World], None]) -> None:
    if world.reading is world.changing:
        world.reading = world.place.open(cache_memory_entries="0", tokens_grace="0s")
    world.cached()
    mutation(world)
    last = {event.type for event in world.database.audit.stream()}
    assert {"UserPasswordRehashed", "RefreshTokenReused"} & last
    assert world.cached() == world.stored()


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_a_failing_reaction_does_not_prevent_the_invalidation(place: Place, mutation: Mutation) -> None:
    """A reaction of the service fails: the cache must have been invalidated nevertheless."""

    def fail(logged: list[LoggedEvent]) -> None:
        raise RuntimeError

    changing, database = place.open(fail, tokens_grace="1m"), place.open(tokens_revocation_max_age="0s")
    changing.initialise(by=BY)
    world = World(changing, changing, database, place, [])
    for name in ("ada", "bob", "eve"):
        password = None if name == "eve" else GOOD
        created = changing.accounts.create(email=f"{name}@example.org", username=name, password=password, by=BY)
        world.ids[name] = created.value.id
        world.issue(name)
    world.cached()
    mutation.act(world)
    assert world.cached() == world.stored()


def test_accounts_are_read_from_the_cache(world: World) -> None:
    """Otherwise, the other tests prove nothing."""
    ada, token = world.ids["ada"], world.tokens[0]
    for ident in (ada, "ada", "ada@example.org"):
        assert world.reading.accounts.get(ident).username == "ada"
    world.reading.tokens.verify(token)
    with pytest.raises(UserNotFound):
        world.reading.accounts.get("new")
    with closing(sqlite3.connect(world.place.folder / "accounts.db")) as connection, connection:
        connection.execute("UPDATE users SET role = 'moderator' WHERE username = 'ada'")
        connection.execute("UPDATE sessions SET revoked_at = created_at, revoked_because = 'requested'")
    reader = world.place.open(cache_memory_entries="0")
    for ident in (ada, "ada", "ada@example.org"):
        assert reader.accounts.get(ident).role == "user"
        assert reader.accounts.show(ident).role == "moderator"
    assert reader.tokens.verify(token).sub == ada
    with pytest.raises(TokenRevoked):
        world.database.tokens.verify(token)


def test_the_status_of_a_cached_account_is_that_of_now(world: World) -> None:
    world.changing.accounts.update("bob", expiry=Expiry(after=3_600_000_000), by=BY)
    failing_logins(world)
    ada, bob = (world.reading.accounts.get(name) for name in ("ada", "bob"))
    assert (ada.status, bob.status) == ("locked", "active")
    until, expiry, cached = ada.locked_until, bob.expires_at, world.reading.accounts.cached
    assert until is not None
    assert expiry is not None
    assert cached is not None

    def at(moment: Instant, ident: str) -> UserView:
        return replace(cached(), clock=lambda: moment).get(ident)

    assert (at(until.plus(-1), "ada").status, at(until.plus(-1), "ada").locked_until) == ("locked", until)
    assert (at(until, "ada").status, at(until, "ada").locked_until) == ("active", None)
    assert at(expiry, "bob").status == "expired"


def test_a_name_that_is_not_there_yet(world: World) -> None:
    for ident in ("new", "new@example.org", "NEW@EXAMPLE.ORG"):
        for _ in range(2):
            with pytest.raises(UserNotFound):
                world.reading.accounts.get(ident)
    created = world.changing.accounts.create(email="new@example.org", username="new", by=BY).value
    for ident in ("new", "new@example.org", "New@EXAMPLE.org", created.id):
        assert world.reading.accounts.get(ident) == created


def test_a_renamed_account_is_found_by_its_new_names_only(world: World) -> None:
    world.cached()
    world.changing.accounts.update("ada", username="new", email="new@example.org", by=BY)
    for ident in ("new", "new@example.org"):
        assert world.reading.accounts.get(ident).id == world.ids["ada"]
    for ident in ("ada", "ada@example.org"):
        with pytest.raises(UserNotFound):
            world.reading.accounts.get(ident)


@pytest.mark.parametrize(
    "ident",
    ["", " ", "@", "x" * 600, "x" * 300 + "@example.org", "a@@b", "\0", "é", "*", "user:ada", "-", "ada@", "\ud800"],
)
def test_strange_names_are_answered_as_by_the_database(world: World, ident: str) -> None:
    for _ in range(2):
        assert outcome(world.reading.accounts.get, ident) == outcome(world.database.accounts.show, ident)


def test_the_cache_contains_no_secrets(world: World) -> None:
    world.cached()
    content = b"".join(file.read_bytes() for file in world.place.cache.parent.glob("cache.db*"))
    assert b"ada@example.org" in content
    for secret in (b"$2b$", *(token.reveal().encode() for token in (*world.tokens, *world.refresh.values()))):
        assert secret not in content
    assert {file.stat().st_mode & 0o777 for file in world.place.cache.parent.glob("cache.db*")} == {0o600}


def test_by_default_nothing_about_tokens_is_cached(place: Place) -> None:
    with backctl.open_backend(
        environ={
            "BACKCTL_DATABASE_URL": f"sqlite:///{place.folder}/accounts.db",
            "BACKCTL_KEYRING_PATH": f"{place.folder}/keys.json",
        }
    ) as backend:
        backend.initialise(by=BY)
        backend.accounts.create(email="ada@example.org", username="ada", by=BY)
        token = backend.tokens.issue("ada", by=BY).value.access_token
        assert token is not None
        for _ in range(2):
            backend.tokens.verify(token)
        assert not place.cache.exists()
        backend.accounts.get("ada")
        backend.tokens.verify(token)
        assert [entry.key for entry in backend.cache_entries.entries("revocation:*")] == []
        assert [entry.key for entry in backend.cache_entries.entries("user:*")] != []


def test_changes_without_a_cache_create_none(place: Place) -> None:
    backend = place.open()
    backend.initialise(by=BY)
    backend.accounts.create(email="ada@example.org", username="ada", by=BY)
    backend.accounts.update("ada", role="admin", by=BY)
    assert not place.cache.exists()


def test_a_service_that_used_its_cache_before_the_installation_existed_follows_changes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, operator = place.open(cache_memory_entries="0"), place.open()
    service.cache.set("k", 1)
    operator.initialise(by=BY)
    operator.accounts.create(email="ada@example.org", username="ada", by=BY)
    later = time.monotonic() + 1
    monkeypatch.setattr("backctl.wiring.cache.time", SimpleNamespace(monotonic=lambda: later))  # it looks every second
    assert service.accounts.get("ada").role == "user"
    operator.accounts.update("ada", role="admin", by=BY)
    assert service.accounts.get("ada").role == "admin"
