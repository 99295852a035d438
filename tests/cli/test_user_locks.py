"""Locks after failed logins: how they are shown, found and ended."""

import re

import pytest
from tests.cli.accounts import Person, lock
from tests.cli.conftest import Machine, Outcome
from tests.cli.expected import TIME, USER_KEYS, refused

pytestmark = pytest.mark.every_database

PEOPLE = [Person("root", role="admin"), Person("ada"), Person("bob"), Person("eve", active=False), Person("gil")]
GOOD, WRONG = "correct horse battery", "wrong horse battery"
LOCKED = ("ada", "eve")


@pytest.fixture(scope="module")
def prepared(prepared: Machine) -> Machine:
    """`ada`, who has a password, and `eve`, whose account is closed, are locked."""
    prepared.run("user", "set-password", "ada", "--password-stdin", stdin=GOOD).succeeded()
    lock(prepared, *LOCKED)
    return prepared


def check(machine: Machine, password: str, ident: str) -> Outcome:
    return machine.run("user", "check-password", ident, "--password-stdin", "-o", "json", stdin=password)


def names(machine: Machine, *arguments: str) -> list[str]:
    done = machine.run("user", "list", *arguments, "--fields", "username", "--no-header").succeeded()
    return done.out.splitlines()


def events(machine: Machine, ident: str) -> list[tuple[str, dict[str, object]]]:
    items = machine.run("user", "history", ident, "-o", "json").succeeded().json["items"]
    return [(event["type"], event["data"]) for event in items]


def test_a_lock_after_ten_wrong_passwords_is_shown_and_can_be_ended(installed: Machine) -> None:
    set_password = ("user", "set-password", "gil", "--password-stdin")
    installed.run(*set_password, stdin=GOOD).succeeded()
    assert [check(installed, WRONG, "gil").code for _ in range(10)] == [6] * 10
    assert check(installed, GOOD, "gil").json["outcome"] == "locked"
    (id_,) = installed.run("user", "show", "gil", "-o", "id").succeeded().out.splitlines()
    assert id_ in installed.run("user", "list", "--locked", "-o", "id").succeeded().out.splitlines()
    unlocked = installed.run("user", "unlock", id_, "--reason", "called the desk", "-o", "json").succeeded()
    assert list(unlocked.json) == [*USER_KEYS, "changed"]
    assert (unlocked.json["changed"], unlocked.json["status"], unlocked.json["locked_until"]) == (True, "active", None)
    assert unlocked.json["version"] == 2  # as before
    assert events(installed, "gil")[-1] == ("UserLockEnded", {"attempts": 1, "cause": "unlocked"})
    assert id_ not in installed.run("user", "list", "--locked", "-o", "id").succeeded().out.splitlines()
    assert check(installed, WRONG, "gil").json["outcome"] == "refused"  # the failures before are forgotten
    assert check(installed, GOOD, "gil").json["outcome"] == "ok"
    installed.run("audit", "verify").succeeded()


def test_a_locked_account_shows_its_status_and_the_end_of_the_lock(untouched: Machine) -> None:
    ada = untouched.run("user", "show", "ada", "-o", "json").succeeded().json
    assert (ada["status"], ada["is_active"]) == ("locked", True)
    assert re.fullmatch(TIME, ada["locked_until"])
    eve = untouched.run("user", "show", "eve", "-o", "json").succeeded().json
    assert (eve["status"], eve["is_active"]) == ("closed", False)
    assert re.fullmatch(TIME, eve["locked_until"])
    screen = untouched.at_terminal("user", "list", "--no-color").succeeded().out
    shown = [line.split()[3] for line in screen.splitlines()]
    assert shown == ["STATUS", "active", "locked", "active", "closed", "active"]


