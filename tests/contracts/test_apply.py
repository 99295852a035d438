"""What applying a plan does to accounts: created, changed, closed and deleted as declared, and nothing else."""

from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contracts.conftest import START, Store, a_user
from tests.contracts.importing import FOREIGN_HASH, OTHER_HASH, OTHER_TOTP_SECRET, TOTP_SECRET, Members, on_one_database
from tests.contracts.seeding import Seeder, done
from tests.contracts.test_guard import CountingGuard
from tests.contracts.test_replay import fold, row_of
from tests.contracts.token_services import SECOND, Services

from backctl.application.seeding.applying import ApplyOptions
from backctl.domain.errors import ConfirmationRequired, InvalidSeed, LastAdministrator, TokenRevoked
from backctl.domain.one_time_codes import decoded_secret
from backctl.domain.repositories import BY_CREATION, EVERY_EVENT, EVERY_USER
from backctl.domain.seed import Prune
from backctl.domain.values import Identity, Instant, UserId

ID = UserId("01a20000-0000-7000-8000-000000000001")
DAY = 86_400 * SECOND
PASSWORD, OTHER_PASSWORD = "correct horse", "battery staple"
VARIABLES = {
    "PASSWORD": PASSWORD,
    "OTHER_PASSWORD": OTHER_PASSWORD,
    "HASH": FOREIGN_HASH,
    "OTHER_HASH": OTHER_HASH,
    "TOTP": TOTP_SECRET,
    "OTHER_TOTP": OTHER_TOTP_SECRET,
    "WEAK": "short",
}


def env(name: str) -> Members:
    return {"env": name}


def factor(name: str) -> Members:
    return {"secret": env(name)}


def someone(name: str, **members: object) -> Members:
    return {"email": f"{name}@example.org", "username": name} | members


def people(count: int, **members: object) -> list[Members]:
    return [someone(f"user{number}", **members) for number in range(count)]


@pytest.fixture
def seeder(services: Services) -> Seeder:
    """An installation with the administrator `root` and the account `ada`."""
    return Seeder(services.store, dict(VARIABLES))


@pytest.fixture
def signed_in(services: Services) -> Services:
    """Give `ada` and `root` a session each."""
    services.pair()
    services.issue("root", pair=True)
    services.later(SECOND)
    return services


# New accounts.

FULL = someone(
    "Full",
    id=ID,
    role="moderator",
    expires_at="2031-01-01T00:00:00.5Z",
    must_change_password=True,
    password=env("PASSWORD"),
    mfa=factor("TOTP"),
)


@pytest.mark.parametrize("others", [0, 30])  # many accounts are inserted together
def test_a_new_account_has_everything_that_is_declared(seeder: Seeder, others: int) -> None:
    change = seeder.apply(FULL, *people(others))
    assert change.changed
    assert done(change.value) == {"created": 1 + others}
    assert change.value.names == ("ci",)
    user = seeder.user(ID)
    assert (user.email.address, user.username.name, user.role) == ("Full@example.org", "Full", "moderator")
    assert (user.is_active, user.expires_at) == (True, Instant.parse("2031-01-01T00:00:00.5Z"))
    assert (user.must_change_password, user.mfa_state) == (True, "on")
    assert seeder.fits(ID, PASSWORD)
    assert seeder.secret_of(ID) == decoded_secret(TOTP_SECRET)
    assert {state.seeded_by for state in seeder.states().values()} == {"ci", None}
    assert seeder.states()["Full"].seeded_by == "ci"


@on_one_database
def test_defaults_of_a_new_account(seeder: Seeder) -> None:
    seeder.apply(someone("bob"), someone("eve", password="none"))
    for name in ("bob", "eve"):
        user = seeder.user(name)
        assert (user.role, user.is_active, user.expires_at, user.must_change_password) == ("user", True, None, False)
        assert (user.password_hash, user.mfa_state, user.created_at) == (None, "off", START)


