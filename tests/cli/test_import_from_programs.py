"""Accounts of Django and Ory Kratos are imported from files that these programs write, and log in as before."""

import json
import time
from base64 import b32decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Machine, Outcome

from backctl.domain.one_time_codes import totp
from backctl.domain.values import Instant

DATA = Path(__file__).parent / "data"
PASSWORD = "correct horse battery staple"
SCHEMES = (
    "use bcrypt ($2a$, $2b$, $2y$), or argon2, scrypt or pbkdf2 as a PHC string or in the format of passlib, Django "
    "or Werkzeug"
)
TOTP_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.fixture
def machine(machine: Machine) -> Machine:
    machine.run("init").succeeded()
    return machine


def imported(machine: Machine, name: str, *flags: str) -> Outcome:
    (form, _, _) = name.partition("-")
    return machine.run("user", "import", str(DATA / name), "--format", form, "-o", "json", *flags)


def failures(done: Outcome) -> dict[int, Mapping[str, Any]]:
    """Return the errors of the failed rows by line."""
    assert done.code == 7
    lines = [json.loads(line) for line in done.err.splitlines()]
    return {found["line"]: found["error"] for found in lines if "line" in found}


def accounts(machine: Machine) -> dict[str, dict[str, Any]]:
    lines = machine.run("user", "export").succeeded().out.splitlines()
    return {account["username"]: account for account in map(json.loads, lines)}


def login(machine: Machine, username: str, password: str = PASSWORD, code: str = "") -> int:
    factor = ("--mfa-code-env", "CODE") if code else ()
    words = ("user", "check-password", username, "--password-stdin", *factor, "-q")
    return machine.run(*words, stdin=password, env={"CODE": code}).code


def code_now() -> str:
    return totp(b32decode(TOTP_SECRET), Instant(time.time_ns() // 1000))


# Django.

HASHED = ["pbkdf2_sha256", "pbkdf2_sha1", "argon2", "bcrypt_sha256", "bcrypt", "scrypt"]
OTHERS = ["root", "staff", "inactive", "visitor", "unusable", "żółw"]
NOT_IMPORTED = {"input.invalid": 1, "user.username_invalid": 2, "import.repeated": 1, "password.hash_invalid": 1}


@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        ("django-users.json", 0),
        ("django-users-indented.json", 0),
        ("django-users.jsonl", 0),
        ("django-auth.json", 17),  # permissions and a group
    ],
)
def test_the_users_of_django_are_accounts(machine: Machine, name: str, ignored: int) -> None:
    done = imported(machine, name, "--results", "results.jsonl")
    report = done.json
    assert (done.code, report["total"], report["created"], report["failed"]) == (7, 17, 12, 5)
    assert (report["ignored"], report["errors"]) == (ignored, dict(sorted(NOT_IMPORTED.items())))
    assert (f"backctl: {ignored} rows are not accounts and were ignored\n" in done.err) == (ignored > 0)
    found = accounts(machine)
    assert list(found) == HASHED + OTHERS
    assert {name: account["role"] for name, account in found.items() if account["role"] != "user"} == {
        "root": "admin",
        "staff": "moderator",
    }
    assert [name for name, account in found.items() if not account["is_active"]] == ["inactive"]
    assert found["visitor"]["email"] == "Visitor+news@example.org"
    assert found["visitor"]["last_login_at"] == "2026-01-03T10:00:00.000000Z"
    assert {account["created_at"] for account in found.values()} == {"2024-02-29T23:59:59.123000Z"}
    results = [json.loads(line) for line in (machine.home / "results.jsonl").read_text().splitlines()]
    rows = [found for found in results if "line" in found]
    assert [row["email"] for row in rows if row["result"] == "failed"] == [
        None,
        "sign@example.org",
        "long@example.org",
        "STAFF@example.org",
        "old@example.org",
    ]
    assert imported(machine, name, "--mode", "skip").json["created"] == 0


def test_users_of_django_log_in_with_their_passwords(machine: Machine) -> None:
    imported(machine, "django-users.jsonl")
    for username in (*HASHED, "root", "staff", "visitor", "żółw"):
        assert login(machine, username) == 0, username
    for username, password in (("bcrypt", f"{PASSWORD} "), ("inactive", PASSWORD), ("unusable", PASSWORD)):
        assert login(machine, username, password) == 6, username
    machine.run("user", "activate", "inactive").succeeded()
    assert login(machine, "inactive") == 0
    machine.run("audit", "verify").succeeded()


