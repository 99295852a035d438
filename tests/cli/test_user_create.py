"""`user create`: its output in every format, and what it rejects."""

import os
import re
import stat
import subprocess
import unicodedata

import bcrypt
import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.expected import TIME, USER_KEYS, UUID7, refused
from tests.cli.files import contents

from backctl.domain.quoting import escaped

pytestmark = pytest.mark.every_database

GOOD = "correct horse battery"
PEOPLE = [
    Person("ada"),
    Person("straße"),
    Person("josé", domain="exämple.org"),
    Person("Ångström"),
    Person("ΣΊΣΥΦΟΣ", domain="example.net"),
]


def stored_hash(machine: Machine, username: str = "ada") -> str:
    ((found,),) = machine.rows("SELECT password_hash FROM users WHERE username = ?", username)
    return str(found)


def opens(machine: Machine, password: str, username: str = "ada") -> bool:
    return bcrypt.checkpw(unicodedata.normalize("NFC", password).encode(), stored_hash(machine, username).encode())


# One command on a fresh machine.


@pytest.mark.embedded
def test_a_fresh_machine_needs_one_command(machine: Machine) -> None:
    created = machine.run(
        "user", "create", "ada@example.org", "--username", "ada", "--generate-password", env={"COLUMNS": "80"}
    ).succeeded()
    header, row = (line.split("\t") for line in created.out.splitlines())
    assert header == [*USER_KEYS, "changed", "password"]
    account = dict(zip(header, row, strict=True))
    assert (account["email"], account["username"], account["changed"]) == ("ada@example.org", "ada", "true")
    assert re.fullmatch(r"[A-Za-z0-9]{20}", account["password"])
    assert opens(machine, account["password"])
    notice = created.err.splitlines()
    assert len(notice) == 1
    assert notice[0].startswith("backctl: created ")
    assert "keyring.json" in notice[0]
    assert "backctl.db" in notice[0]

    listed = machine.run("user", "list", "-o", "json").succeeded()
    assert [user["username"] for user in listed.json["items"]] == ["ada"]
    assert account["password"] not in listed.out
    assert "password_hash" not in listed.out
    assert machine.run("doctor").succeeded().err == ""
    assert stat.S_IMODE(machine.data.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in machine.data.iterdir()} == {0o600}


def test_on_a_terminal_the_password_is_the_last_line_under_the_account(machine: Machine) -> None:
    screen = machine.at_terminal("user", "create", "ada@example.org", "--username", "ada", "--generate-password")
    assert screen.code == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", screen.out).splitlines()
    assert re.fullmatch(r"password: +[A-Za-z0-9]{20}", lines[-1])
    assert any(re.fullmatch(r"username: +ada", line) for line in lines)
    assert screen.out.count(lines[-1].split()[-1]) == 1


def test_the_account_as_json_has_exactly_these_members(machine: Machine) -> None:
    arguments = ("user", "create", "Ada@Example.ORG", "--username", "Ada", "--role", "admin", "--no-password")
    user = machine.run(*arguments, "-o", "json").succeeded().json
    assert list(user) == [*USER_KEYS, "changed"]
    assert re.fullmatch(UUID7, user.pop("id"))
    assert re.fullmatch(TIME, user["created_at"])
    assert user.pop("created_at") == user.pop("updated_at")
    assert user == {
        "email": "Ada@example.org",
        "username": "Ada",
        "role": "admin",
        "status": "active",
        "is_active": True,
        "locked_until": None,
        "has_password": False,
        "must_change_password": False,
        "mfa": "off",
        "expires_at": None,
        "last_login_at": None,
        "version": 1,
        "password_imported": False,
        "changed": True,
    }


def test_the_creation_is_recorded_with_who_did_it_and_why(machine: Machine) -> None:
    arguments = ("user", "create", "ada@example.org", "--username", "ada", "--password-stdin")
    machine.run(*arguments, "--actor", "payroll", "--reason", "joined Monday", stdin=GOOD).succeeded()
    history = machine.run("user", "history", "ada", "-o", "json").succeeded()
    (event,) = history.json["items"]
    assert (event["type"], event["actor"], event["reason"]) == ("UserCreated", "payroll", "joined Monday")
    assert event["data"] == {
        "email": "ada@example.org",
        "username": "ada",
        "role": "user",
        "can_log_in": True,
        "must_change": False,
        "imported": False,
        "version": 1,
    }
    assert GOOD not in history.out
    assert "$2b$" not in history.out


# Dry runs.


