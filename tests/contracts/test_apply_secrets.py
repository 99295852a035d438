"""Secrets that a seed file refers to, and the sessions that an apply ends."""

import pytest
from tests.contracts.importing import OTHER_HASH, OTHER_TOTP_SECRET, Members, on_one_database
from tests.contracts.seeding import OTHER_PASSWORD, PASSWORD, VARIABLES, Seeder, done, env, factor, people, someone
from tests.contracts.token_services import SECOND, Services

from backctl.application.seeding.applying import BATCH_SIZE
from backctl.domain.errors import InvalidSeed, TokenRevoked
from backctl.domain.one_time_codes import decoded_secret


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
    with pytest.raises(InvalidSeed, match=r"ci\.json, line 1: .*" + said) as raised:
        seeder.apply(*people(3), someone("bob", **bad))
    assert "short" not in str(raised.value)
    assert PASSWORD not in str(raised.value)
    assert seeder.events() == before


@on_one_database
@pytest.mark.parametrize(
    "bad", [{"password": env("WEAK")}, {"password_hash": env("PASSWORD")}, {"mfa": factor("HASH")}]
)
def test_a_bad_secret_of_a_later_transaction_changes_nothing(seeder: Seeder, bad: Members) -> None:
    before = seeder.events()
    with pytest.raises(InvalidSeed):
        seeder.apply(*people(BATCH_SIZE + 5), someone("bob", **bad))
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
