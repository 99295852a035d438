"""The password of `user create`: what is rejected, where it is read from, and where a generated one is written."""

import os
import re
import signal
import stat
import subprocess
import unicodedata
from pathlib import Path

import bcrypt
import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.expected import USER_KEYS, UUID7, refused
from tests.cli.files import contents
from tests.cli.processes import stop_when

pytestmark = pytest.mark.every_database

GOOD = "correct horse battery"
PEOPLE = [Person("ada")]


def stored_hash(machine: Machine, username: str = "ada") -> str:
    ((found,),) = machine.rows("SELECT password_hash FROM users WHERE username = ?", username)
    return str(found)


def opens(machine: Machine, password: str, username: str = "ada") -> bool:
    return bcrypt.checkpw(unicodedata.normalize("NFC", password).encode(), stored_hash(machine, username).encode())


# Rejected passwords.


WEAK = {
    "q7#vX": ["fewer than 8"],
    "password1": ["most common"],
    "ADALOVELACE": ["based on the account's"],
    "1example.org1": ["based on the account's"],
    "ada": ["fewer than 8", "most common", "based on the account's"],
}


@pytest.mark.parametrize(("password", "words"), WEAK.items())
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
        ("--generate-password", "--fields", "id,username"),
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
    with subprocess.Popen(command, env=machine.environment, cwd=machine.home, **pipes) as process:  # type: ignore[call-overload]  # three pipes
        assert process.wait(timeout=60) == 9  # its standard input was neither written nor closed
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() == b""
        error = process.stderr.read().decode()
    assert '"config.invalid"' in error
    assert "line 2" in error
    assert "min_length" in error
    assert contents(machine.home) == before


# A generated password and its file.


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


def test_fields_that_leave_a_made_password_out_are_refused_before_it_is_lost(machine: Machine) -> None:
    arguments = ("user", "create", "ada@example.org", "--username", "ada", "--generate-password")
    before = contents(machine.home)
    error = refused(machine.run(*arguments, "--fields", "id,changed", "-o", "json"), 2, "usage")
    assert error["message"] == "--fields leaves no place for the password"
    assert contents(machine.home) == before
    made = machine.run(*arguments, "--fields", "username,password", "-q").succeeded()
    assert opens(machine, made.out.removesuffix("\n"))


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
    refused(outcome, 4, "file.exists")
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
    """The account may already exist when the signal arrives, and only the file contains its password."""
    secret = machine.home / "ada.txt"
    process = machine.start(
        *("user", "create", "ada@example.org", "--username", "ada", "--generate-password", "--secret-file", "ada.txt"),
        env={"BACKCTL_PASSWORDS_BCRYPT_COST": "17"},  # slow, so that the signal arrives before the end
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    stop_when(process, (machine.data / "backctl.db").exists, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert b"'ada.txt' is kept" in err
    assert len(secret.read_text()) == 21
