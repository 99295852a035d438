"""Logging in with a second factor: each code counts once, nobody learns of it without the password, and keys turn."""

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.conftest import ACTOR, COST, GOOD, STEP, Factor, House, Work

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
def factor(house: House) -> Factor:
    return house.give_factor("ada")


def outcomes(house: House, *codes: str | None) -> list[str]:
    return [house.check("ada", code=code).outcome for code in codes]


def types(house: House, ident: str = "ada") -> list[str]:
    return [event.type for event in house.events(ident)]


# Enrolling.


def test_a_second_factor_is_asked_for_once_a_code_has_confirmed_it(house: House) -> None:
    secret = house.enroll("ada")
    assert house.mfa.status("ada").mfa == "pending"
    assert house.check("ada").outcome == "ok"
    codes = house.mfa.new_recovery_codes()
    change = house.mfa.confirm("ada", Secret(totp(secret, house.now)), codes, by=Attribution(ACTOR))
    assert change.changed
    assert change.value == house.mfa.status("ada")
    assert (change.value.mfa, change.value.confirmed_at, change.value.recovery_codes_left) == ("on", house.now, 10)
    assert house.check("ada").outcome == "mfa_required"
    assert types(house)[1:] == [
        "MfaEnrolled",
        "LoginSucceeded",
        "MfaConfirmed",
        "RecoveryCodesRenewed",
        "LoginChallenged",
    ]
    assert house.backend.accounts.show("ada").mfa == "on"