@on_one_database
def test_a_hash_is_kept_as_it_is(seeder: Seeder) -> None:
    (seeder.store.folder / "test.hash").write_text(FOREIGN_HASH + "\n")
    generate = {
        "count": 30,
        "email": "gen{n}@example.org",
        "username": "gen{n}",
        "password_hash": {"file": "test.hash"},
        "id_start": ID,
    }
    assert done(seeder.apply(someone("bob", password_hash=env("HASH")), generate=generate).value) == {"created": 31}
    for name in ("bob", "gen1", "gen30"):
        stored = seeder.user(name).password_hash
        assert stored is not None
        assert (stored.encoded, stored.imported) == (FOREIGN_HASH, True)
    assert seeder.user("gen1").id == ID


def test_a_new_account_can_be_closed_and_expire(seeder: Seeder) -> None:
    seeder.apply(someone("old", state="closed"), someone("runner", expires_in="1d"))
    assert not seeder.user("old").is_active
    assert seeder.user("runner").expires_at == START.plus(DAY)
    seeder.store.now = START.plus(SECOND)
    assert not seeder.apply(someone("old", state="closed"), someone("runner", expires_in="1d")).changed


def test_events_describe_new_accounts_and_their_labels(seeder: Seeder) -> None:
    before = len(seeder.events())
    seeder.apply(someone("bob", password=env("PASSWORD")), someone("old", state="closed", expires_in="1d"))
    events = seeder.events()[before:]
    assert [type_ for type_, _ in events] == [
        "UserCreated",
        "UserCreated",
        "UserExpiryChanged",
        "UserDeactivated",
        "UserSeeded",
        "UserSeeded",
    ]
    assert [data["name"] for type_, data in events if type_ == "UserSeeded"] == ["ci", "ci"]
    assert PASSWORD not in str(events)
    replayed(seeder)


@on_one_database
def test_accounts_of_two_files_have_their_own_labels(seeder: Seeder) -> None:
    both = [seeder.read(someone(name), name=name) for name in ("nightly", "hourly")]
    desired = type(both[0])((both[0].seeds[0], both[1].seeds[0]))
    change = seeder.applied(desired, seeder.service().plan(desired))
    assert change.value.names == ("nightly", "hourly")
    assert {name: state.seeded_by for name, state in seeder.states().items() if state.seeded_by} == {
        "nightly": "nightly",
        "hourly": "hourly",
    }


# Changes of accounts.


def test_an_update_changes_what_is_declared_and_nothing_else(seeder: Seeder) -> None:
    before, events = seeder.user("ada"), len(seeder.events())
    seeder.store.now = START.plus(SECOND)
    entry: Members = {"id": before.id, "email": "a@example.net", "role": "moderator", "expires_at": "never"}
    assert done(seeder.apply(entry | {"username": "ada2"}).value) == {"updated": 1}
    after = seeder.user("ada2")
    assert (after.email.address, after.role) == ("a@example.net", "moderator")
    for name in ("id", "is_active", "expires_at", "password_hash", "created_at", "must_change_password"):
        assert getattr(after, name) == getattr(before, name)
    assert seeder.event_types()[events:] == ["UserEmailChanged", "UserUsernameChanged", "UserRoleChanged"]
    assert seeder.states()["ada2"].seeded_by is None
    replayed(seeder)


def test_accounts_are_closed_and_opened_and_deleted(seeder: Seeder) -> None:
    assert done(seeder.apply(someone("ada", state="closed", role="moderator")).value) == {"closed": 1}
    assert (seeder.user("ada").is_active, seeder.user("ada").role) == (False, "moderator")
    assert done(seeder.apply(someone("ada", state="active", role="user")).value) == {"opened": 1}
    assert (seeder.user("ada").is_active, seeder.user("ada").role) == (True, "user")
    absent: Members = {"email": "ada@example.org", "state": "absent"}
    assert done(seeder.apply(absent, {"email": "nobody@example.org", "state": "absent"}).value) == {
        "deleted": 1,
        "unchanged": 1,
    }
    assert "ada" not in seeder.states()
    assert seeder.event_types()[-1] == "UserDeleted"
    replayed(seeder)


