"""`user create --if-not-exists` and `--upsert`: commands that a script can run repeatedly."""

from typing import Any

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.expected import USER_KEYS, refused

pytestmark = pytest.mark.every_database

PEOPLE = [Person("root", role="admin"), Person("ada", role="moderator"), Person("bob")]
ADA = ("user", "create", "ada@example.org", "--username", "ada", "-o", "json")


def shown(machine: Machine, ident: str = "ada") -> dict[str, Any]:
    user: dict[str, Any] = machine.run("user", "show", ident, "-o", "json").succeeded().json
    assert user.pop("last_seen_at") is None  # only 'show' reads it
    return user


@pytest.mark.parametrize("flag", ["--if-not-exists", "--upsert"])
def test_an_account_that_is_missing_is_made(machine: Machine, flag: str) -> None:
    made = machine.run(*ADA, flag, "--generate-password", "--expires-in", "8h").succeeded().json
    assert list(made) == [*USER_KEYS, "changed", "password"]
    assert (made["changed"], made["role"], made["has_password"]) == (True, "user", True)
    assert made["created_at"] < made["expires_at"]
    again = machine.run(*ADA, flag, "--generate-password").succeeded()
    assert list(again.json) == [*USER_KEYS, "changed"]
    assert again.json == {**shown(machine), "changed": False}
    assert again.err == "backctl: warning: the account exists and keeps its password\n"


def test_an_account_that_exists_is_left_alone_without_a_question(untouched: Machine) -> None:
    kept = untouched.run(*ADA, "--if-not-exists").succeeded()
    assert kept.json == {**shown(untouched), "changed": False}
    assert kept.err == ""
    spelt = untouched.run("user", "create", "ada@EXAMPLE.ORG", "--username", "ada", "--if-not-exists").succeeded()
    assert spelt.err == ""
    assert untouched.run(*ADA, "--upsert").succeeded().json == kept.json
    assert untouched.run(*ADA, "--if-not-exists", "-q").succeeded().out == ""


def test_attributes_that_differ_are_told_and_not_changed(untouched: Machine) -> None:
    kept = untouched.run(
        *("user", "create", "ADA@example.org", "--username", "eve", "--role", "user", "--expires-in", "8h"),
        *("--if-not-exists", "--password-stdin", "-o", "json"),
        stdin="never read",
    ).succeeded()
    assert kept.json == {**shown(untouched), "changed": False}
    first, second = kept.err.splitlines()
    assert first.startswith(
        "backctl: warning: the account exists with another email and username and role and expires_at"
    )
    assert second == "backctl: warning: the account exists and keeps its password"


def test_upsert_changes_what_is_given_and_nothing_else(installed: Machine) -> None:
    installed.run("user", "update", "ada", "--expires-at", "2031-01-01").succeeded()
    before = shown(installed)
    renamed = installed.run(*ADA[:3], "--username", "lovelace", "--upsert", "-o", "json").succeeded()
    assert renamed.json == {
        **before,
        "username": "lovelace",
        "version": 3,
        "updated_at": renamed.json["updated_at"],
        "changed": True,
    }
    assert renamed.err == ""
    demoted = installed.run(*ADA[:3], "--username", "lovelace", "--role", "user", "--upsert", "-o", "json").succeeded()
    assert (demoted.json["role"], demoted.json["expires_at"]) == ("user", before["expires_at"])
    types = [e["type"] for e in installed.run("user", "history", "lovelace", "-o", "json").succeeded().json["items"]]
    assert types == ["UserCreated", "UserExpiryChanged", "UserUsernameChanged", "UserRoleChanged"]


@pytest.mark.parametrize("flag", ["--if-not-exists", "--upsert"])
def test_a_password_that_was_not_used_leaves_no_file(installed: Machine, flag: str) -> None:
    kept = installed.run(*ADA, flag, "--generate-password", "--secret-file", "ada.txt").succeeded()
    assert "secret_file" not in kept.json
    assert not (installed.home / "ada.txt").exists()
    taken = (*ADA[:2], "new@example.org", "--username", "bob", flag, "--generate-password", "--secret-file", "new.txt")
    refused(installed.run(*taken, "-o", "json"), 4, "user.username_taken")
    assert not (installed.home / "new.txt").exists()


def test_the_rules_of_an_update_hold(untouched: Machine) -> None:
    demotion = ("user", "create", "root@example.org", "--username", "root", "--role", "user", "--upsert", "-o", "json")
    refused(untouched.run(*demotion), 8, "user.last_administrator")
    refused(untouched.run(*ADA[:3], "--username", "bob", "--upsert", "-o", "json"), 4, "user.username_taken")


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("--if-not-exists", "--upsert"), "usage"),
        (("--if-not-exists", "--no-password", "--generate-password"), "usage"),
        (("--upsert", "--secret-file", "x.txt"), "usage"),
        (("--if-not-exists", "--role", "root"), "role.unknown"),
        (("--upsert", "--username", "a b"), "user.username_invalid"),
        (("--upsert", "--expires-in", "soon"), "duration.invalid"),
    ],
)
def test_slips_are_found_even_where_nothing_has_to_be_made(
    untouched: Machine, flags: tuple[str, ...], code: str
) -> None:
    refused(untouched.run(*ADA, *flags), 2, code)


def test_a_missing_account_needs_a_password_or_a_word_about_it(untouched: Machine) -> None:
    error = refused(
        untouched.run("user", "create", "new@example.org", "--username", "new", "--upsert", "-o", "json"), 2, "usage"
    )
    assert "--generate-password" in error["hint"]


def test_a_dry_run_changes_nothing_either_way(untouched: Machine) -> None:
    made = untouched.run(
        *("user", "create", "new@example.org", "--username", "new", "--no-password", "--upsert", "-n", "-o", "json")
    ).succeeded()
    assert (made.json["changed"], made.json["dry_run"]) == (True, True)
    changed = untouched.run(*ADA[:3], "--username", "eve", "--upsert", "-n", "-o", "json").succeeded()
    assert (changed.json["username"], changed.json["dry_run"]) == ("eve", True)