@pytest.mark.embedded
def test_a_dry_run_on_a_fresh_machine_leaves_the_home_empty(machine: Machine) -> None:
    arguments = ("user", "create", "ada@example.org", "--username", "ada", "--dry-run", "-o", "json")
    made = machine.run(*arguments, "--generate-password").succeeded()
    assert list(made.json) == [*USER_KEYS, "changed", "dry_run"]
    assert (made.json["changed"], made.json["dry_run"]) == (True, True)
    assert made.err == ""
    assert contents(machine.home) == {}
    assert machine.run(*arguments, "--password-stdin", stdin=GOOD).succeeded().json["has_password"] is True
    assert contents(machine.home) == {}


def test_a_dry_run_makes_no_secret_file(untouched: Machine) -> None:
    arguments = ("user", "create", "new@example.org", "--username", "new", "--generate-password", "-n", "-o", "json")
    made = untouched.run(*arguments, "--secret-file", "new.txt").succeeded()
    assert list(made.json) == [*USER_KEYS, "changed", "dry_run"]


def test_a_dry_run_finds_what_a_real_one_would(untouched: Machine) -> None:
    refused(
        untouched.run("user", "create", "ada@example.org", "--username", "b2b", "--no-password", "-n", "-o", "json"),
        4,
        "user.email_taken",
    )
    (untouched.home.parent / "taken.txt").touch()
    arguments = ("user", "create", "new@example.org", "--username", "new", "--generate-password", "-n", "-o", "json")
    refused(untouched.run(*arguments, "--secret-file", "../taken.txt"), 4, "file.exists")


# Output formats, with dry runs, whose output differs from that of a real run only in `dry_run`.


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("table", r"id: +{id}\nemail: +new@example\.org\n(?:.+\n)+changed: +true\ndry_run: +true\n"),
        ("json", r'\{{"id": "{id}", "email": "new@example\.org", .*"changed": true, "dry_run": true\}}\n'),
        ("jsonl", r'\{{"id": "{id}", "email": "new@example\.org", .*"changed": true, "dry_run": true\}}\n'),
        ("csv", r"id,email,.*,changed,dry_run\n{id},new@example\.org,.*,true,true\n"),
        ("tsv", r"id\temail\t.*\tchanged\tdry_run\n{id}\tnew@example\.org\t.*\ttrue\ttrue\n"),
        ("id", r"{id}\n"),
    ],
)
def test_every_form_of_the_answer(untouched: Machine, form: str, pattern: str) -> None:
    arguments = ("user", "create", "new@example.org", "--username", "new", "--no-password", "--dry-run")
    made = untouched.run(*arguments, "-o", form).succeeded()
    assert re.fullmatch(pattern.format(id=UUID7), made.out)
    assert made.err == ""


def test_fields_are_chosen_and_ordered_and_the_header_can_go(untouched: Machine) -> None:
    arguments = ("user", "create", "new@example.org", "--username", "new", "--no-password", "--dry-run")
    assert untouched.run(*arguments, "--fields", "username,changed,role").succeeded().out == (
        "username\tchanged\trole\nnew\ttrue\tuser\n"
    )
    bare = untouched.run(*arguments, "--fields", "username", "--no-header").succeeded()
    assert (bare.out, bare.err) == ("new\n", "")


def test_quiet_drops_the_account_but_never_the_only_copy_of_a_password(machine: Machine) -> None:
    quiet = machine.run("user", "create", "a@example.org", "--username", "ada", "--no-password", "-q").succeeded()
    assert (quiet.out, quiet.err) == ("", "")
    arguments = ("user", "create", "b@example.org", "--username", "bob", "--generate-password", "-q")
    told = machine.run(*arguments).succeeded()
    assert re.fullmatch(r"[A-Za-z0-9]{20}\n", told.out)
    assert opens(machine, told.out.strip(), "bob")


@pytest.mark.embedded
def test_an_unknown_field_is_refused_before_anything_happens(machine: Machine) -> None:
    arguments = ("user", "create", "a@example.org", "--username", "ada", "--no-password", "--fields", "id,nmae")
    assert "'nmae'" in refused(machine.run(*arguments, "-o", "json"), 2, "usage")["message"]
    assert contents(machine.home) == {}


# Existing accounts.


TAKEN_ADDRESSES = ["ada@example.org", "ADA@EXAMPLE.ORG", "jose\u0301@exa\u0308mple.org", "JOSÉ@EXÄMPLE.ORG",
                   "josé@xn--exmple-cua.org", "strasse@example.org", "σίσυφος@example.net"]  # fmt: skip
TAKEN_NAMES = ["ada", "AdA", "ａｄａ", "𝒶𝒹𝒶", "STRASSE", "A\u030angstro\u0308m", "\u212bNGSTRÖM", "σίσυφος"]