def test_pruning_closes_what_the_file_no_longer_lists(seeder: Seeder) -> None:
    seeder.apply(*people(3))
    seeder.apply(someone("nightly"), name="nightly")
    assert not seeder.apply(*people(1)).changed
    assert done(seeder.apply(*people(1), prune="close").value) == {"closed": 2, "unchanged": 1}
    active = {name for name, state in seeder.states().items() if state.is_active}
    assert active == {"root", "ada", "nightly", "user0"}
    assert done(seeder.apply(*people(1), prune="close").value) == {"unchanged": 3}
    assert done(seeder.apply(*people(2), prune="close").value) == {"opened": 1, "unchanged": 2}  # it is listed again


def test_pruning_deletes_what_the_file_no_longer_lists(seeder: Seeder) -> None:
    seeder.apply(*people(3), FULL)
    seeder.apply(someone("nightly"), name="nightly")
    assert done(seeder.apply(*people(1), prune="delete").value) == {"deleted": 3, "unchanged": 1}
    assert seeder.states().keys() == {"root", "ada", "nightly", "user0"}
    assert not seeder.apply(*people(1), prune="delete").changed
    replayed(seeder)


def test_an_adopted_account_is_never_pruned(seeder: Seeder) -> None:
    seeder.apply(someone("ada", role="moderator"))
    for prune in ("close", "delete"):
        assert not seeder.apply(prune=prune).changed


# Repetition.

MANY: list[Members] = [
    FULL,
    someone("ada", role="moderator", state="closed"),
    someone("runner", expires_in="1d", password="none"),
    someone("old", state="closed", password_hash=env("HASH")),
    {"email": "legacy@example.org", "state": "absent"},
    *people(25, role="moderator"),
]


@pytest.mark.parametrize("all_or_nothing", [False, True])
def test_the_same_file_twice_changes_nothing(seeder: Seeder, all_or_nothing: bool) -> None:
    options = ApplyOptions(all_or_nothing=all_or_nothing)
    assert done(seeder.apply(*MANY, options=options).value) == {"created": 28, "closed": 1, "unchanged": 1}
    before, states = seeder.events(), seeder.states()
    seeder.store.now = START.plus(DAY)
    again = seeder.apply(*MANY, options=options)
    assert not again.changed
    assert done(again.value) == {"unchanged": 30}
    assert (seeder.events(), seeder.states()) == (before, states)
    replayed(seeder)


def test_a_dry_run_changes_nothing_and_says_what_would_be_done(seeder: Seeder) -> None:
    before = seeder.events()
    change = seeder.apply(*MANY, dry_run=True)
    assert change.changed
    assert done(change.value) == {"created": 28, "closed": 1, "unchanged": 1}
    assert seeder.events() == before
    assert seeder.states().keys() == {"root", "ada"}


@on_one_database
def test_a_dry_run_of_a_first_password_says_that_it_would_be_set(seeder: Seeder) -> None:
    seeder.apply(someone("bob"))
    entry = someone("bob", password=env("PASSWORD"), password_policy="enforce")
    assert done(seeder.apply(entry, dry_run=True).value) == {"updated": 1}
    assert seeder.user("bob").password_hash is None
    assert done(seeder.apply(entry).value) == {"updated": 1}
    assert seeder.fits("bob", PASSWORD)


# Secrets that are enforced.


@on_one_database
def test_secrets_are_set_on_creation_only(seeder: Seeder) -> None:
    seeder.apply(someone("bob", password=env("PASSWORD"), mfa=factor("TOTP")))
    events = seeder.events()
    assert not seeder.apply(someone("bob", password=env("OTHER_PASSWORD"), mfa=factor("OTHER_TOTP"))).changed
    assert seeder.events() == events
    assert seeder.fits("bob", PASSWORD)


@pytest.mark.parametrize("dry_run", [False, True])
def test_an_enforced_password_is_verified_and_not_written_if_it_fits(seeder: Seeder, dry_run: bool) -> None:
    entry = someone("bob", password=env("PASSWORD"), mfa=factor("TOTP"), password_policy="enforce")
    assert done(seeder.apply(entry).value) == {"created": 1}
    before, events = seeder.user("bob"), seeder.events()
    again = seeder.apply(entry, dry_run=dry_run)
    assert not again.changed
    assert done(again.value) == {"unchanged": 1}
    assert seeder.events() == events
    after = seeder.user("bob")
    assert (after.password_hash, after.version) == (before.password_hash, before.version)
    other = entry | {"password": env("OTHER_PASSWORD")}
    assert done(seeder.apply(other, dry_run=True).value) == {"updated": 1}
    assert seeder.events() == events
    changed = seeder.apply(other)
    assert changed.changed
    assert done(changed.value) == {"updated": 1}
    assert seeder.fits("bob", OTHER_PASSWORD)
    assert seeder.event_types()[len(events) :] == ["UserPasswordChanged"]


