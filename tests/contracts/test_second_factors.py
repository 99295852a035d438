"""Rules for the second factors of every database: steps and codes work once, and are deleted with their account."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text
from tests.contracts.conftest import START, Store, a_user

from backctl.application.login_views import MfaStatus
from backctl.domain.errors import DatabaseUnusable
from backctl.domain.mfa import Enrolment, StoredCode
from backctl.domain.one_time_codes import TotpSettings, latest_step
from backctl.domain.user import User
from backctl.domain.values import Identity
from backctl.infrastructure.sql.second_factors import needs_key

ENROLMENT = Enrolment("bk1.encrypt-1.c2VhbGVk", "encrypt-1", TotpSettings("sha256", 8, 60), enrolled_at=START)
CODES = tuple(StoredCode(f"{number:064x}", "index-1") for number in range(10))


@pytest.fixture
def ada(store: Store) -> User:
    """Return an account with a confirmed second factor."""
    user = a_user()
    store.add(user)
    give(store, user)
    return user


def give(store: Store, user: User, enrolment: Enrolment = ENROLMENT) -> None:
    with store.work() as work:
        ada = work.users.get(Identity("id", user.id))
        if ada.mfa_state == "off":
            ada.enroll_mfa(algorithm="sha256", digits=8, period=60, now=START)
            ada.confirm_mfa(now=START)
        work.second_factors.enroll(user.id, enrolment)
        work.second_factors.give_codes(user.id, CODES, now=START)
        work.commit()


def use_step(store: Store, user: User, step: int) -> bool:
    with store.work() as work:
        used = work.second_factors.use_step(user.id, step, latest=1_000)
        work.commit()
    return used


def use_code(store: Store, user: User, code: StoredCode) -> bool:
    with store.work() as work:
        used = work.second_factors.use_code(user.id, code.digest, now=START)
        work.commit()
    return used


def enrolment(store: Store, user: User) -> Enrolment | None:
    with store.work() as work:
        return work.second_factors.of(user.id)


def counts(store: Store) -> tuple[int, int]:
    with store.work() as work:
        secrets, codes = (
            work.session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("mfa_secrets", "recovery_codes")
        )
    return secrets, codes


def test_an_enrolment_is_found_as_it_was_kept(store: Store, ada: User) -> None:
    assert enrolment(store, ada) == ENROLMENT
    with store.work() as work:
        work.second_factors.confirm(ada.id, now=START.plus(5))
        work.second_factors.move(ada.id, secret="bk1.encrypt-2.bW92ZWQ", kid="encrypt-2")
        work.commit()
    assert enrolment(store, ada) == replace(
        ENROLMENT, secret="bk1.encrypt-2.bW92ZWQ", kid="encrypt-2", confirmed_at=START.plus(5)
    )


def test_nobody_has_a_second_factor_unasked(store: Store) -> None:
    user = a_user("bob")
    store.add(user)
    assert enrolment(store, user) is None
    assert not use_step(store, user, 1)
    assert not use_code(store, user, CODES[0])
    with store.work() as work:
        assert (work.second_factors.codes_left(user.id), list(work.second_factors.code_kids(user.id))) == (0, [])


def test_a_new_secret_takes_the_place_of_the_old_and_of_its_codes(store: Store, ada: User) -> None:
    use_step(store, ada, 7)
    other = replace(ENROLMENT, secret="bk1.encrypt-1.b3RoZXI")
    with store.work() as work:
        work.second_factors.enroll(ada.id, other)
        work.commit()
    assert enrolment(store, ada) == other
    assert counts(store) == (1, 0)


def test_a_step_counts_once_and_so_do_all_before_it(store: Store, ada: User) -> None:
    assert use_step(store, ada, 100)
    assert [use_step(store, ada, step) for step in (99, 100, 0)] == [False] * 3
    assert use_step(store, ada, 101)
    found = enrolment(store, ada)
    assert found is not None
    assert found.last_used_step == 101


def test_a_step_from_the_future_is_replaced_once(store: Store, ada: User) -> None:
    assert use_step(store, ada, 1_000)
    assert not use_step(store, ada, 5)
    assert use_step(store, ada, 1_001)
    assert [use_step(store, ada, step) for step in (5, 5, 4, 6)] == [True, False, False, True]


def test_the_first_step_there_ever_was_counts_too(store: Store, ada: User) -> None:
    assert use_step(store, ada, 0)
    assert not use_step(store, ada, 0)


def test_a_recovery_code_counts_once(store: Store, ada: User) -> None:
    assert use_code(store, ada, CODES[3])
    assert not use_code(store, ada, CODES[3])
    assert not use_code(store, ada, StoredCode("f" * 64, "index-1"))
    with store.work() as work:
        assert work.second_factors.codes_left(ada.id) == 9


def test_a_recovery_code_opens_its_own_account_only(store: Store, ada: User) -> None:
    bob = a_user("bob")
    store.add(bob)
    assert not use_code(store, bob, CODES[0])
    assert use_code(store, ada, CODES[0])


@pytest.mark.parametrize("what", ["step", "code"])
def test_of_eight_at_the_same_moment_one_wins(store: Store, ada: User, what: str) -> None:
    start = threading.Barrier(8)

    def use(_: int) -> bool:
        start.wait()
        return use_step(store, ada, 55) if what == "step" else use_code(store, ada, CODES[0])

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) == 1


def test_what_was_not_committed_was_not_used(store: Store, ada: User) -> None:
    with store.work() as work:
        assert work.second_factors.use_step(ada.id, 5, latest=1_000)
        assert work.second_factors.use_code(ada.id, CODES[0].digest, now=START)
    assert use_step(store, ada, 5)
    assert use_code(store, ada, CODES[0])


def test_new_codes_void_the_old(store: Store, ada: User) -> None:
    use_code(store, ada, CODES[0])
    others = tuple(StoredCode(f"{number:064x}", "index-2") for number in range(20, 23))
    with store.work() as work:
        work.second_factors.give_codes(ada.id, others, now=START)
        work.commit()
    assert not use_code(store, ada, CODES[1])
    with store.work() as work:
        assert work.second_factors.codes_left(ada.id) == 3
        assert list(work.second_factors.code_kids(ada.id)) == ["index-2"]
    assert counts(store) == (1, 3)


def test_the_keys_of_unused_codes_are_told_once_each(store: Store, ada: User) -> None:
    codes = (*CODES[:2], StoredCode("a" * 64, "index-0"))
    with store.work() as work:
        work.second_factors.give_codes(ada.id, codes, now=START)
        assert list(work.second_factors.code_kids(ada.id)) == ["index-0", "index-1"]
        work.second_factors.use_code(ada.id, "a" * 64, now=START)
        assert list(work.second_factors.code_kids(ada.id)) == ["index-1"]


def test_a_key_is_needed_as_long_as_a_secret_or_an_unused_code_is_kept_under_it(store: Store, ada: User) -> None:
    def needed() -> list[str]:
        with store.work() as work:
            kids = ("encrypt-1", "encrypt-2", "index-1", "index_1", "%")
            return [kid for kid in kids if needs_key(work.session.connection(), kid)]

    assert needed() == ["encrypt-1", "index-1"]
    for code in CODES:
        use_code(store, ada, code)
    with store.work() as work:
        work.second_factors.move(ada.id, secret="bk1.encrypt-2.bW92ZWQ", kid="encrypt-2")
        work.commit()
    assert needed() == ["encrypt-2"]
    with store.work() as work:
        work.second_factors.forget(ada.id)
        work.commit()
    assert needed() == []


def test_nothing_of_it_outlives_the_account(store: Store, ada: User) -> None:
    assert counts(store) == (1, 10)
    with store.work() as work:
        user = work.users.get(Identity("id", ada.id))
        work.users.remove(user)
        user.delete(erased=False, now=START)
        work.commit()
    assert counts(store) == (0, 0)


def test_what_is_stored_shows_neither_secret_nor_code(store: Store, ada: User) -> None:
    assert "c2VhbGVk" not in f"{enrolment(store, ada)!r} {ENROLMENT}"
    assert CODES[9].digest not in repr(CODES)


def test_the_status_is_read_under_every_name(store: Store, ada: User) -> None:
    store.add(a_user("bob"))
    use_code(store, ada, CODES[0])
    reader = store.open_reader()
    for ident in (ada.id, ada.id.upper(), "ADA", "Ada@example.ORG"):
        assert reader.mfa_of(Identity.parse(ident)) == MfaStatus(
            ada.id, "ada", "on", "sha256", 8, 60, START, None, recovery_codes_left=9
        )
    bob = reader.mfa_of(Identity.parse("bob"))
    assert bob is not None
    assert (bob.mfa, bob.algorithm, bob.enrolled_at, bob.recovery_codes_left) == ("off", None, None, 0)
    for ident in ("nobody", "nobody@example.org", "0192f3a0-0000-7000-8000-000000000001"):
        assert reader.mfa_of(Identity.parse(ident)) is None


@pytest.mark.parametrize(
    "change",
    ["enrolled_at = 253402300800000000", "confirmed_at = -62135596800000001"],
)
def test_an_enrolment_that_was_never_written_is_refused(store: Store, ada: User, change: str) -> None:
    with store.work() as work:
        work.session.execute(text(f"UPDATE mfa_secrets SET {change}"))
        work.commit()
    with pytest.raises(DatabaseUnusable, match="impossible value"):
        enrolment(store, ada)
    with pytest.raises(DatabaseUnusable, match="impossible value"):
        store.open_reader().mfa_of(Identity.parse("ada"))


def test_every_step_of_the_present_can_be_used_up_for_all_accounts(store: Store, ada: User) -> None:
    step = ENROLMENT.settings.step_of(START)
    bob = a_user("bob")
    store.add(bob)
    give(store, bob, replace(ENROLMENT, settings=TotpSettings(period=30), last_used_step=10**9))
    with store.work() as work:
        work.second_factors.use_steps_until(START)
        work.commit()
    after = enrolment(store, ada), enrolment(store, bob)
    assert [found.last_used_step for found in after if found is not None] == [step + 1, START // 30_000_000 + 1]


def test_a_step_that_was_used_on_a_machine_whose_clock_is_ahead_stays_used(store: Store, ada: User) -> None:
    latest = latest_step(START, ENROLMENT.settings)
    bob = a_user("bob")
    store.add(bob)
    give(store, ada, replace(ENROLMENT, last_used_step=latest))
    give(store, bob, replace(ENROLMENT, last_used_step=latest + 1))
    with store.work() as work:
        work.second_factors.use_steps_until(START)
        work.commit()
    after = enrolment(store, ada), enrolment(store, bob)
    expected = [latest, ENROLMENT.settings.step_of(START) + 1]
    assert [found.last_used_step for found in after if found is not None] == expected
