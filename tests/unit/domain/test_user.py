"""The user aggregate: what each method changes, which events it records, and what it does not change."""

from collections.abc import Callable
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.domain.accounts import HASH, ID, new_account

from backctl.domain import events
from backctl.domain.canonical_json import canonical
from backctl.domain.errors import MfaAlreadyOn, MfaNotOn, MfaNotPending
from backctl.domain.user import User
from backctl.domain.values import EmailAddress, Instant, PasswordHash, Username

BEGIN = Instant.parse("2026-11-22T09:24:02Z")


def created(password_hash: PasswordHash | None = HASH) -> User:
    return new_account(BEGIN, email="Ada@Example.org", username="Ada", password_hash=password_hash)


@pytest.mark.parametrize("password_hash", [HASH, None])
def test_a_new_account_is_active_and_says_so(password_hash: PasswordHash | None) -> None:
    user = created(password_hash)
    assert user.is_active
    assert (user.created_at, user.updated_at, user.version) == (BEGIN, BEGIN, 1)
    assert (user.expires_at, user.must_change_password, user.mfa_state) == (None, False, "off")
    assert user.take_events() == [
        events.UserCreated(
            ID, email="Ada@Example.org", username="Ada", role="user", can_log_in=password_hash is not None
        )
    ]
    assert user.take_events() == []


def test_closing_and_opening_are_recorded_once_each() -> None:
    user = created()
    user.take_events()
    assert not user.activate(now=BEGIN.plus(1))
    assert user.deactivate(now=BEGIN.plus(2))
    assert not user.deactivate(now=BEGIN.plus(3))
    assert (user.is_active, user.updated_at) == (False, BEGIN + 2)
    assert user.activate(now=BEGIN.plus(4))
    assert (user.is_active, user.updated_at) == (True, BEGIN + 4)
    assert user.take_events() == [events.UserDeactivated(ID), events.UserActivated(ID)]


def test_each_change_is_recorded_once_with_what_was_and_what_is() -> None:
    user = created()
    user.take_events()
    end = Instant.parse("9999-12-31T23:59:59.999999Z")
    changes: list[Callable[[Instant], bool]] = [
        lambda now: user.change_email(EmailAddress.of("ada@example.org"), now=now),
        lambda now: user.rename(Username.parse("ada"), now=now),
        lambda now: user.assign_role("admin", now=now),
        lambda now: user.set_expiry(end, now=now),
        lambda now: user.set_expiry(None, now=now),
    ]
    for change in changes:
        at = user.updated_at.plus(1)
        assert change(at)
        assert user.updated_at == at
        assert not change(at.plus(1))
        assert user.updated_at == at
    assert (user.email.address, user.username.name, user.role, user.expires_at) == (
        "ada@example.org",
        "ada",
        "admin",
        None,
    )
    user.delete(erased=False, now=BEGIN)
    assert user.take_events() == [
        events.UserEmailChanged(ID, old="Ada@Example.org", new="ada@example.org"),
        events.UserUsernameChanged(ID, old="Ada", new="ada"),
        events.UserRoleChanged(ID, old="user", new="admin"),
        events.UserExpiryChanged(ID, old=None, new="9999-12-31T23:59:59.999999Z"),
        events.UserExpiryChanged(ID, old="9999-12-31T23:59:59.999999Z", new=None),
        events.UserDeleted(ID, erased=False),
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-(10**12), 10**12)), max_size=20))
def test_events_tell_the_state_after_any_sequence_of_calls(calls: list[tuple[bool, int]]) -> None:
    user = created()
    user.take_events()
    for activating, moved in calls:
        before = (user.is_active, user.updated_at)
        changed = (user.activate if activating else user.deactivate)(now=BEGIN.plus(moved))
        assert changed == (before[0] != activating)
        assert changed or before == (user.is_active, user.updated_at)
        assert user.is_active == activating
        assert user.updated_at >= user.created_at == BEGIN
    recorded = user.take_events()
    alternating = [events.UserDeactivated, events.UserActivated] * len(recorded)
    assert [type(event) for event in recorded] == alternating[: len(recorded)]
    assert user.is_active == (len(recorded) % 2 == 0)
    assert user.version == 1