def test_users_of_django_that_cannot_be_accounts_fail_with_a_hint(machine: Machine) -> None:
    failed = failures(imported(machine, "django-users.jsonl", "--dry-run"))
    assert {line: (error["message"], error["hint"]) for line, error in failed.items() if line != 15} == {
        13: (
            "there is no such account, and a new one needs email",
            "add email, or name the column with '--map COLUMN=email'",
        ),
        14: (
            "'name with@sign' is not a username: it contains ' ' (U+0020)",
            "use 3 to 50 letters, digits, '.', '_' or '-', starting with a letter or digit",
        ),
        16: ("it has the same e-mail address as line 8", "keep one of the two rows, or correct one"),
        17: (
            "unsupported password hash",
            SCHEMES,
        ),
    }
    assert failed[15]["message"].endswith("it has 150 characters, not 3 to 50")
    done = machine.run("user", "import", str(DATA / "django-users.jsonl"), "--format", "django")
    assert done.err.endswith(
        "backctl: error: 5 of 17 rows failed: line 13, line 14, line 15, line 16, line 17\n"
        "backctl: hint: add email, or name the column with '--map COLUMN=email'\n"
    )


def test_a_dry_run_counts_the_hash_functions_of_django(machine: Machine) -> None:
    report = imported(machine, "django-users.json", "--dry-run").json
    assert report["password_schemes"] == {
        "argon2id": 1,
        "bcrypt": 7,
        "django-bcrypt-sha256": 1,
        "none": 1,
        "pbkdf2-sha1": 1,
        "pbkdf2-sha256": 1,
        "scrypt": 1,
    }
    assert accounts(machine) == {}


def test_a_role_that_does_not_exist_fails_with_a_hint(machine: Machine) -> None:
    failed = failures(imported(machine, "django-users.jsonl", "--map", "fields.first_name=role", "--max-errors", "20"))
    assert failed[8]["code"] == "role.unknown"
    assert failed[8]["message"] == "there is no role 'Zoë'"
    assert "moderator" in failed[8]["hint"]


# Ory Kratos.


def test_identities_of_kratos_are_imported_from_its_import_format(machine: Machine) -> None:
    done = imported(machine, "kratos-import.json", "--map", "metadata_admin.role=role")
    assert {error["message"] for error in failures(done).values()} == {
        "there is no such account, and a new one needs email"
    }
    assert (done.json["created"], done.json["failed"]) == (5, 1)
    found = accounts(machine)
    assert {name: account["role"] for name, account in found.items()} == {
        **dict.fromkeys(("ann", "benjamin", "cat", "dan", "eve"), "user"),
        "benjamin": "moderator",
    }
    for username in ("ann", "cat", "dan"):
        assert login(machine, username) == 0, username
        assert login(machine, username, "another horse battery") == 6
    assert login(machine, "eve") == 6
    assert login(machine, "benjamin") == 6
    assert login(machine, "benjamin", code=code_now()) == 0
    assert imported(machine, "kratos-import.json", "--mode", "skip").json["unchanged"] == 5


def test_identities_of_kratos_are_imported_as_its_api_lists_them(machine: Machine) -> None:
    failed = failures(done := imported(machine, "kratos-list.json"))
    assert (done.json["created"], done.json["failed"]) == (2, 1)
    (error,) = failed.values()
    assert error["message"] == "its credential 'password' was exported without its secret"
    assert "include_credential=password" in error["hint"]
    found = accounts(machine)
    ann, bob = found["ann"], found["bob"]
    assert (ann["id"], ann["created_at"], ann["updated_at"]) == (
        "9f425a8d-7efc-4768-8f23-7647a74fdf13",
        "2024-02-29T23:59:59.121212Z",
        "2025-01-01T00:00:00.000000Z",
    )
    assert (ann["is_active"], bob["is_active"]) == (True, False)
    assert login(machine, "ann") == 6
    assert login(machine, "ann", code=code_now()) == 0
    machine.run("user", "activate", "bob").succeeded()
    assert login(machine, "bob") == 0
    again = imported(machine, "kratos-list.json", "--mode", "upsert", "--map", "credentials.password=")
    assert (again.code, again.json["created"], again.json["updated"]) == (0, 1, 1)  # bob is inactive there
