"""Accounts of Django and Ory Kratos, in the formats that their manuals document."""

import io
import json
from typing import Any

import pytest

from backctl.application.transfer.mapping import Mapping
from backctl.application.transfer.raw_rows import BadRow, IgnoredRow, ImportFormat, RawRow, read_rows
from backctl.domain.errors import UsageError


def read(form: ImportFormat, data: str, *maps: str) -> list[tuple[int, Any]]:
    source = io.BytesIO(data.encode())
    found = read_rows(source.read, form, Mapping.parse(maps, nested=True))
    return [(row.line, row.error.message if isinstance(row, BadRow) else row[1]) for row in found]


def one(form: ImportFormat, record: dict[str, Any], *maps: str) -> Any:
    [(_, found)] = read(form, json.dumps([record]), *maps)
    return found


# Django. The shape is that of `manage.py dumpdata auth` of Django 5.2.

DJANGO = {
    "model": "auth.user",
    "pk": 7,
    "fields": {
        "password": "pbkdf2_sha256$600000$c2FsdA$aGFzaA==",
        "last_login": "2026-01-03T10:00:00.123Z",
        "is_superuser": False,
        "username": "ada",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "email": "ada@example.org",
        "is_staff": False,
        "is_active": True,
        "date_joined": "2026-01-02T09:00:00Z",
        "groups": [],
        "user_permissions": [],
    },
}
ADA = {
    "username": "ada",
    "email": "ada@example.org",
    "role": "user",
    "is_active": True,
    "created_at": "2026-01-02T09:00:00Z",
    "last_login_at": "2026-01-03T10:00:00.123Z",
    "password_hash": "pbkdf2_sha256$600000$c2FsdA$aGFzaA==",
}


def django(**fields: Any) -> dict[str, Any]:
    return DJANGO | {"fields": DJANGO["fields"] | fields}  # type: ignore[operator]


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_users_of_django_are_accounts(indent: int | None) -> None:
    group = {"model": "auth.group", "pk": 1, "fields": {"name": "staff", "permissions": []}}
    found = read("django", json.dumps([DJANGO, group, django(username="bob")], indent=indent))
    assert [row for _, row in found] == [ADA, "auth.group", ADA | {"username": "bob"}]
    lines = read("django", "\n".join(map(json.dumps, [DJANGO, group, DJANGO])))
    assert lines == [(1, ADA), (2, "auth.group"), (3, ADA)]


def test_a_row_of_another_model_is_not_a_failure() -> None:
    source = io.BytesIO(b'[{"model": "sessions.session", "pk": "x", "fields": {}}]')
    assert list(read_rows(source.read, "django", Mapping.none())) == [IgnoredRow(1, "sessions.session")]


@pytest.mark.parametrize("model", ["auth.user", "accounts.User", "user"])
def test_a_user_of_any_application_is_an_account(model: str) -> None:
    assert one("django", DJANGO | {"model": model}) == ADA


@pytest.mark.parametrize(
    ("fields", "role"),
    [
        ({"is_superuser": True, "is_staff": True}, "admin"),
        ({"is_superuser": True}, "admin"),
        ({"is_staff": True}, "moderator"),
        ({}, "user"),
    ],
)
def test_superusers_and_staff_have_roles(fields: dict[str, Any], role: str) -> None:
    assert one("django", django(**fields))["role"] == role


def test_a_user_without_these_fields_has_no_role() -> None:
    assert one("django", {"model": "auth.user", "fields": {"username": "ada"}}) == {"username": "ada"}


def test_a_user_that_logs_in_with_the_address_gets_its_local_part_as_the_username() -> None:
    assert one("django", django(username="ada@example.org")) == ADA
    assert one("django", django(username="Ada@Example.ORG")) == ADA
    only = {"model": "accounts.user", "fields": {"email": "ada@example.org"}}
    assert one("django", only) == {"email": "ada@example.org", "username": "ada"}
    renamed = {"model": "accounts.user", "fields": {"mail": "bob@example.org", "nick": "bobby"}}
    assert one("django", renamed, "fields.mail=email") == {"email": "bob@example.org", "username": "bob"}
    assert one("django", django(username="someone@example.org"))["username"] == "someone@example.org"
    assert "username" not in one("django", django(username=None, email=""))


@pytest.mark.parametrize("password", ["", None, "!", "!7pYk0b2RmsSVPX8WiP9rmjU7ZLL5Lg8VwGYzTGXQ"])
def test_an_unusable_password_is_none(password: str | None) -> None:
    assert "password_hash" not in one("django", django(password=password))


