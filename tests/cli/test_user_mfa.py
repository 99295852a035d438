"""`user mfa …` and logins with a code: output, exit codes, secrets that are shown once, and codes that work once."""

import re
import stat
import time
from base64 import b32decode
from typing import Any

import pytest
from tests.cli.accounts import Person, populate
from tests.cli.conftest import Machine, Outcome
from tests.cli.expected import TIME, refused
from tests.cli.processes import together

from backctl.domain.one_time_codes import totp
from backctl.domain.values import Instant

pytestmark = pytest.mark.every_database

GOOD = "correct horse battery"
KEYS = [
    *("user_id", "username", "mfa", "algorithm", "digits", "period"),
    *("enrolled_at", "confirmed_at", "recovery_codes_left"),
]
CHECK_KEYS = [
    *("ok", "ident", "outcome", "locked_until", "user_id", "second_factor", "recovery_codes_left", "retry_after"),
]
RECOVERY_CODE = r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}"


@pytest.fixture
def installed(machine: Machine) -> Machine:
    """Return an installation with an account `ada` that has the password GOOD."""
    populate(machine, [Person("ada")])
    machine.run("user", "set-password", "ada", "--password-stdin", stdin=GOOD).succeeded()
    return machine


def code_of(secret: str, ahead: int = 0) -> str:
    """Return the code that an authenticator shows now, or `ahead` time steps later."""
    return totp(b32decode(secret), Instant(time.time_ns() // 1000 + ahead * 30_000_000))


def enroll(machine: Machine, *flags: str) -> Any:
    return machine.run("user", "mfa", "enroll", "ada", "-o", "json", *flags).succeeded().json


def confirm(machine: Machine, code: str, *flags: str) -> Outcome:
    return machine.run("user", "mfa", "confirm", "ada", "--code-stdin", "-o", "json", *flags, stdin=code)


def check(machine: Machine, code: str | None = None, password: str = GOOD) -> Outcome:
    source = () if code is None else ("--mfa-code-env", "CODE")
    return machine.run(
        *("user", "check-password", "ada", "--password-stdin", "-o", "json", *source),
        stdin=password,
        env={"CODE": code or ""},
    )


def test_a_second_factor_from_its_secret_to_its_end(installed: Machine) -> None:
    enrolled = enroll(installed)
    assert list(enrolled) == [*KEYS, "changed", "secret", "uri"]
    assert (enrolled["mfa"], enrolled["algorithm"], enrolled["digits"], enrolled["period"]) == (
        "pending",
        "sha1",
        6,
        30,
    )
    secret = enrolled["secret"]
    assert re.fullmatch("[A-Z2-7]{32}", secret)
    assert enrolled["uri"] == (
        f"otpauth://totp/advanced-backend:ada@example.org?secret={secret}&issuer=advanced-backend"
    )

    confirmed = confirm(installed, code_of(secret)).succeeded().json
    assert list(confirmed) == [*KEYS, "changed", "recovery_codes"]
    codes = confirmed["recovery_codes"]
    assert len(set(codes)) == 10
    assert all(re.fullmatch(RECOVERY_CODE, code) for code in codes)

    asked = check(installed)
    assert (asked.code, list(asked.json), asked.json["outcome"]) == (6, CHECK_KEYS, "mfa_required")
    opened = check(installed, code_of(secret, ahead=1)).succeeded().json
    assert (opened["outcome"], opened["second_factor"], opened["user_id"]) == ("ok", "totp", enrolled["user_id"])
    assert check(installed, codes[0].lower()).succeeded().json["recovery_codes_left"] == 9
    assert (check(installed, codes[0]).code, check(installed, codes[0]).json["outcome"]) == (6, "refused")

    status = installed.run("user", "mfa", "status", "ada", "-o", "json").succeeded().json
    assert list(status) == KEYS
    assert (status["mfa"], status["recovery_codes_left"]) == ("on", 9)
    assert re.fullmatch(TIME, status["confirmed_at"])
    refused(installed.run("user", "mfa", "enroll", "ada", "-o", "json"), 4, "mfa.already_on")
    renewed = installed.run("user", "mfa", "recovery-codes", "ada", "-o", "json").succeeded().json
    assert not set(renewed["recovery_codes"]) & set(codes)

    refused(installed.run("user", "mfa", "disable", "ada", "-o", "json"), 8, "confirmation.required")
    gone = installed.run("user", "mfa", "disable", "ada", "--yes", "--reason", "lost", "-o", "json").succeeded().json
    assert (gone["mfa"], gone["recovery_codes_left"], gone["changed"]) == ("off", 0, True)
    assert not installed.run("user", "mfa", "disable", "ada", "-o", "json").succeeded().json["changed"]
    check(installed).succeeded()
    history = installed.run("user", "history", "ada", "-o", "json").succeeded().out
    assert not any(text in history for text in (secret, *codes, *renewed["recovery_codes"]))
    installed.run("audit", "verify").succeeded()
    installed.run("db", "check").succeeded()


def test_of_four_processes_with_one_code_one_wins(installed: Machine) -> None:
    secret = enroll(installed)["secret"]
    confirm(installed, code_of(secret)).succeeded()
    (installed.home / "password").write_text(GOOD)
    (installed.home / "code").write_text(code_of(secret, ahead=1))
    command = installed.command(
        *("user", "check-password", "ada", "--password-file", "password", "--mfa-code-file", "code", "-o", "json")
    )
    ends = together(installed, [command] * 4)
    assert sorted(end.code for end in ends) == [0, 6, 6, 6], [end.err for end in ends]
    assert sorted(end.json["outcome"] for end in ends) == ["ok", "refused", "refused", "refused"]
    assert installed.rows("SELECT count(*) FROM events WHERE type = 'LoginFailed'") == [(3,)]
    installed.run("audit", "verify").succeeded()


@pytest.mark.embedded
def test_what_cannot_be_is_refused_and_nothing_changes(installed: Machine) -> None:
    refused(confirm(installed, "123456"), 4, "mfa.not_pending")
    refused(installed.run("user", "mfa", "recovery-codes", "ada", "-o", "json"), 4, "mfa.not_on")
    refused(installed.run("user", "mfa", "status", "nobody", "-o", "json"), 3, "user.not_found")
    assert "secret" not in enroll(installed, "--dry-run")
    refused(installed.run("user", "mfa", "enroll", "ada", "--digits", "5", "-o", "json"), 2, "input.invalid")
    refused(installed.run("user", "mfa", "enroll", "ada", "--algorithm", "md5", "-o", "json"), 2, "input.invalid")
    for command in ("enroll", "confirm", "recovery-codes"):
        for form in (("-o", "id"), ("--fields", "user_id,mfa")):  # this would lose a secret that is shown only once
            assert installed.run("user", "mfa", command, "ada", *form).code == 2
    assert installed.run("user", "show", "ada", "--fields", "mfa", "--no-header").succeeded().out == "off\n"
    secret = enroll(installed)["secret"]
    wrong = refused(confirm(installed, "12345"), 6, "mfa.code_wrong")
    assert "12345" not in str(wrong)
    assert installed.run("user", "mfa", "confirm", "ada", code_of(secret)).code == 2  # a code is never an argument
    refused(installed.run("user", "mfa", "confirm", "ada", "-o", "json"), 2, "usage")
    assert installed.run("user", "show", "ada", "--fields", "mfa", "--no-header").succeeded().out == "pending\n"


@pytest.mark.embedded
def test_secrets_follow_the_primary_key_when_told_to(installed: Machine) -> None:
    enroll(installed)
    installed.run("key", "rotate", "--purpose", "encrypt", "--if-older-than", "0d").succeeded()
    for flags, changed in ((("--dry-run",), True), ((), True), ((), False)):
        moved = installed.run("user", "mfa", "reencrypt", "-o", "json", *flags).succeeded().json
        expected = {"moved": int(changed), "unusable": [], "changed": changed}
        assert moved == (expected | {"dry_run": True} if flags else expected)
    installed.rows("UPDATE mfa_secrets SET kid = 'gone'")
    unusable = installed.run("user", "mfa", "reencrypt", "-o", "json")
    assert (unusable.code, unusable.json["unusable"]) == (7, ["ada"])
    assert "accounts do not decrypt: 'ada'" in unusable.err


@pytest.mark.embedded
def test_recovery_codes_go_to_a_file_that_only_their_owner_reads(installed: Machine) -> None:
    code = code_of(enroll(installed)["secret"])
    (installed.home / "taken").touch()
    refused(confirm(installed, code, "--secret-file", "taken"), 4, "file.exists")
    wrong = confirm(installed, "12345", "--secret-file", "codes")
    assert (wrong.code, (installed.home / "codes").exists()) == (6, False)
    assert confirm(installed, code, "--secret-file", "codes", "--dry-run").succeeded().json["mfa"] == "on"
    assert not (installed.home / "codes").exists()
    kept = confirm(installed, code, "--secret-file", "codes").succeeded().json
    assert list(kept) == [*KEYS, "changed", "secret_file"]
    written = (installed.home / "codes").read_text()
    assert re.fullmatch(f"({RECOVERY_CODE}\n){{10}}", written)
    assert stat.S_IMODE((installed.home / "codes").stat().st_mode) == 0o600
    check(installed, written.split()[9]).succeeded()


@pytest.mark.embedded
def test_what_is_shown_once_is_shown_quietly_too(installed: Machine) -> None:
    for fields in ("user_id", "mfa,changed"):
        refused(installed.run("user", "mfa", "enroll", "ada", "--fields", fields, "-o", "json"), 2, "usage")
    secret = installed.run("user", "mfa", "enroll", "ada", "-q").succeeded().out.strip()
    assert re.fullmatch("[A-Z2-7]{32}", secret)
    quiet = installed.run("user", "mfa", "confirm", "ada", "--code-stdin", "-q", stdin=code_of(secret)).succeeded()
    assert re.fullmatch(f"({RECOVERY_CODE}\n){{10}}", quiet.out)
    assert installed.run("user", "mfa", "disable", "ada", "--yes", "-q").succeeded().out == ""


@pytest.mark.embedded
def test_a_narrow_terminal_and_a_pipe_show_no_picture(installed: Machine) -> None:
    narrow = installed.at_terminal("user", "mfa", "enroll", "ada", env={"COLUMNS": "40"})
    assert ("the terminal is too narrow for the QR code" in narrow.out, "█" in narrow.out) == (True, False)
    piped = installed.run("user", "mfa", "enroll", "ada", "-o", "table").succeeded()
    assert ("█" in piped.out, piped.err) == (False, "")


@pytest.mark.embedded
def test_a_terminal_shows_a_picture_and_asks_for_codes(installed: Machine) -> None:
    screen = installed.at_terminal("user", "mfa", "enroll", "ada", "--no-color")
    assert screen.code == 0
    found = re.search("secret: +([A-Z2-7]{32})\n", screen.out)
    assert found
    assert "█▀" in screen.out
    code = code_of(found[1])
    screen = installed.at_terminal("user", "mfa", "confirm", "ada", "--no-color", keys=[("code: ", f"{code}\n")])
    assert screen.code == 0, screen.out
    assert code not in screen.out
    recovery = re.findall(f"^(?:recovery_codes:)? +({RECOVERY_CODE})$", screen.out, re.MULTILINE)
    assert len(recovery) == 10
    keys = [("password: ", f"{GOOD}\n"), ("MFA code: ", f"{recovery[0][0]}\n")]
    assert installed.at_terminal("user", "check-password", "ada", keys=keys).code == 0
    question = "let ada log in with only a password? [y/N] "
    assert installed.at_terminal("user", "mfa", "disable", "ada", keys=[(question, "n\n")]).code == 8
    assert installed.at_terminal("user", "mfa", "disable", "ada", keys=[(question, "y\n")]).code == 0