def test_an_enforced_hash_and_second_factor_are_compared(seeder: Seeder) -> None:
    entry = someone("bob", password_hash=env("HASH"), mfa=factor("TOTP"), password_policy="enforce")
    seeder.apply(entry)
    events = len(seeder.events())
    assert done(seeder.apply(entry).value) == {"unchanged": 1}
    assert len(seeder.events()) == events
    other = entry | {"password_hash": env("OTHER_HASH"), "mfa": factor("OTHER_TOTP")}
    assert done(seeder.apply(other, *people(1)).value) == {"created": 1, "updated": 1}
    stored = seeder.user("bob").password_hash
    assert stored is not None
    assert stored.encoded == OTHER_HASH
    assert seeder.secret_of("bob") == decoded_secret(OTHER_TOTP_SECRET)
    assert done(seeder.apply(other, *people(2)).value) == {"created": 1, "unchanged": 2}


def test_an_enforced_password_beside_another_change(seeder: Seeder) -> None:
    entry = someone("bob", password=env("PASSWORD"), password_policy="enforce")
    seeder.apply(entry)
    events = len(seeder.events())
    assert done(seeder.apply(entry | {"state": "closed"}).value) == {"closed": 1}
    assert seeder.event_types()[events:] == ["UserDeactivated"]
    changed = entry | {"state": "active", "password": env("OTHER_PASSWORD")}
    assert done(seeder.apply(changed).value) == {"opened": 1}
    assert sorted(seeder.event_types()[events + 1 :]) == ["UserActivated", "UserPasswordChanged"]


@on_one_database
def test_an_enforced_password_must_be_changed_if_the_file_says_so(seeder: Seeder) -> None:
    entry = someone("bob", password=env("PASSWORD"), password_policy="enforce", must_change_password=True)
    seeder.apply(someone("bob"))
    seeder.apply(entry)
    assert seeder.user("bob").must_change_password
    assert not seeder.apply(entry).changed


# Secrets that are missing or bad.


@on_one_database
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"password": env("MISSING")}, "MISSING is not set"),
        ({"password": {"file": "missing"}}, "missing"),
        ({"mfa": factor("MISSING")}, "MISSING is not set"),
        ({"password": env("WEAK")}, "fewer than 8"),
        ({"password_hash": env("PASSWORD")}, "hash"),
        ({"mfa": factor("HASH")}, "base32"),
    ],
)
def test_a_bad_secret_changes_nothing_and_is_named_with_its_line(seeder: Seeder, bad: Members, said: str) -> None:
    before = seeder.events()
    with pytest.raises(InvalidSeed, match=r"ci\.json(, line |:)1: .*" + said) as raised:
        seeder.apply(*people(3), someone("bob", **bad))
    assert "short" not in str(raised.value)
    assert PASSWORD not in str(raised.value)
    assert seeder.events() == before


@on_one_database
def test_a_secret_that_disappears_after_the_plan_changes_nothing(seeder: Seeder) -> None:
    desired = seeder.read(*people(3), someone("bob", password=env("PASSWORD")))
    plan, before = seeder.service().plan(desired), seeder.events()
    del seeder.variables["PASSWORD"]
    with pytest.raises(InvalidSeed, match="PASSWORD is not set"):
        seeder.applied(desired, plan)
    assert seeder.events() == before


# Sessions.


