"""The record of an account: which values its members may have, what they mean, and the errors that name them."""

import base64
import pickle
import traceback
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.application.factor_steps import GivenFactor
from backctl.application.transfer.account_row import AccountRow, RowParser
from backctl.application.transfer.raw_rows import RawRow
from backctl.application.transfer.record import DESCRIPTIVE, IMPORTABLE
from backctl.domain.access import AccessPolicy, Role
from backctl.domain.errors import (
    BackctlError,
    InvalidEmail,
    InvalidInput,
    InvalidPassword,
    InvalidPasswordHash,
    InvalidUsername,
    UnknownRole,
    WeakPassword,
)
from backctl.domain.mfa import NEVER_USED
from backctl.domain.one_time_codes import DEFAULT_TOTP, TotpSettings
from backctl.domain.password_policy import PasswordPolicy
from backctl.domain.values import NEVER, Expiry, Instant, PasswordHash
from backctl.infrastructure.addresses import EmailValidatorParser
from backctl.infrastructure.crypto.password_hasher import BcryptHasher

PARSER = RowParser(
    addresses=EmailValidatorParser(),
    hasher=lambda: BcryptHasher(12),
    passwords=lambda: PasswordPolicy(8, {"correcthorse"}.__contains__),
    access=AccessPolicy([Role("auditor", "", ())]),
)
ID = "01935b1e-7c3a-7def-8abc-0123456789ab"
BCRYPT = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"
BCRYPT_SHA256 = "$bcrypt-sha256$v=2,t=2b,r=12$n79VH.0Q2TMWmt3Oqt9uku$Kq4Noyk3094Y2QlB8NdRT8SvGiI4ft2"
DJANGO = "pbkdf2_sha256$600000$abcdefghijklmnop$" + base64.b64encode(b"d" * 32).decode()
PASSWORD = "brown foxes jump"
SECRET = b"12345678901234567890"
TOTP = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

EXPORTED: dict[str, object] = {
    "id": ID,
    "email": "Ada@Example.org",
    "username": "Ada",
    "role": "auditor",
    "is_active": False,
    "expires_at": "2030-01-01T00:00:00.000000Z",
    "must_change_password": True,
    "last_login_at": "2026-01-03T03:04:05.000007Z",
    "created_at": "2026-01-01T00:00:00.000000Z",
    "updated_at": "2026-01-02T00:00:00.000000Z",
    "version": 7,
    "password_hash": BCRYPT,
    "password_imported": False,
    "mfa": "on",
    "totp_secret": TOTP,
    "totp_algorithm": "sha256",
    "totp_digits": 8,
    "totp_period": 60,
    "totp_last_used_step": 55,
    "mfa_enrolled_at": "2026-01-01T00:00:01.000000Z",
    "mfa_confirmed_at": "2026-01-01T00:00:02.000000Z",
}


def parsed(**members: object) -> AccountRow:
    return PARSER.parse(RawRow(3, members))


def refusal(members: dict[str, object], kind: type[BackctlError] = InvalidInput) -> BackctlError:
    with pytest.raises(kind) as caught:
        parsed(**members)
    assert type(caught.value) is kind
    return caught.value


