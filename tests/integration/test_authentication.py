"""Password checks: the same work for every refusal, counted failures, rehashing, and races that lose nothing."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from tests.integration.conftest import ACTOR, COST, GOOD, Services, Work

from backctl.application.attribution import Attribution
from backctl.application.authentication import AuthenticationService
from backctl.application.limit_views import LimitView
from backctl.application.login_views import PasswordCheck
from backctl.domain.account_status import LOCK_US
from backctl.domain.errors import InvalidIdentity, InvalidInput, InvalidPassword, UserChangedMeanwhile
from backctl.domain.rate_limit import Policy
from backctl.domain.sources import grouped
from backctl.domain.values import Instant, PasswordHash, Secret
from backctl.infrastructure.sqlite.limits import SqliteLimits

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
    # Lookups by id, e-mail address and username differ by what was typed, not by whether the account exists.
    lookup = re.compile(r"\b(?:users\.)?(?:id|email_key|username_key) = \?(?:::\w+)?(?: COLLATE \"C\")?")
    shapes = {lookup.sub("KEY = ?", "\n".join(statements)) for _, statements in found.values()}
    assert len(shapes) == 1
    assert len(found["wrong"][1]) > 8
    for one, other in (("unknown", "wrong"), ("unknown", "inactive"), ("unknown", "expired")):
        assert found[one] == found[other]


@pytest.mark.parametrize(("ident", "password"), REFUSED.values(), ids=REFUSED)
def test_the_answer_to_every_refusal_is_the_same(services: Services, ident: str, password: str) -> None:
    assert services.check(ident, password) == PasswordCheck(False, ident, "refused", None)
    assert services.last().type == "LoginFailed"


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
def test_the_log_alone_knows_the_cause(services: Services, attempt: str, cause: str) -> None:
    ident, password = REFUSED[attempt]
    services.check(ident, password)
    event = services.last()
    assert event.data == {"cause": cause}
    account = services.backend.accounts.find(ident)
    assert event.subject == (account.id if account else "unknown")
    assert (event.actor, event.os_user, event.host) == ("gate", "www", "web-1")


def test_what_was_typed_as_a_name_is_nowhere(services: Services) -> None:
    services.check("MySecretPassphrase", "ada")
    services.backend.close()
    assert b"mysecretpassphrase" not in services.place.contents().lower()


@pytest.mark.parametrize("ident", ["ada", "ADA", "ada@example.org", "ADA@EXAMPLE.ORG"])
def test_the_right_password_opens_under_every_name(services: Services, ident: str) -> None:
    version = services.backend.accounts.show("ada").version
    assert services.check(ident) == PasswordCheck(True, ident, "ok", None, user_id=services.id_of("ada"))
    assert [(event.type, event.data) for event in services.events()[1:]] == [
        ("LoginSucceeded", {"must_change": False, "second_factor": None})
    ]
    assert services.backend.accounts.show("ada").version == version


def test_a_password_that_must_be_changed_opens_and_says_so(services: Services) -> None:
    assert services.check("must") == PasswordCheck(True, "must", "must_change", None, user_id=services.id_of("must"))
    assert services.last().data == {"must_change": True, "second_factor": None}


# Counting failures.


@pytest.mark.parametrize("ident", ["ada", "closed", "nobody", "nobody@example.org"])
def test_ten_failures_lock_known_and_unknown_names_alike(services: Services, ident: str) -> None:
    until = Instant(services.now + LOCK_US)
    assert services.fail(ident, 9) == ["refused"] * 9
    assert services.check(ident, "wrong horse battery") == PasswordCheck(False, ident, "refused", until)
    before = len(services.log())
    assert services.check(ident) == PasswordCheck(False, ident, "locked", until)
    services.now = Instant(until - 1)
    assert services.check(ident).outcome == "locked"
    assert len(services.log()) == before
    services.now = until
    assert services.check(ident).outcome == ("ok" if ident == "ada" else "refused")
    ended, login = services.log()[before:]
    assert (ended.type, ended.data, ended.subject) == (
        "UserLockEnded",
        {"attempts": 2, "cause": "expired"},
        login.subject,
    )
    assert services.check(ident).outcome == ("ok" if ident == "ada" else "refused")
    assert [event.type for event in services.log()].count("UserLockEnded") == 1


@pytest.mark.parametrize(("ident", "subject"), [("ada", None), ("nobody", "unknown")])
def test_a_login_of_another_account_records_the_end_of_a_lock_that_nobody_else_noticed(
    services: Services, ident: str, subject: str | None
) -> None:
    services.fail(ident, 15)
    services.now = Instant(services.now + LOCK_US)
    services.check("must")
    ended = [event for event in services.log() if event.type == "UserLockEnded"]
    assert [event.data for event in ended] == [{"attempts": 5, "cause": "expired"}]
    assert ended[0].subject == (subject or services.backend.accounts.show("ada").id)
    services.check(ident)
    assert [event.type for event in services.log()].count("UserLockEnded") == 1


def test_a_new_password_records_the_end_of_a_lock(services: Services) -> None:
    services.fail("ada", 15)
    services.backend.accounts.set_password("ada", Secret("another horse battery"), by=services.backend.by("it"))
    ended = [event for event in services.log() if event.type == "UserLockEnded"]
    assert [event.data for event in ended] == [{"attempts": 5, "cause": "password_changed"}]


def test_the_lock_of_an_account_is_recorded_once(services: Services) -> None:
    services.fail("ada", 13)
    locks = [event for event in services.events() if event.type == "UserLocked"]
    assert [event.data for event in locks] == [{"until": Instant(services.now + LOCK_US).isoformat()}]


def test_all_names_of_an_account_count_together(services: Services) -> None:
    id_ = services.backend.accounts.show("ada").id
    for ident in ("ada", "ADA", "ada@example.org", id_, id_.upper()) * 2:
        services.fail(ident, 1)
    assert services.check("ada").outcome == "locked"
    assert services.check("must").ok


def test_all_spellings_of_an_unknown_name_count_together(services: Services) -> None:
    for ident in ("nobody", "NOBODY", "ｎｏｂｏｄｙ", "Nobody", "nObody"):
        services.fail(ident, 2)
    assert services.check("nobody").outcome == "locked"
    assert services.check("somebody").outcome == "refused"


def test_a_success_forgets_the_failures_before(services: Services) -> None:
    services.fail("ada", 9)
    assert services.check("ada").ok
    assert services.fail("ada", 9) == ["refused"] * 9
    assert services.check("ada").ok


def test_another_password_ends_the_lock(services: Services) -> None:
    services.fail("ada", 10)
    assert services.check("ada").outcome == "locked"
    services.backend.accounts.set_password("ada", Secret("another horse battery"), by=Attribution(ACTOR))
    assert services.check("ada", "another horse battery").ok


def test_no_password_is_found_beside_ten_failures(services: Services) -> None:
    # The password is checked before the lock and the attempt is decided after it.
    authentication = services.authentication()

    def locked_meanwhile() -> None:
        services.fail("ada", 10)

    assert (
        meanwhile(authentication, locked_meanwhile).authenticate("ada", Secret(GOOD), by=Attribution(ACTOR)).outcome
        == "locked"
    )


# Rehashing.


@pytest.mark.parametrize("cost", [4, 5])
def test_a_current_hash_stays_as_it_is(services: Services, cost: int) -> None:
    before = services.hash_of("ada")
    assert services.check("ada", cost=cost).ok
    assert services.hash_of("ada") == before


def test_a_success_raises_the_cost_of_the_hash(services: Services) -> None:
    assert services.check("ada", "wrong horse battery", cost=6).outcome == "refused"
    assert services.hash_of("ada").startswith("$2b$05$")
    assert services.check("ada", cost=6).ok
    assert services.hash_of("ada").startswith("$2b$06$")
    assert [event.type for event in services.events()[2:]] == ["UserPasswordRehashed", "LoginSucceeded"]
    assert services.check("ada", cost=6).ok
    assert [event.type for event in services.events()[4:]] == ["LoginSucceeded"]


def test_a_success_that_opens_nothing_leaves_the_hash_alone(services: Services) -> None:
    assert services.check("closed", cost=6).outcome == "refused"
    assert services.hash_of("closed").startswith("$2b$05$")


@pytest.mark.parametrize("variant", [b"$2a$", b"$2y$"])
def test_an_older_variant_is_replaced(services: Services, variant: bytes) -> None:
    services.store_hash("ada", bcrypt.hashpw(GOOD.encode(), variant + bcrypt.gensalt(COST)[4:]))
    assert services.check("ada").ok
    assert services.hash_of("ada").startswith("$2b$05$")
    assert services.check("ada").ok


def test_a_hash_of_the_raw_bytes_opens_and_is_replaced_by_one_of_the_normal_form(services: Services) -> None:
    typed = "cafe\u0301 au\u00a0lait"
    services.store_hash("ada", bcrypt.hashpw(typed.encode(), bcrypt.gensalt(COST)))
    assert not services.check("ada", "caf\u00e9 au lait").ok
    assert services.check("ada", typed).ok
    assert services.check("ada", "caf\u00e9 au lait").ok


@pytest.mark.parametrize("password", ["a" * 73, "\U0001f511" * 64, "x" * 4096, "ä" * 36 + "a"])
def test_long_passwords_are_told_apart_by_their_last_byte(services: Services, password: str) -> None:
    services.backend.accounts.set_password("ada", Secret(password), by=Attribution(ACTOR))
    assert services.check("ada", password).ok
    assert not services.check("ada", password[:-1]).ok
    assert not services.check("ada", password[:-1] + "y").ok
    assert not services.check("ada", password.encode()[:72].decode(errors="ignore")).ok


@pytest.mark.parametrize("password", ["", "correct\0horse", "correct\thorse", "x" * 5000])
def test_what_no_password_can_be_is_refused_before_anything_is_counted(services: Services, password: str) -> None:
    before = services.last()
    with pytest.raises(InvalidPassword):
        services.check("ada", password)
    with pytest.raises(InvalidIdentity):
        services.check("a b")
    assert services.last() == before


@pytest.mark.parametrize("stored", [b"garbage", b"", b"$2b$05$", b"\xf0\x9f\x94\x91"])
def test_what_a_stranger_wrote_in_place_of_a_hash_opens_nothing(services: Services, stored: bytes) -> None:
    services.store_hash("ada", stored)
    assert services.check("ada").outcome == "refused"


# passlib 1.7.4, test_handlers_argon2.py; Ory Kratos's documentation; Django's tests, test_hashers.py.
FOREIGN = [
    ("password", "$argon2i$v=19$m=256,t=1,p=1$c29tZXNhbHQ$AJFIsNZTMKTAewB4+ETN1A"),
    ("123456", "$pbkdf2-sha256$i=1000,l=128$e8/arsEf4cvQihdNgqj0Nw$5xQQKNTyeTHx2Ld5/JDE7A"),
    ("lètmein", "pbkdf2_sha256$30000$seasalt$VrX+V8drCGo68wlvy6rfu8i1d1pfkdeXA4LJkRGJodY="),
    ("lètmein", "bcrypt_sha256$$2a$08$NDjSAIcas.EcoxCRiArvT.MkNiPYVhrsrnJsRkLueZOoV1bsQqlmC"),
]


@pytest.mark.parametrize(("password", "encoded"), FOREIGN)
def test_a_foreign_hash_opens_with_its_password_and_is_replaced_at_once(
    services: Services, password: str, encoded: str
) -> None:
    services.backend.accounts.create(
        email="old@example.org", username="old", password_hash=Secret(encoded), by=Attribution(ACTOR)
    )
    assert services.check("old", password + "x").outcome == "refused"
    assert services.hash_of("old") == encoded
    assert services.check("old", password).ok
    assert services.hash_of("old").startswith("$2b$05$")
    types = ["UserCreated", "LoginFailed", "UserPasswordRehashed", "LoginSucceeded"]
    assert [event.type for event in services.events("old")] == types
    assert services.check("old", password).ok
    assert services.check("old", password + "x").outcome == "refused"


def test_a_foreign_hash_of_the_raw_bytes_opens_and_is_replaced_by_one_of_the_normal_form(services: Services) -> None:
    typed = "cafe\u0301 au\u00a0lait"
    made = hashlib.pbkdf2_hmac("sha256", typed.encode(), b"salt", 10)
    services.store_hash("ada", f"pbkdf2:sha256:10$salt${made.hex()}".encode())
    assert not services.check("ada", "caf\u00e9 au lait").ok
    assert services.check("ada", typed).ok
    assert services.check("ada", "caf\u00e9 au lait").ok


def test_a_refusal_by_a_foreign_hash_runs_the_same_statements_as_any_other(
    services: Services, work_of: Callable[[str, str], tuple[list[int], list[str]]]
) -> None:
    _, statements = work_of("ada", "wrong horse battery")
    services.store_hash("closed", FOREIGN[0][1].encode())
    costs, found = work_of("closed", "wrong horse battery")
    assert found == statements
    assert sum(2**cost for cost in costs) <= 2**COST


# Races.


def meanwhile(service: AuthenticationService, act: Callable[[], object], times: int = 1) -> AuthenticationService:
    """Return the service with `act` running between reading the hash and starting the transaction."""
    left = [times]
    transactions = service.transactions()

    def interrupted(**options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            act()
        return transactions.begin(**options)

    return replace(service, transactions=lambda: replace(transactions, begin=interrupted))


def test_a_login_beside_one_that_rehashes_succeeds_too(services: Services) -> None:
    authentication = meanwhile(services.authentication(cost=6), lambda: services.check("ada", cost=6))
    assert authentication.authenticate("ada", Secret(GOOD), by=Attribution(ACTOR)).ok
    assert [event.type for event in services.events()].count("UserPasswordRehashed") == 1


def test_the_old_password_opens_nothing_once_it_was_changed_meanwhile(services: Services) -> None:
    other = Secret("another horse battery")
    change = lambda: services.backend.accounts.set_password("ada", other, by=Attribution(ACTOR))  # noqa: E731 - used once
    authentication = meanwhile(services.authentication(), change)
    assert authentication.authenticate("ada", Secret(GOOD), by=Attribution(ACTOR)).outcome == "refused"


def test_a_password_that_never_stands_still_is_a_conflict(services: Services) -> None:
    def change() -> None:
        services.backend.accounts.set_password("ada", Secret(GOOD), by=Attribution(ACTOR))

    with pytest.raises(UserChangedMeanwhile, match="kept changing"):
        meanwhile(services.authentication(), change, times=99).authenticate("ada", Secret(GOOD), by=Attribution(ACTOR))


def test_an_account_made_meanwhile_is_looked_at_again(services: Services) -> None:
    def create() -> None:
        services.backend.accounts.create(
            email="new@example.org", username="new", password=Secret(GOOD), by=Attribution(ACTOR)
        )

    assert meanwhile(services.authentication(), create).authenticate("new", Secret(GOOD), by=Attribution(ACTOR)).ok


# Setting passwords.


def test_the_same_password_again_is_a_change_with_a_new_salt(services: Services) -> None:
    before = services.hash_of("ada")
    for _ in range(2):
        assert services.backend.accounts.set_password("ada", Secret(GOOD), by=Attribution(ACTOR)).changed
    assert services.hash_of("ada") != before
    assert [event.type for event in services.events()[1:]] == ["UserPasswordChanged"] * 2


def test_a_hash_made_elsewhere_opens_with_its_password(services: Services) -> None:
    made = Secret(bcrypt.hashpw(b"tr0ub4dor and 3", bcrypt.gensalt(4)).decode())
    services.backend.accounts.create(email="old@example.org", username="old", password_hash=made, by=Attribution(ACTOR))
    assert services.check("old", "tr0ub4dor and 3").ok
    assert services.hash_of("old").startswith("$2b$05$")
    assert isinstance(services.authentication().hasher.accept(Secret(services.hash_of("old"))), PasswordHash)


# Limits for the source of a login.


def throttled(services: Services, folder: Path) -> tuple[AuthenticationService, list[str]]:
    """A service that admits two logins from each source, and the sources that it asked for."""
    asked: list[str] = []
    policy = Policy("source", 2, 60_000_000)
    store = SqliteLimits(folder / "limits.db", timeout_us=10_000_000, clock=lambda: services.now)
    limits = replace(services.backend.limits, store=lambda: store)

    def throttle(source: str) -> LimitView:
        asked.append(source)
        return limits.check(policy, grouped(source))

    return replace(services.authentication(), throttle=throttle), asked


def test_a_source_that_tries_too_often_is_told_so_before_any_work(services: Services, tmp_path: Path) -> None:
    service, _ = throttled(services, tmp_path)
    by = Attribution(ACTOR)
    for ident in ("ada", "nobody"):  # whoever it asks for
        assert (
            service.authenticate(ident, Secret("wrong horse battery"), by=by, source="2001:db8::1").outcome == "refused"
        )
    events = services.database("SELECT count(*) FROM events")
    failures = services.database("SELECT count(*) FROM login_failures")
    third = service.authenticate("ada", Secret(GOOD), by=by, source="2001:db8::ffff")
    assert (third.ok, third.outcome, third.user_id) == (False, "throttled", None)
    assert third.retry_after is not None
    assert 0 < third.retry_after <= 60
    assert services.database("SELECT count(*) FROM events") == events
    assert services.database("SELECT count(*) FROM login_failures") == failures
    assert service.authenticate("ada", Secret(GOOD), by=by, source="2001:db8:0:1::1").ok
    assert service.authenticate("ada", Secret(GOOD), by=by).ok


def test_a_source_is_ignored_unless_a_policy_is_configured(services: Services) -> None:
    by = Attribution(ACTOR)
    for _ in range(12):
        assert services.authentication().authenticate("ada", Secret(GOOD), by=by, source="203.0.113.7").ok


def test_a_source_that_is_no_address_is_refused(services: Services, tmp_path: Path) -> None:
    service, asked = throttled(services, tmp_path)
    with pytest.raises(InvalidInput, match="is not an IP address"):
        service.authenticate("ada", Secret(GOOD), by=Attribution(ACTOR), source="proxy.example.org")
    assert asked == ["proxy.example.org"]
