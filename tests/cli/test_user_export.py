"""`user export`: formats, filters, files, and secrets that leave only after a confirmation and an event."""

import csv
import io
import json
import os
import re
import signal
import stat
import subprocess
import time
from base64 import b32decode
from pathlib import Path
from typing import Any

import pytest
from tests.cli.accounts import Person, python
from tests.cli.conftest import Machine
from tests.cli.expected import TIME, refused
from tests.cli.files import contents
from tests.cli.test_protection import with_a_second_factor

pytestmark = pytest.mark.every_database

PEOPLE = [Person("root", role="admin"), Person("ada"), Person("bob", active=False), Person("eve")]
KEYS = [
    *("id", "email", "username", "role", "is_active", "expires_at", "must_change_password", "last_login_at"),
    *("created_at", "updated_at", "version"),
]
HASHES = ["password_hash", "password_imported"]
FACTORS = [
    *("mfa", "totp_secret", "totp_algorithm", "totp_digits", "totp_period", "totp_last_used_step"),
    *("mfa_enrolled_at", "mfa_confirmed_at"),
]
SECRETS = ("--include-hashes", "--include-mfa")
REPORT = ["file", "size_bytes", "accounts", "hashes", "mfa", "changed"]


def exported(machine: Machine, *flags: str) -> list[dict[str, Any]]:
    lines = machine.run("user", "export", *flags).succeeded().out.splitlines()
    return [json.loads(line) for line in lines]


def recorded(machine: Machine) -> list[Any]:
    events = machine.run("audit", "list", "--all", "--type", "AccountsExported", "-o", "json").succeeded().json["items"]
    return [(event["subject"], event["actor"], event["reason"], event["data"]) for event in events]


# Formats.


def test_json_lines_are_the_accounts_by_id(untouched: Machine) -> None:
    found = exported(untouched)
    assert [list(account) for account in found] == [KEYS] * 4
    assert [account["username"] for account in found] == ["root", "ada", "bob", "eve"]
    listed = untouched.run("user", "list", "--all", "--sort", "id", "-o", "json").succeeded().json["items"]
    assert found == [{name: account[name] for name in KEYS} for account in listed]


def test_the_formats_have_the_same_content(untouched: Machine) -> None:
    found = exported(untouched)
    document = untouched.run("user", "export", "--format", "json").succeeded().json
    assert document == {"items": found, "next_cursor": None}
    text = untouched.run("user", "export", "--format", "csv").succeeded().out
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert rows == [
        {
            name: "" if value is None else str(value).lower() if isinstance(value, (bool, int)) else value
            for name, value in account.items()
        }
        for account in found
    ]
    assert text.splitlines()[0] == ",".join(KEYS)
    assert "\r" not in text


def test_the_shared_flag_for_the_output_selects_the_format_too(untouched: Machine) -> None:
    for form in ("jsonl", "json", "csv"):
        wanted = untouched.run("user", "export", "--format", form).succeeded().out
        assert untouched.run("user", "export", "-o", form).succeeded().out == wanted
        assert untouched.run("user", "export", "--format", form, "-o", "json").succeeded().out == wanted
        assert untouched.run("user", "export", "--format", form, "-q", "--out", "-").succeeded().out == wanted
    assert untouched.run("user", "export", "-o", "tsv").succeeded().out == untouched.run("user", "export").out
    headless = untouched.run("user", "export", "--format", "csv", "--no-header").succeeded().out
    assert headless.splitlines() == untouched.run("user", "export", "--format", "csv").out.splitlines()[1:]


def test_filters_select_the_same_accounts_as_for_the_list(untouched: Machine) -> None:
    for flags in (("--role", "admin"), ("--inactive",), ("--search", "b"), ("--created-before", "1d"), ("--mfa", "on")):
        wanted = untouched.run("user", "list", "--all", *flags, "-o", "json").succeeded().json["items"]
        assert [each["id"] for each in exported(untouched, *flags)] == [account["id"] for account in wanted]
    assert untouched.run("user", "export", "--mfa", "on", "-o", "json").json == {"items": [], "next_cursor": None}