def written(value: object) -> object:
    """Return the cell that CSV has for a value."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def factor(**members: object) -> GivenFactor:
    found = parsed(**members).factor
    assert found is not None
    return found


def test_an_export_is_read_back() -> None:
    row = parsed(**EXPORTED)
    assert row.line == 3
    assert row.id == ID
    assert row.email is not None
    assert (row.email.address, row.email.key) == ("Ada@example.org", "ada@example.org")
    assert row.username is not None
    assert (row.username.name, row.username.key) == ("Ada", "ada")
    assert (row.role, row.is_active, row.must_change_password, row.version) == ("auditor", False, True, 7)
    assert row.expiry == Expiry(at=Instant.parse("2030-01-01"))
    assert row.last_login_at == Instant.parse("2026-01-03T03:04:05.000007Z")
    assert (row.created_at, row.updated_at) == (Instant.parse("2026-01-01"), Instant.parse("2026-01-02"))
    assert row.password is None
    assert row.password_hash == PasswordHash(BCRYPT, imported=False)
    assert row.factor == GivenFactor(
        "on",
        SECRET,
        TotpSettings("sha256", 8, 60),
        Instant.parse("2026-01-01T00:00:01Z"),
        Instant.parse("2026-01-01T00:00:02Z"),
        55,
    )


def test_csv_means_the_same_as_json() -> None:
    assert parsed(**{name: written(value) for name, value in EXPORTED.items()}) == parsed(**EXPORTED)


def test_every_importable_member_is_covered_here() -> None:
    assert {*EXPORTED, "password"} == set(IMPORTABLE)


@pytest.mark.parametrize("members", [{}, {name: None for name in IMPORTABLE if name != "expires_at"}])
def test_what_is_missing_or_null_is_not_given(members: dict[str, object]) -> None:
    assert parsed(**members) == AccountRow(3, *[None] * 14)


@pytest.mark.parametrize("value", [None, "never"])
def test_an_account_can_be_said_never_to_expire(value: object) -> None:
    assert parsed(expires_at=value).expiry is NEVER


def test_what_a_listing_prints_besides_is_ignored() -> None:
    listed = dict.fromkeys(DESCRIPTIVE, "anything") | {"has_password": True, "mfa": "off", "password_imported": True}
    assert parsed(**listed) == parsed()


@pytest.mark.parametrize(
    ("name", "shown"),
    [("nickname", "nickname"), ("E-mail", "E-mail"), ("a b", "NAME"), ("x'; rm", "NAME"), ("", "NAME")],
)
def test_an_unknown_member_is_refused_with_the_way_to_ignore_it(name: str, shown: str) -> None:
    error = refusal({"email": "ada@example.org", name: None})
    assert error.message == f"an account has no member '{name}'"
    assert error.hint == f"ignore it with '--map {shown}=', or rename it with '--map {shown}=MEMBER'"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("id", 7, "id must be text, not a number"),
        ("id", "7", "id: '7' is not a UUID"),
        ("id", ID + "\n", rf"id: '{ID}\n' is not a UUID"),
        ("id", ID.replace("-", ""), f"id: '{ID.replace('-', '')}' is not a UUID"),
        ("email", ["ada@example.org"], "email must be text, not an array"),
        ("username", True, "username must be text, not a boolean"),
        ("role", {}, "role must be text, not an object"),
        ("is_active", 1, "is_active must be true or false, not a number"),
        ("is_active", 1.0, "is_active must be true or false, not a number"),
        ("is_active", "1", "is_active must be true or false, not '1'"),
        ("is_active", "yes", "is_active must be true or false, not 'yes'"),
        ("is_active", "True", "is_active must be true or false, not 'True'"),
        ("must_change_password", "", "must_change_password must be true or false, not ''"),
        ("password_imported", 0, "password_imported must be true or false, not a number"),
        ("expires_at", 1767225600, "expires_at must be text, not a number"),
        ("expires_at", "soon", "expires_at: 'soon' is not a date or time"),
        ("expires_at", "2026-01-01T00:00:00", "expires_at: '2026-01-01T00:00:00' is not a date or time"),
        ("created_at", "", "created_at: '' is not a date or time"),
        ("updated_at", "2026-02-30", "updated_at: '2026-02-30' is not a date or time"),
        ("last_login_at", "never", "last_login_at: 'never' is not a date or time"),
        ("created_at", "0001-01-01T00:00:00+01:00", "created_at: '0001-01-01T00:00:00+01:00' is out of range"),
        ("version", 0, "version must be 1 to 4503599627370496, not 0"),
        ("version", 2**63, "version must be 1 to 4503599627370496, not 9223372036854775808"),
        ("version", 1.0, "version must be an integer, not a number"),
        ("version", True, "version must be an integer, not a boolean"),
        ("version", "1.0", "version must be an integer, not '1.0'"),
        ("version", "-1", "version must be an integer, not '-1'"),
        ("version", "٣", "version must be an integer, not '٣'"),
        ("version", "9" * 5000, f"version must be an integer, not '{'9' * 80}…'"),
        ("mfa", True, "mfa must be text, not a boolean"),
        ("mfa", "enabled", "mfa: 'enabled' is not off, pending or on"),
        ("mfa", "on", "mfa is on, but there is no totp_secret"),
        ("mfa", "pending", "mfa is pending, but there is no totp_secret"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_member(name: str, value: object, message: str) -> None:
    assert refusal({name: value}).message == message


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"email": "ada"}, InvalidEmail),
        ({"email": ""}, InvalidEmail),
        ({"username": "a"}, InvalidUsername),
        ({"username": ""}, InvalidUsername),
        ({"role": "root"}, UnknownRole),
        ({"role": ""}, UnknownRole),
        ({"password": "a\nb"}, InvalidPassword),
        ({"password_hash": "{SSHA}x"}, InvalidPasswordHash),
        ({"password_hash": ""}, InvalidPasswordHash),
        ({"password_hash": BCRYPT.replace("$12$", "$18$")}, InvalidPasswordHash),
    ],
)
def test_values_are_judged_as_in_every_other_command(members: dict[str, object], kind: type[BackctlError]) -> None:
    refusal(members, kind)


def test_an_id_of_any_version_and_case_is_kept_in_lower_case() -> None:
    assert parsed(id="6BA7B810-9DAD-11D1-80B4-00C04FD430C8").id == "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


def test_an_update_is_not_before_the_creation() -> None:
    created, updated = "2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00.000000Z"
    assert refusal({"created_at": created, "updated_at": updated}).message == (
        f"updated_at {updated} is before created_at {created}"
    )
    assert parsed(updated_at=updated).updated_at == parsed(created_at=updated, updated_at=updated).updated_at


# Passwords.


def test_a_password_is_prepared_for_hashing() -> None:
    row = parsed(email="ada@example.org", username="ada", password="brown\u00a0foxes e\u0301")
    assert row.password is not None
    assert row.password.reveal() == "brown foxes \u00e9"
    assert row.password_hash is None


@pytest.mark.parametrize("password", ["short", "CorrectHorse", "ada.lovelace1"])
def test_a_password_obeys_the_policy(password: str) -> None:
    account = {"email": "ada.lovelace@example.org", "username": "ada.lovelace"}
    refusal({**account, "password": password}, WeakPassword)


def test_a_password_without_both_names_is_not_yet_judged() -> None:
    for names in ({}, {"email": "ada.lovelace@example.org"}, {"username": "ada.lovelace"}):
        row = parsed(**names, password="ada.lovelace1")
        assert row.password is not None


def test_an_empty_password_is_not_the_lack_of_one() -> None:
    error = refusal({"password": ""})
    assert (error.message, error.hint) == ("password is empty", "leave it out for an account without a password")


def test_a_password_and_a_hash_exclude_each_other() -> None:
    error = refusal({"password": PASSWORD, "password_hash": BCRYPT})
    assert error.message == "the record has both a password and a password_hash"
    assert parsed(password=PASSWORD, password_hash=None).password is not None
    assert parsed(password=None, password_hash=BCRYPT).password_hash is not None


@pytest.mark.parametrize(
    ("encoded", "given", "imported"),
    [
        (BCRYPT, None, True),
        (BCRYPT, True, True),
        (BCRYPT, False, False),
        (BCRYPT_SHA256, False, False),
        (BCRYPT.replace("$2b$", "$2y$"), False, True),
        ("bcrypt$" + BCRYPT, False, True),
        (DJANGO, False, True),
    ],
)
def test_only_hashes_in_our_own_formats_are_not_imported(encoded: str, given: bool | None, imported: bool) -> None:
    assert parsed(password_hash=encoded, password_imported=given).password_hash == PasswordHash(encoded, imported)


# Second factors.


@pytest.mark.parametrize("mfa", [None, "on"])
def test_a_secret_alone_is_a_confirmed_factor_with_ordinary_settings(mfa: object) -> None:
    assert factor(mfa=mfa, totp_secret=TOTP) == GivenFactor("on", SECRET, DEFAULT_TOTP, None, None, NEVER_USED)


def test_a_pending_factor_stays_pending() -> None:
    assert factor(mfa="pending", totp_secret=TOTP).state == "pending"
    error = refusal({"mfa": "pending", "totp_secret": TOTP, "mfa_confirmed_at": "2026-01-01"})
    assert error.message == "mfa is pending, but mfa_confirmed_at is given"


@pytest.mark.parametrize("text", [TOTP.lower(), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ", f"{TOTP}=", TOTP + "======"])
def test_the_secret_is_read_as_authenticators_read_it(text: str) -> None:
    assert factor(totp_secret=text).secret == SECRET


def test_settings_without_a_secret_are_ignored() -> None:
    settings = {"totp_algorithm": "sha1", "totp_digits": 6, "totp_period": 30}
    assert parsed(**settings) == parsed(mfa="off", **settings) == parsed()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"mfa": "off"}, "mfa is off, but there is a totp_secret"),
        ({"totp_secret": "0189"}, "totp_secret is not base32"),
        ({"totp_secret": "é" * 16}, "totp_secret is not base32"),
        ({"totp_secret": "A"}, "totp_secret is not base32"),
        ({"totp_secret": ""}, "totp_secret has 0 bytes, not 10 to 128"),
        ({"totp_secret": "GEZDGNBV"}, "totp_secret has 5 bytes, not 10 to 128"),
        ({"totp_secret": "A" * 208}, "totp_secret has 130 bytes, not 10 to 128"),
        ({"totp_secret": 5}, "totp_secret must be text, not a number"),
        ({"totp_algorithm": "md5"}, "totp_algorithm: 'md5' is not sha1, sha256 or sha512"),
        ({"totp_digits": 5}, "totp_digits must be 6 to 8, not 5"),
        ({"totp_digits": "9"}, "totp_digits must be 6 to 8, not 9"),
        ({"totp_period": 5}, "totp_period must be 10 to 300, not 5"),
        ({"totp_period": 301}, "totp_period must be 10 to 300, not 301"),
        ({"totp_last_used_step": -1}, "totp_last_used_step must be 0 to 9223372036854775807, not -1"),
        ({"mfa_enrolled_at": "x"}, "mfa_enrolled_at: 'x' is not a date or time"),
    ],
)
def test_an_unusable_factor_is_refused(members: dict[str, object], message: str) -> None:
    error = refusal({"totp_secret": TOTP} | members)
    assert error.message == message
    assert TOTP not in error.message


def test_algorithms_may_be_written_in_capitals() -> None:
    assert factor(totp_secret=TOTP, totp_algorithm="SHA512").settings.algorithm == "sha512"


# Secrets.

SECRET_MEMBERS = ("password", "password_hash", "totp_secret")


@given(st.sampled_from(SECRET_MEMBERS), st.text(min_size=12), st.sampled_from(["", "on", "off", "pending"]))
def test_no_error_or_repr_contains_a_secret(name: str, secret: str, mfa: str) -> None:
    members: dict[str, Any] = {name: secret, "mfa": mfa, "email": "ada@example.org", "username": "ada"}
    try:
        shown = repr(PARSER.parse(RawRow(1, members)))
    except BackctlError as error:
        shown = "".join(traceback.format_exception_only(error)) + repr(error) + str(error.hint)
    assert secret not in shown


def test_a_factor_is_neither_shown_nor_pickled() -> None:
    found = factor(totp_secret=TOTP)
    assert repr(SECRET) not in repr(found)
    with pytest.raises(TypeError):
        pickle.dumps(found)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


@given(st.dictionaries(st.sampled_from(IMPORTABLE + DESCRIPTIVE), json_values | st.sampled_from([*EXPORTED.values()])))
def test_no_value_gets_past_the_error_tree(members: dict[str, object]) -> None:
    with suppress(BackctlError):
        assert isinstance(parsed(**members), AccountRow)
