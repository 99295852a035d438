"""Imported passwords and second factors, and the sessions and access tokens that an import ends."""

import pytest
from tests.contracts.conftest import BY, START
from tests.contracts.importing import (
    FOREIGN_HASH,
    OTHER_HASH,
    OTHER_TOTP_SECRET,
    TOTP_SECRET,
    Importer,
    Members,
    a_row,
    on_one_database,
)
from tests.contracts.token_services import SECOND, Services

from backctl.application.transfer.importing import PASSWORDS_AT_ONCE
from backctl.domain.errors import PasswordHashUnsupported, TokenRevoked, TokenUnknown, WeakPassword
from backctl.domain.mfa import Enrolment
from backctl.domain.one_time_codes import TotpSettings
from backctl.domain.values import Identity, Instant, PasswordHash
from backctl.infrastructure.crypto import password_hasher

ADA: Members = {"email": "ada@example.org"}
SECRETS = {"mode": "upsert", "update_secrets": True}
FACTOR: Members = {"mfa": "on", "totp_secret": TOTP_SECRET}


@pytest.fixture
def importer(services: Services) -> Importer:
    """An installation with the administrator `root` and the account `ada`."""
    return Importer(services.store)


@pytest.fixture
def signed_in(services: Services) -> Services:
    """Give `ada` and `root` a session each, and start the clock again."""
    services.issue("root", pair=True)
    services.later(SECOND)
    return services


def enrolment(importer: Importer, ident: str) -> Enrolment | None:
    with importer.store.work() as work:
        return work.second_factors.of(work.users.get(Identity.parse(ident)).id)


def secret_of(importer: Importer, ident: str) -> bytes:
    found = enrolment(importer, ident)
    assert found is not None
    return importer.keys.opened(found, importer.user(ident).id)


# New accounts.


def test_a_plain_password_is_hashed(importer: Importer) -> None:
    rows = [a_row("bob", password="correct horse"), a_row("eve", password="x" * 200), a_row("weak", password="short")]
    assert importer.results(*rows) == ["created", "created", "password.weak"]
    assert importer.fits("bob", "correct horse")
    assert importer.fits("eve", "x" * 200)
    assert not importer.fits("bob", "correct horse ")
    assert [data["imported"] for type_, data in importer.events() if type_ == "UserImported"] == [False, False]
    assert "correct" not in str(importer.events())


@on_one_database
def test_passwords_and_rows_stay_together(importer: Importer) -> None:
    """Rows without a password, invalid ones and those of other accounts do not move the hashes."""
    rows: list[Members] = []
    for number in range(PASSWORDS_AT_ONCE + 3):
        rows += [
            a_row(f"user{number}", password=f"password of {number}"),
            a_row(f"bare{number}"),
            a_row(f"hash{number}", password_hash=FOREIGN_HASH),
            a_row(f"weak{number}", password="short"),
        ]
    rows.insert(5, a_row("ada", password="correct horse"))
    blocks = list(importer.blocks(rows, mode="skip"))
    assert [len(block) for block in blocks] == [4 * PASSWORDS_AT_ONCE - 6, 19]  # a block ends with its 64th password
    for number in range(PASSWORDS_AT_ONCE + 3):
        assert importer.fits(f"user{number}", f"password of {number}")
        assert importer.user(f"bare{number}").password_hash is None
        assert importer.user(f"hash{number}").password_hash == PasswordHash(FOREIGN_HASH, imported=True)
    assert importer.user("ada").password_hash == PasswordHash("$2b$04$not-a-real-hash")


def test_a_hash_of_this_program_stays_its_own(importer: Importer) -> None:
    own = FOREIGN_HASH.replace("$2a$", "$2b$")
    rows = [
        a_row("bob", password_hash=own, password_imported=False),
        a_row("eve", password_hash=own),
        a_row("jim", password_hash=FOREIGN_HASH, password_imported=False),
    ]
    assert importer.results(*rows) == ["created"] * 3
    assert [importer.user(name).password_imported for name in ("bob", "eve", "jim")] == [False, True, True]
    assert [data["imported"] for type_, data in importer.events() if type_ == "UserImported"] == [False, True, True]


