"""`user update` and `role assign`: only the given values change, once, and the last administrator is protected."""

from typing import Any

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.expected import USER_KEYS, refused

pytestmark = pytest.mark.every_database

PEOPLE = [Person("root", role="admin"), Person("ada"), Person("bob"), Person("gone", active=False)]


def history(machine: Machine, ident: str) -> list[tuple[str, Any]]:
    items = machine.run("user", "history", ident, "-o", "json").succeeded().json["items"]
    return [(event["type"], event["data"]) for event in items[1:]]


# One account.


def test_everything_given_changes_at_once_and_only_once(installed: Machine) -> None:
    change = (
        *("user", "update", "ada", "--email", "Lovelace@Example.net", "--username", "lovelace", "--role", "moderator"),
        *("--expires-at", "2031-01-01", "--reason", "married", "-o", "json"),
    )
    before = installed.run("user", "show", "ada", "-o", "json").succeeded().json
    assert before.pop("last_seen_at") is None  # only 'show' reads it
    changed = installed.run(*change).succeeded()
    assert changed.err == ""
    assert list(changed.json) == [*USER_KEYS, "changed"]
    assert changed.json == {
        **before,
        "email": "Lovelace@example.net",
        "username": "lovelace",
        "role": "moderator",
        "expires_at": "2031-01-01T00:00:00.000000Z",
        "updated_at": changed.json["updated_at"],
        "version": 2,
        "changed": True,
    }
    assert changed.json["updated_at"] > before["updated_at"]
    again = installed.run(*change[:2], before["id"], *change[3:]).succeeded().json
    assert again == {**changed.json, "changed": False}
    assert installed.run("user", "exists", "ada").code == 3
    assert history(installed, "lovelace") == [
        ("UserEmailChanged", {"old": "ada@example.org", "new": "Lovelace@example.net", "version": 2}),
        ("UserUsernameChanged", {"old": "ada", "new": "lovelace", "version": 2}),
        ("UserRoleChanged", {"old": "user", "new": "moderator", "version": 2}),
        ("UserExpiryChanged", {"old": None, "new": "2031-01-01T00:00:00.000000Z", "version": 2}),
    ]
    installed.run("audit", "verify").succeeded()


def test_what_is_not_given_stays(installed: Machine) -> None:
    installed.run("user", "update", "ada", "--expires-at", "2031-01-01T00:00:00+01:00").succeeded()
    renamed = installed.run("user", "update", "ada", "--username", "ADA", "-o", "json").succeeded().json
    assert (renamed["username"], renamed["email"], renamed["role"]) == ("ADA", "ada@example.org", "user")
    assert renamed["expires_at"] == "2030-12-31T23:00:00.000000Z"
    endless = installed.run("user", "update", "ada", "--no-expiry", "-o", "json").succeeded().json
    assert (endless["expires_at"], endless["changed"], endless["version"]) == (None, True, 4)
    assert installed.run("user", "update", "ada", "--no-expiry", "-o", "json").succeeded().json["changed"] is False
    assert installed.run("user", "update", "ada", "--role", "user", "-q").succeeded().out == ""


def test_an_expiry_is_counted_from_now(installed: Machine) -> None:
    soon = installed.run("user", "update", "ada", "--expires-in", "1h", "-o", "json").succeeded().json
    assert soon["updated_at"] < soon["expires_at"]
    assert installed.run("access", "check", "ada", "self:show", "-q").code == 0
    week = installed.run("user", "update", "ada", "--expires-at", "1w", "-o", "json").succeeded().json
    assert soon["expires_at"] < week["expires_at"]
    assert (week["status"], week["is_active"]) == ("active", True)
    expired = installed.run("user", "update", "ada", "--expires-in", "0s", "--yes", "-o", "json").succeeded().json
    assert (expired["status"], expired["is_active"]) == ("expired", True)
    assert installed.run("access", "check", "ada", "self:show", "-q").code == 6


PAST = [("--expires-at", "2020-01-01"), ("--expires-at", "0s"), ("--expires-in", "0s")]


@pytest.mark.parametrize("flags", PAST, ids=" ".join)
def test_an_expiry_in_the_past_must_be_confirmed(installed: Machine, flags: tuple[str, str]) -> None:
    create = ("user", "create", "new@example.org", "--username", "new", "--no-password")
    for command, action in ((("user", "update", "ada"), "update ada"), (create, "create new")):
        error = refused(installed.run(*command, *flags, "-o", "json"), 8, "confirmation.required")
        assert error["message"].startswith(f"not confirmed: {action} with an expiry in the past (20")
        assert error["hint"] == "confirm with --yes"
        assert installed.run(*command, *flags, "--dry-run", "-o", "json").succeeded().json["status"] == "expired"
    accounts = installed.run("user", "list", "-o", "json").succeeded().json["items"]
    assert {account["expires_at"] for account in accounts} == {None}
    for command in (("user", "update", "ada"), create):
        assert installed.run(*command, *flags, "--yes", "-o", "json").succeeded().json["status"] == "expired"
    again = installed.run("user", "update", "new", "--expires-at", "2020-01-01", "--yes", "-o", "json").succeeded()
    unchanged = installed.run("user", "update", "new", "--expires-at", "2020-01-01", "-o", "json").succeeded()
    assert (unchanged.json["changed"], unchanged.json["version"]) == (False, again.json["version"])


def test_a_person_is_asked_about_an_expiry_in_the_past(installed: Machine) -> None:
    command = ("user", "update", "ada", "--expires-at", "2020-01-01")
    question = "update ada with an expiry in the past (2020-01-01T00:00:00.000000Z)"
    assert installed.at_terminal(*command, keys=[(question, "n\n")]).code == 8
    assert installed.run("user", "show", "ada", "-o", "json").json["expires_at"] is None
    assert installed.at_terminal(*command, keys=[(question, "y\n")]).code == 0
    assert installed.run("user", "show", "ada", "-o", "json").json["status"] == "expired"