def test_locked_accounts_are_found(untouched: Machine) -> None:
    assert names(untouched, "--locked") == ["ada", "eve"]
    assert names(untouched, "--status", "locked") == ["ada"]
    assert names(untouched, "--active") == ["root", "bob", "gil"]
    assert names(untouched, "--inactive") == ["ada", "eve"]
    assert names(untouched, "--locked", "--inactive") == ["ada", "eve"]
    assert names(untouched, "--locked", "--status", "closed") == ["eve"]
    assert untouched.run("user", "count", "--locked").succeeded().out == "2\n"
    first = untouched.run("user", "list", "--locked", "--limit", "1", "-o", "json").succeeded().json
    assert names(untouched, "--locked", "--limit", "1", "--cursor", first["next_cursor"]) == ["eve"]


def test_unlocking_an_account_that_is_not_locked_changes_nothing(untouched: Machine) -> None:
    for ident in ("bob", "root"):
        done = untouched.run("user", "unlock", ident, "-o", "json").succeeded()
        assert (done.json["changed"], done.json["status"]) == (False, "active")
    refused(untouched.run("user", "unlock", "nobody", "-o", "json"), 3, "user.not_found")


def test_unlocking_without_a_lock_keeps_the_failures(installed: Machine) -> None:
    for _ in range(9):
        check(installed, WRONG, "bob")
    assert installed.run("user", "unlock", "bob", "-o", "json").succeeded().json["changed"] is False
    check(installed, WRONG, "bob")
    assert names(installed, "--status", "locked") == ["ada", "bob"]


def test_several_accounts_are_unlocked_together(installed: Machine) -> None:
    done = installed.run("user", "unlock", "ada", "bob", "eve", "nobody", "--yes", "-o", "json")
    assert done.code == 7
    *items, failed = done.json["items"]
    assert [(item["changed"], item["status"]) for item in items] == [
        (True, "active"),
        (False, "active"),
        (True, "closed"),
    ]
    assert "no account" in str(failed["error"])
    assert names(installed, "--locked") == []


def test_a_dry_run_unlocks_nothing(untouched: Machine) -> None:
    done = untouched.run("user", "unlock", "ada", "--dry-run", "-o", "json").succeeded()
    assert (done.json["changed"], done.json["dry_run"]) == (True, True)
    assert names(untouched, "--locked") == ["ada", "eve"]


def test_activating_a_locked_account_warns_and_names_the_command(installed: Machine) -> None:
    warning = (
        r"backctl: warning: '(ada|eve)' is locked after failed logins until \S+; "
        r"'backctl user unlock \1' ends the lock\n"
    )
    active = installed.run("user", "activate", "ada", "-o", "json").succeeded()
    assert (active.json["changed"], active.json["status"]) == (False, "locked")
    assert re.fullmatch(warning, active.err)
    closed = installed.run("user", "activate", "eve", "-q").succeeded()
    assert closed.out == ""
    assert re.fullmatch(warning, closed.err)
    several = installed.run("user", "activate", "ada", "bob", "eve", "-o", "json").succeeded()
    assert [item["status"] for item in several.json["items"]] == ["locked", "active", "locked"]
    assert len(re.findall(warning, several.err)) == 2
    assert installed.run("user", "activate", "bob", "-o", "json").succeeded().err == ""


def test_a_login_stores_its_time_without_a_new_version(installed: Machine) -> None:
    installed.run("user", "unlock", "ada", "-q").succeeded()
    before = installed.run("user", "show", "ada", "-o", "json").succeeded().json
    assert before["last_login_at"] is None
    assert check(installed, WRONG, "ada").code == 6
    assert installed.run("user", "show", "ada", "-o", "json").succeeded().json == before
    check(installed, GOOD, "ada").succeeded()
    after = installed.run("user", "show", "ada", "-o", "json").succeeded().json
    assert re.fullmatch(TIME, after["last_login_at"])
    assert {**after, "last_login_at": None} == before
    (event,) = installed.run("audit", "list", "--type", "LoginSucceeded", "-o", "json").succeeded().json["items"]
    assert event["occurred_at"] == after["last_login_at"]
    assert names(installed, "--last-login-before", "0s") == ["root", "ada", "bob", "eve", "gil"]
    assert names(installed, "--last-login-before", "1h") == ["root", "bob", "eve", "gil"]
