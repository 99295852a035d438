"""Accounts move from SQLite to PostgreSQL with an export and an import, and nothing about them changes."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import VERSIONS
from tests.cli.machines import Machine, ServerStorage, Storage
from tests.cli.test_user_mfa import code_of
from tests.servers import PostgresVersion
from tests.unit.test_foreign_hashes import PUBLISHED

PASSWORD = "correct horse battery"
LONG_PASSWORD = "correct horse battery staple " * 5  # longer than the 72 bytes of bcrypt
SECRETS = ("--include-hashes", "--include-mfa", "--yes")
FORMATS = ["jsonl", "json", "csv"]

UNUSUAL = [
    ("żółw", "zolw@example.org"),
    ("李小龍", "李小龍@例え.jp"),
    ("n" * 50, f"{'l' * 60}@example.org"),
    ("\ufb01sh", "=1+1@example.org"),
    ("e\u0301tude", "o'neil@example.org"),
    ("null", "never@example.org"),
    ("true", "\u00fc@b\u00fccher.example"),
    ("007", "-dash@example.org"),
]
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
FACTORS: list[dict[str, Any]] = [
    {"mfa": "pending", "totp_secret": SECRET, "mfa_enrolled_at": "2024-01-01T00:00:00Z"},
    {"mfa": "on", "totp_secret": SECRET, "totp_algorithm": "sha512", "totp_digits": 8, "totp_period": 60},
    {
        "mfa": "on",
        "totp_secret": "MFRGGZDFMZTWQ2LK",
        "totp_algorithm": "sha256",
        "totp_last_used_step": 57000000,
        "mfa_enrolled_at": "2024-01-01T00:00:00.000001Z",
        "mfa_confirmed_at": "2024-01-02T00:00:00.999999Z",
    },
]
STATES: list[dict[str, Any]] = [
    {"is_active": False},
    {"expires_at": "2020-01-01T00:00:00Z"},
    {"expires_at": "2999-12-31T23:59:59.999999Z"},
    {"must_change_password": True, "password_hash": PUBLISHED[0][1]},
    {"role": "admin"},
    {"role": "moderator", "version": 41, "created_at": "2001-02-03T04:05:06Z", "updated_at": "2011-12-13T14:15:16.17Z"},
    {"last_login_at": "2024-02-29T12:00:00.5Z", "id": "00000000-0000-4000-8000-000000000000"},
    {"id": "FFFFFFFF-FFFF-4FFF-BFFF-FFFFFFFFFFFF"},
]

ONE_OF_EACH_SCHEME = {
    re.split("[$:]", encoded.removeprefix("$"))[0]: (number, password)
    for number, (password, encoded) in enumerate(PUBLISHED)
    if password.isalnum()
}


def rows() -> Iterator[Mapping[str, object]]:
    """Yield accounts that no command can create."""
    for username, email in UNUSUAL:
        yield {"username": username, "email": email}
    for kind, members in [("state", STATES), ("factor", FACTORS)]:
        for number, given in enumerate(members):
            yield {"username": f"{kind}{number}", "email": f"{kind}{number}@example.org", **given}
    for number, (_, encoded) in enumerate(PUBLISHED):
        yield {"username": f"hash{number}", "email": f"hash{number}@example.org", "password_hash": encoded}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Return an installation on SQLite with accounts of every kind. The code of `ada` in the file `used` was used."""
    machine = Storage().machine(tmp_path_factory.mktemp("source"))
    machine.run("init").succeeded()
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows())
    report = machine.run("user", "import", "-", "-o", "json", stdin=content).succeeded().json
    assert report["created"] == report["total"] == content.count("\n")
    for username, password in (("ada", PASSWORD), ("bob", LONG_PASSWORD)):
        machine.create_user(username)
        machine.run("user", "set-password", username, "--password-stdin", stdin=password).succeeded()
    machine.create_user("cid", "--expires-in", "30d", "--role", "admin")
    machine.run("user", "deactivate", "cid").succeeded()
    secret = machine.run("user", "mfa", "enroll", "ada", "-o", "json").succeeded().json["secret"]
    code = code_of(secret)
    machine.run("user", "mfa", "confirm", "ada", "--code-stdin", stdin=code).succeeded()
    (machine.home / "used").write_text(code)
    (machine.home / "secret").write_text(secret)
    return machine


@pytest.fixture(params=VERSIONS)
def target(
    request: pytest.FixtureRequest, tmp_path: Path, on_server: Callable[[PostgresVersion], ServerStorage]
) -> Iterator[Machine]:
    storage = on_server(VERSIONS[request.param])
    machine = storage.machine(tmp_path)
    yield machine
    storage.forget(machine)


def exported(machine: Machine, form: str) -> str:
    return machine.run("user", "export", "--format", form, *SECRETS).succeeded().out


def imported(machine: Machine, form: str, content: str, *flags: str) -> Any:
    words = ("user", "import", "-", "--format", form, "-o", "json", *flags)
    return machine.run(*words, stdin=content).succeeded().json


def login(machine: Machine, username: str, password: str, code: str | None = None) -> int:
    words = ("user", "check-password", username, "--password-stdin", "-q")
    factor = () if code is None else ("--mfa-code-env", "CODE")
    return machine.run(*words, *factor, stdin=password, env={"CODE": code or ""}).code


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_has_the_same_bytes_after_the_move(source: Machine, target: Machine, form: str) -> None:
    moved = exported(source, form)
    total = sum(1 for _ in rows()) + 3
    report = imported(target, form, moved)
    assert (report["total"], report["created"], report["failed"]) == (total, total, 0)
    for each in FORMATS:
        assert exported(target, each) == exported(source, each)
    for flags in (("skip",), ("upsert",), ("upsert", "--update-secrets")):
        report = imported(target, form, moved, "--mode", *flags)
        assert (report["unchanged"], report["changed"]) == (total, False)
    assert exported(target, form) == moved
    target.run("audit", "verify").succeeded()


def test_accounts_log_in_after_the_move(source: Machine, target: Machine) -> None:
    imported(target, "jsonl", exported(source, "jsonl"))
    secret, used = ((source.home / name).read_text() for name in ("secret", "used"))
    assert login(target, "bob", LONG_PASSWORD) == 0
    assert login(target, "bob", LONG_PASSWORD + "x") == 6
    assert login(target, "ada", PASSWORD) == 6
    assert login(target, "ada", PASSWORD, used) == 6
    assert login(target, "ada", PASSWORD, code_of(secret, ahead=1)) == 0
    assert target.run("user", "mfa", "status", "ada", "-o", "json").succeeded().json["recovery_codes_left"] == 0
    assert login(target, "state3", PUBLISHED[0][0]) == 0
    for number, password in ONE_OF_EACH_SCHEME.values():
        assert login(target, f"hash{number}", password) == 0, PUBLISHED[number]