@pytest.mark.parametrize("count", [1, 25])  # more than 20 rows are inserted together
def test_a_second_factor_is_kept(importer: Importer, count: int) -> None:
    times: Members = {
        "totp_algorithm": "SHA256",
        "totp_digits": 8,
        "totp_period": 60,
        "totp_last_used_step": 7,
        "mfa_enrolled_at": "1970-01-01T00:00:00Z",
        "mfa_confirmed_at": "2001-01-01T00:00:00Z",
    }
    rows = [a_row(f"user{number}", **FACTOR, **times) for number in range(count)]
    rows += [a_row("plain", **FACTOR), a_row("pending", mfa="pending", totp_secret=OTHER_TOTP_SECRET), a_row("bare")]
    assert importer.results(*rows) == ["created"] * len(rows)
    found = enrolment(importer, "user0")
    assert found is not None
    assert (found.settings, found.last_used_step) == (TotpSettings("sha256", 8, 60), 7)
    assert (found.enrolled_at, found.confirmed_at) == (Instant(0), Instant.parse("2001-01-01T00:00:00Z"))
    assert [secret_of(importer, row["username"]) for row in rows[:count]] == [b"12345678901234567890"] * count  # type: ignore[arg-type]  # a text
    plain, pending = enrolment(importer, "plain"), enrolment(importer, "pending")
    assert plain is not None
    assert pending is not None
    assert (plain.enrolled_at, plain.confirmed_at, plain.last_used_step) == (START, START, -1)
    assert (pending.enrolled_at, pending.confirmed_at) == (START, None)
    assert secret_of(importer, "pending") == b"Hello!\xde\xad\xbe\xef" * 2
    assert [importer.user(name).mfa_state for name in ("user0", "plain", "pending", "bare")] == [
        "on",
        "on",
        "pending",
        "off",
    ]
    assert [data["mfa"] for type_, data in importer.events() if type_ == "UserImported"][-3:] == [
        "on",
        "pending",
        "off",
    ]
    assert TOTP_SECRET not in str(importer.events())


# Existing accounts.


def test_secrets_stay_without_update_secrets(importer: Importer, signed_in: Services) -> None:
    signed_in.pair()
    for secret in ({"password": "correct horse"}, {"password_hash": FOREIGN_HASH}, FACTOR):
        for mode in ("upsert", "skip"):
            before = importer.events()
            assert importer.results(ADA | secret, mode=mode) == ["unchanged"]
            assert importer.events() == before
    assert importer.user("ada").password_hash == PasswordHash("$2b$04$not-a-real-hash")
    assert enrolment(importer, "ada") is None
    assert signed_in.states() == [("open", None)]


@pytest.mark.parametrize(
    ("secret", "other"),
    [
        ({"password": "correct horse"}, {"password": "battery staple"}),
        ({"password_hash": FOREIGN_HASH}, {"password_hash": OTHER_HASH}),
    ],
)
def test_a_password_is_replaced_once_and_ends_the_sessions(
    importer: Importer, signed_in: Services, secret: Members, other: Members
) -> None:
    signed_in.pair()
    assert importer.results(ADA | secret, **SECRETS, dry_run=True) == ["updated"]
    assert importer.results(ADA | secret, **SECRETS) == ["updated"]
    changed, ended = importer.events()[-2:]
    imported = "password_hash" in secret
    assert changed == ("UserPasswordChanged", {"must_change": False, "imported": imported, "version": 2})
    assert ended[0] == "SessionsRevoked"
    assert signed_in.states() == [("revoked", "password_changed")]
    assert signed_in.states("root") == [("open", None)]
    before = importer.events()
    assert importer.results(ADA | secret, **SECRETS) == ["unchanged"]
    assert importer.results(ADA | secret, **SECRETS, dry_run=True) == ["unchanged"]
    assert importer.events() == before
    assert importer.results(ADA | other | {"must_change_password": True}, **SECRETS) == ["updated"]
    assert importer.user("ada").must_change_password
    assert importer.user("ada").password_imported == imported
    if not imported:
        assert importer.fits("ada", "battery staple")


def test_a_new_password_is_judged_by_the_names_of_the_account(importer: Importer) -> None:
    """The row has no username, so the name of the account decides."""
    rows: list[Members] = [ADA, {"id": importer.user("ada").id}]
    for row in rows:
        (outcome,) = importer.run(row | {"password": "example.org"}, **SECRETS)
        assert isinstance(outcome.error, WeakPassword)
        assert outcome.result == "failed"
    assert importer.results(ADA | {"password": "correct horse"}, **SECRETS) == ["updated"]