def test_cells_that_a_spreadsheet_would_run_get_an_apostrophe(machine: Machine) -> None:
    machine.create_user("tom", email="+tom@example.org")
    machine.create_user("kim")
    rows = machine.run("user", "export", "--format", "csv", "--spreadsheet-safe").succeeded().out.splitlines()
    assert [row.split(",")[1] for row in rows] == ["email", "'+tom@example.org", "kim@example.org"]
    rows = machine.run("user", "export", "--format", "csv").succeeded().out.splitlines()
    assert [row.split(",")[1] for row in rows] == ["email", "+tom@example.org", "kim@example.org"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--spreadsheet-safe",), "--spreadsheet-safe is for CSV"),
        (("--overwrite",), "--overwrite needs --out FILE"),
        (("--out", "-", "--overwrite"), "--overwrite needs --out FILE"),
        (("--fields", "id"), None),
        (("--fields", "accounts"), "--fields selects members of the report about --out FILE"),
        (("--created-after", "sometimes"), None),
        (("--active", "--status", "closed"), None),
    ],
)
def test_flags_without_a_meaning_are_refused(untouched: Machine, flags: tuple[str, ...], message: str | None) -> None:
    done = untouched.run("user", "export", *flags)
    assert (done.code, done.out) == (2, "")
    assert message is None or f"backctl: error: {message}\n" in done.err


# Files.


def test_a_file_is_complete_and_private_and_a_report_is_printed(installed: Machine) -> None:
    wanted = installed.run("user", "export").succeeded().out
    done = installed.run("user", "export", "--out", "made", "-o", "json").succeeded().json
    assert list(done) == REPORT
    size = len(wanted.encode())
    assert done == {
        "file": "made",
        "size_bytes": size,
        "accounts": 4,
        "hashes": False,
        "mfa": False,
        "changed": False,
    }
    assert (installed.home / "made").read_text() == wanted
    assert stat.S_IMODE((installed.home / "made").stat().st_mode) == 0o600
    assert installed.run("user", "export", "--out", "other", "-q").succeeded().out == ""


def test_a_file_is_replaced_only_on_request(installed: Machine) -> None:
    (installed.home / "made").write_text("before")
    for flags in ((), ("--dry-run",), (*SECRETS, "--yes")):
        error = refused(installed.run("user", "export", "--out", "made", "-o", "json", *flags), 4, "file.exists")
        assert "--overwrite" in error["hint"] or "--dry-run" in flags
        assert (installed.home / "made").read_text() == "before"
    assert recorded(installed) == []
    installed.run("user", "export", "--out", "made", "--overwrite", "--format", "csv").succeeded()
    assert (installed.home / "made").read_text().startswith("id,email,")