def test_another_password_is_always_a_change_and_settles_whether_it_must_be_changed() -> None:
    user = created(None)
    user.take_events()
    user.change_password(HASH, must_change=True, now=BEGIN.plus(1))
    assert (user.password_hash, user.must_change_password, user.updated_at) == (HASH, True, BEGIN + 1)
    user.change_password(HASH, must_change=False, now=BEGIN.plus(-5))
    assert (user.must_change_password, user.updated_at) == (False, BEGIN)
    assert user.take_events() == [
        events.UserPasswordChanged(ID, must_change=True),
        events.UserPasswordChanged(ID, must_change=False),
    ]


def test_a_better_hash_keeps_the_password_and_what_was_demanded_of_it() -> None:
    user = created()
    user.take_events()
    user.must_change_password = True
    better = PasswordHash("$2b$13$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW")
    user.rehash_password(better, now=BEGIN.plus(1))
    assert (user.password_hash, user.must_change_password, user.updated_at) == (better, True, BEGIN + 1)
    assert user.take_events() == [events.UserPasswordRehashed(ID)]


# Second factors.


def enroll(user: User, *, now: Instant = BEGIN) -> None:
    user.enroll_mfa(algorithm="sha1", digits=6, period=30, now=now)


def test_a_second_factor_is_pending_until_it_is_confirmed_and_on_until_it_is_disabled() -> None:
    user = created()
    user.take_events()
    states = [user.mfa_state]
    enroll(user, now=BEGIN.plus(1))
    states.append(user.mfa_state)
    user.confirm_mfa(now=BEGIN.plus(2))
    user.renew_recovery_codes(10, now=BEGIN)
    user.use_recovery_code(left=9, now=BEGIN)
    states.append(user.mfa_state)
    assert user.disable_mfa(now=BEGIN.plus(3))
    states.append(user.mfa_state)
    assert states == ["off", "pending", "on", "off"]
    assert user.updated_at == BEGIN + 3
    assert user.take_events() == [
        events.MfaEnrolled(ID, algorithm="sha1", digits=6, period=30),
        events.MfaConfirmed(ID),
        events.RecoveryCodesRenewed(ID, count=10),
        events.RecoveryCodeUsed(ID, left=9),
        events.MfaDisabled(ID, was="on"),
    ]


def test_a_second_factor_that_waits_may_be_replaced_or_given_up() -> None:
    user = created()
    enroll(user)
    enroll(user)
    assert user.mfa_state == "pending"
    assert user.disable_mfa(now=BEGIN)
    assert not user.disable_mfa(now=BEGIN)
    assert user.take_events()[-1] == events.MfaDisabled(ID, was="pending")


def test_no_step_of_a_second_factor_is_taken_out_of_its_order() -> None:
    user = created()
    with pytest.raises(MfaNotPending):
        user.confirm_mfa(now=BEGIN)
    with pytest.raises(MfaNotOn):
        user.renew_recovery_codes(10, now=BEGIN)
    enroll(user)
    with pytest.raises(MfaNotOn):
        user.renew_recovery_codes(10, now=BEGIN)
    user.confirm_mfa(now=BEGIN)
    user.take_events()
    with pytest.raises(MfaAlreadyOn):
        enroll(user)
    with pytest.raises(MfaNotPending):
        user.confirm_mfa(now=BEGIN)
    assert (user.mfa_state, user.take_events()) == ("on", [])


def test_closed_and_expired_accounts_are_obstacles_to_a_login() -> None:
    user = created()
    assert user.login_obstacle(now=BEGIN) is None
    user.expires_at = BEGIN.plus(10)
    assert user.login_obstacle(now=BEGIN.plus(9)) is None
    assert user.login_obstacle(now=BEGIN.plus(10)) == "expired"
    user.deactivate(now=BEGIN)
    assert user.login_obstacle(now=BEGIN.plus(10)) == "inactive"