def test_an_empty_address_and_no_login_are_not_given() -> None:
    found = one("django", django(email="", last_login=None))
    assert "email" not in found
    assert "last_login_at" not in found


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"email": "a"}, "it has no 'model'"),
        ({"model": 1, "fields": {}}, "it has no 'model'"),
        ({"model": "auth.user"}, "its 'fields' is not an object"),
        (django(is_superuser="yes"), "its is_superuser is not true or false"),
        (django(is_staff=1), "its is_staff is not true or false"),
    ],
)
def test_a_record_that_is_not_of_django_fails(record: dict[str, Any], why: str) -> None:
    assert one("django", record) == why


def test_a_mapping_overrides_what_follows_from_a_user_of_django() -> None:
    assert one("django", django(nick="countess"), "fields.nick=username", "fields.is_staff=")["username"] == "countess"
    assert "password_hash" not in one("django", DJANGO, "fields.password=")


# Ory Kratos. The identities are those of its documentation, shortened.

HASH = "$2a$10$ZsCsoVQ3xfBG/K2z2XpBf.tm90GZmtOqtqWcB5.pYd5Eq8y7RlDyq"
KRATOS = {
    "id": "880052ae-d32c-4b56-b82d-0dc711080910",
    "schema_id": "preset://email",
    "schema_url": "http://localhost:4455/schemas/cHJlc2V0Oi8vZW1haWw",
    "state": "active",
    "state_changed_at": "2022-02-24T15:33:17.845589803Z",
    "traits": {"email": "docs-verify@example.org"},
    "verifiable_addresses": [{"value": "docs-verify@example.org", "verified": True, "via": "email"}],
    "created_at": "2022-02-24T15:33:17.848475803Z",
    "updated_at": "2022-02-25T15:33:17.848475Z",
}
IDENTITY = {
    "id": "880052ae-d32c-4b56-b82d-0dc711080910",
    "email": "docs-verify@example.org",
    "username": "docs-verify",
    "is_active": True,
    "created_at": "2022-02-24T15:33:17.848475Z",
    "updated_at": "2022-02-25T15:33:17.848475Z",
}
URI = "otpauth://totp/Example:ada@example.org?algorithm=SHA1&digits=6&issuer=Example&period=30&secret=JBSWY3DPEHPK3PXP"


def with_password(**config: Any) -> dict[str, Any]:
    return KRATOS | {"credentials": {"password": {"type": "password", "config": config}}}


def with_codes(**credential: Any) -> dict[str, Any]:
    return KRATOS | {"credentials": {"totp": {"type": "totp", **credential}}}


@pytest.mark.parametrize("indent", [None, 2])
def test_identities_of_kratos_are_accounts(indent: int | None) -> None:
    wanted = [IDENTITY, IDENTITY | {"is_active": False}]
    identities = [KRATOS, KRATOS | {"state": "inactive"}]
    batch = {"identities": [{"patch_id": "6086b0a8", "create": identity} for identity in identities]}
    for document in (identities, batch, {"identities": identities}):
        assert [row for _, row in read("kratos", json.dumps(document, indent=indent))] == wanted
    assert read("kratos", json.dumps(KRATOS, indent=indent)) == [(1, IDENTITY)]
    assert read("kratos", "\n".join(map(json.dumps, identities))) == list(enumerate(wanted, 1))


def test_the_username_is_a_trait_or_the_local_part_of_the_address() -> None:
    assert one("kratos", {"traits": {"email": "a.b@example.org"}}) == {"email": "a.b@example.org", "username": "a.b"}
    assert one("kratos", {"traits": {"email": "a@example.org", "username": "ada"}})["username"] == "ada"
    assert one("kratos", {"traits": {"username": "ada"}}) == {"username": "ada"}


def test_passwords_of_kratos_are_kept() -> None:
    assert one("kratos", with_password(hashed_password=HASH)) == IDENTITY | {"password_hash": HASH}
    assert one("kratos", with_password(password="the-password")) == IDENTITY | {"password": "the-password"}
    assert one("kratos", with_password(hashed_password="", use_password_migration_hook=True)) == IDENTITY
    assert one("kratos", with_password(use_password_migration_hook=True)) == IDENTITY