def test_an_export_that_is_stopped_leaves_no_file(installed: Machine) -> None:
    script = """
import os, signal, sys
from backctl.application.transfer import formats
from backctl.presentation.app import run

def stopped(self, columns):
    os.kill(os.getpid(), int(sys.argv[1]))
    return iter(())

formats._Json._lines = stopped
sys.exit(run(sys.argv[2:]))
"""
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        before = set(os.listdir(installed.home))
        done = subprocess.run(
            [*installed.command()[:1], "-c", script, str(int(number)), "user", "export", "--out", "made"],
            env=installed.environment,
            cwd=installed.home,
            capture_output=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (code, b""), done.stderr
        assert set(os.listdir(installed.home)) == before


def test_a_reader_that_leaves_is_no_error(installed: Machine) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = installed.start("user", "export", stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 0


# Secrets.


def test_secrets_are_exported_after_a_confirmation_and_recorded(installed: Machine) -> None:
    with_a_second_factor(installed)
    password = ("user", "set-password", "eve", "--password-stdin", "-q")
    installed.run(*password, stdin="correct horse battery").succeeded()
    root, ada, bob, eve = exported(installed, *SECRETS, "--yes", "--actor", "mover", "--reason", "we move")
    assert [list(account) for account in (root, ada, bob, eve)] == [[*KEYS, *HASHES, *FACTORS]] * 4
    assert eve["password_hash"].startswith("$2b$")
    assert eve["password_imported"] is False
    assert (root["password_hash"], root["mfa"], root["totp_secret"]) == (None, "off", None)
    assert (ada["mfa"], ada["totp_algorithm"], ada["totp_digits"], ada["totp_period"]) == ("on", "sha1", 6, 30)
    assert len(b32decode(ada["totp_secret"])) == 20
    assert ada["totp_last_used_step"] == pytest.approx(time.time() // 30, abs=3)
    assert ada["mfa_enrolled_at"] < ada["mfa_confirmed_at"]
    assert recorded(installed) == [("accounts", "mover", "we move", {"hashes": True, "mfa": True})]
    assert [list(account) for account in exported(installed, "--include-hashes", "-y")] == [[*KEYS, *HASHES]] * 4
    assert [list(account) for account in exported(installed, "--include-mfa", "-y")] == [[*KEYS, *FACTORS]] * 4
    assert [data for *_, data in recorded(installed)][1:] == [
        {"hashes": True, "mfa": False},
        {"hashes": False, "mfa": True},
    ]
    installed.run("audit", "verify").succeeded()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--include-hashes",), "password hashes"),
        (("--include-mfa",), "second factors"),
        (SECRETS, "password hashes and second factors"),
    ],
)
def test_without_a_confirmation_nothing_leaves(untouched: Machine, flags: tuple[str, ...], named: str) -> None:
    for out in ((), ("--out", "made")):
        error = refused(untouched.run("user", "export", *flags, *out, "-o", "json"), 8, "confirmation.required")
        assert error["message"] == f"not confirmed: export accounts with their {named}{untouched.where}?"
        assert error["hint"] == "confirm with --yes"
    done = untouched.at_terminal("user", "export", *flags, "--yes")
    assert done.code == 2
    assert f"{named} are not shown on a terminal" in done.out
    assert "$2b$" not in done.out
    question = f"export accounts with their {named}{untouched.where}? [y/N] "
    assert untouched.at_terminal("user", "export", *flags, "--out", "made", keys=[(question, "n\n")]).code == 8


def test_a_person_confirms_at_a_terminal(installed: Machine) -> None:
    question = f"export accounts with their password hashes{installed.where}? [y/N] "
    done = installed.at_terminal("user", "export", "--include-hashes", "--out", "made", keys=[(question, "y\n")])
    assert done.code == 0
    assert "made" in done.out
    assert (installed.home / "made").exists()
    assert len(recorded(installed)) == 1


def test_a_dry_run_counts_and_exports_nothing(untouched: Machine) -> None:
    for flags, changed in (((), False), (SECRETS, True)):
        for out in ((), ("--out", "made")):
            words = ("user", "export", "--role", "user", *flags, *out, "--dry-run", "-o", "json")
            assert untouched.run(*words).succeeded().json == {
                "file": "made" if out else None,
                "size_bytes": None,
                "accounts": 3,
                "hashes": changed,
                "mfa": changed,
                "changed": changed,
                "dry_run": True,
            }


def test_a_secret_that_cannot_be_decrypted_names_its_account_and_leaves_no_file(installed: Machine) -> None:
    with_a_second_factor(installed)
    installed.rows("UPDATE mfa_secrets SET kid = 'lost' RETURNING user_id")
    before = set(os.listdir(installed.home))
    error = refused(
        installed.run("user", "export", "--include-mfa", "--out", "made", "--yes", "-o", "json"),
        9,
        "mfa.secret_unusable",
    )
    assert error["message"].startswith("account 'ada': the second factor is encrypted under the key 'lost'")
    assert set(os.listdir(installed.home)) == before
    assert len(exported(installed)) == 4


def test_a_protected_profile_asks_only_about_secrets(installed: Machine) -> None:
    installed.environment["BACKCTL_PROTECTED"] = "true"
    assert len(exported(installed)) == 4
    before = contents(installed.home)
    refused(installed.run("user", "export", *SECRETS, "--yes", "-o", "json"), 8, "confirmation.required")
    assert contents(installed.home) == before
    assert len(exported(installed, *SECRETS, "--yes", "--reason", "we move")) == 4


def test_only_secrets_need_the_keyring(installed: Machine) -> None:
    wanted = exported(installed)
    (installed.data / "keyring.json").unlink()
    assert exported(installed) == wanted
    assert installed.run("user", "export", "--dry-run", "-o", "json").succeeded().json["accounts"] == 4
    installed.run("user", "export", "--out", "made").succeeded()
    for flags in (("--include-hashes",), ("--include-mfa",), (*SECRETS, "--dry-run")):
        done = installed.run("user", "export", *flags, "--yes", "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (9, "", "keyring.missing")
    assert Path(installed.home / "made").exists()


# Python.


def test_a_program_streams_accounts(installed: Machine) -> None:
    program = """
import backctl
from backctl.application.transfer.exporting import Secrets
from backctl.domain.repositories import UserCriteria

with backctl.open_backend() as backend:
    for piece in backend.exports.stream(UserCriteria(roles=("admin",)), "csv"):
        print(piece.decode(), end="")
    pieces = backend.exports.stream(secrets=Secrets(hashes=True), by=backend.by("mover"))
    print(b"".join(pieces).count(b"password_hash"))
"""
    header, account, count = python(installed, program).succeeded().out.splitlines()
    assert (header.split(","), count) == (KEYS, "4")
    assert account.split(",")[1:5] == ["root@example.org", "root", "admin", "true"]
    assert recorded(installed) == [("accounts", "mover", None, {"hashes": True, "mfa": False})]
    assert re.fullmatch(TIME, account.split(",")[8])