def test_a_new_role_ends_access_tokens_and_no_session(seeder: Seeder, signed_in: Services) -> None:
    tokens = signed_in.pair()
    signed_in.later(SECOND)
    assert not seeder.apply(someone("ada", role="user")).changed
    signed_in.verify(tokens)
    seeder.apply(someone("ada", role="moderator"))
    with pytest.raises(TokenRevoked):
        signed_in.verify(tokens)
    assert signed_in.states() == [("open", None)] * 2
    signed_in.later(SECOND)
    signed_in.verify(signed_in.refresh(tokens))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"state": "closed"}, "deactivated"),
        ({"password": env("PASSWORD"), "password_policy": "enforce"}, "password_changed"),
        ({"password_hash": env("HASH"), "password_policy": "enforce"}, "password_changed"),
        ({"mfa": factor("TOTP"), "password_policy": "enforce"}, "mfa_reset"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expired"),
    ],
)
def test_sessions_end_with_what_they_depend_on(
    seeder: Seeder, signed_in: Services, members: Members, reason: str
) -> None:
    assert seeder.apply(someone("ada", **members)).changed
    assert signed_in.states() == [("revoked", reason)]
    assert signed_in.states("root") == [("open", None)]
    assert not seeder.apply(someone("ada", **members)).changed


def test_an_account_that_is_deleted_and_created_again_gets_no_session_back(seeder: Seeder, signed_in: Services) -> None:
    ada, tokens = seeder.user("ada").id, signed_in.issue()
    seeder.apply({"id": ada, "state": "absent"})
    signed_in.later(SECOND)
    seeder.apply(someone("ada", id=ada))
    assert signed_in.states() == []
    with pytest.raises(TokenRevoked):
        signed_in.verify(tokens)


# The last administrator.


@pytest.mark.parametrize(
    "members", [{"state": "closed"}, {"state": "absent"}, {"role": "user"}, {"expires_at": "2031-01-01T00:00:00Z"}]
)
def test_the_last_administrator_stays(seeder: Seeder, members: Members) -> None:
    before = seeder.events()
    with pytest.raises(LastAdministrator, match=r"ci\.json:1: "):
        seeder.apply(*people(2), someone("root", **members))
    assert seeder.events() == before
    boss = someone("boss", role="admin")
    change = seeder.apply(someone("root", **members), *people(2), boss)
    assert change.value.created == 3
    assert sum(done(change.value).values()) == 4


@pytest.mark.parametrize("all_or_nothing", [False, True])
def test_an_administrator_who_became_the_last_meanwhile_stays(seeder: Seeder, all_or_nothing: bool) -> None:
    seeder.store.add(a_user("boss", role="admin"))
    desired = seeder.read(someone("root", state="closed"), *people(2))
    seeder.meanwhile = lambda: seeder.store.change("boss", lambda boss: boss.deactivate(now=START))
    with pytest.raises(LastAdministrator):
        seeder.applied(desired, seeder.service().plan(desired), ApplyOptions(all_or_nothing=all_or_nothing))
    assert seeder.user("root").is_active
    assert "user0" not in seeder.states()


# The guard.


@on_one_database
@pytest.mark.parametrize("lets_pass", [True, False])
@pytest.mark.parametrize("all_or_nothing", [False, True])
def test_the_guard_is_asked_once_before_the_first_change(
    seeder: Seeder, lets_pass: bool, all_or_nothing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backctl.application.seeding.applying.BATCH_SIZE", 2)
    seeder.guard = guard = CountingGuard(seeder.store, lets_pass=lets_pass)
    before = seeder.events()
    if lets_pass:
        seeder.apply(*people(5), options=ApplyOptions(all_or_nothing=all_or_nothing))
        assert len(seeder.states()) == 7
    else:
        with pytest.raises(ConfirmationRequired):
            seeder.apply(*people(5), options=ApplyOptions(all_or_nothing=all_or_nothing))
        assert seeder.events() == before
    assert guard.asked == 1


@on_one_database
def test_the_guard_is_not_asked_when_nothing_changes(seeder: Seeder) -> None:
    entry = someone("bob", password=env("PASSWORD"), password_policy="enforce")
    seeder.apply(entry)
    seeder.guard = guard = CountingGuard(seeder.store, lets_pass=True)
    assert not seeder.apply(entry).changed
    seeder.apply(entry, someone("eve"), dry_run=True)
    assert guard.asked == 0
    assert seeder.apply(entry | {"password": env("OTHER_PASSWORD")}).changed
    assert guard.asked == 1


# Any files.

_ROLES = ["user", "moderator", "admin"]
_members = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(_ROLES),
        "state": st.sampled_from(["active", "closed", "absent"]),
        "expires_at": st.sampled_from(["never", "2031-01-01T00:00:00Z"]),
        "password_hash": st.sampled_from([env("HASH"), env("OTHER_HASH")]),
        "password_policy": st.sampled_from(["create", "enforce"]),
        "mfa": st.sampled_from([factor("TOTP"), factor("OTHER_TOTP")]),
    },
)
_entries = st.dictionaries(
    st.sampled_from(["amy", "ben", "cat", "dan", "ela"]),
    _members.map(lambda members: members if members.keys() & {"mfa", "password_hash"} else without_policy(members)),
    max_size=5,
)


