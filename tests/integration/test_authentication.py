"""Checking passwords: the same work for every refusal, counted failures, better hashes, and nothing lost to a race."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import bcrypt
import pytest
from tests.integration.conftest import ACTOR, COST, GOOD, House, Work

from backctl.application.attribution import Attribution
from backctl.application.authentication import AuthenticationService
from backctl.application.login_views import PasswordCheck
from backctl.domain.errors import InvalidIdentity, InvalidPassword, UserChangedMeanwhile
from backctl.domain.lockout import LOCK_US
from backctl.domain.values import Instant, PasswordHash, Secret

REFUSED = {
    "unknown": ("nobody", "wrong horse battery"),
    "unknown address": ("nobody@example.org", "wrong horse battery"),
    "unknown id": ("0192f3a0-0000-7000-8000-000000000000", "wrong horse battery"),
    "wrong": ("ada", "wrong horse battery"),
    "wrong and long": ("ada", "wrong horse battery" * 9),
    "wrong by address": ("ada@example.org", "wrong horse battery"),
    "inactive": ("closed", GOOD),
    "inactive and wrong": ("closed", "wrong horse battery"),
    "expired": ("expired", GOOD),
    "without a password": ("none", GOOD),
}


def test_every_refusal_costs_one_hash_and_the_same_statements(
    work_of: Work,
) -> None:
    found = {name: work_of(*attempt) for name, attempt in REFUSED.items()}
    for name, (costs, _) in found.items():
        assert costs == [COST], name
    # Looking up by id, address or name differs by what was typed, not by what is there.
    lookup = re.compile(r"\b(?:users\.)?(?:id|email_key|username_key) = \?(?:::\w+)?(?: COLLATE \"C\")?")
    shapes = {lookup.sub("KEY = ?", "\n".join(statements)) for _, statements in found.values()}
    assert len(shapes) == 1
    assert len(found["wrong"][1]) > 8
    for one, other in (("unknown", "wrong"), ("unknown", "inactive"), ("unknown", "expired")):
        assert found[one] == found[other]


@pytest.mark.parametrize(("ident", "password"), REFUSED.values(), ids=REFUSED)
def test_the_answer_to_every_refusal_is_the_same(house: House, ident: str, password: str) -> None:
    assert house.check(ident, password) == PasswordCheck(ident, False, "refused", None)
    assert house.last().type == "LoginFailed"


@pytest.mark.parametrize(
    ("attempt", "cause"),
    [
        ("unknown", "unknown"),
        ("unknown id", "unknown"),
        ("wrong", "wrong"),
        ("inactive", "inactive"),
        ("inactive and wrong", "wrong"),
        ("expired", "expired"),
        ("without a password", "wrong"),
    ],
)
def test_the_log_alone_knows_the_cause(house: House, attempt: str, cause: str) -> None:
    ident, password = REFUSED[attempt]
    house.check(ident, password)
    event = house.last()
    assert event.data == {"cause": cause}
    account = house.backend.accounts.find(ident)
    assert event.subject == (account.id if account else "unknown")
    assert (event.actor, event.os_user, event.host) == ("gate", "www", "web-1")


def test_what_was_typed_as_a_name_is_nowhere(house: House) -> None:
    house.check("MySecretPassphrase", "ada")
    house.backend.close()
    assert b"mysecretpassphrase" not in house.place.contents().lower()


@pytest.mark.parametrize("ident", ["ada", "ADA", "ada@example.org", "ADA@EXAMPLE.ORG"])
def test_the_right_password_opens_under_every_name(house: House, ident: str) -> None:
    version = house.backend.accounts.show("ada").version
    assert house.check(ident) == PasswordCheck(ident, True, "ok", None, user_id=house.id_of("ada"))
    assert [(event.type, event.data) for event in house.events()[1:]] == [
        ("LoginSucceeded", {"must_change": False, "second_factor": None})
    ]
    assert house.backend.accounts.show("ada").version == version


def test_a_password_that_must_be_changed_opens_and_says_so(house: House) -> None:
    assert house.check("must") == PasswordCheck("must", True, "must_change", None, user_id=house.id_of("must"))
    assert house.last().data == {"must_change": True, "second_factor": None}


# Counting.


@pytest.mark.parametrize("ident", ["ada", "closed", "nobody", "nobody@example.org"])
def test_ten_failures_lock_known_and_unknown_names_alike(house: House, ident: str) -> None:
    until = Instant(house.now + LOCK_US)
    assert house.fail(ident, 9) == ["refused"] * 9
    assert house.check(ident, "wrong horse battery") == PasswordCheck(ident, False, "refused", until)
    assert house.check(ident) == PasswordCheck(ident, False, "locked", until)
    assert house.last().data == {"cause": "locked"}
    house.now = Instant(until - 1)
    assert house.check(ident).outcome == "locked"
    house.now = until
    assert house.check(ident).outcome == ("ok" if ident == "ada" else "refused")


def test_the_lock_of_an_account_is_recorded_once(house: House) -> None:
    house.fail("ada", 13)
    locks = [event for event in house.events() if event.type == "UserLocked"]
    assert [event.data for event in locks] == [{"until": Instant(house.now + LOCK_US).isoformat()}]


def test_all_names_of_an_account_count_together(house: House) -> None:
    id_ = house.backend.accounts.show("ada").id
    for ident in ("ada", "ADA", "ada@example.org", id_, id_.upper()) * 2:
        house.fail(ident, 1)
    assert house.check("ada").outcome == "locked"
    assert house.check("must").ok


def test_all_spellings_of_an_unknown_name_count_together(house: House) -> None:
    for ident in ("nobody", "NOBODY", "ｎｏｂｏｄｙ", "Nobody", "nObody"):
        house.fail(ident, 2)
    assert house.check("nobody").outcome == "locked"
    assert house.check("somebody").outcome == "refused"


def test_a_success_forgets_the_failures_before(house: House) -> None:
    house.fail("ada", 9)
    assert house.check("ada").ok
    assert house.fail("ada", 9) == ["refused"] * 9
    assert house.check("ada").ok


def test_another_password_ends_the_lock(house: House) -> None:
    house.fail("ada", 10)
    assert house.check("ada").outcome == "locked"
    house.backend.accounts.set_password("ada", Secret("another horse battery"), by=Attribution(ACTOR))
    assert house.check("ada", "another horse battery").ok


def test_no_password_is_found_beside_ten_failures(house: House) -> None:
    # Checked while it was not yet locked, judged when it was.
    authentication = house.authentication()

    def locked_meanwhile() -> None:
        house.fail("ada", 10)

    assert (
        meanwhile(authentication, locked_meanwhile).authenticate("ada", Secret(GOOD), by=Attribution(ACTOR)).outcome
        == "locked"
    )


# Better hashes.


@pytest.mark.parametrize("cost", [4, 5])
def test_a_current_hash_stays_as_it_is(house: House, cost: int) -> None:
    before = house.hash_of("ada")
    assert house.check("ada", cost=cost).ok
    assert house.hash_of("ada") == before


def test_a_success_raises_the_cost_of_the_hash(house: House) -> None:
    assert house.check("ada", "wrong horse battery", cost=6).outcome == "refused"
    assert house.hash_of("ada").startswith("$2b$05$")
    assert house.check("ada", cost=6).ok
    assert house.hash_of("ada").startswith("$2b$06$")
    assert [event.type for event in house.events()[2:]] == ["UserPasswordRehashed", "LoginSucceeded"]
    assert house.check("ada", cost=6).ok
    assert [event.type for event in house.events()[4:]] == ["LoginSucceeded"]


def test_a_success_that_opens_nothing_leaves_the_hash_alone(house: House) -> None:
    assert house.check("closed", cost=6).outcome == "refused"
    assert house.hash_of("closed").startswith("$2b$05$")


@pytest.mark.parametrize("variant", [b"$2a$", b"$2y$"])
def test_an_older_variant_is_replaced(house: House, variant: bytes) -> None:
    house.store_hash("ada", bcrypt.hashpw(GOOD.encode(), variant + bcrypt.gensalt(COST)[4:]))
    assert house.check("ada").ok
    assert house.hash_of("ada").startswith("$2b$05$")
    assert house.check("ada").ok


def test_a_hash_of_the_raw_bytes_opens_and_is_replaced_by_one_of_the_normal_form(house: House) -> None:
    typed = "cafe\u0301 au\u00a0lait"
    house.store_hash("ada", bcrypt.hashpw(typed.encode(), bcrypt.gensalt(COST)))
    assert not house.check("ada", "caf\u00e9 au lait").ok
    assert house.check("ada", typed).ok
    assert house.check("ada", "caf\u00e9 au lait").ok


@pytest.mark.parametrize("password", ["a" * 73, "\U0001f511" * 64, "x" * 4096, "ä" * 36 + "a"])
def test_long_passwords_are_told_apart_by_their_last_byte(house: House, password: str) -> None:
    house.backend.accounts.set_password("ada", Secret(password), by=Attribution(ACTOR))
    assert house.check("ada", password).ok
    assert not house.check("ada", password[:-1]).ok
    assert not house.check("ada", password[:-1] + "y").ok
    assert not house.check("ada", password.encode()[:72].decode(errors="ignore")).ok


@pytest.mark.parametrize("password", ["", "correct\0horse", "correct\thorse", "x" * 5000])
def test_what_no_password_can_be_is_refused_before_anything_is_counted(house: House, password: str) -> None:
    before = house.last()
    with pytest.raises(InvalidPassword):
        house.check("ada", password)
    with pytest.raises(InvalidIdentity):
        house.check("a b")
    assert house.last() == before


@pytest.mark.parametrize("stored", [b"garbage", b"", b"$2b$05$", b"\xf0\x9f\x94\x91"])
def test_what_a_stranger_wrote_in_place_of_a_hash_opens_nothing(house: House, stored: bytes) -> None:
    house.store_hash("ada", stored)
    assert house.check("ada").outcome == "refused"


# passlib 1.7.4, test_handlers_argon2.py; Ory Kratos's documentation; Django's tests, test_hashers.py.
FOREIGN = [
    ("password", "$argon2i$v=19$m=256,t=1,p=1$c29tZXNhbHQ$AJFIsNZTMKTAewB4+ETN1A"),
    ("123456", "$pbkdf2-sha256$i=1000,l=128$e8/arsEf4cvQihdNgqj0Nw$5xQQKNTyeTHx2Ld5/JDE7A"),
    ("lètmein", "pbkdf2_sha256$30000$seasalt$VrX+V8drCGo68wlvy6rfu8i1d1pfkdeXA4LJkRGJodY="),
    ("lètmein", "bcrypt_sha256$$2a$08$NDjSAIcas.EcoxCRiArvT.MkNiPYVhrsrnJsRkLueZOoV1bsQqlmC"),
]


@pytest.mark.parametrize(("password", "encoded"), FOREIGN)
def test_a_foreign_hash_opens_with_its_password_and_is_replaced_at_once(
    house: House, password: str, encoded: str
) -> None:
    house.backend.accounts.create(
        email="old@example.org", username="old", password_hash=Secret(encoded), by=Attribution(ACTOR)
    )
    assert house.check("old", password + "x").outcome == "refused"
    assert house.hash_of("old") == encoded
    assert house.check("old", password).ok
    assert house.hash_of("old").startswith("$2b$05$")
    types = ["UserCreated", "LoginFailed", "UserPasswordRehashed", "LoginSucceeded"]
    assert [event.type for event in house.events("old")] == types
    assert house.check("old", password).ok
    assert house.check("old", password + "x").outcome == "refused"


def test_a_foreign_hash_of_the_raw_bytes_opens_and_is_replaced_by_one_of_the_normal_form(house: House) -> None:
    typed = "cafe\u0301 au\u00a0lait"
    made = hashlib.pbkdf2_hmac("sha256", typed.encode(), b"salt", 10)
    house.store_hash("ada", f"pbkdf2:sha256:10$salt${made.hex()}".encode())
    assert not house.check("ada", "caf\u00e9 au lait").ok
    assert house.check("ada", typed).ok
    assert house.check("ada", "caf\u00e9 au lait").ok


def test_a_refusal_by_a_foreign_hash_runs_the_same_statements_as_any_other(
    house: House, work_of: Callable[[str, str], tuple[list[int], list[str]]]
) -> None:
    _, statements = work_of("ada", "wrong horse battery")
    house.store_hash("closed", FOREIGN[0][1].encode())
    costs, found = work_of("closed", "wrong horse battery")
    assert found == statements
    assert sum(2**cost for cost in costs) <= 2**COST


# Races.


def meanwhile(service: AuthenticationService, act: Callable[[], object], times: int = 1) -> AuthenticationService:
    """The service, while between its look at the hash and its transaction something else happens."""
    left = [times]
    transactions = service.transactions()

    def interrupted(**options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            act()
        return transactions.begin(**options)

    return replace(service, transactions=lambda: replace(transactions, begin=interrupted))


def test_a_login_beside_one_that_rehashes_succeeds_too(house: House) -> None:
    authentication = meanwhile(house.authentication(cost=6), lambda: house.check("ada", cost=6))
    assert authentication.authenticate("ada", Secret(GOOD), by=Attribution(ACTOR)).ok
    assert [event.type for event in house.events()].count("UserPasswordRehashed") == 1


def test_the_old_password_opens_nothing_once_it_was_changed_meanwhile(house: House) -> None:
    other = Secret("another horse battery")
    change = lambda: house.backend.accounts.set_password("ada", other, by=Attribution(ACTOR))  # noqa: E731 - one line, one use
    authentication = meanwhile(house.authentication(), change)
    assert authentication.authenticate("ada", Secret(GOOD), by=Attribution(ACTOR)).outcome == "refused"


def test_a_password_that_never_stands_still_is_a_conflict(house: House) -> None:
    def change() -> None:
        house.backend.accounts.set_password("ada", Secret(GOOD), by=Attribution(ACTOR))

    with pytest.raises(UserChangedMeanwhile, match="kept changing"):
        meanwhile(house.authentication(), change, times=99).authenticate("ada", Secret(GOOD), by=Attribution(ACTOR))


def test_an_account_made_meanwhile_is_looked_at_again(house: House) -> None:
    def create() -> None:
        house.backend.accounts.create(
            email="new@example.org", username="new", password=Secret(GOOD), by=Attribution(ACTOR)
        )

    assert meanwhile(house.authentication(), create).authenticate("new", Secret(GOOD), by=Attribution(ACTOR)).ok


# Setting.


def test_the_same_password_again_is_a_change_with_a_new_salt(house: House) -> None:
    before = house.hash_of("ada")
    for _ in range(2):
        assert house.backend.accounts.set_password("ada", Secret(GOOD), by=Attribution(ACTOR)).changed
    assert house.hash_of("ada") != before
    assert [event.type for event in house.events()[1:]] == ["UserPasswordChanged"] * 2


def test_a_hash_made_elsewhere_opens_with_its_password(house: House) -> None:
    made = Secret(bcrypt.hashpw(b"tr0ub4dor and 3", bcrypt.gensalt(4)).decode())
    house.backend.accounts.create(email="old@example.org", username="old", password_hash=made, by=Attribution(ACTOR))
    assert house.check("old", "tr0ub4dor and 3").ok
    assert house.hash_of("old").startswith("$2b$05$")
    assert isinstance(house.authentication().hasher.accept(Secret(house.hash_of("old"))), PasswordHash)
