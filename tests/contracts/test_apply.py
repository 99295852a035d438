"""What applying a plan does to accounts: created, changed, closed and deleted as declared, and nothing else."""

import pytest
from tests.contracts.conftest import START, a_user
from tests.contracts.importing import FOREIGN_HASH, TOTP_SECRET, Members, on_one_database
from tests.contracts.seeding import DAY, ID, PASSWORD, VARIABLES, Seeder, done, env, factor, people, replayed, someone
from tests.contracts.test_guard import CountingGuard
from tests.contracts.token_services import SECOND, Services

from backctl.application.seeding.applying import ApplyOptions
from backctl.domain.errors import ConfirmationRequired, LastAdministrator
from backctl.domain.one_time_codes import decoded_secret
from backctl.domain.values import Instant


@pytest.fixture
def seeder(services: Services) -> Seeder:
    """An installation with the administrator `root` and the account `ada`."""
    return Seeder(services.store, dict(VARIABLES))


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
def test_a_dry_run_of_many_passwords_knows_the_new_administrator(
    seeder: Seeder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes all changes in one transaction, whatever the real run does."""
    monkeypatch.setattr("backctl.application.seeding.applying.PASSWORDS_AT_ONCE", 1)
    boss = someone("boss", role="admin", password=env("PASSWORD"))
    change = seeder.apply(boss, someone("bob", password=env("PASSWORD")), someone("root", state="closed"), dry_run=True)
    assert done(change.value) == {"created": 2, "closed": 1}


@on_one_database
def test_a_dry_run_of_many_batches_knows_the_new_administrator(seeder: Seeder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backctl.application.seeding.applying.BATCH_SIZE", 1)
    users = (someone("boss", role="admin"), someone("bob"), someone("root", state="closed"))
    assert done(seeder.apply(*users, dry_run=True).value) == {"created": 2, "closed": 1}


@on_one_database
def test_a_dry_run_that_plans_again_counts_each_account_once(seeder: Seeder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backctl.application.seeding.applying.BATCH_SIZE", 1)
    desired = seeder.read(*people(3), someone("ada", role="moderator"))
    plan = seeder.service().plan(desired)
    seeder.meanwhile = lambda: seeder.store.change("ada", lambda ada: ada.deactivate(now=START))
    assert done(seeder.applied(desired, plan, dry_run=True).value) == {"created": 3, "opened": 1}


@on_one_database
def test_a_dry_run_of_a_first_password_says_that_it_would_be_set(seeder: Seeder) -> None:
    seeder.apply(someone("bob"))
    entry = someone("bob", password=env("PASSWORD"), password_policy="enforce")
    assert done(seeder.apply(entry, dry_run=True).value) == {"updated": 1}
    assert seeder.user("bob").password_hash is None
    assert done(seeder.apply(entry).value) == {"updated": 1}
    assert seeder.fits("bob", PASSWORD)


# The last administrator.


@pytest.mark.parametrize(
    "members", [{"state": "closed"}, {"state": "absent"}, {"role": "user"}, {"expires_at": "2031-01-01T00:00:00Z"}]
)
def test_the_last_administrator_stays(seeder: Seeder, members: Members) -> None:
    before = seeder.events()
    with pytest.raises(LastAdministrator, match=r"ci\.json, line 1: "):
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
