"""`user create`: what it answers in every form, whom it refuses, and where a password may come from and go to."""

import os
import re
import signal
import stat
import subprocess
import unicodedata
from pathlib import Path

import bcrypt
import pytest
from tests.cli.conftest import Machine
from tests.cli.scenes import TIME, USER_KEYS, UUID7, Person, contents, refused, stop_when

from backctl.domain.errors import escaped

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
        "is_active": True,
        "has_password": False,
        "must_change_password": False,
        "mfa": "off",
        "expires_at": None,
        "version": 1,
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
    refused(untouched.run(*arguments, "--secret-file", "../taken.txt"), 4, "conflict")


# Forms of the answer, shown by dry runs: they print what a real run prints, and `dry_run` with it.


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("table", r"id: +{id}\nemail: +new@example\.org\n(?:.+\n)+changed: +true\ndry_run: +true\n"),
        ("json", r'\{{"id": "{id}", "email": "new@example\.org", .*"changed": true, "dry_run": true\}}\n'),
        ("jsonl", r'\{{"id": "{id}", "email": "new@example\.org", .*"changed": true, "dry_run": true\}}\n'),
        ("csv", r"id,email,.*,changed,dry_run\r\n{id},new@example\.org,.*,true,true\r\n"),
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


# Who is there already.


@pytest.mark.parametrize(
    ("email", "username", "code"),
    [
        ("ada@example.org", "other", "user.email_taken"),
        ("ADA@EXAMPLE.ORG", "other", "user.email_taken"),
        ("jose\u0301@exa\u0308mple.org", "other", "user.email_taken"),
        ("JOSÉ@EXÄMPLE.ORG", "other", "user.email_taken"),
        ("josé@xn--exmple-cua.org", "other", "user.email_taken"),
        ("strasse@example.org", "other", "user.email_taken"),
        ("σίσυφος@example.net", "other", "user.email_taken"),
        ("other@example.org", "ada", "user.username_taken"),
        ("other@example.org", "AdA", "user.username_taken"),
        ("other@example.org", "ａｄａ", "user.username_taken"),
        ("other@example.org", "𝒶𝒹𝒶", "user.username_taken"),
        ("other@example.org", "STRASSE", "user.username_taken"),
        ("other@example.org", "A\u030angstro\u0308m", "user.username_taken"),
        ("other@example.org", "\u212bNGSTRÖM", "user.username_taken"),
        ("other@example.org", "σίσυφος", "user.username_taken"),
    ],
)
def test_an_address_and_a_name_belong_to_one_account_however_they_are_written(
    untouched: Machine, email: str, username: str, code: str
) -> None:
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
    assert hint.startswith("backctl: hint: ")


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


# Passwords that are refused.


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("q7#vX", ["fewer than 8"]),
        ("password1", ["most common"]),
        ("ADALOVELACE", ["own names"]),
        ("1example.org1", ["own names"]),
        ("ada", ["fewer than 8", "most common", "own names"]),
    ],
)
@pytest.mark.embedded
def test_a_weak_password_is_told_everything_that_is_wrong_with_it(
    machine: Machine, password: str, words: list[str]
) -> None:
    username = "adalovelace" if len(password) > 8 else "ada"
    arguments = ("user", "create", f"{username}@example.org", "--username", username, "--password-stdin")
    outcome = machine.run(*arguments, "-o", "json", stdin=f"{password}\n")
    error = refused(outcome, 2, "password.weak")
    for word in words:
        assert word in error["message"]
    assert error["message"].count(";") == len(words) - 1
    assert password not in outcome.err
    assert contents(machine.home) == {}


@pytest.mark.parametrize(
    ("password", "code"),
    [
        (b"", "password.invalid"),
        (b"\n", "password.invalid"),
        (b"correct\thorse battery", "password.invalid"),
        (b"correct horse\x00battery", "password.invalid"),
        (b"correct horse\n\n", "password.invalid"),
        ("correct horse \ufdd0".encode(), "password.invalid"),
        (b"x" * 5000, "password.invalid"),
        (b"correct horse \xff", "input.invalid"),
        (b"\xc3\x28 horse battery", "input.invalid"),
        (b"x" * 1_000_000, "input.invalid"),
    ],
)
@pytest.mark.embedded
def test_what_cannot_be_a_password_is_refused(machine: Machine, password: bytes, code: str) -> None:
    arguments = ("user", "create", "ada@example.org", "--username", "ada", "--password-stdin", "-o", "json")
    outcome = machine.run(*arguments, stdin=password)
    refused(outcome, 2, code)
    assert len(outcome.err) < 500
    assert "horse" not in outcome.err
    assert contents(machine.home) == {}


# Sources of a password.