@on_one_database
def test_a_stored_hash_that_cannot_be_compared_is_replaced(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    def verify(*_: object) -> bool:
        raise PasswordHashUnsupported("no such function")

    monkeypatch.setattr(password_hasher.BcryptHasher, "verify", verify)
    assert importer.results(ADA | {"password": "correct horse"}, **SECRETS) == ["updated"]


def test_a_second_factor_is_replaced_once_and_ends_the_sessions(importer: Importer, signed_in: Services) -> None:
    signed_in.pair()
    assert importer.results(ADA | FACTOR, **SECRETS, dry_run=True) == ["updated"]
    assert importer.results(ADA | FACTOR, **SECRETS) == ["updated"]
    assert importer.event_types()[-3:] == ["MfaEnrolled", "MfaConfirmed", "SessionsRevoked"]
    assert signed_in.states() == [("revoked", "mfa_reset")]
    assert signed_in.states("root") == [("open", None)]
    for same in (FACTOR, FACTOR | {"totp_last_used_step": 5}, FACTOR | {"mfa_confirmed_at": "2001-01-01T00:00:00Z"}):
        assert importer.results(ADA | same, **SECRETS) == ["unchanged"]
    assert importer.results(ADA | {"mfa": "off"}, **SECRETS) == ["unchanged"]
    others: list[Members] = [
        {"totp_secret": OTHER_TOTP_SECRET},
        {"totp_digits": 8},
        {"totp_algorithm": "sha512"},
        {"mfa": "pending"},
    ]
    for other in others:
        assert importer.results(ADA | FACTOR | other, **SECRETS) == ["updated"]
        found = enrolment(importer, "ada")
        assert found is not None
        assert (found.confirmed_at is None) == (other == {"mfa": "pending"})
    assert importer.user("ada").mfa_state == "pending"
    assert importer.event_types()[-2:] == ["MfaDisabled", "MfaEnrolled"]


def test_a_damaged_second_factor_is_replaced(importer: Importer) -> None:
    importer.run(ADA | FACTOR, **SECRETS)
    with importer.store.work() as work:
        work.second_factors.move(work.users.get(Identity.parse("ada")).id, secret="bk1.encrypt-1.AAAA", kid="encrypt-1")
        work.commit()
    assert importer.results(ADA | FACTOR, **SECRETS) == ["updated"]
    assert secret_of(importer, "ada") == b"12345678901234567890"


def test_recovery_codes_end_with_the_second_factor(importer: Importer) -> None:
    importer.run(ADA | FACTOR, **SECRETS)
    ada = importer.user("ada").id
    with importer.store.work() as work:
        from backctl.domain.mfa import StoredCode

        work.second_factors.give_codes(ada, [StoredCode("0" * 64, "index-1")], now=START)
        work.commit()
    importer.run(ADA | FACTOR, **SECRETS)
    with importer.store.work() as work:
        assert work.second_factors.codes_left(ada) == 1
    importer.run(ADA | FACTOR | {"totp_secret": OTHER_TOTP_SECRET}, **SECRETS)
    with importer.store.work() as work:
        assert work.second_factors.codes_left(ada) == 0


def test_everything_about_one_account_at_once(importer: Importer, signed_in: Services) -> None:
    signed_in.pair()
    row = a_row("lovelace", email="ada@example.org", role="moderator", password="correct horse", **FACTOR)
    assert importer.results(row, **SECRETS) == ["updated"]
    user = importer.user("lovelace")
    assert (user.role, user.mfa_state) == ("moderator", "on")
    assert importer.fits("lovelace", "correct horse")
    assert importer.results(row, **SECRETS) == ["unchanged"]


def test_a_failure_undoes_the_whole_row(importer: Importer, signed_in: Services) -> None:
    """The change of the names is written before the deactivation is refused."""
    before, events = importer.user("root"), importer.events()
    row = a_row("boss", id=before.id, email="boss@example.org", is_active=False, password="correct horse", **FACTOR)
    follower: Members = {"email": "root@example.org", "username": "root2"}
    assert importer.results(row, follower, **SECRETS) == ["user.last_administrator", "updated"]
    after = importer.user("root2")
    assert (after.id, after.email, after.password_hash, after.mfa_state) == (
        before.id,
        before.email,
        before.password_hash,
        "off",
    )
    assert [type_ for type_, _ in importer.events()[len(events) :]] == ["UserUsernameChanged"]
    assert signed_in.states("root2") == [("open", None)]


# Sessions.


def test_a_new_role_ends_access_tokens_and_no_session(importer: Importer, signed_in: Services) -> None:
    tokens, other = signed_in.pair(), signed_in.issue("root")
    signed_in.later(SECOND)
    assert importer.results(ADA | {"role": "user"}, mode="upsert") == ["unchanged"]
    signed_in.verify(tokens)
    assert importer.results(ADA | {"role": "moderator"}, mode="upsert") == ["updated"]
    with pytest.raises(TokenRevoked):
        signed_in.verify(tokens)
    signed_in.verify(other)
    assert signed_in.states() == [("open", None)]
    signed_in.later(SECOND)
    signed_in.verify(signed_in.refresh(tokens))


def test_a_deactivation_ends_the_sessions(importer: Importer, signed_in: Services) -> None:
    signed_in.pair()
    assert importer.results(ADA | {"is_active": False}, mode="upsert") == ["updated"]
    assert signed_in.states() == [("revoked", "deactivated")]


def test_an_account_imported_under_its_old_id_gets_no_session_back(importer: Importer, signed_in: Services) -> None:
    tokens, ada = signed_in.pair(), importer.user("ada").id
    signed_in.accounts.delete("ada", by=BY)
    signed_in.later(SECOND)
    assert importer.results(a_row("ada", id=ada)) == ["created"]
    with pytest.raises(TokenRevoked):
        signed_in.verify(tokens)
    with pytest.raises(TokenUnknown):
        signed_in.refresh(tokens)
    assert signed_in.states() == []