def test_one_time_codes_of_kratos_are_kept() -> None:
    codes = {
        "mfa": "on",
        "totp_secret": "JBSWY3DPEHPK3PXP",
        "totp_algorithm": "sha1",
        "totp_digits": 6,
        "totp_period": 30,
    }
    created = {"created_at": "2022-03-01T00:00:00Z"}
    times = {"mfa_enrolled_at": "2022-03-01T00:00:00Z", "mfa_confirmed_at": "2022-03-01T00:00:00Z"}
    assert one("kratos", with_codes(config={"totp_url": URI})) == IDENTITY | codes
    assert one("kratos", with_codes(config={"totp_url": URI}, **created)) == IDENTITY | codes | times
    short = "otpauth://totp/ada?secret=ABC&algorithm=SHA256&digits=8&period=60"
    found = one("kratos", with_codes(config={"totp_url": short}))
    assert (found["totp_algorithm"], found["totp_digits"], found["totp_period"]) == ("sha256", 8, 60)
    assert one("kratos", with_codes(config={"totp_url": "otpauth://totp/ada?secret=ABC"}))["totp_digits"] == 6


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://example.org",
        "otpauth://hotp/ada?secret=ABC&counter=1",
        "otpauth://totp/ada",
        "otpauth://totp/ada?secret=ABC&digits=six",
        "otpauth://totp/ada?secret=ABC&period=3000000000",
        "otpauth://[totp/ada?secret=ABC",
        "otpauth://totp/ada?secret=ABC" + "&x=1" * 99,
    ],
)
def test_a_uri_that_is_not_of_one_time_codes_fails_and_is_not_shown(uri: str) -> None:
    found = one("kratos", with_codes(config={"totp_url": uri}))
    assert found == "its totp_url is not a valid otpauth URI of time-based codes"


@pytest.mark.parametrize("kind", ["password", "totp"])
@pytest.mark.parametrize("credential", [{"type": "x"}, {"type": "x", "config": {}}, {"type": "x", "config": None}])
def test_a_credential_without_its_secret_is_not_lost_silently(kind: str, credential: dict[str, Any]) -> None:
    record = KRATOS | {"credentials": {kind: credential}}
    source = io.BytesIO(json.dumps(record).encode())
    [row] = read_rows(source.read, "kratos", Mapping.none())
    assert isinstance(row, BadRow)
    assert row.error.message == f"its credential '{kind}' was exported without its secret"
    assert row.error.hint is not None
    assert f"include_credential={kind}" in row.error.hint
    assert one("kratos", record, f"credentials.{kind}=") == IDENTITY


def test_other_credentials_are_left_out() -> None:
    credentials = {
        "oidc": {"config": {"providers": [{"provider": "github", "subject": "12345"}]}},
        "lookup_secret": {"config": {"recovery_codes": [{"code": "x"}]}},
        "password": None,
    }
    assert one("kratos", KRATOS | {"credentials": credentials}) == IDENTITY


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"email": "a"}, "its 'traits' is not an object"),
        ({"traits": []}, "its 'traits' is not an object"),
        (KRATOS | {"state": "locked"}, "its state is not 'active' or 'inactive'"),
        (KRATOS | {"state": ["active"]}, "its state is not 'active' or 'inactive'"),
        (KRATOS | {"credentials": []}, "its 'credentials' is not an object"),
        (KRATOS | {"credentials": {"password": "x"}}, "its 'password' is not an object"),
        (KRATOS | {"credentials": {"totp": {"config": "x"}}}, "its 'config' is not an object"),
    ],
)
def test_a_record_that_is_not_an_identity_fails(record: dict[str, Any], why: str) -> None:
    assert one("kratos", record) == why


def test_a_mapping_reaches_into_traits_and_metadata() -> None:
    record = KRATOS | {"traits": {"mail": "ada@example.org"}, "metadata_admin": {"role": "admin"}}
    found = one("kratos", record, "traits.mail=email", "metadata_admin.role=role", "id=")
    assert found == {name: value for name, value in IDENTITY.items() if name != "id"} | {
        "email": "ada@example.org",
        "username": "ada",
        "role": "admin",
    }
    batch = {"identities": [{"create": record}]}
    [(_, found)] = read("kratos", json.dumps(batch), "traits.mail=email")
    assert found["email"] == "ada@example.org"


def test_values_are_not_checked_here() -> None:
    assert one("kratos", {"traits": {"email": 1}, "created_at": 5}) == {"email": 1, "created_at": 5}
    assert one("django", {"model": "auth.user", "fields": {"password": 1}}) == {"password_hash": 1}


# Mappings.


@pytest.mark.parametrize(
    ("maps", "why"),
    [
        (["email"], "invalid mapping 'email'"),
        (["=email"], "invalid mapping '=email'"),
        (["a..b=email"], "invalid mapping 'a..b=email'"),
        (["mail=e-mail"], "'mail=e-mail' maps to an unknown member"),
        (["mail=status"], "'mail=status' maps to an unknown member"),
        (["mail=email", "mail="], "the column 'mail' is mapped twice"),
        (["mail=email", "e=email"], "two columns are mapped to 'email'"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(maps: list[str], why: str) -> None:
    with pytest.raises(UsageError) as error:
        Mapping.parse(maps, nested=True)
    assert error.value.message == why


def test_a_row_does_not_show_its_members() -> None:
    source = io.BytesIO(b'{"password": "secret"}')
    [row] = read_rows(source.read, "jsonl", Mapping.none())
    assert row == RawRow(1, {"password": "secret"})
    assert repr(row) == str(row) == "RawRow(line=1)"