def test_the_code_that_confirmed_opens_nothing(house: House) -> None:
    secret = house.enroll("ada")
    code = totp(secret, house.now)
    house.mfa.confirm("ada", Secret(code), house.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    assert outcomes(house, code) == ["refused"]


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "000000 ", "7K3M-0QZX-ABCD-8J2W"])
def test_a_wrong_code_confirms_nothing(house: House, code: str) -> None:
    secret = house.enroll("ada")
    if code.strip() == totp(secret, house.now):  # one in a million
        house.now = house.now.plus(10 * STEP)
    with pytest.raises(MfaCodeWrong) as refusal:
        house.mfa.confirm("ada", Secret(code), house.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    assert code == "" or code not in str(refusal.value)
    assert house.mfa.status("ada").mfa == "pending"
    assert house.mfa.status("ada").recovery_codes_left == 0


def test_enrolling_again_before_it_is_confirmed_voids_the_secret_before(house: House) -> None:
    first, second = house.enroll("ada"), house.enroll("ada")
    with pytest.raises(MfaCodeWrong):
        house.mfa.confirm("ada", Secret(totp(first, house.now)), house.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    house.mfa.confirm("ada", Secret(totp(second, house.now)), house.mfa.new_recovery_codes(), by=Attribution(ACTOR))


def test_what_does_not_fit_the_state_is_refused_and_changes_nothing(house: House, factor: Factor) -> None:
    before = (house.mfa.status("ada"), house.last())
    with pytest.raises(MfaAlreadyOn):
        house.enroll("ada")
    with pytest.raises(MfaNotPending):
        house.mfa.confirm("ada", Secret(factor.code()), house.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    with pytest.raises(MfaNotPending):
        house.mfa.confirm("must", Secret(factor.code()), house.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    with pytest.raises(MfaNotOn):
        house.mfa.renew_recovery_codes("must", house.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    for attempt in (house.enroll, house.mfa.status, house.mfa.require_pending):
        with pytest.raises(UserNotFound):
            attempt("nobody")
    assert not house.mfa.disable("must", by=Attribution(ACTOR)).changed
    assert (house.mfa.status("ada"), house.last()) == before


def test_recovery_codes_that_were_not_made_for_it_are_no_recovery_codes(house: House, factor: Factor) -> None:
    codes = house.mfa.new_recovery_codes()
    for wrong in ((), codes[:9], (*codes[:9], codes[0]), (*codes[:9], Secret("my own code")), (*codes, codes[0])):
        with pytest.raises(ValueError, match="ten different recovery codes"):
            house.mfa.renew_recovery_codes("ada", wrong, by=Attribution(ACTOR))
    assert outcomes(house, factor.recovery_codes[0]) == ["ok"]


def test_a_dry_run_leaves_nothing(house: House, factor: Factor) -> None:
    assert house.mfa.enroll("must", by=Attribution(ACTOR), dry_run=True).value.status.mfa == "pending"
    secret = house.enroll("must")
    code = Secret(totp(secret, house.now))
    assert (
        house.mfa.confirm("must", code, house.mfa.new_recovery_codes(), by=Attribution(ACTOR), dry_run=True).value.mfa
        == "on"
    )
    assert house.mfa.status("must").mfa == "pending"
    house.mfa.confirm("must", code, house.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    assert house.mfa.disable("ada", by=Attribution(ACTOR), dry_run=True).value.mfa == "off"
    house.mfa.renew_recovery_codes("ada", house.mfa.new_recovery_codes(), by=Attribution(ACTOR), dry_run=True)
    assert outcomes(house, factor.recovery_codes[0]) == ["ok"]


def test_the_uri_says_what_the_secret_is_for(house: House) -> None:
    for issuer, shown in (
        ("backend", "backend"),
        ("https://auth.example.org:8443/realm", "auth.example.org%208443"),
        ("urn:a:b", "urn%20a%20b"),
    ):
        uri = replace(house.mfa, issuer=issuer).enroll("ada", by=Attribution(ACTOR)).value.uri.reveal()
        assert uri.startswith(f"otpauth://totp/{shown}:ada@example.org?secret=")
        assert uri.endswith(f"&issuer={shown}&algorithm=SHA1&digits=6&period=30")


# Logging in.


def test_a_code_opens_once_and_says_what_it_was(house: House, factor: Factor) -> None:
    ada = house.id_of("ada")
    assert house.check("ada", code=factor.code()) == PasswordCheck("ada", True, "ok", None, ada, "totp")
    assert house.last().data == {"must_change": False, "second_factor": "totp"}
    assert house.check("ada", code=factor.code()) == PasswordCheck("ada", False, "refused", None)
    assert house.last().data == {"cause": "code"}


@pytest.mark.parametrize(("ahead", "outcome"), [(-2, "refused"), (-1, "ok"), (0, "ok"), (1, "ok"), (2, "refused")])
def test_a_code_counts_one_step_either_side(house: House, factor: Factor, ahead: int, outcome: str) -> None:
    house.now = house.now.plus(10 * STEP)
    assert outcomes(house, factor.code(ahead)) == [outcome]


def test_a_code_of_a_step_before_the_last_one_used_opens_nothing(house: House, factor: Factor) -> None:
    assert outcomes(house, factor.code(1), factor.code(0), factor.code(1)) == ["ok", "refused", "refused"]


def test_a_recovery_code_opens_once_however_it_is_typed(house: House, factor: Factor) -> None:
    first, second, *_ = factor.recovery_codes
    typed = first.lower().replace("-", " ")
    assert house.check("ada", code=typed) == PasswordCheck(
        "ada", True, "ok", None, house.id_of("ada"), "recovery_code", 9
    )
    assert outcomes(house, first, typed, second) == ["refused", "refused", "ok"]
    assert house.mfa.status("ada").recovery_codes_left == 8
    used = [event.data for event in house.events() if event.type == "RecoveryCodeUsed"]
    assert used == [{"left": 9}, {"left": 8}]


def test_new_recovery_codes_void_the_old_and_end_no_session(house: House, factor: Factor) -> None:
    codes = house.mfa.new_recovery_codes()
    house.mfa.renew_recovery_codes("ada", codes, by=Attribution(ACTOR))
    assert outcomes(house, factor.recovery_codes[0], codes[0].reveal()) == ["refused", "ok"]
    assert "SessionsRevoked" not in types(house)


def test_a_recovery_code_of_somebody_else_opens_nothing(house: House, factor: Factor) -> None:
    other = house.give_factor("must")
    assert outcomes(house, other.recovery_codes[0], other.code()) == ["refused", "refused"]
    assert house.check("must", code=other.recovery_codes[0]).outcome == "must_change"


def test_without_a_second_factor_a_code_is_ignored(house: House) -> None:
    assert outcomes(house, "123456") == ["ok"]
    house.enroll("ada")
    assert outcomes(house, "123456") == ["ok"]


def test_a_password_that_must_be_changed_takes_a_code_first(house: House) -> None:
    factor = house.give_factor("must")
    assert house.check("must").outcome == "mfa_required"
    check = house.check("must", code=factor.code())
    assert (check.ok, check.outcome, check.second_factor) == (True, "must_change", "totp")


def test_disabling_lets_the_password_alone_open_again_and_forgets_everything(house: House, factor: Factor) -> None:
    assert house.mfa.disable("ada", by=Attribution(ACTOR)).changed
    assert outcomes(house, None) == ["ok"]
    assert house.database("SELECT count(*) FROM mfa_secrets") == [(0,)]
    assert house.database("SELECT count(*) FROM recovery_codes") == [(0,)]
    assert not house.mfa.disable("ada", by=Attribution(ACTOR)).changed
    house.give_factor("ada")
    assert outcomes(house, factor.recovery_codes[0]) == ["refused"]


@pytest.mark.parametrize("erase", [False, True])
def test_a_deleted_account_leaves_no_secret_and_no_code(house: House, factor: Factor, erase: bool) -> None:
    house.backend.accounts.delete("ada", erase=erase, by=Attribution(ACTOR))
    for table in ("mfa_secrets", "recovery_codes"):
        assert house.database(f"SELECT count(*) FROM {table}") == [(0,)]


def test_confirming_and_disabling_end_the_sessions(house: House) -> None:
    def session() -> None:
        house.backend.tokens.issue("ada", pair=True, by=Attribution(ACTOR))

    session()
    secret = house.enroll("ada")
    assert "SessionsRevoked" not in types(house)
    house.mfa.confirm("ada", Secret(totp(secret, house.now)), house.mfa.new_recovery_codes(), by=Attribution(ACTOR))
    session()
    house.mfa.disable("ada", by=Attribution(ACTOR))
    session()
    house.enroll("ada")
    house.mfa.disable("ada", by=Attribution(ACTOR))
    revoked = [event.data for event in house.events() if event.type == "SessionsRevoked"]
    assert revoked == [{"count": 1, "cause": "mfa_reset"}] * 2


# Guessing.


def test_wrong_codes_count_as_failed_logins(house: House, factor: Factor) -> None:
    wrong = [f"{number:06}" for number in range(20) if f"{number:06}" not in (factor.code(n) for n in (-1, 0, 1))]
    assert outcomes(house, *wrong[:FAILURES_MAX]) == ["refused"] * FAILURES_MAX
    assert outcomes(house, factor.code(), factor.recovery_codes[0], None) == ["locked"] * 3
    assert types(house)[-4] == "UserLocked"
    house.now = house.now.plus(DAY)
    assert outcomes(house, factor.code()) == ["ok"]


def test_asking_without_a_code_neither_counts_nor_forgets(house: House, factor: Factor) -> None:
    assert house.fail("ada", FAILURES_MAX - 1) == ["refused"] * (FAILURES_MAX - 1)
    assert outcomes(house, *[None] * 20) == ["mfa_required"] * 20
    assert outcomes(house, "000000" if factor.code() != "000000" else "111111") == ["refused"]
    assert outcomes(house, factor.code()) == ["locked"]


def test_a_code_that_was_refused_for_the_password_is_not_used_up(house: House, factor: Factor) -> None:
    code = factor.code()
    assert house.check("ada", "wrong horse battery", code=code).outcome == "refused"
    assert house.check("ada", "wrong horse battery", code=factor.recovery_codes[0]).outcome == "refused"
    assert outcomes(house, code, factor.recovery_codes[0]) == ["ok", "ok"]


@pytest.mark.parametrize("with_code", [False, True])
def test_nobody_learns_of_a_second_factor_without_the_password(house: House, work_of: Work, with_code: bool) -> None:
    factor = house.give_factor("ada")
    closed = house.give_factor("closed")
    code = closed.code() if with_code else None
    expected = work_of("must", "wrong horse battery", code)
    for ident, password in (
        ("nobody", "wrong horse battery"),
        ("ada", "wrong horse battery"),
        ("closed", GOOD),
        ("closed", "wrong horse battery"),
    ):
        assert house.check(ident, password, code=code).outcome == "refused"
        assert work_of(ident, password, factor.code() if code and ident == "ada" else code) == expected
    assert expected[0] == [COST]


def test_neither_secret_nor_code_is_told_by_anything_but_the_answer(house: House, factor: Factor) -> None:
    enrolment = house.mfa.enroll("must", by=Attribution(ACTOR)).value
    shown = f"{enrolment!r} {enrolment} {house.mfa!r} {house.authentication()!r}"
    for secret in (enrolment.secret.reveal(), enrolment.uri.reveal(), factor.recovery_codes[0]):
        assert secret not in shown
    house.check("ada", code=factor.recovery_codes[0])
    house.backend.close()
    stored = house.place.contents()
    for secret in (enrolment.secret.reveal(), *factor.recovery_codes):
        assert secret.encode() not in stored
        assert secret.replace("-", "").encode() not in stored
    assert factor.secret not in stored


# Keys.


def kid(house: House, purpose: Any) -> str:
    return next(key.kid for key in house.backend.keys.all(purpose) if key.state == "primary")


def turn(house: House, purpose: Any) -> str:
    """Put another key in the place of the primary one; answers the kid of the one before."""
    before = kid(house, purpose)
    new = house.backend.keys.add(purpose, by=Attribution(ACTOR)).value
    house.backend.keys.promote(new.kid, overlap=0, by=Attribution(ACTOR))
    return before


def test_a_secret_moves_to_the_primary_key_at_the_next_login(house: House, factor: Factor) -> None:
    before = turn(house, "encrypt")
    with pytest.raises(KeyInUse):
        house.backend.keys.destroy(before, by=Attribution(ACTOR))
    assert outcomes(house, factor.code()) == ["ok"]
    assert house.database("SELECT kid FROM mfa_secrets") == [(kid(house, "encrypt"),)]
    house.backend.keys.destroy(before, by=Attribution(ACTOR))
    house.now = house.now.plus(STEP)
    assert outcomes(house, factor.code()) == ["ok"]


def test_recovery_codes_keep_their_key_until_there_are_others(house: House, factor: Factor) -> None:
    before = turn(house, "index")
    assert outcomes(house, factor.recovery_codes[0]) == ["ok"]
    with pytest.raises(KeyInUse):
        house.backend.keys.destroy(before, by=Attribution(ACTOR))
    codes = house.mfa.new_recovery_codes()
    house.mfa.renew_recovery_codes("ada", codes, by=Attribution(ACTOR))
    house.backend.keys.destroy(before, by=Attribution(ACTOR))
    assert outcomes(house, codes[0].reveal()) == ["ok"]


def test_all_secrets_move_to_the_primary_key_at_once_in_batches(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backctl.application.mfa._BATCH", 2)
    factors = {ident: house.give_factor(ident) for ident in ("ada", "closed", "expired", "must", "none")}
    house.mfa.disable("none", by=Attribution(ACTOR))
    house.enroll("none")  # one that waits to be confirmed moves, too
    assert house.mfa.reencrypt(by=Attribution(ACTOR)) == Change(MfaReencryption(0, ()), changed=False)
    before, last = turn(house, "encrypt"), house.last()
    told: list[int] = []
    dry = house.mfa.reencrypt(by=Attribution(ACTOR), dry_run=True)
    assert house.database("SELECT DISTINCT kid FROM mfa_secrets") == [(before,)]
    change = house.mfa.reencrypt(by=Attribution(ACTOR), progress=told.append)
    assert dry == change == Change(MfaReencryption(5, ()), changed=True)
    assert told == [2, 2, 1]
    assert house.database("SELECT DISTINCT kid FROM mfa_secrets") == [(kid(house, "encrypt"),)]
    house.backend.keys.destroy(before, by=Attribution(ACTOR))
    assert outcomes(house, factors["ada"].code(), factors["ada"].code()) == ["ok", "refused"]
    assert [event.type for event in house.backend.audit.stream() if event.seq > last.seq][:1] == ["KeyDestroyed"]


def test_a_secret_that_does_not_decrypt_is_named_and_holds_up_no_other(house: House, factor: Factor) -> None:
    house.give_factor("must")
    turn(house, "encrypt")
    house.database("UPDATE mfa_secrets SET secret = 'bk1.x.y' WHERE user_id = ?", house.id_of("must"))
    assert house.mfa.reencrypt(by=Attribution(ACTOR)) == Change(MfaReencryption(1, ("must",)), changed=True)
    assert house.mfa.reencrypt(by=Attribution(ACTOR)) == Change(MfaReencryption(0, ("must",)), changed=False)
    assert outcomes(house, factor.code()) == ["ok"]


def test_a_key_that_is_needed_says_what_frees_it(house: House, factor: Factor) -> None:
    for purpose, verb in (("encrypt", "reencrypt"), ("index", "recovery-codes")):
        before = turn(house, purpose)
        with pytest.raises(KeyInUse) as refusal:
            house.backend.keys.destroy(before, by=Attribution(ACTOR))
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
def test_a_secret_that_cannot_be_read_is_told_and_changes_nothing(house: House, factor: Factor, harm: str) -> None:
    house.database(harm)
    before = house.last()
    with pytest.raises(MfaSecretUnusable):
        house.check("ada", code=factor.code())
    assert house.last() == before
    assert outcomes(house, None, factor.recovery_codes[0]) == ["mfa_required", "ok"]
    assert house.mfa.disable("ada", by=Attribution(ACTOR)).changed


def test_a_secret_of_another_row_does_not_decrypt(house: House, factor: Factor) -> None:
    other = house.give_factor("must")
    other_row = "(SELECT secret FROM mfa_secrets WHERE user_id = ?)"
    statement = f"UPDATE mfa_secrets SET secret = {other_row} WHERE user_id = ?"
    house.database(statement, house.id_of("must"), house.id_of("ada"))
    with pytest.raises(MfaSecretUnusable):
        house.check("ada", code=other.code())


@pytest.mark.parametrize("kid", ["'gone'", "(SELECT kid FROM audit_keys)"])
def test_a_recovery_code_whose_key_is_not_here_is_no_wrong_code(house: House, factor: Factor, kid: str) -> None:
    house.database(f"UPDATE recovery_codes SET kid = {kid}")
    before = house.last()
    with pytest.raises(MfaSecretUnusable, match="which is not in the keyring"):
        house.check("ada", code=factor.recovery_codes[0])
    assert house.last() == before
    assert outcomes(house, "12345", factor.code()) == ["refused", "ok"]


def test_codes_whose_key_is_here_open_beside_others_whose_is_not(house: House, factor: Factor) -> None:
    harm = "kid = 'a-gone', digest = ? WHERE digest = (SELECT min(digest) FROM recovery_codes)"
    house.database(f"UPDATE recovery_codes SET {harm}", "f" * 64)
    answers: list[str] = []
    for code in factor.recovery_codes:
        try:
            answers.append(house.check("ada", code=code).outcome)
        except MfaSecretUnusable:
            answers.append("unusable")
    assert sorted(answers) == ["ok"] * 9 + ["unusable"]