def without_policy(members: Mapping[str, object]) -> Members:
    """Return members without a policy for secrets, which needs one."""
    return {name: value for name, value in members.items() if name != "password_policy"}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(_entries, min_size=1, max_size=3),
    st.sampled_from([None, "close", "delete"]),
    st.booleans(),
)
def test_a_file_that_was_applied_leaves_nothing_to_plan(
    store: Store, files: list[dict[str, Members]], prune: Prune | None, all_or_nothing: bool
) -> None:
    """The accounts are as declared, and the events describe every one of them."""
    seeder = Seeder(store, dict(VARIABLES))
    emptied(store, seeder)
    for entries in files:
        before = seeder.states()
        users = [someone(name, **members) for name, members in entries.items()]
        plan = seeder.plan(*users, prune=prune)
        change = seeder.apply(*users, prune=prune, options=ApplyOptions(all_or_nothing=all_or_nothing))
        assert sum(done(change.value).values()) == sum(plan.summary)
        assert change.value.created == plan.summary.create
        assert change.value.deleted == plan.summary.delete
        assert change.value.updated >= plan.summary.update
        assert seeder.plan(*users, prune=prune).summary.changes == 0
        require_declared(seeder, entries, before, prune)
        again = seeder.apply(*users, prune=prune)
        assert not again.changed
    replayed(seeder)


def emptied(store: Store, seeder: Seeder) -> None:
    """Delete all accounts, and add the administrator `root`."""
    with store.work() as work:
        for view in list(seeder.reader.stream_users(EVERY_USER, BY_CREATION)):
            user = work.users.get(Identity("id", view.id))
            work.users.remove(user)
            user.delete(erased=False, now=START)
        work.commit()
    store.add(a_user("root", role="admin"))


def require_declared(
    seeder: Seeder, entries: dict[str, Members], before: Mapping[str, object], prune: Prune | None
) -> None:
    states = seeder.states()
    for name, members in entries.items():
        if members.get("state") == "absent":
            assert name not in states
            continue
        state = states[name]
        assert state.role == members.get("role", "user") or ("role" not in members and name in before)
        if "state" in members or name not in before:
            assert state.is_active == (members.get("state") != "closed")
        if "expires_at" in members:
            ends = None if members["expires_at"] == "never" else Instant.parse(str(members["expires_at"]))
            assert state.expires_at == ends
        enforced = members.get("password_policy") == "enforce" or name not in before
        if enforced and "password_hash" in members:
            stored = seeder.user(name).password_hash
            assert stored is not None
            assert env_of(members["password_hash"]) == stored.encoded
        if enforced and "mfa" in members:
            assert seeder.secret_of(name) == decoded_secret(env_of(members["mfa"]["secret"]))  # type: ignore[index]
    unlisted = [state for name, state in states.items() if name not in entries and state.seeded_by is not None]
    if prune == "delete":
        assert not unlisted
    if prune == "close":
        assert not any(state.is_active for state in unlisted)


def env_of(source: object) -> str:
    assert isinstance(source, dict)
    return VARIABLES[source["env"]]


def replayed(seeder: Seeder) -> None:
    """Replay the events, and compare every account with them."""
    found = {view.id: row_of(view) for view in seeder.reader.stream_users(EVERY_USER, BY_CREATION)}
    assert fold(seeder.reader.stream_events(EVERY_EVENT)) == found
    assert seeder.reader.verify_chain(seeder.store.audit_keys).intact
