"""Second factors: codes work once, nobody learns of one without the password, and secrets survive a key rotation."""

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.conftest import ACTOR, COST, GOOD, STEP, Factor, Services, Work

from backctl.application.attribution import Attribution
from backctl.application.login_views import PasswordCheck
from backctl.application.mfa import MfaReencryption
from backctl.application.views import Change
from backctl.domain.errors import (
    KeyInUse,
    MfaAlreadyOn,
    MfaCodeWrong,
    MfaNotOn,
    MfaNotPending,
    MfaSecretUnusable,
    UserNotFound,
)
from backctl.domain.lockout import FAILURES_MAX
from backctl.domain.one_time_codes import totp
from backctl.domain.values import Secret

DAY = 86_400_000_000


@pytest.fixture
def factor(services: Services) -> Factor:
    return services.give_factor("ada")


def outcomes(services: Services, *codes: str | None) -> list[str]:
    return [services.check("ada", code=code).outcome for code in codes]


def types(services: Services, ident: str = "ada") -> list[str]:
    return [event.type for event in services.events(ident)]


# Enrolling.


def test_a_second_factor_is_asked_for_once_a_code_has_confirmed_it(services: Services) -> None:
    secret = services.enroll("ada")
    assert services.mfa.status("ada").mfa == "pending"
    assert services.check("ada").outcome == "ok"
    codes = services.mfa.new_recovery_codes()
    change = services.mfa.confirm("ada", Secret(totp(secret, services.now)), codes, by=Attribution(ACTOR))
    assert change.changed
    assert change.value == services.mfa.status("ada")
    assert (change.value.mfa, change.value.confirmed_at, change.value.recovery_codes_left) == ("on", services.now, 10)
    assert services.check("ada").outcome == "mfa_required"
    assert types(services)[1:] == [
        "MfaEnrolled",
        "LoginSucceeded",
        "MfaConfirmed",
        "RecoveryCodesRenewed",
        "LoginChallenged",
    ]
    assert services.backend.accounts.show("ada").mfa == "on"