@pytest.mark.embedded
def test_without_a_terminal_and_a_source_the_flags_are_named(machine: Machine) -> None:
    error = refused(machine.run("user", "create", "a@example.org", "--username", "ada", "-o", "json"), 2, "usage")
    for flag in ("--password-stdin", "--password-file", "--password-fd", "--password-env", "--generate-password"):
        assert flag in error["hint"]
    assert contents(machine.home) == {}


@pytest.mark.parametrize(
    "ways",
    [
        ("--generate-password", "--no-password"),
        ("--generate-password", "--password-stdin"),
        ("--no-password", "--password-env", "PW"),
        ("--password-stdin", "--password-file", "-"),
        ("--no-password", "--secret-file", "x.txt"),
        ("--password-stdin", "--secret-file", "x.txt"),
        ("--generate-password", "-o", "id"),
        ("--generate-password", "-o", "id", "--dry-run"),
        ("--password-fd", "99"),
        ("--password-fd", "-1"),
        ("--password-file", "nowhere"),
        ("--password-file", "."),
        ("--password-env", "UNSET"),
    ],
)
@pytest.mark.embedded
def test_ways_to_a_password_that_do_not_go_together_or_lead_nowhere(machine: Machine, ways: tuple[str, ...]) -> None:
    outcome = machine.run("user", "create", "a@example.org", "--username", "ada", *ways, stdin=GOOD)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("backctl: error: ")
    assert GOOD not in outcome.err
    assert contents(machine.home) == {}


@pytest.mark.parametrize("source", ["stdin", "file", "file -", "fd", "env"])
def test_every_source_gives_the_same_password(machine: Machine, source: str) -> None:
    password = "Zwölf Bücher, kein Regal"
    arguments = ["user", "create", "ada@example.org", "--username", "ada", "-o", "json"]
    match source:
        case "stdin":
            outcome = machine.run(*arguments, "--password-stdin", stdin=f"{password}\n")
        case "file -":
            outcome = machine.run(*arguments, "--password-file", "-", stdin=f"{password}\r\n")
        case "file":
            file = machine.home / "pw"
            file.write_text(f"{password}\n", encoding="utf-8")
            outcome = machine.run(*arguments, "--password-file", str(file))
        case "env":
            outcome = machine.run(*arguments, "--password-env", "NEW_PASSWORD", env={"NEW_PASSWORD": password})
        case _:
            reading, writing = os.pipe()
            os.write(writing, f"{password}\n".encode())
            os.close(writing)
            outcome = machine.run(*arguments, "--password-fd", str(reading), pass_fds=[reading])
            os.close(reading)
    assert outcome.succeeded().json["has_password"] is True
    assert "password" not in outcome.json
    assert password not in outcome.out + outcome.err
    assert opens(machine, password)


def test_a_password_of_more_than_72_bytes_is_not_cut(machine: Machine) -> None:
    arguments = ("user", "create", "ada@example.org", "--username", "ada", "--password-stdin")
    machine.run(*arguments, stdin="long and " * 100).succeeded()
    assert stored_hash(machine).startswith("$bcrypt-sha256$v=2,t=2b,r=4$")


def test_on_a_terminal_the_password_is_typed_twice_and_never_shown(machine: Machine) -> None:
    keys = [("password: ", f"{GOOD}\n"), ("password again: ", f"{GOOD}\n")]
    screen = machine.at_terminal("user", "create", "ada@example.org", "--username", "ada", keys=keys)
    assert screen.code == 0
    assert GOOD not in screen.out
    assert opens(machine, GOOD)


@pytest.mark.embedded
def test_two_passwords_that_differ_are_asked_for_again_and_three_times_end_it(machine: Machine) -> None:
    slip = [("password: ", f"{GOOD}\n"), ("password again: ", "something else\n")]
    arguments = ("user", "create", "ada@example.org", "--username", "ada")
    screen = machine.at_terminal(*arguments, keys=slip * 3)
    assert screen.code == 2
    assert screen.out.count("password again: ") == 3
    assert screen.out.splitlines()[-1].endswith("the two passwords differ")
    assert "something else" not in screen.out
    assert contents(machine.home) == {}
    keys = [*slip, ("password: ", f"{GOOD}\n"), ("password again: ", f"{GOOD}\n")]
    assert machine.at_terminal(*arguments, keys=keys).code == 0
    assert opens(machine, GOOD)


@pytest.mark.parametrize("refusal", [("--no-input", {}), ("--verbose", {"BACKCTL_NO_INPUT": "1"})])
def test_who_wants_no_questions_gets_none_on_a_terminal_either(
    machine: Machine, refusal: tuple[str, dict[str, str]]
) -> None:
    flag, env = refusal
    screen = machine.at_terminal("user", "create", "ada@example.org", "--username", "ada", flag, env=env)
    assert screen.code == 2
    assert "--password-stdin" in screen.out


