"""`user set-password` and `check-password`: output, exit codes, password sources, and the lockout."""

import os
import re
import stat

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine, Outcome
from tests.cli.expected import TIME, USER_KEYS, refused
from tests.cli.files import contents

pytestmark = pytest.mark.every_database

PEOPLE = [Person("ada"), Person("bob")]
GOOD = "correct horse battery"
OTHER = "another horse battery"
CHECK_KEYS = [
    *("ok", "ident", "outcome", "locked_until", "user_id", "second_factor", "recovery_codes_left", "retry_after"),
]


@pytest.fixture(scope="module")
def prepared(prepared: Machine) -> Machine:
    """Give `ada` the password GOOD; `bob` has no password."""
    set_password(prepared).succeeded()
    return prepared


def set_password(machine: Machine, *flags: str, password: str | bytes = GOOD, ident: str = "ada") -> Outcome:
    return machine.run("user", "set-password", ident, "--password-stdin", "-o", "json", *flags, stdin=password)


def check(machine: Machine, *flags: str, password: str | bytes = GOOD, ident: str = "ada") -> Outcome:
    return machine.run("user", "check-password", ident, "--password-stdin", "-o", "json", *flags, stdin=password)


def id_of(machine: Machine, username: str = "ada") -> str:
    return machine.run("user", "show", username, "-o", "id").succeeded().out.strip()


def events(machine: Machine, ident: str = "ada") -> list[tuple[str, dict[str, object]]]:
    items = machine.run("user", "history", ident, "-o", "json").succeeded().json["items"]
    return [(event["type"], event["data"]) for event in items]


def stored_hash(machine: Machine, username: str = "ada") -> str:
    ((encoded,),) = machine.rows("SELECT password_hash FROM users WHERE username = ?", username)
    return str(encoded)


# Setting.


def test_the_account_is_printed_with_whether_it_changed(machine: Machine) -> None:
    machine.create_user("ada")
    changed = set_password(machine, "--actor", "desk", "--reason", "forgot it").succeeded()
    assert list(changed.json) == [*USER_KEYS, "changed"]
    assert (changed.json["has_password"], changed.json["changed"], changed.json["version"]) == (True, True, 2)
    assert changed.err == ""
    assert GOOD not in changed.out
    again = set_password(machine).succeeded()
    assert (again.json["changed"], again.json["version"]) == (True, 3)
    history = machine.run("user", "history", "ada", "-o", "json").succeeded()
    _, event, _ = history.json["items"]
    assert (event["type"], event["actor"], event["reason"]) == ("UserPasswordChanged", "desk", "forgot it")
    assert event["data"] == {"must_change": False, "imported": False, "version": 2}
    assert GOOD not in history.out
    assert "$2b$" not in history.out
    machine.run("audit", "verify").succeeded()


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("table", r"id: +\S+\n(?:.+\n)+changed: +true\n"),
        ("json", r'\{"id": .*"changed": true\}\n'),
        ("jsonl", r'\{"id": .*"changed": true\}\n'),
        ("csv", r"id,email,.*,changed\n.*,true\n"),
        ("tsv", r"id\temail\t.*\tchanged\n.*\ttrue\n"),
        ("id", r"[0-9a-f-]{36}\n"),
    ],
)
def test_every_form_of_a_set_password(installed: Machine, form: str, pattern: str) -> None:
    done = installed.run("user", "set-password", "ada", "--password-stdin", "-o", form, stdin=OTHER).succeeded()
    assert re.fullmatch(pattern, done.out)
    assert done.err == ""


def test_quiet_prints_nothing_of_a_change(installed: Machine) -> None:
    done = installed.run("user", "set-password", "ada", "--password-stdin", "-q", stdin=OTHER).succeeded()
    assert (done.out, done.err) == ("", "")


def test_a_dry_run_sets_nothing(installed: Machine) -> None:
    before = stored_hash(installed)
    assert set_password(installed, "--dry-run", password=OTHER).succeeded().json["dry_run"] is True
    assert stored_hash(installed) == before
    assert check(installed).code == 0