def test_the_code_that_confirmed_opens_nothing(services: Services) -> None:
    secret = services.enroll("ada")
    code = totp(secret, services.now)
    services.mfa.confirm("ada", Secret(code), services.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    assert outcomes(services, code) == ["refused"]


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "000000 ", "7K3M-0QZX-ABCD-8J2W"])
def test_a_wrong_code_confirms_nothing(services: Services, code: str) -> None:
    secret = services.enroll("ada")
    if code.strip() == totp(secret, services.now):  # happens once in a million runs
        services.now = services.now.plus(10 * STEP)
    with pytest.raises(MfaCodeWrong) as refusal:
        services.mfa.confirm("ada", Secret(code), services.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    assert code == "" or code not in str(refusal.value)
    assert services.mfa.status("ada").mfa == "pending"
    assert services.mfa.status("ada").recovery_codes_left == 0


def test_enrolling_again_before_it_is_confirmed_voids_the_secret_before(services: Services) -> None:
    first, second = services.enroll("ada"), services.enroll("ada")
    with pytest.raises(MfaCodeWrong):
        services.mfa.confirm(
            "ada", Secret(totp(first, services.now)), services.mfa.new_recovery_codes(), by=Attribution(ACTOR)
        )
    services.mfa.confirm(
        "ada", Secret(totp(second, services.now)), services.mfa.new_recovery_codes(), by=Attribution(ACTOR)
    )


def test_what_does_not_fit_the_state_is_refused_and_changes_nothing(services: Services, factor: Factor) -> None:
    before = (services.mfa.status("ada"), services.last())
    with pytest.raises(MfaAlreadyOn):
        services.enroll("ada")
    with pytest.raises(MfaNotPending):
        services.mfa.confirm("ada", Secret(factor.code()), services.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    with pytest.raises(MfaNotPending):
        services.mfa.confirm("must", Secret(factor.code()), services.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    with pytest.raises(MfaNotOn):
        services.mfa.renew_recovery_codes("must", services.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    for attempt in (services.enroll, services.mfa.status, services.mfa.require_pending):
        with pytest.raises(UserNotFound):
            attempt("nobody")
    assert not services.mfa.disable("must", by=Attribution(ACTOR)).changed
    assert (services.mfa.status("ada"), services.last()) == before


def test_recovery_codes_that_were_not_made_for_it_are_no_recovery_codes(services: Services, factor: Factor) -> None:
    codes = services.mfa.new_recovery_codes()
    for wrong in ((), codes[:9], (*codes[:9], codes[0]), (*codes[:9], Secret("my own code")), (*codes, codes[0])):
        with pytest.raises(ValueError, match="ten different recovery codes"):
            services.mfa.renew_recovery_codes("ada", wrong, by=Attribution(ACTOR))
    assert outcomes(services, factor.recovery_codes[0]) == ["ok"]


def test_a_dry_run_leaves_nothing(services: Services, factor: Factor) -> None:
    assert services.mfa.enroll("must", by=Attribution(ACTOR), dry_run=True).value.status.mfa == "pending"
    secret = services.enroll("must")
    code = Secret(totp(secret, services.now))
    assert (
        services.mfa.confirm(
            "must", code, services.mfa.new_recovery_codes(), by=Attribution(ACTOR), dry_run=True
        ).value.mfa
        == "on"
    )
    assert services.mfa.status("must").mfa == "pending"
    services.mfa.confirm("must", code, services.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    assert services.mfa.disable("ada", by=Attribution(ACTOR), dry_run=True).value.mfa == "off"
    services.mfa.renew_recovery_codes("ada", services.mfa.new_recovery_codes(), by=Attribution(ACTOR), dry_run=True)
    assert outcomes(services, factor.recovery_codes[0]) == ["ok"]


def test_the_uri_says_what_the_secret_is_for(services: Services) -> None:
    for issuer, shown in (
        ("backend", "backend"),
        ("https://auth.example.org:8443/realm", "auth.example.org%208443"),
        ("urn:a:b", "urn%20a%20b"),
    ):
        uri = replace(services.mfa, issuer=issuer).enroll("ada", by=Attribution(ACTOR)).value.uri.reveal()
        assert uri.startswith(f"otpauth://totp/{shown}:ada@example.org?secret=")
        assert uri.endswith(f"&issuer={shown}")


# Logging in.


def test_a_code_opens_once_and_says_what_it_was(services: Services, factor: Factor) -> None:
    ada = services.id_of("ada")
    assert services.check("ada", code=factor.code()) == PasswordCheck(True, "ada", "ok", None, ada, "totp")
    assert services.last().data == {"must_change": False, "second_factor": "totp"}
    assert services.check("ada", code=factor.code()) == PasswordCheck(False, "ada", "refused", None)
    assert services.last().data == {"cause": "code"}


@pytest.mark.parametrize(("ahead", "outcome"), [(-2, "refused"), (-1, "ok"), (0, "ok"), (1, "ok"), (2, "refused")])
def test_a_code_counts_one_step_either_side(services: Services, factor: Factor, ahead: int, outcome: str) -> None:
    services.now = services.now.plus(10 * STEP)
    assert outcomes(services, factor.code(ahead)) == [outcome]


def test_a_code_of_a_step_before_the_last_one_used_opens_nothing(services: Services, factor: Factor) -> None:
    assert outcomes(services, factor.code(1), factor.code(0), factor.code(1)) == ["ok", "refused", "refused"]


def test_a_recovery_code_opens_once_however_it_is_typed(services: Services, factor: Factor) -> None:
    first, second, *_ = factor.recovery_codes
    typed = first.lower().replace("-", " ")
    assert services.check("ada", code=typed) == PasswordCheck(
        True, "ada", "ok", None, services.id_of("ada"), "recovery_code", 9
    )
    assert outcomes(services, first, typed, second) == ["refused", "refused", "ok"]
    assert services.mfa.status("ada").recovery_codes_left == 8
    used = [event.data for event in services.events() if event.type == "RecoveryCodeUsed"]
    assert used == [{"left": 9}, {"left": 8}]


def test_new_recovery_codes_void_the_old_and_end_no_session(services: Services, factor: Factor) -> None:
    codes = services.mfa.new_recovery_codes()
    services.mfa.renew_recovery_codes("ada", codes, by=Attribution(ACTOR))
    assert outcomes(services, factor.recovery_codes[0], codes[0].reveal()) == ["refused", "ok"]
    assert "SessionsRevoked" not in types(services)


def test_a_recovery_code_of_somebody_else_opens_nothing(services: Services, factor: Factor) -> None:
    other = services.give_factor("must")
    assert outcomes(services, other.recovery_codes[0], other.code()) == ["refused", "refused"]
    assert services.check("must", code=other.recovery_codes[0]).outcome == "must_change"


def test_without_a_second_factor_a_code_is_ignored(services: Services) -> None:
    assert outcomes(services, "123456") == ["ok"]
    services.enroll("ada")
    assert outcomes(services, "123456") == ["ok"]


def test_a_password_that_must_be_changed_takes_a_code_first(services: Services) -> None:
    factor = services.give_factor("must")
    assert services.check("must").outcome == "mfa_required"
    check = services.check("must", code=factor.code())
    assert (check.ok, check.outcome, check.second_factor) == (True, "must_change", "totp")


def test_disabling_lets_the_password_alone_open_again_and_forgets_everything(
    services: Services, factor: Factor
) -> None:
    assert services.mfa.disable("ada", by=Attribution(ACTOR)).changed
    assert outcomes(services, None) == ["ok"]
    assert services.database("SELECT count(*) FROM mfa_secrets") == [(0,)]
    assert services.database("SELECT count(*) FROM recovery_codes") == [(0,)]
    assert not services.mfa.disable("ada", by=Attribution(ACTOR)).changed
    services.give_factor("ada")
    assert outcomes(services, factor.recovery_codes[0]) == ["refused"]


@pytest.mark.parametrize("erase", [False, True])
def test_a_deleted_account_leaves_no_secret_and_no_code(services: Services, factor: Factor, erase: bool) -> None:
    services.backend.accounts.delete("ada", erase=erase, by=Attribution(ACTOR))
    for table in ("mfa_secrets", "recovery_codes"):
        assert services.database(f"SELECT count(*) FROM {table}") == [(0,)]


def test_confirming_and_disabling_end_the_sessions(services: Services) -> None:
    def session() -> None:
        services.backend.tokens.issue("ada", pair=True, by=Attribution(ACTOR))

    session()
    secret = services.enroll("ada")
    assert "SessionsRevoked" not in types(services)
    services.mfa.confirm(
        "ada", Secret(totp(secret, services.now)), services.mfa.new_recovery_codes(), by=Attribution(ACTOR)
    )
    session()
    services.mfa.disable("ada", by=Attribution(ACTOR))
    session()
    services.enroll("ada")
    services.mfa.disable("ada", by=Attribution(ACTOR))
    revoked = [event.data for event in services.events() if event.type == "SessionsRevoked"]
    assert revoked == [{"count": 1, "cause": "mfa_reset"}] * 2


# Guessing.


def test_wrong_codes_count_as_failed_logins(services: Services, factor: Factor) -> None:
    wrong = [f"{number:06}" for number in range(20) if f"{number:06}" not in (factor.code(n) for n in (-1, 0, 1))]
    assert outcomes(services, *wrong[:FAILURES_MAX]) == ["refused"] * FAILURES_MAX
    assert outcomes(services, factor.code(), factor.recovery_codes[0], None) == ["locked"] * 3
    assert types(services)[-1] == "UserLocked"
    services.now = services.now.plus(DAY)
    assert outcomes(services, factor.code()) == ["ok"]


def test_asking_without_a_code_neither_counts_nor_forgets(services: Services, factor: Factor) -> None:
    assert services.fail("ada", FAILURES_MAX - 1) == ["refused"] * (FAILURES_MAX - 1)
    assert outcomes(services, *[None] * 20) == ["mfa_required"] * 20
    assert outcomes(services, "000000" if factor.code() != "000000" else "111111") == ["refused"]
    assert outcomes(services, factor.code()) == ["locked"]


def test_a_code_that_was_refused_for_the_password_is_not_used_up(services: Services, factor: Factor) -> None:
    code = factor.code()
    assert services.check("ada", "wrong horse battery", code=code).outcome == "refused"
    assert services.check("ada", "wrong horse battery", code=factor.recovery_codes[0]).outcome == "refused"
    assert outcomes(services, code, factor.recovery_codes[0]) == ["ok", "ok"]


@pytest.mark.parametrize("with_code", [False, True])
def test_nobody_learns_of_a_second_factor_without_the_password(
    services: Services, work_of: Work, with_code: bool
) -> None:
    factor = services.give_factor("ada")
    closed = services.give_factor("closed")
    code = closed.code() if with_code else None
    expected = work_of("must", "wrong horse battery", code)
    for ident, password in (
        ("nobody", "wrong horse battery"),
        ("ada", "wrong horse battery"),
        ("closed", GOOD),
        ("closed", "wrong horse battery"),
    ):
        assert services.check(ident, password, code=code).outcome == "refused"
        assert work_of(ident, password, factor.code() if code and ident == "ada" else code) == expected
    assert expected[0] == [COST]


def test_neither_secret_nor_code_is_told_by_anything_but_the_answer(services: Services, factor: Factor) -> None:
    enrolment = services.mfa.enroll("must", by=Attribution(ACTOR)).value
    shown = f"{enrolment!r} {enrolment} {services.mfa!r} {services.authentication()!r}"
    for secret in (enrolment.secret.reveal(), enrolment.uri.reveal(), factor.recovery_codes[0]):
        assert secret not in shown
    services.check("ada", code=factor.recovery_codes[0])
    services.backend.close()
    stored = services.place.contents()
    for secret in (enrolment.secret.reveal(), *factor.recovery_codes):
        assert secret.encode() not in stored
        assert secret.replace("-", "").encode() not in stored
    assert factor.secret not in stored


# Key rotation.


def kid(services: Services, purpose: Any) -> str:
    return next(key.id for key in services.backend.keys.all(purpose) if key.state == "primary")


def turn(services: Services, purpose: Any) -> str:
    """Replace the primary key. Return the kid of the old one."""
    before = kid(services, purpose)
    new = services.backend.keys.add(purpose, by=Attribution(ACTOR)).value
    services.backend.keys.promote(new.id, overlap=0, by=Attribution(ACTOR))
    return before


def test_a_secret_moves_to_the_primary_key_at_the_next_login(services: Services, factor: Factor) -> None:
    before = turn(services, "encrypt")
    with pytest.raises(KeyInUse):
        services.backend.keys.destroy(before, by=Attribution(ACTOR))
    assert outcomes(services, factor.code()) == ["ok"]
    assert services.database("SELECT kid FROM mfa_secrets") == [(kid(services, "encrypt"),)]
    services.backend.keys.destroy(before, by=Attribution(ACTOR))
    services.now = services.now.plus(STEP)
    assert outcomes(services, factor.code()) == ["ok"]


def test_recovery_codes_keep_their_key_until_there_are_others(services: Services, factor: Factor) -> None:
    before = turn(services, "index")
    assert outcomes(services, factor.recovery_codes[0]) == ["ok"]
    with pytest.raises(KeyInUse):
        services.backend.keys.destroy(before, by=Attribution(ACTOR))
    codes = services.mfa.new_recovery_codes()
    services.mfa.renew_recovery_codes("ada", codes, by=Attribution(ACTOR))
    services.backend.keys.destroy(before, by=Attribution(ACTOR))
    assert outcomes(services, codes[0].reveal()) == ["ok"]


def test_all_secrets_move_to_the_primary_key_at_once_in_batches(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backctl.application.mfa._BATCH", 2)
    factors = {ident: services.give_factor(ident) for ident in ("ada", "closed", "expired", "must", "none")}
    services.mfa.disable("none", by=Attribution(ACTOR))
    services.enroll("none")  # an unconfirmed second factor moves, too
    assert services.mfa.reencrypt(by=Attribution(ACTOR)) == Change(MfaReencryption(0, ()), changed=False)
    before, last = turn(services, "encrypt"), services.last()
    told: list[int] = []
    dry = services.mfa.reencrypt(by=Attribution(ACTOR), dry_run=True)
    assert services.database("SELECT DISTINCT kid FROM mfa_secrets") == [(before,)]
    change = services.mfa.reencrypt(by=Attribution(ACTOR), progress=told.append)
    assert dry == change == Change(MfaReencryption(5, ()), changed=True)
    assert told == [2, 2, 1]
    assert services.database("SELECT DISTINCT kid FROM mfa_secrets") == [(kid(services, "encrypt"),)]
    services.backend.keys.destroy(before, by=Attribution(ACTOR))
    assert outcomes(services, factors["ada"].code(), factors["ada"].code()) == ["ok", "refused"]
    assert [event.type for event in services.backend.audit.stream() if event.seq > last.seq][:1] == ["KeyDestroyed"]


def test_a_secret_that_does_not_decrypt_is_named_and_holds_up_no_other(services: Services, factor: Factor) -> None:
    services.give_factor("must")
    turn(services, "encrypt")
    services.database("UPDATE mfa_secrets SET secret = 'bk1.x.y' WHERE user_id = ?", services.id_of("must"))
    assert services.mfa.reencrypt(by=Attribution(ACTOR)) == Change(MfaReencryption(1, ("must",)), changed=True)
    assert services.mfa.reencrypt(by=Attribution(ACTOR)) == Change(MfaReencryption(0, ("must",)), changed=False)
    assert outcomes(services, factor.code()) == ["ok"]


def test_a_key_that_is_needed_says_what_frees_it(services: Services, factor: Factor) -> None:
    for purpose, verb in (("encrypt", "reencrypt"), ("index", "recovery-codes")):
        before = turn(services, purpose)
        with pytest.raises(KeyInUse) as refusal:
            services.backend.keys.destroy(before, by=Attribution(ACTOR))
        assert f"'backctl user mfa {verb}'" in str(refusal.value.hint)


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE mfa_secrets SET kid = 'gone'",
        "UPDATE mfa_secrets SET kid = (SELECT kid FROM audit_keys)",
        "UPDATE mfa_secrets SET secret = 'bk1.x.y'",
        "UPDATE mfa_secrets SET secret = ''",
        "DELETE FROM mfa_secrets",
    ],
)
def test_a_secret_that_cannot_be_read_is_told_and_changes_nothing(
    services: Services, factor: Factor, harm: str
) -> None:
    services.database(harm)
    before = services.last()
    with pytest.raises(MfaSecretUnusable):
        services.check("ada", code=factor.code())
    assert services.last() == before
    assert outcomes(services, None, factor.recovery_codes[0]) == ["mfa_required", "ok"]
    assert services.mfa.disable("ada", by=Attribution(ACTOR)).changed


def test_a_secret_of_another_row_does_not_decrypt(services: Services, factor: Factor) -> None:
    other = services.give_factor("must")
    other_row = "(SELECT secret FROM mfa_secrets WHERE user_id = ?)"
    statement = f"UPDATE mfa_secrets SET secret = {other_row} WHERE user_id = ?"
    services.database(statement, services.id_of("must"), services.id_of("ada"))
    with pytest.raises(MfaSecretUnusable):
        services.check("ada", code=other.code())


@pytest.mark.parametrize("kid", ["'gone'", "(SELECT kid FROM audit_keys)"])
def test_a_recovery_code_whose_key_is_not_here_is_no_wrong_code(services: Services, factor: Factor, kid: str) -> None:
    services.database(f"UPDATE recovery_codes SET kid = {kid}")
    before = services.last()
    with pytest.raises(MfaSecretUnusable, match="which is not in the keyring"):
        services.check("ada", code=factor.recovery_codes[0])
    assert services.last() == before
    assert outcomes(services, "12345", factor.code()) == ["refused", "ok"]


def test_codes_whose_key_is_here_open_beside_others_whose_is_not(services: Services, factor: Factor) -> None:
    harm = "kid = 'a-gone', digest = ? WHERE digest = (SELECT min(digest) FROM recovery_codes)"
    services.database(f"UPDATE recovery_codes SET {harm}", "f" * 64)
    answers: list[str] = []
    for code in factor.recovery_codes:
        try:
            answers.append(services.check("ada", code=code).outcome)
        except MfaSecretUnusable:
            answers.append("unusable")
    assert sorted(answers) == ["ok"] * 9 + ["unusable"]