@pytest.mark.embedded
def test_no_child_process_sees_the_password(machine: Machine) -> None:
    seen = machine.home / "seen"
    spy = machine.home / "spy"
    spy.write_text(f"#!/bin/sh\nenv > {seen}\ncat /proc/$$/cmdline >> {seen}\necho sqlite:///{machine.home}/own.db\n")
    spy.chmod(0o700)
    machine.config_file.parent.mkdir(parents=True)
    machine.config_file.write_text(f'[database]\nurl_command = ["{spy}"]\n')
    machine.config_file.chmod(0o600)
    machine.run("init").succeeded()
    arguments = ("user", "create", "ada@example.org", "--username", "ada", "--password-env", "NEW_PASSWORD")
    seen.unlink()
    machine.run(*arguments, env={"NEW_PASSWORD": GOOD}).succeeded()
    assert "HOME=" in seen.read_text()
    assert GOOD not in seen.read_text()


@pytest.mark.embedded
def test_a_slip_in_the_configuration_surfaces_before_standard_input_is_read(machine: Machine) -> None:
    machine.config_file.parent.mkdir(parents=True)
    machine.config_file.write_text("[passwords]\nmin_lenght = 9\n")
    machine.config_file.chmod(0o600)
    before = contents(machine.home)
    command = machine.command("user", "create", "a@example.org", "--username", "ada", "--password-stdin", "-o", "json")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=machine.environment, cwd=machine.home, **pipes) as process:  # type: ignore[call-overload]  # the three pipes of a dict
        assert process.wait(timeout=60) == 9  # nothing was written to its standard input, nor was it closed
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() == b""
        error = process.stderr.read().decode()
    assert '"config.invalid"' in error
    assert "line 2" in error
    assert "min_length" in error
    assert contents(machine.home) == before


# A made password and its file.


def test_the_secret_file_takes_the_password_instead_of_the_answer(machine: Machine) -> None:
    secret = machine.home / "ada.txt"
    arguments = ("user", "create", "ada@example.org", "--username", "ada", "--generate-password")
    made = machine.run(*arguments, "--secret-file", str(secret), "-o", "json").succeeded()
    assert list(made.json) == [*USER_KEYS, "changed", "secret_file"]
    assert made.json["secret_file"] == str(secret)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    password = secret.read_text().removesuffix("\n")
    assert re.fullmatch(r"[A-Za-z0-9]{20}", password)
    assert password not in made.out + made.err
    assert opens(machine, password)


def test_with_a_secret_file_the_bare_id_is_answer_enough(machine: Machine) -> None:
    arguments = ("user", "create", "ada@example.org", "--username", "ada", "--generate-password")
    made = machine.run(*arguments, "--secret-file", "ada.txt", "-o", "id").succeeded()
    assert re.fullmatch(UUID7 + "\n", made.out)
    assert (machine.home / "ada.txt").exists()


@pytest.mark.parametrize("kind", ["file", "link"])
@pytest.mark.embedded
def test_a_secret_file_is_never_written_over(machine: Machine, kind: str) -> None:
    path = machine.home / "taken"
    if kind == "file":
        path.write_text("precious")
    else:
        path.symlink_to(machine.home / "elsewhere")
    before = contents(machine.home)
    arguments = ("user", "create", "ada@example.org", "--username", "ada", "--generate-password")
    outcome = machine.run(*arguments, "--secret-file", str(path), "-o", "json")
    refused(outcome, 4, "conflict")
    assert contents(machine.home) == before


@pytest.mark.embedded
def test_a_secret_file_that_cannot_be_made_stops_everything(machine: Machine) -> None:
    arguments = ("user", "create", "ada@example.org", "--username", "ada", "--generate-password")
    refused(machine.run(*arguments, "--secret-file", "no/such/ada.txt", "-o", "json"), 9, "storage.folder_unusable")
    assert contents(machine.home) == {}


def test_an_account_that_could_not_be_made_leaves_no_password_behind(untouched: Machine) -> None:
    arguments = ("user", "create", "ada@example.org", "--username", "eve", "--generate-password")
    refused(untouched.run(*arguments, "--secret-file", "eve.txt", "-o", "json"), 4, "user.email_taken")
    assert not Path(untouched.home / "eve.txt").exists()


@pytest.mark.embedded
def test_a_signal_leaves_the_password_where_it_was_promised(machine: Machine) -> None:
    """It may come when the account is made already, and nobody else knows the password then."""
    secret = machine.home / "ada.txt"
    process = machine.start(
        *("user", "create", "ada@example.org", "--username", "ada", "--generate-password", "--secret-file", "ada.txt"),
        env={"BACKCTL_PASSWORDS_BCRYPT_COST": "18"},  # tens of seconds: time enough to arrive in
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    stop_when(process, (machine.data / "backctl.db").exists, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert b"'ada.txt' is kept" in err
    assert len(secret.read_text()) == 21


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