def test_an_account_does_not_show_its_hash_nor_its_events() -> None:
    shown = f"{created()!r} {created()} {[created()]}"
    assert "$2b$" not in shown
    assert "UserCreated" not in shown


def test_two_reads_of_one_account_are_two_objects() -> None:
    user = created()
    assert user == user
    assert user != created()


@pytest.mark.parametrize(
    ("event", "name", "data"),
    [
        (events.InstallationCreated("i", keys=("a", "b")), "InstallationCreated", {"keys": ["a", "b"]}),
        (
            events.UserCreated(ID, email="a@b.org", username="ada", role="user", can_log_in=True),
            "UserCreated",
            {
                "email": "a@b.org",
                "username": "ada",
                "role": "user",
                "can_log_in": True,
                "must_change": False,
                "imported": False,
            },
        ),
        (events.UserActivated(ID), "UserActivated", {}),
        (events.UserDeactivated(ID), "UserDeactivated", {}),
        (
            events.UserPasswordChanged(ID, must_change=True),
            "UserPasswordChanged",
            {"must_change": True, "imported": False},
        ),
        (events.UserPasswordRehashed(ID), "UserPasswordRehashed", {}),
        (events.UserPasswordChangeRequired(ID, must_change=True), "UserPasswordChangeRequired", {"must_change": True}),
        (
            events.LoginSucceeded(ID, must_change=False),
            "LoginSucceeded",
            {"must_change": False, "second_factor": None},
        ),
        (
            events.LoginSucceeded(ID, must_change=True, second_factor="totp"),
            "LoginSucceeded",
            {"must_change": True, "second_factor": "totp"},
        ),
        (events.LoginChallenged(ID), "LoginChallenged", {}),
        (
            events.MfaEnrolled(ID, algorithm="sha1", digits=6, period=30),
            "MfaEnrolled",
            {"algorithm": "sha1", "digits": 6, "period": 30},
        ),
        (events.MfaConfirmed(ID), "MfaConfirmed", {}),
        (events.MfaDisabled(ID, was="on"), "MfaDisabled", {"was": "on"}),
        (events.RecoveryCodesRenewed(ID, count=10), "RecoveryCodesRenewed", {"count": 10}),
        (events.RecoveryCodeUsed(ID, left=9), "RecoveryCodeUsed", {"left": 9}),
        (events.LoginFailed("unknown", cause="unknown"), "LoginFailed", {"cause": "unknown"}),
        (events.UserLocked(ID, until=BEGIN.isoformat()), "UserLocked", {"until": "2026-11-22T09:24:02.000000Z"}),
        (events.UserDeleted(ID, erased=True), "UserDeleted", {"erased": True}),
        (
            events.UserEmailChanged(ID, old="a@b.org", new="c@d.org"),
            "UserEmailChanged",
            {"old": "a@b.org", "new": "c@d.org"},
        ),
        (events.UserUsernameChanged(ID, old="ada", new="eve"), "UserUsernameChanged", {"old": "ada", "new": "eve"}),
        (events.UserRoleChanged(ID, old="user", new="admin"), "UserRoleChanged", {"old": "user", "new": "admin"}),
        (events.UserExpiryChanged(ID, old=None, new=str(BEGIN)), "UserExpiryChanged", {"old": None, "new": str(BEGIN)}),
    ],
)
def test_an_event_names_itself_and_its_data_have_a_canonical_form(
    event: events.DomainEvent, name: str, data: dict[str, object]
) -> None:
    assert event.type == name
    assert event.data() == data
    assert canonical(event.data())


def test_every_event_has_its_own_name_and_never_a_secret() -> None:
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.DomainEvent)]
    assert len({kind.__name__ for kind in kinds}) == len(kinds) >= 5
    for kind in kinds:
        about_secrets = [
            member.type
            for member in fields(kind)
            if any(word in member.name for word in ("hash", "secret", "password"))
        ]
        assert set(about_secrets) <= {"bool", bool}, kind