def test_another_accounts_names_are_taken_in_any_spelling(untouched: Machine) -> None:
    refused(untouched.run("user", "update", "ada", "--email", "BOB@example.org", "-o", "json"), 4, "user.email_taken")
    refused(untouched.run("user", "update", "ada", "--username", "Bob", "-o", "json"), 4, "user.username_taken")
    dry = untouched.run("user", "update", "ada", "--username", "Bob", "-n", "-o", "json")
    refused(dry, 4, "user.username_taken")


def test_only_the_version_that_was_seen_is_changed(installed: Machine) -> None:
    change = ("user", "update", "ada", "--username", "eve", "-o", "json")
    error = refused(installed.run(*change, "--if-version", "7"), 4, "user.changed_meanwhile")
    assert "version 1, not 7" in error["message"]
    assert installed.run(*change, "--if-version", "1").succeeded().json["version"] == 2


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        ((), "usage"),
        (("--email", "ada"), "user.email_invalid"),
        (("--username", "a b"), "user.username_invalid"),
        (("--username", ""), "user.username_invalid"),
        (("--role", "root"), "role.unknown"),
        (("--expires-at", "tomorrow"), "input.invalid"),
        (("--expires-in", "1h30m"), "duration.invalid"),
        (("--expires-in", "1h", "--expires-at", "2031-01-01"), "usage"),
        (("--expires-in", "1h", "--no-expiry"), "usage"),
        (("--role", "user", "--if-version", "one"), "usage"),
    ],
)
def test_values_that_mean_nothing_change_nothing(untouched: Machine, flags: tuple[str, ...], code: str) -> None:
    refused(untouched.run("user", "update", "ada", *flags, "-o", "json"), 2, code)


def test_an_unknown_account_is_not_found(untouched: Machine) -> None:
    refused(untouched.run("user", "update", "nobody", "--role", "user", "-o", "json"), 3, "user.not_found")


def test_a_dry_run_shows_the_change_and_makes_none(untouched: Machine) -> None:
    dry = untouched.run("user", "update", "ada", "--username", "eve", "--dry-run", "-o", "json").succeeded().json
    assert list(dry) == [*USER_KEYS, "changed", "dry_run"]
    assert (dry["username"], dry["version"], dry["changed"], dry["dry_run"]) == ("eve", 2, True, True)


# The last administrator.


def test_the_last_administrator_is_neither_demoted_nor_given_an_end(untouched: Machine) -> None:
    for change in (
        ("user", "update", "root", "--role", "user"),
        ("user", "update", "root", "--expires-in", "36500d"),
        ("user", "update", "root", "--expires-at", "2000-01-01"),
        ("role", "assign", "moderator", "root"),
    ):
        error = refused(untouched.run(*change, "-o", "json"), 8, "user.last_administrator")
        assert "'root'" in error["message"]
        refused(untouched.run(*change, "-n", "-o", "json"), 8, "user.last_administrator")


def test_an_administrator_who_ends_sooner_does_not_replace_one_who_stays(installed: Machine) -> None:
    installed.run("role", "assign", "admin", "ada").succeeded()
    installed.run("user", "update", "ada", "--expires-at", "2031-01-01").succeeded()
    change = ("user", "update", "root", "--expires-at")
    refused(installed.run(*change, "2031-01-01", "-o", "json"), 8, "user.last_administrator")
    installed.run(*change, "2030-12-31").succeeded()
    installed.run("user", "update", "root", "--no-expiry").succeeded()


# Roles of several accounts.


def test_a_role_is_given_once(installed: Machine) -> None:
    first = installed.run("role", "assign", "moderator", "ada", "--reason", "helps", "-o", "json").succeeded().json
    assert list(first) == [*USER_KEYS, "changed"]
    assert (first["role"], first["changed"], first["version"]) == ("moderator", True, 2)
    assert installed.run("role", "assign", "moderator", "ada", "-o", "json").succeeded().json == {
        **first,
        "changed": False,
    }
    assert history(installed, "ada") == [("UserRoleChanged", {"old": "user", "new": "moderator", "version": 2})]


def test_a_role_is_given_to_many_from_arguments_a_file_and_standard_input(installed: Machine) -> None:
    given = installed.run("role", "assign", "moderator", "ada", "nobody", "root", "bob", "--yes", "-o", "json")
    assert given.code == 7
    assert [item.get("role") for item in given.json["items"]] == ["moderator", None, None, "moderator"]
    assert [item["error"]["code"] for item in given.json["items"] if "error" in item] == [
        "user.not_found",
        "user.last_administrator",
    ]
    (installed.home / "people.txt").write_text("ada\ngone\n")
    installed.run("role", "assign", "admin", "--from-file", "people.txt", "--yes").succeeded()
    installed.run("role", "assign", "user", "-", "--yes", stdin="root\nbob\n").succeeded()
    listed = installed.run("user", "list", "--sort", "username", "--fields", "username,role", "--no-header").succeeded()
    assert listed.out == "ada\tadmin\nbob\tuser\ngone\tadmin\nroot\tuser\n"


def test_an_unknown_role_is_said_once_and_nobody_gets_it(untouched: Machine) -> None:
    error = refused(untouched.run("role", "assign", "root", "ada", "bob", "-o", "json"), 2, "role.unknown")
    assert error["hint"] == "known roles: user, moderator, admin"
    refused(untouched.run("role", "assign", "admin", "-o", "json"), 2, "usage")