def test_the_next_login_can_be_obliged_to_choose_another(installed: Machine) -> None:
    assert set_password(installed, "--must-change-password").succeeded().json["must_change_password"] is True
    assert check(installed).succeeded().json["outcome"] == "must_change"
    assert events(installed)[-2:] == [
        ("UserPasswordChanged", {"must_change": True, "imported": False, "version": 3}),
        ("LoginSucceeded", {"must_change": True, "second_factor": None}),
    ]
    assert set_password(installed, password=OTHER).succeeded().json["must_change_password"] is False
    assert check(installed, password=OTHER).succeeded().json["outcome"] == "ok"


def test_a_generated_password_is_printed_once_and_opens(installed: Machine) -> None:
    made = installed.run("user", "set-password", "ada", "--generate-password", "-o", "json").succeeded()
    assert list(made.json) == [*USER_KEYS, "changed", "password"]
    assert check(installed, password=made.json["password"]).code == 0
    assert check(installed).code == 6
    quiet = installed.run("user", "set-password", "ada", "--generate-password", "-q").succeeded()
    assert check(installed, password=quiet.out).code == 0


def test_a_generated_password_can_go_to_a_file(installed: Machine) -> None:
    arguments = ("user", "set-password", "ada", "--generate-password", "--secret-file", "ada.txt", "-o", "json")
    made = installed.run(*arguments).succeeded()
    assert made.json["secret_file"] == "ada.txt"
    assert "password" not in made.json
    file = installed.home / "ada.txt"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert check(installed, password=file.read_text()).code == 0
    refused(installed.run(*arguments), 4, "file.exists")
    assert check(installed, password=file.read_text()).code == 0


def test_nobody_is_asked_for_the_password_of_an_account_that_is_not_there(installed: Machine) -> None:
    screen = installed.at_terminal("user", "set-password", "nobody")
    assert screen.code == 3
    assert "password" not in screen.out
    arguments = ("user", "set-password", "nobody", "--generate-password", "--secret-file", "x.txt", "-o", "json")
    refused(installed.run(*arguments), 3, "user.not_found")
    assert not (installed.home / "x.txt").exists()


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("short", "password.weak"),
        ("password1", "password.weak"),
        ("ada@example.org", "password.weak"),
        ("correct horse\0battery", "password.invalid"),
        ("", "password.invalid"),
        (b"correct horse \xff", "input.invalid"),
    ],
)
def test_a_password_that_is_refused_changes_nothing(untouched: Machine, password: str | bytes, code: str) -> None:
    refused(set_password(untouched, password=password), 2, code)


def test_without_a_source_the_flags_are_named(installed: Machine) -> None:
    hint = refused(installed.run("user", "set-password", "ada", "-o", "json"), 2, "usage")["hint"]
    for flag in ("--password-stdin", "--password-file", "--password-fd", "--password-env", "--generate-password"):
        assert flag in hint
    arguments = ("user", "set-password", "ada", "--generate-password", "--password-stdin", "-o", "json")
    hint = refused(installed.run(*arguments, stdin=OTHER), 2, "usage")["hint"]
    assert hint == "choose one of --generate-password and --password-…"
    hint = refused(installed.run("user", "check-password", "ada", "-o", "json"), 2, "usage")["hint"]
    assert hint == "use --password-stdin, --password-file, --password-fd or --password-env"


def test_on_a_terminal_a_new_password_is_asked_for_twice_and_a_known_one_once(installed: Machine) -> None:
    keys = [("password: ", f"{OTHER}\n"), ("password again: ", f"{OTHER}\n")]
    screen = installed.at_terminal("user", "set-password", "ada", keys=keys)
    assert screen.code == 0
    assert OTHER not in screen.out
    screen = installed.at_terminal("user", "check-password", "ada", keys=keys[:1])
    assert screen.code == 0
    assert "again" not in screen.out
    assert OTHER not in screen.out
    screen = installed.at_terminal("user", "check-password", "ada", keys=[("password: ", f"{GOOD}\n")])
    assert screen.code == 6
    assert re.search(r"outcome: +refused", re.sub(r"\x1b\[[0-9;]*m", "", screen.out))