@pytest.mark.parametrize("taken", [*TAKEN_ADDRESSES, *TAKEN_NAMES])
def test_an_address_and_a_name_belong_to_one_account_however_they_are_written(untouched: Machine, taken: str) -> None:
    is_address = taken in TAKEN_ADDRESSES
    email, username = (taken, "other") if is_address else ("other@example.org", taken)
    code = "user.email_taken" if is_address else "user.username_taken"
    outcome = untouched.run("user", "create", email, "--username", username, "--no-password", "-o", "json")
    error = refused(outcome, 4, code)
    assert error["retryable"] is False
    assert "user show" in error["hint"]


def test_a_conflict_is_told_in_words_too(untouched: Machine) -> None:
    outcome = untouched.run("user", "create", "ada@example.org", "--username", "eve", "--no-password")
    assert (outcome.code, outcome.out) == (4, "")
    error, hint = outcome.err.splitlines()
    assert error.startswith("backctl: error: ")
    assert "'ada@example.org'" in error
    assert hint == "backctl: hint: run 'backctl user show ada@example.org' to see that account"


# Hostile addresses and names.


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "@example.org",
        "ada@localhost",
        '"ada lovelace"@example.org',
        "Ada <ada@example.org>",
        "ada@[127.0.0.1]",
        "ada\n@example.org",
        "ada\x1b[2J@example.org",
        "ada\u202e@example.org",
        "ada\u200b@example.org",
        "ada＠example.org",
        f"{'a' * 65}@example.org",
        "a" * 100_000 + "@example.org",
    ],
)
@pytest.mark.embedded
def test_hostile_addresses_are_refused_and_nothing_is_made(machine: Machine, email: str) -> None:
    outcome = machine.run("user", "create", "--username", "ada", "--no-password", "-o", "json", "--", email)
    error = refused(outcome, 2, "user.email_invalid")
    assert error["message"] == escaped(error["message"])
    assert len(outcome.err) < 1000
    assert contents(machine.home) == {}


@pytest.mark.parametrize(
    "username",
    [
        "ab",
        "a" * 51,
        ".ada",
        "ada lovelace",
        "ada@example",
        "ada＠home",
        "ada\n",
        "ada\x1b[31m",
        "\u202eada",
        "ada\u200b",
        "ada\u3164",
        "ada\U000e0101",
        "0192F7A0-0000-7000-8000-000000000000",
        "0192ｆ7ａ0-0000-7000-8000-000000000000",
        "ﷺ" * 20,
        "ada℀",
        "x" * 100_000,
    ],
)
@pytest.mark.embedded
def test_hostile_names_are_refused_and_nothing_is_made(machine: Machine, username: str) -> None:
    outcome = machine.run("user", "create", "a@example.org", f"--username={username}", "--no-password", "-o", "json")
    error = refused(outcome, 2, "user.username_invalid")
    assert error["message"] == escaped(error["message"])
    assert len(outcome.err) < 1000
    assert contents(machine.home) == {}


@pytest.mark.embedded
def test_words_that_are_no_text_are_refused(machine: Machine) -> None:
    words = machine.command("user", "create", "a@example.org", "--no-password", "--username")
    command = [*map(os.fsencode, words), b"ada\xff"]
    done = subprocess.run(command, capture_output=True, env=machine.environment, cwd=machine.home)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"is not UTF-8" in done.stderr
    assert contents(machine.home) == {}


@pytest.mark.embedded
def test_a_missing_name_and_an_unknown_flag_are_usage_errors(machine: Machine) -> None:
    missing = machine.run("user", "create", "a@example.org", "--no-password", "-o", "json")
    assert "--username" in refused(missing, 2, "usage")["message"]
    unknown = machine.run("user", "create", "a@example.org", "--usernam", "ada", "-o", "json")
    assert "--username" in refused(unknown, 2, "usage")["hint"]
    assert contents(machine.home) == {}


# Roles.


@pytest.mark.embedded
def test_an_unknown_role_names_the_known_ones(machine: Machine) -> None:
    arguments = ("user", "create", "a@example.org", "--username", "ada", "--no-password", "-o", "json")
    error = refused(machine.run(*arguments, "--role", "root"), 2, "role.unknown")
    assert error["hint"] == "known roles: user, moderator, admin"
    assert contents(machine.home) == {}


# Flags that every command understands.


@pytest.mark.parametrize(
    "flags",
    [
        ("--actor", "a\x1b[2Jb"),
        ("--actor", "x" * 201),
        ("--reason", "first\nsecond"),
        ("--timeout", "soon"),
        ("--output", "xml"),
        ("--profile", "nowhere"),
        ("extra",),
    ],
)
@pytest.mark.embedded
def test_flags_with_values_that_mean_nothing(machine: Machine, flags: tuple[str, ...]) -> None:
    outcome = machine.run("user", "create", "a@example.org", "--username", "ada", "--no-password", *flags)
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    assert outcome.err.startswith("backctl: error: ")
    assert "\x1b" not in outcome.err
    assert contents(machine.home) == {}