@pytest.mark.embedded
@pytest.mark.parametrize("arguments", [("set-password", "ada"), ("create", "eve@example.org", "--username", "eve")])
def test_a_password_that_will_not_do_need_not_be_typed_again(installed: Machine, arguments: tuple[str, ...]) -> None:
    before = contents(installed.home)
    screen = installed.at_terminal("user", *arguments, keys=[("password: ", f"{arguments[-1]}{arguments[-1]}\n")])
    assert screen.code == 2
    assert "the password is too weak: it has fewer" in screen.out
    assert "again" not in screen.out
    assert contents(installed.home) == before


@pytest.mark.embedded
def test_standard_input_that_is_a_terminal_shows_no_password_either(installed: Machine) -> None:
    for flags in (("--password-stdin",), ("--password-file", "-")):
        screen = installed.at_terminal("user", "check-password", "ada", *flags, keys=[("password: ", f"{GOOD}\n")])
        assert screen.code == 0
        assert GOOD not in screen.out


@pytest.mark.parametrize("source", ["file", "file -", "fd", "env"])
def test_every_source_sets_and_checks_the_same_password(installed: Machine, source: str) -> None:
    def run(verb: str) -> Outcome:
        arguments = ["user", verb, "ada", "-o", "json"]
        match source:
            case "file -":
                return installed.run(*arguments, "--password-file", "-", stdin=f"{OTHER}\r\n")
            case "file":
                (installed.home / "pw").write_text(f"{OTHER}\n")
                return installed.run(*arguments, "--password-file", "pw")
            case "env":
                return installed.run(*arguments, "--password-env", "PW", env={"PW": OTHER})
            case _:
                reading, writing = os.pipe()
                os.write(writing, f"{OTHER}\n".encode())
                os.close(writing)
                try:
                    return installed.run(*arguments, "--password-fd", str(reading), pass_fds=[reading])
                finally:
                    os.close(reading)

    for verb in ("set-password", "check-password"):
        done = run(verb).succeeded()
        assert OTHER not in done.out + done.err
    assert check(installed, password=OTHER).code == 0


# Checking.


def test_the_answer_is_an_object_and_an_exit_code(installed: Machine) -> None:
    right = check(installed)
    assert (right.code, right.err) == (0, "")
    assert list(right.json) == CHECK_KEYS
    assert list(right.json.values()) == [True, "ada", "ok", None, id_of(installed), None, None, None]
    wrong = check(installed, password=OTHER)
    assert (wrong.code, wrong.err) == (6, "")
    assert list(wrong.json.values()) == [False, "ada", "refused", None, None, None, None, None]
    succeeded = {"must_change": False, "second_factor": None}
    assert events(installed)[-2:] == [("LoginSucceeded", succeeded), ("LoginFailed", {"cause": "wrong"})]


@pytest.mark.parametrize(
    ("form", "out"),
    [
        ("table", "ok:      true\nident:   ada\noutcome: ok\nuser_id: ID\n"),
        (
            "jsonl",
            (
                '{"ok": true, "ident": "ada", "outcome": "ok", "locked_until": null, "user_id": "ID", '
                '"second_factor": null, "recovery_codes_left": null, "retry_after": null}\n'
            ),
        ),
        ("csv", f"{','.join(CHECK_KEYS)}\ntrue,ada,ok,,ID,,,\n"),
        ("tsv", f"{chr(9).join(CHECK_KEYS)}\ntrue\tada\tok\t\tID\t\t\t\n"),
        ("id", "ID\n"),
    ],
)
def test_every_form_of_a_check(installed: Machine, form: str, out: str) -> None:
    done = installed.run("user", "check-password", "ada", "--password-stdin", "-o", form, stdin=GOOD).succeeded()
    assert done.out == out.replace("ID", id_of(installed))


def test_quiet_leaves_the_exit_code(installed: Machine) -> None:
    for password, code in ((GOOD, 0), (OTHER, 6)):
        done = installed.run("user", "check-password", "ada", "--password-stdin", "-q", stdin=password)
        assert (done.code, done.out, done.err) == (code, "", "")
    chosen = installed.run("user", "check-password", "ada", "--password-stdin", "--fields", "outcome,ok", stdin=GOOD)
    assert chosen.succeeded().out == "outcome\tok\nok\ttrue\n"
    refused(check(installed, "--fields", "password"), 2, "usage")


@pytest.mark.parametrize("ident", ["nobody", "nobody@example.org", "0192f3a0-0000-7000-8000-000000000000", "bob"])
def test_the_answer_does_not_tell_whether_there_is_an_account(installed: Machine, ident: str) -> None:
    assert check(installed, ident="ada", password=OTHER).json == {**check(installed, ident=ident).json, "ident": "ada"}
    done = check(installed, ident=ident)
    assert (done.code, done.err) == (6, "")


def test_a_closed_account_does_not_open(installed: Machine) -> None:
    installed.run("user", "deactivate", "ada").succeeded()
    assert check(installed).json["outcome"] == "refused"
    assert events(installed)[-1] == ("LoginFailed", {"cause": "inactive"})
    installed.run("user", "activate", "ada").succeeded()
    assert check(installed).code == 0


def test_ten_failures_lock_the_account_and_another_password_unlocks_it(installed: Machine) -> None:
    answers = [check(installed, password=OTHER) for _ in range(10)]
    assert {answer.code for answer in answers} == {6}
    assert {answer.json["outcome"] for answer in answers} == {"refused"}
    assert [answer.json["locked_until"] for answer in answers[:9]] == [None] * 9
    until = answers[9].json["locked_until"]
    assert re.fullmatch(TIME, until)
    locked = check(installed)
    assert (locked.code, locked.json["outcome"], locked.json["locked_until"]) == (6, "locked", until)
    assert events(installed)[-1] == ("UserLocked", {"until": until})
    listed = installed.run("audit", "list", "--type", "UserLocked", "-o", "json").succeeded()
    assert len(listed.json["items"]) == 1
    set_password(installed, password=OTHER).succeeded()
    assert ("UserLockEnded", {"attempts": 1, "cause": "password_changed"}) in events(installed)
    assert check(installed, password=OTHER).code == 0


def test_what_names_no_account_is_a_usage_error(installed: Machine) -> None:
    refused(check(installed, ident="a b"), 2, "identity.invalid")
    refused(check(installed, password="correct\0horse"), 2, "password.invalid")
    refused(check(installed, password=b"\xff"), 2, "input.invalid")


def test_a_login_raises_the_cost_of_the_hash(installed: Machine) -> None:
    dearer = {"BACKCTL_PASSWORDS_BCRYPT_COST": "5"}
    assert stored_hash(installed).startswith("$2b$04$")
    arguments = ("user", "check-password", "ada", "--password-stdin", "-q")
    installed.run(*arguments, stdin=GOOD, env=dearer).succeeded()
    assert stored_hash(installed).startswith("$2b$05$")
    assert [type_ for type_, _ in events(installed)[-2:]] == ["UserPasswordRehashed", "LoginSucceeded"]


@pytest.mark.parametrize("password", ["a" * 73, "\U0001f511" * 64])
def test_long_passwords_work_from_end_to_end(installed: Machine, password: str) -> None:
    set_password(installed, password=password).succeeded()
    assert stored_hash(installed).startswith("$bcrypt-sha256$v=2,t=2b,r=4$")
    assert check(installed, password=password).code == 0
    assert check(installed, password=password[:-1]).code == 6
    assert check(installed, password=password[:-1] + "b").code == 6


def test_a_new_account_can_be_obliged_to_change_its_password(machine: Machine) -> None:
    create = ("user", "create", "eve@example.org", "--username", "eve", "-o", "json")
    made = machine.run(*create, "--generate-password", "--must-change-password").succeeded()
    assert made.json["must_change_password"] is True
    ((_, data),) = events(machine, "eve")
    assert data["must_change"] is True
    assert check(machine, ident="eve", password=made.json["password"]).succeeded().json["outcome"] == "must_change"
